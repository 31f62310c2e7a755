"""The index of the UK Standard Industrial Classification 2007: downloaded."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

from mlkit.datasets._bunch import Bunch
from mlkit.datasets._cards import Card, DatasetError, dataset_card
from mlkit.datasets._download import downloaded_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fetch_uksic2007"]

# The columns of the structure that hold codes, and the kit's names of the levels.
_LEVELS = {
    "SECTION": "section",
    "Division": "division",
    "Group": "group",
    "Class": "class",
    "Sub Class": "subclass",
}


def fetch_uksic2007() -> Bunch:
    """Fetch the ONS index of UK SIC 2007: activities of businesses and their codes. Real.

    Sections are letters, so that no code begins with the code of its section. The
    classification is ragged: most classes have no subclasses. Its sections, divisions,
    groups and classes are those of NACE Revision 2.

    Returns
    -------
    Bunch
        frame : DataFrame of shape (15951, 3)
            Columns `activity`, `sic2007` and `code`, all text; nothing is missing. `sic2007`
            has five digits, as published. `code` is the same code in the classification:
            the subclass where there is one, else the class, four digits.
        classification : Classification
            UK SIC 2007, with the levels "section", "division", "group", "class" and
            "subclass".
        card : Card
            What the data are, in full. `DESCR` is the same as text; `name`, `kind`,
            `licence` and `citation` are taken from it.

    Raises
    ------
    DatasetError
        If the files are not in the cache and cannot be downloaded, with what to do by hand;
        or if they hold something else than their card says.

    References
    ----------
    Office for National Statistics: UK Standard Industrial Classification of Economic
    Activities 2007 (SIC 2007): structure and index.

    Examples
    --------
    >>> fetch_uksic2007().classification.at_level("0111", "section")  # doctest: +SKIP
    'A'
    """
    from mlkit.classifications import Classification

    card = dataset_card("uksic2007")
    index = _read_csv(card, "uksic2007_index.csv.gz", ["activity", "sic2007"])
    structure = _read_csv(
        card,
        "uksic2007_structure.csv.gz",
        ["Description", *_LEVELS, "Most disaggregated level", "Level headings"],
    )
    table = _with_parents(structure)
    # A class without subclasses is printed with a fifth digit, 0.
    codes = dict(zip(structure["Most disaggregated level"], table["code"], strict=True))
    index["code"] = index["sic2007"].map(codes)
    if index["code"].isna().any():
        strangers = index.loc[index["code"].isna(), "sic2007"].unique()
        raise DatasetError(
            f"The index of UK SIC 2007 has codes that its structure lacks: "
            f"{', '.join(strangers[:5])}. The two files do not belong together."
        )
    return Bunch(
        name=card.name,
        kind=card.kind,
        frame=index[["activity", "sic2007", "code"]],
        classification=Classification.from_table(
            table,
            code="code",
            parent="parent",
            title="title",
            name="UK SIC 2007",
            levels=list(_LEVELS.values()),
        ),
        card=card,
        DESCR=str(card),
        licence=card.licence,
        citation=card.citation,
    )


def _with_parents(structure: pd.DataFrame) -> pd.DataFrame:
    """Read code and parent of each row off the columns of its level and the level above."""
    import numpy as np
    import pandas as pd

    # The letters of sections have a blank before them in most rows, and none in some.
    codes = structure[[*_LEVELS]].apply(lambda column: column.str.strip()).to_numpy()
    depth = pd.Index(list(_LEVELS)).get_indexer(pd.Index(structure["Level headings"]))
    rows = np.arange(len(structure))
    return pd.DataFrame(
        {
            "code": codes[rows, depth],
            "parent": np.where(depth > 0, codes[rows, depth - 1], ""),
            "title": structure["Description"].str.strip(),
        }
    )


def _read_csv(card: Card, name: str, needed: list[str]) -> pd.DataFrame:
    import pandas as pd

    path = downloaded_file(card, name)
    try:
        content = gzip.decompress(path.read_bytes())
        # Text stays as it stands: no guessing of numbers, dates or missing values.
        return pd.read_csv(io.BytesIO(content), dtype="str", na_filter=False)[needed]
    except (OSError, EOFError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} is not the table it should be: {error}.") from error
