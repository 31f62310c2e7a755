"""How the numbers of results show themselves: rounded here, never in the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlkit.estimate import Estimate


def three_decimals(number: float) -> str:
    """Show a share or a score."""
    return "–" if math.isnan(number) else f"{number:.3f}"


def with_interval(estimate: Estimate) -> str:
    """Show an estimate with its interval."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return three_decimals(estimate.value)
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
