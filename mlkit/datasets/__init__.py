"""Data sets, each with its card: real ones, bundled or downloaded, and simulated ones.

``load_...`` reads real data that the kit brings along, ``fetch_...`` downloads real data once
and keeps them, ``make_...`` simulates data whose truth is known.

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
    CardResult,
    DataFile,
    DatasetError,
    dataset_card,
    dataset_names,
)
from mlkit.datasets._coded import CodedRecords, load_coded_records
from mlkit.datasets._download import cache_folder
from mlkit.datasets._ecoicop import fetch_ecoicop
from mlkit.datasets._eurosat import fetch_eurosat
from mlkit.datasets._inject import inject_errors, inject_missing
from mlkit.datasets._landsat import load_landsat_nc
from mlkit.datasets._landscape import Landscape, make_landscape
from mlkit.datasets._own import read_coded_csv
from mlkit.datasets._responses import make_occupation_responses
from mlkit.datasets._soc import load_soc_index
from mlkit.datasets._surveys import Survey, make_business_survey, make_household_survey
from mlkit.datasets._uksic import fetch_uksic2007

__all__ = [
    "Bunch",
    "Card",
    "CardResult",
    "CodedRecords",
    "DataFile",
    "DatasetError",
    "Landscape",
    "Survey",
    "cache_folder",
    "dataset_card",
    "dataset_names",
    "fetch_ecoicop",
    "fetch_eurosat",
    "fetch_uksic2007",
    "inject_errors",
    "inject_missing",
    "load_coded_records",
    "load_landsat_nc",
    "load_soc_index",
    "make_business_survey",
    "make_household_survey",
    "make_landscape",
    "make_occupation_responses",
    "read_coded_csv",
]
