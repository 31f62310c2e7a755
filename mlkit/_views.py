"""How results show themselves: numbers are rounded here, never in the data."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def as_html(title: str, table: pd.DataFrame | None, *notes: str) -> str:
    """Show a table of texts with a title above and notes below."""
    body = "" if table is None else table.to_html(index=False, border=0, justify="left")
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
