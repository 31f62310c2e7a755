"""What imputation functions are given, and what they give back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing._consistency import TooManyBranches
from mlkit.editing._grammar import did_you_mean, write_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mlkit.editing._rules import EditRules

    Mask = NDArray[np.bool_]

Cells: TypeAlias = "pd.DataFrame | NDArray[np.bool_]"


@dataclass(frozen=True, repr=False, eq=False)
class Imputation:
    """What a function that imputes has done.

    Attributes
    ----------
    frame : DataFrame of shape (n, columns)
        The data with the values that were found; index, columns and all other values as given.
    changed : DataFrame of bool, of shape (n, columns)
        The cells that were given a value.
    left : DataFrame of bool, of shape (n, columns)
        The cells that were asked for and not given one.
    status : Series of category, of shape (n,)
        What became of each record; the function says which words it uses.
    donor : Series or None
        The identifier of the donor of each record, missing where there is none; None unless
        donors were used.
    """

    frame: pd.DataFrame
    changed: pd.DataFrame
    left: pd.DataFrame
    status: pd.Series[Any]
    donor: pd.Series[Any] | None = None

    def to_frame(self) -> pd.DataFrame:
        """Count what was done.

        Returns
        -------
        DataFrame
            One row per column of the data with cells that were asked for: `column`, and the
            numbers of cells `changed` and `left`.
        """
        counts = pd.DataFrame({"changed": self.changed.sum(), "left": self.left.sum()})
        counts = counts[counts.sum(axis=1) > 0]
        return counts.rename_axis("column").reset_index()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how many cells of each column were given a value, and how many were left.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        from mlkit.style import BLUE, GREY

        ax = axes(ax)
        counts = self.to_frame()[::-1]
        ax.barh(counts["column"], counts["changed"], color=BLUE, label="given a value")
        ax.barh(counts["column"], counts["left"], left=counts["changed"], color=GREY, label="left")
        ax.set_xlabel("cells")
        ax.legend()
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str]:
        records = self.status.value_counts(sort=False)
        written = ", ".join(f"{count:,} {name}" for name, count in records.items() if count)
        counts = self.to_frame()
        table = counts[["column"]].copy()
        for name in ("changed", "left"):
            table[name] = [f"{count:,}" for count in counts[name]]
        return f"{len(self.status):,} records: {written}", table, "Cells by column."

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def make_imputation(
    frame: pd.DataFrame,
    asked: Mask,
    values: dict[str, tuple[Mask, NDArray[Any]]],
    status: pd.Series[Any],
    donor: pd.Series[Any] | None = None,
) -> Imputation:
    """Put values into a copy of the data: by column, where they go, and what goes there.

    The values of a column are those of all records; only those that go somewhere are looked at.
    """
    places = {name: place for place, name in enumerate(frame.columns)}
    changed = np.zeros(frame.shape, dtype=bool)
    columns: dict[str, pd.Series[Any]] = {}
    for name, (where, new) in values.items():
        changed[:, places[name]] = where
        if where.any():
            columns[name] = put_values(frame[name], where, new[where])
    left = asked & ~changed
    return Imputation(
        frame=frame.assign(**columns) if columns else frame.copy(),
        changed=pd.DataFrame(changed, frame.index, frame.columns),
        left=pd.DataFrame(left, frame.index, frame.columns),
        status=status,
        donor=donor,
    )


def put_values(series: pd.Series[Any], where: Mask, new: NDArray[Any]) -> pd.Series[Any]:
    """Put new values into a column, which keeps its type if that can hold them."""
    kind: Any = series.dtype
    if pd.api.types.is_float_dtype(kind) or pd.api.types.is_integer_dtype(kind):
        numbers = new.astype(np.float64)
        fractions = pd.api.types.is_integer_dtype(kind) and (numbers % 1).any()
        found = series.astype(np.float64) if fractions else series.copy()
        found.iloc[np.flatnonzero(where)] = numbers  # type: ignore[call-overload]
        return found
    if isinstance(kind, pd.CategoricalDtype):
        named = kind.categories.union(pd.Index(new).unique(), sort=False)
        kind = pd.CategoricalDtype(named, kind.ordered)
    cells = series.astype(object).to_numpy(copy=True)
    cells[where] = new
    filled: pd.Series[Any] = pd.Series(cells, series.index, dtype=kind, name=series.name)
    return filled


def as_status(words: tuple[str, ...], codes: NDArray[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    """Say in words what became of each record."""
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(words)), index=index, name="status")


# --- reading what is given -------------------------------------------------------------------


def read_frame(frame: object) -> pd.DataFrame:
    """Refuse what is not a table of records with names of their own."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame.")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(
            f"The data have more than one column named {write_name(str(twice[0]))}. Rename them."
        )
    same = frame.index[frame.index.duplicated()]
    if len(same):
        raise ValueError(
            f"The index has {len(same):,} identifiers that came before, the first of them "
            f"{same[0]!r}. Give each record one of its own, for example by reset_index()."
        )
    if not len(frame):
        raise ValueError("The data have no records. Give at least one.")
    return frame


def read_cells(cells: object, frame: pd.DataFrame, name: str) -> Mask:
    """Read which cells are meant, as an array of the shape of the data."""
    if isinstance(cells, np.ndarray):
        if cells.shape != frame.shape:
            raise ValueError(
                f"{name} has the shape {cells.shape}, the data {frame.shape}. Give one truth value "
                "per cell, or a DataFrame of truth values with the columns that are meant."
            )
        cells = pd.DataFrame(cells, frame.index, frame.columns)
    if not isinstance(cells, pd.DataFrame):
        raise TypeError(
            f"{name} is a {type(cells).__name__}; give a DataFrame of truth values, such as "
            "frame.isna() or the fields of a localisation."
        )
    twice = cells.columns[cells.columns.duplicated()]
    if len(twice):
        raise ValueError(f"{name} has more than one column {write_name(str(twice[0]))}.")
    unknown = [str(column) for column in cells.columns if column not in frame.columns]
    if unknown:
        hint = did_you_mean(unknown[0], map(str, frame.columns))
        raise ValueError(
            f"{name} has the column {write_name(unknown[0])}, which the data do not have.{hint}"
        )
    if not cells.index.equals(frame.index):
        raise ValueError(
            f"{name} is about other records than the data, or in another order. Give both the "
            "same index."
        )
    asked = np.zeros(frame.shape, dtype=bool)
    for column in cells.columns:
        if not pd.api.types.is_bool_dtype(cells[column].dtype) or cells[column].isna().any():
            raise TypeError(
                f"The column {write_name(str(column))} of {name} does not hold truth values; "
                "allowed are True, for a cell that is meant, and False."
            )
        asked[:, frame.columns.get_loc(column)] = cells[column].to_numpy(dtype=bool)
    return asked


def read_hard_rules(rules: EditRules) -> EditRules:
    """Give the hard rules; refuse none, and rules that no record can satisfy."""
    hard = rules.hard
    if not len(hard):
        raise ValueError("There are no hard rules. Soft rules alone settle nothing.")
    try:
        found = hard.check_consistency()
    except TooManyBranches:
        return hard  # not known: then every record is tried
    if not found.consistent:
        raise ValueError(f"The hard rules contradict each other. {found}")
    return hard


def refuse_unknown(names: Iterable[str], frame: pd.DataFrame, what: str) -> None:
    """Refuse names of columns that the data do not have."""
    for name in names:
        if name not in frame.columns:
            hint = did_you_mean(str(name), map(str, frame.columns))
            raise ValueError(f"{what} names the column {name!r}, which the data lack.{hint}")


def read_numbers(frame: pd.DataFrame, names: Iterable[str], what: str) -> NDArray[np.float64]:
    """Read columns of numbers, NaN where missing, of shape (n, names)."""
    names = list(names)
    refuse_unknown(names, frame, what)
    values = np.empty((len(frame), len(names)))
    for place, name in enumerate(names):
        kind = frame[name].dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
            raise TypeError(
                f"The column {write_name(name)} has the type {kind}; {what} needs numbers. Turn "
                "text into numbers first, with pandas.to_numeric."
            )
        values[:, place] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        infinite = np.isinf(values[:, place])
        if infinite.any():
            first = frame.index[int(np.flatnonzero(infinite)[0])]
            raise ValueError(
                f"The column {write_name(name)} has {int(infinite.sum()):,} infinite values, the "
                f"first in record {first!r}. Correct them, or make them missing."
            )
        if np.isnan(values[:, place]).all():
            raise ValueError(f"The column {write_name(name)} has no value in any record.")
    return values


def read_names(names: object, what: str) -> list[str]:
    """Read a list of column names: at least one, each once."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{what} is {names!r}; give a list of columns.")
    found = list(names)
    if not found:
        raise ValueError(f"{what} is empty. Name at least one column.")
    if len(set(found)) < len(found):
        raise ValueError(f"{what} names a column twice: {found}.")
    return found
