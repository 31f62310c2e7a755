"""Plan a reference sample: how many points, in which strata, and what they will tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.evaluation._area_inputs import Sizes, are_shares, named, read_sizes
from mlkit.style import BLUE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]
    Mask: TypeAlias = NDArray[np.bool_]

Allocation: TypeAlias = Literal["proportional", "neyman", "equal"]

FEWEST = 2  # points of a stratum: one shows no variation
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class SamplePlan:
    """How many reference points to draw in each map class, and what to expect of them.

    Attributes
    ----------
    classes : tuple
        The K map classes, which are the strata.
    weights : ndarray of shape (K,)
        Their shares of the map.
    points : ndarray of int of shape (K,)
        Points to draw in each.
    unrounded : ndarray of shape (K,)
        The same before rounding.
    expected : ndarray of shape (K, K)
        The shares of reference classes (columns) expected in each map class (rows).
    needed : float
        The points that the target needs, before rounding up; NaN if `n` was given.
    overall_standard_error : float
        Of overall accuracy, to expect under this plan.
    users_standard_error, area_standard_error : ndarray of shape (K,)
        The same of user's accuracies, and of the share of each class.
    note : str
        What to know before using it.
    """

    classes: tuple[Any, ...]
    weights: Floats
    points: Places
    unrounded: Floats
    expected: Floats
    needed: float
    overall_standard_error: float
    users_standard_error: Floats
    area_standard_error: Floats
    note: str

    @property
    def n(self) -> int:
        """The points of the whole sample."""
        return int(self.points.sum())

    @property
    def allocation(self) -> dict[Any, int]:
        """The points by class, to draw them."""
        return dict(zip(self.classes, self.points.tolist(), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """Write the plan as a table.

        Returns
        -------
        DataFrame
            One row per class: `class`, `weight`, `points`, `unrounded`, `users_accuracy`,
            `users_standard_error`, `area_share` (to expect), `area_standard_error`,
            `area_cv_percent`.
        """
        area = self.weights @ self.expected
        with np.errstate(invalid="ignore", divide="ignore"):
            cv = 100 * self.area_standard_error / area
        return pd.DataFrame(
            {
                "class": self.classes,
                "weight": self.weights,
                "points": self.points,
                "unrounded": self.unrounded,
                "users_accuracy": np.diag(self.expected),
                "users_standard_error": self.users_standard_error,
                "area_share": area,
                "area_standard_error": self.area_standard_error,
                "area_cv_percent": cv,
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the points of each class; the CV that its area will have stands beside.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        ax = axes(ax)
        places = np.arange(len(self.classes))
        bars = ax.barh(places, self.points, color=BLUE)
        cv = self.to_frame()["area_cv_percent"]
        ax.bar_label(bars, [f" CV of area {number:.0f} %" for number in cv], padding=3)
        ax.set_yticks(places, [str(label) for label in self.classes])
        ax.invert_yaxis()
        ax.margins(x=0.35)
        ax.set_xlim(left=0)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("points to draw")
        ax.set_title(f"Reference sample of {self.n:,} points")
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        frame = self.to_frame()
        shown = pd.DataFrame(
            {
                "class": frame["class"].map(str),
                "weight": frame["weight"].map("{:.4f}".format),
                "points": frame["points"].map("{:,}".format),
                "user's accuracy": [
                    f"{value:.2f} ± {error:.3f}"
                    for value, error in zip(
                        frame["users_accuracy"], frame["users_standard_error"], strict=True
                    )
                ],
                "area share": [
                    f"{value:.4f} ± {error:.4f}"
                    for value, error in zip(
                        frame["area_share"], frame["area_standard_error"], strict=True
                    )
                ],
                "CV of area, %": frame["area_cv_percent"].map("{:.1f}".format),
            }
        )
        return (
            f"Reference sample of {self.n:,} points",
            shown,
            f"Expected, ± 1 standard error; overall accuracy ± {self.overall_standard_error:.4f}.",
            f"Note: {self.note}." if self.note else "",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def plan_reference_sample(
    sizes: Sizes,
    expected: Sizes | pd.DataFrame,
    *,
    target_se: float | None = None,
    n: int | None = None,
    area_of: Any = None,
    allocation: Allocation = "proportional",
    minimum: int | Mapping[Any, int] = FEWEST,
) -> SamplePlan:
    """Plan a stratified reference sample whose strata are the map classes.

    Parameters
    ----------
    sizes : dict or Series
        Pixels of each map class, or shares that sum to 1.
    expected : dict, Series or DataFrame
        What to expect of the map: user's accuracy by class, above 0 and below 1; or a DataFrame
        with map classes in rows and reference classes in columns, whose rows sum to 1. From
        user's accuracies alone, errors are spread over the other classes by their size on the
        map; rare classes are often confused otherwise, so give the table if an area matters.
    target_se : float, optional
        The standard error to reach: of overall accuracy, or of the share of `area_of`.
    n : int, optional
        The points that can be paid for, in place of a target.
    area_of : str or int, optional
        The class whose area is aimed at; by default overall accuracy is.
    allocation : {"proportional", "neyman", "equal"}, default="proportional"
        How to divide the points: by size; by size times expected standard deviation, which makes
        the standard error of the aim least; or the same number for all.
    minimum : int or dict, default=2
        Points that each class gets at least, or the classes named. The others share the rest.

    Returns
    -------
    SamplePlan
        Points by class, and the standard errors to expect.

    Raises
    ------
    ValueError
        If not exactly one of `target_se` and `n` is given, or they are not positive; if expected
        accuracies are not above 0 and below 1, or rows do not sum to 1; if a class is missing or
        unknown; if the minima need more points than there are; if a class has fewer pixels than
        points.
    TypeError
        If sizes or expectations are no dict, Series or DataFrame.

    Notes
    -----
    With W_i the share of map class i and S_i = sqrt(q_i (1 - q_i)), where q_i is the expected
    user's accuracy (or share of `area_of`): n = (sum W_i S_i / target)^2, as Olofsson et al. 2014,
    section 5, take from Cochran. That is exact for "neyman" alone. As in the paper it is kept for
    other allocations; where they miss the target by it, `note` says how many points reach it.

    Fails when the map is worse than expected. Expected standard errors are those of the paper's
    formulas, on average over samples; for a class of which few points are expected, the interval
    is what counts: see :func:`map_accuracy`.

    References
    ----------
    Olofsson et al. 2014, see :mod:`mlkit.evaluation.area`.

    Examples
    --------
    >>> sizes = {"deforestation": 0.02, "gain": 0.015, "forest": 0.32, "other": 0.645}
    >>> accuracy = {"deforestation": 0.7, "gain": 0.6, "forest": 0.9, "other": 0.95}
    >>> plan = plan_reference_sample(sizes, accuracy, target_se=0.01, minimum=75)
    >>> plan.n, plan.allocation
    (641, {'deforestation': 75, 'gain': 75, 'forest': 163, 'other': 328})
    """
    read = read_sizes(sizes, "sizes")
    classes = tuple(read)
    if min(read.values()) == 0:
        empty = [label for label, size in read.items() if size == 0]
        raise ValueError(f"{named(empty)} has no pixels on the map. Leave it out of sizes.")
    pixels = np.array(list(read.values()))
    weights = pixels / pixels.sum()
    rates, columns, assumed = _read_expected(expected, classes, weights)
    aim = _aim(rates, columns, classes, area_of)
    _check_size(target_se, n, allocation)
    spread = weights * np.sqrt(aim * (1 - aim))
    needed = math.nan if target_se is None else (spread.sum() / target_se) ** 2
    size = n if n is not None else math.ceil(needed - _ROUNDING)
    floors = _read_minimum(minimum, classes)
    shares = {"proportional": weights, "neyman": spread, "equal": np.ones(len(weights))}[allocation]
    unrounded = _allocate(size, shares, floors)
    points = _round(unrounded, size)
    if not are_shares(read) and (points > pixels).any():
        small = [label for label, p, all_ in zip(classes, points, pixels, strict=True) if p > all_]
        raise ValueError(
            f"{named(small)} gets more points than it has pixels. Take all its pixels (they need "
            "no sampling), or lower minimum or n."
        )
    correct = _diagonal(rates, columns, classes)
    area_errors = np.sqrt((weights**2 / points) @ (rates * (1 - rates)))
    overall = math.sqrt(float((weights**2 / points) @ (correct * (1 - correct))))
    notes = [assumed]
    if target_se is not None:
        notes.append(_shortfall(spread, points, shares, floors, target_se))
    place = [columns.index(label) for label in classes]
    return SamplePlan(
        classes,
        weights,
        points,
        unrounded,
        rates[:, place],
        needed,
        overall,
        np.sqrt(correct * (1 - correct) / points),
        area_errors[place],
        "; ".join(note for note in notes if note),
    )


def _read_expected(
    expected: Any, classes: tuple[Any, ...], weights: Floats
) -> tuple[Floats, tuple[Any, ...], str]:
    """Read the shares of reference classes in each map class."""
    if not isinstance(expected, pd.DataFrame):
        found = expected.to_dict() if isinstance(expected, pd.Series) else expected
        if not isinstance(found, Mapping):
            raise TypeError(
                f"expected is a {type(expected).__name__}; give user's accuracies as a dict or "
                "Series, or a DataFrame of map classes by reference classes."
            )
        _check_classes(found, classes)
        accuracy = np.array([float(found[label]) for label in classes])
        if not ((accuracy > 0) & (accuracy < 1)).all():
            raise ValueError(
                "Expected user's accuracies are "
                f"{', '.join(f'{value:g}' for value in accuracy)}; allowed are numbers above 0 "
                "and below 1, as 0.9 (not per cent)."
            )
        return (
            _spread_errors(accuracy, weights),
            classes,
            ("areas: errors were taken to spread over the other classes by their size on the map"),
        )
    _check_classes(expected.index, classes)
    if not expected.columns.is_unique or set(classes) - set(expected.columns):
        raise ValueError(
            f"The columns of expected are {named(list(expected.columns))}; give each reference "
            f"class once, all map classes among them: {named(classes)}."
        )
    rates = expected.loc[list(classes)].to_numpy(dtype=np.float64)
    bad = ~np.isfinite(rates).all(axis=1) | (rates < 0).any(axis=1)
    if (bad | (abs(rates.sum(axis=1) - 1) > 1e-6)).any():
        raise ValueError(
            "A row of expected has negative or missing shares, or does not sum to 1. Divide each "
            "row by its sum."
        )
    return rates, tuple(expected.columns), ""


def _check_classes(given: Any, classes: tuple[Any, ...]) -> None:
    labels = list(given)
    if len(labels) != len(classes) or set(labels) != set(classes):
        raise ValueError(
            f"expected names {named(labels)}, sizes name {named(classes)}. Give the same classes."
        )


def _spread_errors(accuracy: Floats, weights: Floats) -> Floats:
    others = weights[None, :] * (1 - np.eye(len(weights)))
    total = others.sum(axis=1, keepdims=True)
    if len(weights) == 1:
        raise ValueError("sizes has one class. A map of one class needs no sample; give two.")
    rates: Floats = others / total * (1 - accuracy)[:, None] + np.diag(accuracy)
    return rates


def _diagonal(rates: Floats, columns: tuple[Any, ...], classes: tuple[Any, ...]) -> Floats:
    return rates[np.arange(len(classes)), [columns.index(label) for label in classes]]


def _aim(rates: Floats, columns: tuple[Any, ...], classes: tuple[Any, ...], area_of: Any) -> Floats:
    """Give the share, in each map class, of what is aimed at."""
    if area_of is None:
        return _diagonal(rates, columns, classes)
    if area_of not in columns:
        raise ValueError(f"area_of={area_of!r} is no class. There are: {named(columns)}.")
    return rates[:, columns.index(area_of)]


def _check_size(target_se: float | None, n: int | None, allocation: str) -> None:
    if allocation not in get_args(Allocation):
        raise ValueError(
            f"allocation={allocation!r}; allowed are {', '.join(map(repr, get_args(Allocation)))}."
        )
    if (target_se is None) == (n is None):
        raise ValueError("Give either target_se, the standard error to reach, or n, the points.")
    if target_se is not None and not 0 < target_se < 1:
        raise ValueError(f"target_se={target_se}; allowed is a number above 0, such as 0.01.")
    if n is not None and (n < 1 or n != int(n)):
        raise ValueError(f"n={n}; allowed is a whole number of points, 1 or more.")


def _read_minimum(minimum: Any, classes: tuple[Any, ...]) -> Floats:
    if isinstance(minimum, Mapping):
        unknown = [label for label in minimum if label not in classes]
        if unknown:
            raise ValueError(f"minimum names {named(unknown)}; the classes are {named(classes)}.")
        floors = np.array([minimum.get(label, FEWEST) for label in classes], dtype=np.float64)
    else:
        floors = np.full(len(classes), float(minimum))
    if not (floors >= FEWEST).all():
        raise ValueError(
            f"minimum={minimum!r}; allowed are {FEWEST} points and more, since one point shows no "
            "variation."
        )
    return floors


def _allocate(n: float, shares: Floats, floors: Floats) -> Floats:
    """Divide n by shares; whatever would fall below its floor gets that, the others the rest."""
    if floors.sum() > n:
        raise ValueError(
            f"The minima need {floors.sum():.0f} points, but there are {n:.0f}. Lower minimum, "
            "raise n, or aim at a smaller standard error."
        )
    fixed = np.zeros(len(shares), dtype=bool)
    while True:
        rest = n - floors[fixed].sum()
        free = np.where(fixed, 0, shares)
        points: Floats = np.where(fixed, floors, rest * free / max(free.sum(), 1e-300))
        short = ~fixed & (points < floors)
        if not short.any():
            break
        fixed |= short
    if fixed.all():  # nothing to share out by: divide what is left evenly
        points = points + (n - points.sum()) / len(points)
    return points


def _round(unrounded: Floats, n: int) -> Places:
    """Round to whole numbers with the same sum, by largest remainders."""
    points = np.floor(unrounded + _ROUNDING).astype(np.intp)
    order = np.argsort(-(unrounded - points), kind="stable")
    points[order[: n - int(points.sum())]] += 1
    return points


def _shortfall(
    spread: Floats, points: Places, shares: Floats, floors: Floats, target_se: float
) -> str:
    """Say how many points reach the target, where this allocation misses it."""

    def variance(at: Floats) -> float:
        return float((spread**2 / at).sum())

    reached = math.sqrt(variance(points.astype(np.float64)))
    if reached <= target_se * (1 + 1e-3):  # rounding to whole points
        return ""
    enough = float(points.sum())
    while variance(_allocate(enough, shares, floors)) > target_se**2:
        enough *= 2
    low, high = enough / 2, enough
    while high - low > 0.5:
        middle = (low + high) / 2
        short = middle < floors.sum() or variance(_allocate(middle, shares, floors)) > target_se**2
        low, high = (middle, high) if short else (low, middle)
    return (
        f"this allocation reaches a standard error of {reached:.4g}, not {target_se:g}, for which "
        f"it needs about {math.ceil(high):,} points; allocation='neyman' needs fewest"
    )
