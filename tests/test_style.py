"""The figure style: what it sets, and that its colours can be seen and told apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from mlkit import style

NAMES = ("BLUE", "VERMILION", "GREEN", "ORANGE", "SKY", "PINK", "BLACK")
COLOURS = {name: getattr(style, name) for name in NAMES}

# Full loss of one kind of cone, in linear RGB: Machado, Oliveira and Fernandes (2009), "A
# physiologically-based model for simulation of color vision deficiency", IEEE Transactions on
# Visualization and Computer Graphics 15(6), severity 1.0.
VISION = {
    "normal": np.eye(3),
    "no red cones": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green cones": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no blue cones": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def linear(colour: str) -> NDArray[np.float64]:
    """Give the amounts of light of a colour (sRGB, IEC 61966-2-1)."""
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lightness(light: NDArray[np.float64]) -> float:
    """Give the relative luminance of the Web Content Accessibility Guidelines 2.1."""
    return float(light @ [0.2126, 0.7152, 0.0722])


def lab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the coordinates CIE L*a*b*, in which equal distances look about equally different."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    white = np.array([0.9505, 1.0, 1.089])
    ratio = to_xyz @ light.clip(0, 1) / white
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with mpl.rc_context():
        style.use_style()
        yield


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("figure.figsize", [7.0, 4.0]),
        ("figure.dpi", 100.0),
        ("savefig.dpi", 100.0),
        ("figure.constrained_layout.use", True),
        ("font.family", ["DejaVu Sans"]),
        ("font.size", 12.0),
        ("axes.spines.top", False),
        ("legend.frameon", False),
    ],
)
def test_the_style_is_set(key: str, value: object) -> None:
    assert mpl.rcParams[key] == value


def test_lines_take_the_colours_in_order() -> None:
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(COLOURS.values())


def test_a_figure_may_be_drawn_without_a_warning() -> None:
    figure = mpl.figure.Figure()
    axes = figure.subplots()
    axes.set_title("Größe, 28,521 titles – ≥ 95 %")
    figure.canvas.draw()


@pytest.mark.parametrize("name", ["BLUE", "VERMILION", "GREEN", "BLACK", "GREY"])
def test_colours_of_lines_and_text_stand_out_from_white(name: str) -> None:
    """A contrast of 3 to 1 is the least for graphics (WCAG 2.1, criterion 1.4.11)."""
    assert 1.05 / (lightness(linear(getattr(style, name))) + 0.05) >= 3


@pytest.mark.parametrize("matrix", VISION.values(), ids=VISION)
def test_colours_are_told_apart_with_any_colour_vision(matrix: NDArray[np.float64]) -> None:
    seen = {name: lab(matrix @ linear(colour)) for name, colour in COLOURS.items()}
    distances = {
        (one, other): np.linalg.norm(seen[one] - seen[other])
        for one, other in combinations(COLOURS, 2)
    }
    # A distance of 2 can just be seen side by side; lines and legend stand apart.
    assert min(distances.values()) > 10, distances


@pytest.mark.parametrize("extent", [None, (100.0, 140.0, 50.0, 80.0)])
def test_a_map_gets_its_bar_below_and_keeps_the_rest(
    extent: tuple[float, float, float, float] | None,
) -> None:
    """In pixels, where rows count downwards, and in units of the ground."""
    ax = matplotlib.figure.Figure().subplots()
    ax.imshow(np.zeros((30, 40)), extent=extent)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    style.finish_map(ax, 8, "8 km")
    (bar,) = ax.lines
    x, y = bar.get_data()
    assert list(x) == [left, left + 8]
    assert len(set(y)) == 1
    new_bottom, new_top = ax.get_ylim()
    assert (ax.get_xlim(), new_top) == ((left, right), top)
    # The bar lies between the image and the new edge, whichever way the axis runs.
    assert 0 < (bottom - y[0]) / (top - bottom) < (bottom - new_bottom) / (top - bottom)
    assert [text.get_text() for text in ax.texts] == ["8 km", "north ↑"]
    assert not ax.axison
