"""The coding index of the Standard Occupational Classification 2010."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

from mlkit.datasets._bunch import Bunch
from mlkit.datasets._cards import Card, dataset_card, read_data_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_soc_index"]


def load_soc_index() -> Bunch:
    """Load the ONS coding index of SOC 2010: job titles and their codes. Real, bundled.

    The card (``print(soc.card)``) says what is known to be wrong or surprising. Above all,
    9,464 of the 28,521 entries share their title with an entry of another code; only the
    qualifiers tell them apart.

    Returns
    -------
    Bunch
        frame : DataFrame of shape (28521, 4)
            Columns `title`, `industry`, `additional` and `code`, all text. A title is
            inverted, "Engineer, building". `industry` and `additional` are qualifiers in
            brackets, and the empty text where there is none: nothing is missing. `code` is
            the unit group, four digits.
        classification : Classification
            SOC 2010, with the levels "major", "submajor", "minor" and "unit".
        card : Card
            What the data are, in full. `DESCR` is the same as text; `name`, `kind`,
            `licence` and `citation` are taken from it.

    Raises
    ------
    DatasetError
        If a bundled file is missing or damaged.

    References
    ----------
    Office for National Statistics: SOC 2010 Volume 2: the structure and coding index.

    Examples
    --------
    >>> soc = load_soc_index()
    >>> soc.frame.shape
    (28521, 4)
    >>> soc.classification.title("2121")
    'Civil engineers'
    >>> soc.classification.at_level("2121", "major")
    '2'
    """
    from mlkit.classifications import Classification

    card = dataset_card("soc_index")
    index = _read_csv(card, "ons_soc2010_index.csv.gz")
    structure = _read_csv(card, "ons_soc2010_structure.csv.gz")
    return Bunch(
        name=card.name,
        kind=card.kind,
        frame=index.rename(columns={"soc2010": "code"})[list(card.columns)],
        classification=Classification.from_levels(
            structure, levels=["major", "submajor", "minor", "unit"], title="title", name="SOC 2010"
        ),
        card=card,
        DESCR=str(card),
        licence=card.licence,
        citation=card.citation,
    )


def _read_csv(card: Card, name: str) -> pd.DataFrame:
    import pandas as pd

    content = gzip.decompress(read_data_file(card, name))
    # Text stays as it stands: no guessing of numbers, dates or missing values.
    return pd.read_csv(io.BytesIO(content), dtype="str", na_filter=False)
