"""One figure style for every lesson, legible on a projector and without colour vision."""

from __future__ import annotations

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PINK", "SKY", "VERMILION", "use_style"]

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
