"""Coded texts from one of three places, so that a lesson need not know which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlkit.datasets._ecoicop import fetch_ecoicop
from mlkit.datasets._own import read_coded_csv
from mlkit.datasets._responses import make_occupation_responses

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mlkit.classifications import Classification
    from mlkit.datasets._bunch import Bunch

__all__ = ["CodedRecords", "load_coded_records"]


@dataclass(frozen=True, eq=False)
class CodedRecords:
    """Texts, their codes, and the words in which a lesson speaks of them.

    Attributes
    ----------
    frame : DataFrame
        One row per record, with `text` and `code`, and whatever else the source tells.
    classification : Classification or None
        What the codes belong to; None where a file of codes does not say.
    data : {"simulated", "real"}
        Whether figures from them are about methods only.
    unit : str
        What is counted, in the plural: "records" or "names".
    population, period : str
        Of whom, and of when, a figure from them speaks.
    gold_standard : str
        What counts as the right code.
    copies : ndarray of bool, of shape (n,)
        Rows whose text came before and which are copies of one thing. Leave them out before
        splitting, or a model is tested on what it has learnt. Answers that repeat because other
        people gave them are no copies.
    source : Bunch or None
        The simulated answers with their truth, or the product names; None for a file.
    """

    frame: pd.DataFrame
    classification: Classification | None
    data: Literal["simulated", "real"]
    unit: str
    population: str
    period: str
    gold_standard: str
    copies: NDArray[np.bool_]
    source: Bunch | None

    def __repr__(self) -> str:
        copies = f", {self.copies.sum():,} of them copies" if self.copies.any() else ""
        return f"CodedRecords: {len(self.frame):,} {self.unit}{copies} ({self.data} data)"


def load_coded_records(
    dataset: str,
    *,
    rows: int,
    seed: int,
    language: str = "english",
    file: str | Path = "",
    drop_repeats: bool = False,
) -> CodedRecords:
    """Load coded texts by the parameters that lessons share.

    Parameters
    ----------
    dataset : {"responses", "ecoicop", "csv"}
        Simulated survey answers (:func:`make_occupation_responses`), real product names
        (:func:`fetch_ecoicop`, downloaded once), or your own file (:func:`read_coded_csv`).
    rows : int
        How many answers to simulate. Of the others all are loaded.
    seed : int
        The seed of the simulation.
    language : str, default="english"
        The language of the product names.
    file : str or Path, default=""
        Your file.
    drop_repeats : bool, default=False
        Whether texts that repeat in your file are copies of one thing, as product names are,
        instead of answers of other people.

    Returns
    -------
    CodedRecords
        The records.

    Raises
    ------
    ValueError
        If there is no such dataset, or as the function of that dataset.

    Examples
    --------
    >>> records = load_coded_records("responses", rows=2_000, seed=0)
    >>> records
    CodedRecords: 2,000 records (simulated data)
    >>> records.gold_standard
    'the arbitrated code'
    """
    import numpy as np

    words: dict[str, Any]
    if dataset == "responses":
        source = make_occupation_responses(rows, seed=seed)
        frame = source.frame.rename(columns={"arbiter": "code"})
        words = {
            "data": "simulated",
            "unit": "records",
            "population": "simulated answers to 'What is your job?'",
            "period": "the simulated year",
            "gold_standard": "the arbitrated code",
        }
    elif dataset == "ecoicop":
        source = fetch_ecoicop(language)
        frame = source.frame.rename(columns={"product": "text"})
        words = {
            "data": "real",
            "unit": "names",
            "population": f"different product names ({source.language}) of three Polish web shops",
            "period": "about 2019 to 2020",
            "gold_standard": "the label of Statistics Poland",
        }
    elif dataset == "csv":
        source = None
        frame = read_coded_csv(file)
        words = {
            "data": "real",
            "unit": "records",
            "population": "the records of your file",
            "period": "the period of your file",
            "gold_standard": "the code in your file",
        }
    else:
        raise ValueError(f"DATASET is {dataset!r}; allowed are 'responses', 'ecoicop' and 'csv'.")

    copies = np.zeros(len(frame), dtype=bool)
    if dataset == "ecoicop" or (dataset == "csv" and drop_repeats):
        copies = frame["text"].str.strip().str.lower().duplicated().to_numpy()
    classification = None if source is None else source.classification
    return CodedRecords(
        frame=frame, classification=classification, copies=copies, source=source, **words
    )
