"""A user's own coded records, read as strictly as they must be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_coded_csv"]

_SEPARATORS = ",;\t"


def read_coded_csv(file: str | Path, *, fewest: int = 1_000) -> pd.DataFrame:
    r"""Read your own file of texts and their codes, so that a lesson can run on it.

    Parameters
    ----------
    file : str or Path
        A CSV file in UTF-8, separated by commas, semicolons or tabulators, with names in its
        first line. It has two columns, first the text and then its code; or more, of which one
        is called "text" and one "code". Blank lines are left out.
    fewest : int, default=1000
        How many rows it must have for what is planned.

    Returns
    -------
    DataFrame of shape (n, 2)
        The columns `text` and `code`, all text: "011" stays "011", and "NA" is an answer. Blanks
        around values are gone.

    Raises
    ------
    ValueError
        If there is no such file, it is not UTF-8 or no table, its columns are not those above, a
        text or a code is empty, there are too few rows, or the codes do not look like codes:
        fewer than two, or more than half as many as rows.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder) / "answers.csv"
    ...     rows = "nurse;011\n" * 3 + "farm manager;121\n" * 3
    ...     _ = place.write_text("What is your job?;SOC\n" + rows, encoding="utf-8")
    ...     read_coded_csv(place, fewest=6)["code"].unique().tolist()
    ['011', '121']
    """
    path = Path(file).expanduser()
    if not file or not path.is_file():
        raise ValueError(
            f"The file is {str(file)!r}, and there is no such file. Give the full path of a CSV "
            "file with a text and its code in each row."
        )
    table = _read(path)
    table = _choose_columns(table, path.name)
    table = table.apply(lambda column: column.str.strip())
    table = table[(table["text"] != "") | (table["code"] != "")]  # blank lines go
    for column in table:
        empty = table.index[table[column] == ""]
        if len(empty):
            raise ValueError(
                f"{path.name} has {len(empty):,} row(s) without a {column}, the first of them row "
                f"{empty[0] + 2}. Complete these rows, or leave them out."
            )
    _check(table, path.name, fewest)
    numbered: pd.DataFrame = table.reset_index(drop=True)
    return numbered


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        content = path.read_text(encoding="utf-8-sig")  # Excel puts a mark in front
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8. In Excel, save it as 'CSV UTF-8'.") from None
    separator = max(_SEPARATORS, key=content.partition("\n")[0].count)
    try:
        table: pd.DataFrame = pd.read_csv(
            io.StringIO(content),
            sep=separator,
            dtype="str",
            na_filter=False,
            skip_blank_lines=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as fault:
        raise ValueError(
            f"{path.name} is no table: {fault}. A text that holds {separator!r} must stand in "
            "quotes."
        ) from None
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path.name} has rows with more values than its first line.")
    return table.fillna("")


def _choose_columns(table: pd.DataFrame, name: str) -> pd.DataFrame:
    names = {str(column).strip().lower(): column for column in table.columns}
    if "text" in names and "code" in names:
        table = table[[names["text"], names["code"]]]
    if table.shape[1] != 2:
        raise ValueError(
            f"{name} has {table.shape[1]} column(s): {', '.join(names)}. Expected are two, first a "
            "text and then its code; or more, two of them called 'text' and 'code'."
        )
    return table.set_axis(["text", "code"], axis=1)


def _check(table: pd.DataFrame, name: str, fewest: int) -> None:
    if len(table) < fewest:
        raise ValueError(f"{name} has {len(table):,} rows. At least {fewest:,} are needed.")
    codes = table["code"].unique()
    if len(codes) == 1:
        raise ValueError(
            f"{name} has only the code {codes[0]!r} in {len(table):,} rows. A model needs two or "
            "more codes to tell apart."
        )
    if len(codes) > len(table) / 2:
        raise ValueError(
            f"{name} has {len(codes):,} different codes in {len(table):,} rows. Is "
            "the text in the first column, and the code in the second?"
        )
