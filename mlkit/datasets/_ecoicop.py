"""Product names from Polish web shops, with their ECOICOP codes: downloaded."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from mlkit.datasets._bunch import Bunch
from mlkit.datasets._cards import DatasetError, dataset_card, read_data_file
from mlkit.datasets._download import downloaded_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fetch_ecoicop"]

LANGUAGES = ("polish", "english", "french", "spanish", "italian", "german", "dutch")

_WORKBOOK = "stats-poland-ecoicop.xlsx"
_LABELS = "ecoicop_labels.csv"


def fetch_ecoicop(language: str = "english") -> Bunch:
    """Fetch product names from web shops, coded to ECOICOP by people. Real, downloaded once.

    The data set of Statistics Poland in the UNECE machine learning programme. Its 61 labels
    come without codes; the kit adds the codes, with which levels exist. The card
    (``print(ecoicop.card)``) says what is known to be wrong or surprising: above all, rows
    repeat, and the same name may have two labels. All rows are returned.

    Parameters
    ----------
    language : {"polish", "english", "french", "spanish", "italian", "german", "dutch"}, \
default="english"
        Names were scraped in Polish and translated by machine. Upper case may be used.

    Returns
    -------
    Bunch
        frame : DataFrame of shape (17099, 3)
            Columns `product`, `label` and `code`, all text; nothing is missing. Rows stand
            in the same order in every language.
        classification : Classification
            The piece of ECOICOP version 1 that the labels need, with the levels "division",
            "group", "class" and "subclass". `code` is of the last level.
        language : str
            The language, in lower case.
        card : Card
            What the data are, in full. `DESCR` is the same as text; `name`, `kind`,
            `licence` and `citation` are taken from it.

    Raises
    ------
    ValueError
        If there is no such language.
    DatasetError
        If the file is not in the cache and cannot be downloaded, with what to do by hand;
        or if it holds something else than its card says.

    References
    ----------
    Statistics Poland: ECOICOP data, UNECE High-Level Group for the Modernisation of Official
    Statistics, Machine Learning Project 2020.

    Examples
    --------
    >>> fetch_ecoicop("english").frame.head(2)  # doctest: +SKIP
    """
    language = _known(language)

    import pandas as pd

    from mlkit.classifications import Classification

    card = dataset_card("ecoicop")
    labels = pd.read_csv(io.BytesIO(read_data_file(card, _LABELS)), dtype="str", na_filter=False)
    path = downloaded_file(card, _WORKBOOK)
    try:
        frame = pd.read_excel(
            path, sheet_name=language.capitalize(), dtype="str", na_filter=False, engine="openpyxl"
        )
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} has no readable sheet for {language}: {error}.") from error
    # Compared without case, because the Dutch sheet says Produkt.
    if [str(column).lower() for column in frame.columns] != ["produkt", "kategoria"]:
        raise DatasetError(
            f"{path} has the columns {', '.join(map(str, frame.columns))} for {language}; "
            "expected are produkt and kategoria."
        )
    frame.columns = pd.Index(["product", "label"])
    frame["code"] = frame["label"].map(labels.set_index(language)["code"])
    if frame["code"].isna().any():
        strangers = frame.loc[frame["code"].isna(), "label"].unique()
        raise DatasetError(
            f"{path} has labels for {language} that the kit has no code for: "
            f"{', '.join(map(repr, strangers[:5]))}. {_LABELS} knows {len(labels)} labels."
        )
    return Bunch(
        name=card.name,
        kind=card.kind,
        frame=frame,
        classification=Classification.from_table(
            _structure(labels),
            code="code",
            parent="parent",
            title="title",
            name="ECOICOP version 1 (food and non-alcoholic beverages)",
            levels=["division", "group", "class", "subclass"],
        ),
        language=language,
        card=card,
        DESCR=str(card),
        licence=card.licence,
        citation=card.citation,
    )


def _known(language: object) -> str:
    folded = language.lower() if isinstance(language, str) else ""
    if folded not in LANGUAGES:
        raise ValueError(f"language is {language!r}; there are: {', '.join(LANGUAGES)}.")
    return folded


def _structure(labels: pd.DataFrame) -> pd.DataFrame:
    """Turn the table of labels, one row for each, into one with one row per code."""
    import pandas as pd

    levels = [
        labels[["division", "division_title"]].assign(parent=""),
        labels[["group", "group_title", "division"]],
        labels[["class", "class_title", "group"]],
        labels[["code", "english", "class"]],
    ]
    for level in levels:
        level.columns = pd.Index(["code", "title", "parent"])
    return pd.concat(levels).drop_duplicates().sort_values("code", ignore_index=True)
