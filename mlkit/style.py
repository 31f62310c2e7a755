"""One figure style for every lesson, legible on a projector and without colour vision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PINK",
    "SKY",
    "VERMILION",
    "finish_map",
    "use_style",
]

# The palette of Okabe and Ito (2008), which people with any colour vision can tell apart;
# its yellow is left out, being too pale on white.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
ORANGE = "#E69F00"
SKY = "#56B4E9"
PINK = "#CC79A7"
BLACK = "#222222"
GREY = "#777777"


def use_style() -> None:
    """Set the kit's figure style for this session.

    Figures are 7 by 4 inches at 100 dots an inch, so that they fit a notebook, a slide and
    a page, with text that can be read from the last row.

    Examples
    --------
    >>> from mlkit.style import use_style
    >>> use_style()
    """
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "figure.figsize": (7, 4),
            "figure.dpi": 100,
            "savefig.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
            "font.size": 12,
            "axes.titlesize": 13,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelcolor": BLACK,
            "axes.edgecolor": GREY,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#DDDDDD",
            "lines.linewidth": 2,
            "legend.frameon": False,
            "axes.prop_cycle": cycler(color=[BLUE, VERMILION, GREEN, ORANGE, SKY, PINK, BLACK]),
        }
    )


def finish_map(ax: Axes, bar: float, label: str) -> None:
    """Put a scale bar and the north below a map, and take its axes away.

    Parameters
    ----------
    ax : matplotlib Axes
        With the map on it, north up, in its final limits.
    bar : float
        The length of the bar in units of the horizontal axis: pixels, unless ``imshow`` was
        given an extent.
    label : str
        What the length is on the ground, such as ``"2 km"``.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> fig, ax = plt.subplots()
    >>> image = ax.imshow([[1, 2], [2, 1]], extent=(0, 10, 0, 10))  # 10 km wide and tall
    >>> finish_map(ax, 2, "2 km")
    >>> plt.close(fig)
    """
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()  # of an image in pixels, the bottom is the larger one
    below = bottom - 0.05 * (top - bottom)
    ax.plot([left, left + bar], [below, below], color=BLACK, linewidth=4, solid_capstyle="butt")
    ax.text(left + bar + 0.02 * (right - left), below, label, va="center", fontsize=11)
    ax.text(right, below, "north ↑", va="center", ha="right", fontsize=11)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom - 0.1 * (top - bottom), top)
    ax.set_axis_off()
