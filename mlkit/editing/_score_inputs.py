"""Read what outlier, score and macro functions are given, and refuse what they cannot judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit.editing._check import _read_numbers
from mlkit.editing._rules import Variable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]
    Mask: TypeAlias = NDArray[np.bool_]
    Values: TypeAlias = ArrayLike | pd.Series[Any]
    Labels: TypeAlias = ArrayLike | pd.Series[Any] | pd.DataFrame


@dataclass(frozen=True, eq=False)
class Groups:
    """The class of each record, as a place among the different classes."""

    places: Places
    labels: pd.Index[Any]  # of the different classes, sorted

    def __len__(self) -> int:
        return len(self.labels)


def read_values(values: Values, name: str) -> pd.Series[Any]:
    """Read a column of numbers, some of which may be missing."""
    series = values if isinstance(values, pd.Series) else _as_series(values, name)
    if series.name is None:
        series = series.rename(name)
    check_index(series.index, name)
    return pd.Series(read_numbers(series), index=series.index, name=series.name)


def read_numbers(series: pd.Series[Any]) -> Floats:
    """Read the numbers of a column: finite or missing, and not all missing."""
    numbers, missing = _read_numbers(series, Variable(str(series.name), "number"))
    if missing.all():
        raise ValueError(
            f"All {len(series):,} values of {series.name} are missing, so that nothing can be "
            "compared. Check the column."
        )
    return numbers


def check_index(index: pd.Index[Any], name: str) -> None:
    """Refuse no records, and two records of one identifier."""
    if not len(index):
        raise ValueError(f"{name} has no records. Give at least one.")
    if not index.is_unique:
        twice = index[index.duplicated()]
        raise ValueError(
            f"{name} has {len(twice):,} record identifiers that came before, such as "
            f"{twice[0]!r}. Give each record an identifier (index) of its own."
        )


def check_same_records(first: pd.Index[Any], second: pd.Index[Any], names: str) -> None:
    """Refuse columns that are not about the same records in the same order."""
    if len(first) != len(second):
        raise ValueError(
            f"{names} have {len(first):,} and {len(second):,} records. Give both for the same "
            "records, in the same order."
        )
    if not first.equals(second):
        raise ValueError(
            f"{names} have as many records but other identifiers (index), or another order. Align "
            "them first, as with b.reindex(a.index)."
        )


def read_groups(by: Labels | None, index: pd.Index[Any]) -> Groups:
    """Read the class of each record; a data frame crosses its columns."""
    if by is None:
        return Groups(np.zeros(len(index), dtype=np.intp), pd.Index(["all"]))
    table = by if isinstance(by, pd.DataFrame) else _as_series(by, "by").to_frame()
    if isinstance(by, (pd.Series, pd.DataFrame)):
        check_same_records(index, by.index, "The values and by")
    elif len(table) != len(index):
        raise ValueError(
            f"by has {len(table):,} labels for {len(index):,} records. Give one label per record."
        )
    if not len(table.columns):
        raise ValueError("by has no columns. Give at least one, or leave by out.")
    places, labels = cross(table, "by")
    return Groups(places, labels)


def cross(table: pd.DataFrame, name: str) -> tuple[Places, pd.Index[Any]]:
    """Give each combination of labels a number, in order; several columns make tuples."""
    columns = [table.iloc[:, place] for place in range(table.shape[1])]
    for column in columns:
        if column.isna().any():
            raise ValueError(
                f"{name}: {int(column.isna().sum()):,} of {len(column):,} records have no "
                f"{column.name}. Give each a label, such as 'unknown', or leave the records out."
            )
    numbers, labels = _factorise(columns[0])
    if len(columns) == 1:
        return numbers, labels
    found = [(numbers, labels)] + [_factorise(column) for column in columns[1:]]
    key = np.ravel_multi_index([n for n, _ in found], tuple(len(each) for _, each in found))
    places, different = pd.factorize(key, sort=True)
    back = np.unravel_index(different, tuple(len(each) for _, each in found))
    arrays = [each.take(at) for (_, each), at in zip(found, back, strict=True)]
    return places.astype(np.intp), pd.MultiIndex.from_arrays(arrays).to_flat_index()


def _factorise(column: pd.Series[Any]) -> tuple[Places, pd.Index[Any]]:
    try:
        numbers, labels = pd.factorize(column, sort=True)
    except TypeError:  # labels of several types have no order
        numbers, labels = pd.factorize(column)
    return numbers.astype(np.intp), pd.Index(labels)


def _as_series(values: Any, name: str) -> pd.Series[Any]:
    if isinstance(values, pd.Series):
        return values
    if isinstance(values, pd.DataFrame):
        raise TypeError(f"{name} is a data frame; give one column of it.")
    if np.ndim(values) != 1:
        raise ValueError(
            f"{name} has the shape {np.shape(values)}; allowed is one value per record, (n,)."
        )
    series: pd.Series[Any] = pd.Series(values, name=name)
    return series


def require_positive(**numbers: float) -> None:
    """Refuse parameters that are no numbers above 0."""
    for name, value in numbers.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value}; allowed is a number above 0.")


def as_label(label: Any) -> str:
    """Write a class, in which columns may be crossed."""
    return " / ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def as_amount(value: float, sign: str = "") -> str:
    """Write an amount: whole from a thousand up, with four digits below."""
    if np.isnan(value):
        return "–"
    return f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}.4g}"
