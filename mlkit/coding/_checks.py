"""What every function here demands of its input. Refused before any work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlkit.estimate import AnyDesign

# Some libraries, fastText among them, return 1.00001 for certainty.
_ROUNDING = 1e-4


def as_confidences(
    scores: Any, *, name: str = "scores", empty: bool = False
) -> NDArray[np.float64]:
    """Read the top-1 confidences off scores of shape (n,), or (n, k) with the best first."""
    values = _numbers(scores, name)
    if values.ndim == 2 and values.shape[1]:
        if (values[:, 1:] > values[:, :1]).any():
            raise ValueError(
                f"{name}: the first column is not the largest in every row. Sort each record's "
                "codes and scores, the best first."
            )
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"{name} have the shape {values.shape}; allowed are (n,), and (n, k) with the best "
            "first."
        )
    if not len(values) and not empty:
        raise ValueError(f"{name} are empty. Give at least one record.")
    if absent := int(np.isnan(values).sum()):
        raise ValueError(
            f"{name}: {absent:,} of {len(values):,} are missing (NaN). A record without a "
            "confidence cannot be coded automatically: give it the confidence 0."
        )
    outside = (values < -_ROUNDING) | (values > 1 + _ROUNDING)
    if outside.any():
        raise ValueError(
            f"{name}: {int(outside.sum()):,} of {len(values):,} lie outside [0, 1], such as "
            f"{values[outside][0]:g}. Turn margins of a model into confidences first, for example "
            "with a softmax."
        )
    return np.clip(values, 0.0, 1.0)


def as_correct(correct: Any, records: int) -> NDArray[np.bool_]:
    """Read whether the first code of each record is right."""
    column = pd.Series(correct)
    if len(column) != records:
        raise ValueError(
            f"{records:,} scores, but {len(column):,} values say whether a code is correct. Give "
            "one of each per record."
        )
    if absent := int(column.isna().sum()):
        raise ValueError(
            f"correct: {absent:,} of {records:,} are missing. Leave out the records that nobody "
            "has checked."
        )
    different = column.unique()
    if not all(isinstance(value, (bool, np.bool_, int, float, np.number)) for value in different):
        raise TypeError(
            f"correct holds {different[0]!r}; allowed are True and False, or 1 and 0. Give "
            "y_true == y_pred."
        )
    if not set(different.tolist()) <= {0, 1}:
        raise ValueError(
            "correct holds values other than True and False, or 1 and 0. Give y_true == y_pred."
        )
    return column.to_numpy(dtype=bool)


def as_weights(sample_weight: Any, records: int) -> NDArray[np.float64] | None:
    """Read weights; None stands for equal ones."""
    if sample_weight is None:
        return None
    weights = _numbers(sample_weight, "sample_weight")
    if weights.shape != (records,):
        raise ValueError(
            f"{records:,} scores, but sample_weight has the shape {weights.shape}. Give one "
            "weight per record."
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            "sample_weight holds values that are negative, missing or infinite; allowed are "
            "numbers from 0."
        )
    if not weights.any():
        raise ValueError("sample_weight is 0 for every record. Give at least one positive weight.")
    return weights


def as_design(sample_weight: Any, design: AnyDesign | None, records: int) -> AnyDesign | None:
    """Make one design of weights or a design; None stands for a simple random sample."""
    if design is not None:
        if sample_weight is not None:
            raise ValueError(
                "Both sample_weight and design are given. Put the weights into the design."
            )
        if len(design.weights) != records:
            raise ValueError(
                f"{records:,} scores, but the design describes {len(design.weights):,} units. "
                "Give both for the same records, in the same order."
            )
        return design
    weights = as_weights(sample_weight, records)
    if weights is None:
        return None
    from mlkit.estimate import Design

    return Design(weights=weights)


def as_codes(codes: Any, records: int, *, name: str = "codes") -> NDArray[np.object_]:
    """Read one predicted code per record as text; whole numbers stand for their digits."""
    column = pd.Series(codes)
    if len(column) != records:
        raise ValueError(f"{records:,} scores, but {len(column):,} {name}. Give one per record.")
    if absent := int(column.isna().sum()):
        raise ValueError(
            f"{name}: {absent:,} of {records:,} are missing. Leave out records without a "
            "predicted code: they go to a clerk."
        )
    number, different = pd.factorize(column)
    texts = np.array([as_code(code) for code in different], dtype=object)
    return texts[number] if records else np.empty(0, dtype=object)


def as_code(code: Any) -> str:
    """Read one code as text."""
    if isinstance(code, str):
        return code
    if isinstance(code, (int, np.integer)) and not isinstance(code, bool):
        return str(code)
    raise TypeError(f"The code {code!r} is neither text nor a whole number.")


def require_share(name: str, value: float) -> float:
    """Refuse what does not lie strictly between 0 and 1."""
    try:
        inside = 0 < value < 1
    except TypeError:
        inside = False
    if not inside or isinstance(value, bool):
        hint = f" For {value:g}%, write {value / 100:g}." if _is_percentage(value) else ""
        raise ValueError(f"{name}={value!r}; allowed are numbers between 0 and 1.{hint}")
    return float(value)


def require_count(name: str, value: Any) -> int:
    """Refuse what is no whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}; allowed are whole numbers from 1.")
    return int(value)


def fewest_records(level: float, target: float) -> int:
    """Count the records that certify a target when every one of them is right."""
    return math.ceil(math.log(level) / math.log(target) - 1e-9)  # rounding is no record


def _is_percentage(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1 < value < 100


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    try:  # nullable columns of pandas, whose missing values NumPy does not know
        return pd.Series(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise TypeError(f"{name} are not numbers.") from None
