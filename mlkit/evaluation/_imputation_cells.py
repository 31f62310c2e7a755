"""Cells of two data frames, the true one and another, and which of them to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from mlkit.estimate import AnyDesign, Design, Estimate, mean, proportion, ratio
from mlkit.evaluation._estimates import undefined
from mlkit.evaluation._views import with_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]

Cells: TypeAlias = "pd.DataFrame | pd.Series[Any] | ArrayLike"

NO_RECORDS = "no records to judge"


@dataclass(frozen=True, eq=False)
class Variable:
    """One variable on both sides.

    Numbers are as given, missing ones NaN. Categories are places in `categories`, missing ones
    NaN too, so that both kinds compare alike.
    """

    name: Any
    numeric: bool
    n_ordered: int  # categories with an order, which come first; 0 if there are none
    categories: tuple[Any, ...]
    true: Floats
    other: Floats
    chosen: Mask  # flagged, or imputed


def read_variables(
    truth: Cells, other: Cells, chosen: Cells, names: tuple[str, str, str]
) -> tuple[list[Variable], pd.Index[Any]]:
    """Read the variables that `chosen` names, with their records.

    `names` are what the three are called in messages.
    """
    true_frame, other_frame = as_frame(truth, names[0]), as_frame(other, names[1])
    mask = _as_mask(chosen, names[2])
    if np.ndim(truth) == np.ndim(other) == np.ndim(chosen) == 1:
        # Of one variable each, whatever they are called; arrays have no record identifiers.
        other_frame, mask = (
            one.set_axis(true_frame.columns, axis=1) for one in (other_frame, mask)
        )
        if not all(isinstance(one, pd.Series) for one in (truth, other, chosen)):
            _check_lengths(names, true_frame, other_frame, mask)
            other_frame = other_frame.set_axis(true_frame.index)
            mask = mask.set_axis(true_frame.index)
    for name, frame in ((names[1], other_frame), (names[2], mask)):
        _check_same_records(true_frame, frame, names[0], name)
    variables = []
    for column in mask.columns:
        for name, frame in ((names[0], true_frame), (names[1], other_frame)):
            if column not in frame.columns:
                raise ValueError(
                    f"{names[2]} has the column {column!r}, but {name} has not; its columns are "
                    f"{', '.join(map(str, frame.columns[:20]))}. Give {names[2]} the columns to "
                    "judge."
                )
        chosen_here = mask[column].to_numpy(dtype=bool)
        variables.append(_variable(true_frame[column], other_frame[column], chosen_here, names))
    return variables, true_frame.index


def as_frame(values: Cells, name: str) -> pd.DataFrame:
    """Read a data frame, or one variable, without repeated names or records."""
    if not isinstance(values, pd.DataFrame):
        if not isinstance(values, pd.Series):
            if np.ndim(values) != 1:
                raise TypeError(
                    f"{name} is a {type(values).__name__} of shape {np.shape(values)}; give a "
                    "DataFrame with a row per record, or one value per record, shape (n,)."
                )
            values = pd.Series(values)
        values = values.to_frame("value" if values.name is None else values.name)
    if values.empty:
        raise ValueError(
            f"{name} has the shape {values.shape}; give at least one record and one column."
        )
    if not values.columns.is_unique:
        twice = values.columns[values.columns.duplicated()].tolist()[0]
        raise ValueError(f"{name} has more than one column {twice!r}. Rename them.")
    if not values.index.is_unique:
        twice = values.index[values.index.duplicated()].tolist()[0]
        raise ValueError(
            f"{name} has the record {twice!r} more than once. Give every record an identifier of "
            "its own: reset_index(drop=True) numbers them."
        )
    return values


def _as_mask(values: Cells, name: str) -> pd.DataFrame:
    frame = as_frame(values, name)
    wrong = [
        column
        for column in frame.columns
        if not pd.api.types.is_bool_dtype(frame[column].dtype) or frame[column].isna().any()
    ]
    if wrong:
        raise TypeError(
            f"{name}, column {wrong[0]!r}, holds {frame[wrong[0]].dtype} values; give True or "
            "False for every cell."
        )
    return frame


def _check_lengths(names: tuple[str, str, str], *frames: pd.DataFrame) -> None:
    if len({len(frame) for frame in frames}) > 1:
        given = ", ".join(f"{n} {len(f):,}" for n, f in zip(names, frames, strict=True))
        raise ValueError(
            f"The lengths differ: {given}. Give one entry per record, in the same order."
        )


def _check_same_records(a: pd.DataFrame, b: pd.DataFrame, name_a: str, name_b: str) -> None:
    if len(a) != len(b) or not (a.index == b.index).all():
        raise ValueError(
            f"{name_a} has {len(a):,} records and {name_b} {len(b):,}, and they are not the same "
            "ones in the same order. Bring both to one index, with reindex or sort_index."
        )


def _variable(
    truth: pd.Series[Any], other: pd.Series[Any], chosen: Mask, names: tuple[str, str, str]
) -> Variable:
    sides = truth, other
    kinds = [_kind(side, name) for side, name in zip(sides, names, strict=False)]
    if len(set(kinds) - {"missing"}) > 1:
        raise TypeError(
            f"The column {truth.name!r} holds {kinds[0]} in {names[0]} and {kinds[1]} in "
            f"{names[1]}. Give both alike."
        )
    if "numbers" in kinds:
        true, found = _numbers(truth, names[0]), _numbers(other, names[1])
        return Variable(truth.name, True, 0, (), true, found, chosen)
    ordered = isinstance(truth.dtype, pd.CategoricalDtype) and bool(truth.cat.ordered)
    values = [side.astype(object).where(side.notna() & (side != ""), None) for side in sides]
    met = pd.unique(pd.concat(values).dropna())
    known = list(truth.cat.categories) if ordered else []
    different = pd.Index([*known, *(one for one in met if one not in known)], dtype=object)
    places = [pd.Categorical(one, categories=different).codes.astype(np.float64) for one in values]
    for place in places:
        place[place < 0] = np.nan
    return Variable(truth.name, False, len(known), tuple(different), places[0], places[1], chosen)


def _kind(side: pd.Series[Any], name: str) -> str:
    """Say what a column holds: numbers, texts, truth values, or nothing at all."""
    if side.isna().all():
        return "missing"
    kind = pd.api.types.infer_dtype(side, skipna=True)
    if kind == "categorical":
        kind = pd.api.types.infer_dtype(side.astype(object), skipna=True)
    if isinstance(side.dtype, pd.CategoricalDtype):
        return {"string": "texts", "boolean": "truth values"}.get(kind, "categories")
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "numbers"
    if kind in ("string", "boolean"):
        return {"string": "texts", "boolean": "truth values"}[kind]
    raise TypeError(
        f"The column {side.name!r} of {name} holds {kind} values; give numbers, texts or truth "
        "values."
    )


def _numbers(side: pd.Series[Any], name: str) -> Floats:
    numbers = pd.to_numeric(side).to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        raise ValueError(
            f"The column {side.name!r} of {name} has {int(np.isinf(numbers).sum()):,} infinite "
            "values. Correct them, or make them missing."
        )
    return numbers


def refuse_missing(variable: Variable, side: Floats, where: Mask, name: str, remedy: str) -> None:
    """Refuse a side that is missing where it is needed."""
    absent = int((np.isnan(side) & where).sum())
    if absent:
        raise ValueError(
            f"The column {variable.name!r} of {name} has {absent:,} missing values among the "
            f"{int(where.sum()):,} cells that are judged. {remedy}"
        )


def weights_of(design: AnyDesign | None, n: int) -> Floats:
    """Give the weights of a design; 1 without one."""
    return np.ones(n) if design is None else np.asarray(design.weights)


def share(
    success: Mask, domain: Mask, design: AnyDesign | None, confidence: float, nobody: str
) -> Estimate:
    """Estimate a share of a domain, which may be empty."""
    if not (weights_of(design, len(domain)) * domain).any():
        return undefined(nobody, confidence)
    return proportion(success, design=design, domain=domain, confidence=confidence)


def mean_in(y: Floats, domain: Mask, design: AnyDesign | None, confidence: float) -> Estimate:
    """Estimate a mean in a domain, which may be empty or the only record there is."""
    weights = weights_of(design, len(domain)) * domain
    if not weights.any():
        return undefined(NO_RECORDS, confidence)
    if len(domain) == 1:
        return undefined("one record shows no variation", confidence, value=float(y[0]))
    return mean(y, design=design, domain=domain, confidence=confidence)


def ratio_in(
    above: Floats, below: Floats, domain: Mask, design: AnyDesign | None, confidence: float
) -> Estimate:
    """Estimate a ratio of totals in a domain, where there may be none."""
    weights = weights_of(design, len(domain)) * domain
    if not weights.any():
        return undefined(NO_RECORDS, confidence)
    total = float(weights @ np.where(domain, below, 0.0))
    if total == 0:
        return undefined("the denominator is 0", confidence)
    if len(domain) == 1:
        value = float(weights @ above) / total
        return undefined("one record shows no variation", confidence, value=value)
    return ratio(above, below, design=design, domain=domain, confidence=confidence)


def shown(found: Estimate) -> str:
    """Show a share or score, or a figure in units of the data, with its interval."""
    ends = [end for end in (found.value, *found.interval) if np.isfinite(end)]
    if max(map(abs, ends), default=0) < 1000:
        return with_interval(found)
    value, *interval = (f"{end:,.0f}" for end in ends)
    return f"{value} ({' to '.join(interval)})" if interval else value


def is_clustered(design: AnyDesign | None) -> bool:
    """Say whether records were drawn other than one by one from one list."""
    if not isinstance(design, Design):
        return design is not None
    return design.n_psus < len(design) or design.n_strata > 1


def as_row(found: Estimate) -> dict[str, Any]:
    """Write a figure as the columns of a report."""
    names = ("value", "standard_error", "low", "high", "df", "method", "note")
    return {name: getattr(found, name) for name in names}
