"""How results show themselves: numbers are rounded here, never in the data."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from mlkit.estimate import Estimate


def three_decimals(number: float) -> str:
    """Show a share or a score."""
    return "–" if math.isnan(number) else f"{number:.3f}"


def with_interval(estimate: Estimate) -> str:
    """Show an estimate with its interval."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return three_decimals(estimate.value)
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def as_html(title: str, table: pd.DataFrame, *notes: str) -> str:
    """Show a table of texts with a title above and notes below."""
    body = table.to_html(index=False, border=0, justify="left")
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes if note)
    return f"<p><strong>{html.escape(title)}</strong></p>{body}{below}"


def as_text(title: str, table: pd.DataFrame, *notes: str) -> str:
    """Show the same without HTML."""
    return "\n".join([title, table.to_string(index=False), *filter(None, notes)])


def axes(ax: Axes | None) -> Axes:
    """Draw on the given axes, or on new ones."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    new: Axes = plt.subplots()[1]
    return new
