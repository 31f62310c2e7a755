"""Data sets: real ones that the kit brings along, each with its card.

>>> from mlkit.datasets import load_soc_index
>>> soc = load_soc_index()
>>> soc.frame.loc[soc.frame["title"] == "Cutler", ["title", "code"]]
       title  code
6116  Cutler  8129
"""

from __future__ import annotations

from mlkit.datasets._bunch import Bunch
from mlkit.datasets._cards import (
    Card,
    DataFile,
    DatasetError,
    dataset_card,
    dataset_names,
)
from mlkit.datasets._soc import load_soc_index

__all__ = [
    "Bunch",
    "Card",
    "DataFile",
    "DatasetError",
    "dataset_card",
    "dataset_names",
    "load_soc_index",
]
