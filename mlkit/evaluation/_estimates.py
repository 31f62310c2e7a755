"""Estimates of scores that have a smallest and a largest possible value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlkit.estimate import AnyDesign, Estimate, estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

NAN = float("nan")


def bounded(
    influence: NDArray[np.float64],
    value: float,
    *,
    at_least: float,
    design: AnyDesign | None,
    confidence: float,
    domain: ArrayLike | None = None,
) -> Estimate:
    """Estimate a score of at most 1; cut its interval where no score can be."""
    if design is None and len(influence) == 1:
        return undefined("one record shows no variation", confidence, value=value)
    found = estimate(influence, value=value, design=design, domain=domain, confidence=confidence)
    return replace(found, low=max(found.low, at_least), high=min(found.high, 1.0))


def undefined(note: str, confidence: float, *, value: float = NAN) -> Estimate:
    """Give an estimate without standard error, and without value if need be."""
    return Estimate(value, NAN, NAN, NAN, confidence, 0, "none", note)
