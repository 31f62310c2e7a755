"""Make parts add up to their total, each moving in proportion to its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from mlkit.editing._imputation import (
    Cells,
    Imputation,
    as_status,
    make_imputation,
    read_cells,
    read_frame,
    read_names,
    read_numbers,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

STATUSES = (
    "held",
    "prorated",
    "missing",
    "fixed",
    "division by 0",
    "total not rounded",
    "out of bounds",
)
_HELD, _PRORATED, _MISSING, _FIXED, _ZERO, _UNROUNDED, _OUTSIDE = range(7)
_EPSILON = float(np.finfo(np.float64).eps)


def prorate(
    frame: pd.DataFrame,
    parts: Sequence[str],
    total: str | float,
    *,
    impute: Cells | None = None,
    weights: Mapping[str, float] | None = None,
    bounds: tuple[float, float] | None = None,
    method: Literal["absolute", "basic"] = "absolute",
    decimals: int | None = None,
) -> Imputation:
    """Make parts add up to their total, each moving in proportion to its size.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)
        The data.
    parts : list of str
        The columns that are to add up.
    total : str or float
        The column to which they add up, or one number for all records. It never moves.
    impute : DataFrame of bool, or array of bool of the shape of the data, optional
        The cells that may move; all others stay. By default all parts may move.
    weights : mapping of str to float, optional
        How firm a part is, above 0: one with twice the weight moves half as much. 1 for parts
        that are not named.
    bounds : (float, float), optional
        The smallest and largest value that a part may move to; infinite where there is none.
    method : {"absolute", "basic"}, default="absolute"
        "absolute" moves x to x + k abs(x) / w: all parts in the same direction. "basic" moves x
        to x + k x / w, as the method BASIC of Banff does, which moves negative parts the other
        way; see below.
    decimals : int, optional
        Round moved values to so many decimals, such that they still add up.

    Returns
    -------
    Imputation
        ``.status`` is "held" where the parts add up already; "prorated"; "missing" where a part
        or the total has no value; "fixed" where nothing may move; "division by 0" where there
        is nothing to be in proportion to; "total not rounded" where the total less the fixed
        parts has more decimals than asked for; "out of bounds" where a part would leave its
        bounds. All but the prorated records are as they were.

    Raises
    ------
    TypeError, ValueError
        If columns are unknown, named twice or hold text or infinite numbers; identifiers of
        records come twice; a weight is not above 0; bounds are not in order; the method is
        unknown; or `impute` is about other records or does not hold truth values.

    Notes
    -----
    With the parts x that may move, their weights w, and T, the total less the parts that may
    not::

        absolute:  x + k |x| / w,  k = (T - sum x) / sum(|x| / w)
        basic:     x + k  x  / w,  k = (T - sum x) / sum( x  / w)

    A part that is 0 stays 0. A part changes its sign if k pushes it through 0; `bounds` refuse
    that. "basic" fails where positive and negative parts nearly cancel, and may turn -25 into
    5.2 to lower a sum: so it is there to compare with Banff, which calls it PRORATE BASIC.

    Rounding is that of running sums: each value is the difference of two rounded running sums,
    in the order of the parts, so that it is within one unit of the last decimal, and the sum is
    exact.

    To keep several rules at once, see :func:`adjust_to_rules`, which moves the parts of a single
    balance in the same way.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"a": [10., 30.], "b": [30., 0.], "total": [44., 30.]})
    >>> done = prorate(frame, ["a", "b"], "total")
    >>> done.frame
          a     b  total
    0  11.0  33.0   44.0
    1  30.0   0.0   30.0
    >>> done.status.tolist()
    ['prorated', 'held']
    """
    frame = read_frame(frame)
    parts = read_names(parts, "parts")
    low, high = _read_bounds(bounds)
    if method not in ("absolute", "basic"):
        raise ValueError(f"method={method!r}; allowed are 'absolute' and 'basic'.")
    if decimals is not None and not isinstance(decimals, (int, np.integer)):
        raise TypeError(f"decimals={decimals!r}; give a whole number.")
    x = read_numbers(frame, parts, "parts")
    target = _read_total(frame, parts, total)
    w = _read_weights(weights, parts)
    asked = np.zeros(frame.shape, dtype=bool)
    places = frame.columns.get_indexer(pd.Index(parts))
    if impute is None:
        asked[:, places] = True
    else:
        asked[:, places] = read_cells(impute, frame, "impute")[:, places]
    moves = asked[:, places]

    status = np.full(len(frame), _PRORATED)
    size = np.where(moves, np.abs(x) if method == "absolute" else x, 0.0) / w
    gap: Floats = target - x.sum(axis=1)
    scale = np.abs(x).sum(axis=1) + np.abs(target)
    base = size.sum(axis=1)
    zero = np.abs(base) <= 1e-12 * np.abs(size).sum(axis=1)
    new: Floats = x + np.divide(gap, base, out=np.zeros_like(gap), where=~zero)[:, None] * size
    status[((moves & (new < low)) | (moves & (new > high))).any(axis=1)] = _OUTSIDE
    if decimals is not None:
        rest = target - np.where(moves, 0.0, x).sum(axis=1)
        new[moves] = _round_running(new, moves, decimals)[moves]
        status[((moves & (new < low)) | (moves & (new > high))).any(axis=1)] = _OUTSIDE
        uneven = np.abs(rest - np.round(rest, decimals)) > 1e-12 * scale
        status[uneven] = _UNROUNDED
    status[zero] = _ZERO
    status[~moves.any(axis=1)] = _FIXED
    status[np.abs(gap) <= 2 * (len(parts) + 2) * _EPSILON * scale] = _HELD
    status[np.isnan(gap)] = _MISSING

    done = (status == _PRORATED)[:, None] & moves
    values: dict[str, tuple[Mask, NDArray[Any]]] = {
        name: (done[:, place] & (new[:, place] != x[:, place]), new[:, place])
        for place, name in enumerate(parts)
    }
    result = make_imputation(frame, asked, values, as_status(STATUSES, status, frame.index))
    return replace(result, left=result.left & (status >= _MISSING)[:, None])


def _round_running(x: Floats, moves: Mask, decimals: int) -> Floats:
    """Round such that the sum is the rounded sum, and each within a unit of its value."""
    sums = np.round(np.where(moves, x, 0.0).cumsum(axis=1), decimals)
    return np.asarray(np.diff(sums, axis=1, prepend=0.0).round(decimals) + 0.0, dtype=np.float64)


def _read_total(frame: pd.DataFrame, parts: list[str], total: object) -> Floats:
    if not isinstance(total, str) and np.isscalar(total) and total not in frame.columns:
        number = float(total)  # type: ignore[arg-type]
        if not np.isfinite(number):
            raise ValueError(f"total={total!r}; give a column or a finite number.")
        return np.full(len(frame), number)
    if total in parts:
        raise ValueError(f"total={total!r} is one of the parts.")
    return read_numbers(frame, [str(total)], "total")[:, 0]


def _read_weights(weights: Mapping[str, float] | None, parts: list[str]) -> Floats:
    given = dict(weights or {})
    unknown = [name for name in given if name not in parts]
    if unknown:
        raise ValueError(f"weights names {unknown[0]!r}, which is none of the parts {parts}.")
    w = np.array([given.get(name, 1.0) for name in parts], dtype=np.float64)
    if not (np.isfinite(w) & (w > 0)).all():
        raise ValueError(
            f"The weights of the parts are {w.tolist()}; allowed are finite numbers above 0. To "
            "keep a part as it is, leave it out of `impute`."
        )
    return w


def _read_bounds(bounds: tuple[float, float] | None) -> tuple[float, float]:
    if bounds is None:
        return -np.inf, np.inf
    low, high = map(float, bounds)
    if not low <= high:
        raise ValueError(f"bounds={bounds!r}; the first is to be no larger than the second.")
    return low, high
