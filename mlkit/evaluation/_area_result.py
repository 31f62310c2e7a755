"""Intervals of shares, the table of class areas, and how it shows itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.estimate import Estimate
from mlkit.evaluation._area_inputs import named
from mlkit.style import BLUE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]
    Places: TypeAlias = NDArray[np.intp]

Interval: TypeAlias = Literal["score", "logit", "t", "normal"]

FEW_POINTS = 30  # below, a domain is flagged; the rule is ours
_HALVINGS = 120  # of an interval: far below rounding
_ROWS = 30  # in a view


def quantile(confidence: float, df: ArrayLike | None = None) -> Floats:
    """Give the two-sided quantile of Student's t, or of the normal distribution."""
    from scipy.special import ndtri, stdtrit

    tail = 0.5 + confidence / 2
    return np.asarray(ndtri(tail) if df is None else stdtrit(np.maximum(df, 1), tail))


def simple_interval(
    value: Floats, error: Floats, df: Floats, confidence: float, kind: Interval
) -> tuple[Floats, Floats]:
    """Give intervals that need only the standard error; logit ones stay in (0, 1)."""
    if kind != "logit":
        margin = quantile(confidence, None if kind == "normal" else df) * error
        return value - margin, value + margin
    from scipy.special import expit, logit

    inside = (value > 0) & (value < 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = logit(np.where(inside, value, 0.5))
        margin = quantile(confidence, df) * error / np.where(inside, value * (1 - value), 1)
        return (
            np.where(inside, expit(centre - margin), np.nan),
            np.where(inside, expit(centre + margin), np.nan),
        )


def score_interval(
    a: Floats,
    c: Floats,
    points: Floats,
    weights: Floats,
    hit_possible: Mask,
    miss_possible: Mask,
    confidence: float,
) -> tuple[Floats, Floats]:
    """Give intervals of ratios of stratified shares, from a Wilson interval per stratum.

    A ratio sum W_h a_h / sum W_h (a_h + c_h), with a_h and c_h the shares of points of stratum h
    that hit and that miss, is where T(p) = sum W_h ((1 - p) a_h - p c_h) is 0. Its interval is
    all p that T, with a margin, cannot tell from 0. The margin squares and adds what Wilson's
    limits of a_h and c_h allow (MOVER, the method of variance estimates recovery), with the
    correlation that two shares of one multinomial have. Unlike a standard error, Wilson's limits
    leave room where a stratum has no hit at all.

    `a`, `c` and what is possible have the shape (F, H), of F figures and H strata; `points`, of
    shape (H,), may be infinite for strata that were drawn in full.
    """
    z = float(quantile(confidence))
    a_low, a_high = _wilson(a, points, z, hit_possible)
    c_low, c_high = _wilson(c, points, z, miss_possible)
    below = np.sqrt(np.maximum((1 - a) * (1 - c), 0))
    correlation = -np.divide(np.sqrt(a * c), below, out=np.ones_like(a), where=below > 0)
    hit, miss = (a * weights).sum(axis=1), (c * weights).sum(axis=1)
    squared = weights**2

    def joined(first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
        """Square and add over strata: the two margins, and what they share."""
        both = -correlation * first * second
        a_part, c_part, shared = (
            (squared * part).sum(axis=1) for part in (first**2, second**2, both)
        )
        return a_part, c_part, shared

    low = _lower_end(hit, miss, *joined(a - a_low, c_high - c))
    high_parts = joined(a_high - a, c - c_low)
    # The upper end of the hits is the lower end of the misses.
    high = 1 - _lower_end(miss, hit, high_parts[1], high_parts[0], high_parts[2])
    return low, high


def _lower_end(
    hit: Floats, miss: Floats, of_hit: Floats, of_miss: Floats, shared: Floats
) -> Floats:
    """Solve ((1-p) hit - p miss)^2 = (1-p)^2 of_hit + p^2 of_miss + 2 p (1-p) shared, T > 0."""
    above = hit**2 - of_hit  # never negative, as no lower limit is
    middle = hit * miss + shared
    root = middle + np.sqrt(np.maximum(middle**2 - above * (miss**2 - of_miss), 0))
    below = above + root
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _wilson(share: Floats, n: Floats, z: float, possible: Mask) -> tuple[Floats, Floats]:
    """Give Wilson's score interval; 0 where nothing can be, the share itself where n is infinite.

    Wilson 1927, cited from memory.
    """
    shrink = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / shrink
    half = z / shrink * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)
    return np.where(possible, low, 0), np.where(possible, high, 0)


def unseen_bound(weights: Floats, points: Floats | Places, confidence: float) -> float:
    """Bound the share of a class in strata in which no point met it.

    The most that the class can have there if finding none still has a probability of
    a = 1 - confidence: the largest sum W_h q_h with prod (1 - q_h)^n_h >= a. In one stratum that
    is W (1 - a^(1/n)). At the largest sum, 1 - q_h is the smaller of 1 and m n_h / W_h.
    """
    if len(weights) == 0:
        return 0.0
    if len(weights) == 1:
        return float(weights[0] * -np.expm1(np.log1p(-confidence) / points[0]))
    slope = points / weights
    enough = np.log1p(-confidence)
    low, high = 0.0, 1 / slope.min()
    for _ in range(_HALVINGS):
        m = (low + high) / 2
        likely = (points * np.log(np.minimum(1, m * slope))).sum()
        low, high = (low, m) if likely >= enough else (m, high)
    return float((weights * (1 - np.minimum(1, high * slope))).sum())


@dataclass(frozen=True, eq=False, repr=False)
class ClassAreas:
    """Class areas, of a whole map or of its domains, beside what counting pixels says.

    Attributes
    ----------
    estimator : str
        Which estimator made them.
    classes : tuple
        The K classes.
    domains : tuple
        The D domains; empty if there are none, and D is 1.
    points : ndarray of shape (D,)
        Sampled points in each domain.
    pixels : ndarray of shape (D,)
        Pixels of each domain in the map; NaN if they are not known.
    share, standard_error, low, high : ndarray of shape (D, K)
        The share of each class, with its interval. A standard error is NaN where none can be
        given; `note` says why.
    mapped : ndarray of shape (D, K)
        The share of each class by counting pixels; NaN if the map was not counted.
    unseen : ndarray of shape (D, K)
        How much of the class could lie, as a share, in strata in which no point met it: a bound
        at `confidence`. 0 where every stratum has a hit; NaN for other designs and estimators.
    df : ndarray of shape (D, K)
        Degrees of freedom.
    pixel_area : float or None
        The area of a pixel, in `area_unit`.
    area_unit : str
        The unit of areas.
    confidence : float
        The confidence of intervals and bounds.
    interval : str
        How the intervals were made.
    note : str
        What to know before using them.
    """

    estimator: str
    classes: tuple[Any, ...]
    domains: tuple[Any, ...]
    points: NDArray[np.intp]
    pixels: Floats
    share: Floats
    standard_error: Floats
    low: Floats
    high: Floats
    mapped: Floats
    unseen: Floats
    df: Floats
    pixel_area: float | None
    area_unit: str
    confidence: float
    interval: str
    note: str

    @property
    def cv_percent(self) -> Floats:
        """The coefficient of variation: the standard error in per cent of the figure."""
        with np.errstate(invalid="ignore", divide="ignore"):
            cv: Floats = 100 * self.standard_error / np.where(self.share > 0, self.share, np.nan)
        return cv

    @property
    def few_points(self) -> Mask:
        """Which domains have fewer than 30 points: too few to trust their intervals."""
        return np.asarray(self.points < FEW_POINTS)

    def to_frame(self) -> pd.DataFrame:
        """Write the figures as a table.

        Returns
        -------
        DataFrame
            One row per domain and class: `domain` (if there are any), `class`, `points` (of the
            domain), `few_points`, `share`, `standard_error`, `low`, `high`, `cv_percent`,
            `mapped`, `bias` (mapped minus estimated), `unseen`, `df`; with known pixels also
            `pixels`, `pixels_standard_error`, `pixels_low`, `pixels_high`, `mapped_pixels`; and
            with a pixel area the same for `area`.
        """
        d, k = self.share.shape
        table: dict[str, Any] = {}
        if self.domains:
            table["domain"] = [name for name in self.domains for _ in range(k)]
        table["class"] = [*self.classes] * d
        table["points"] = np.repeat(self.points, k)
        table["few_points"] = np.repeat(self.few_points, k)
        for name in ("share", "standard_error", "low", "high", "cv_percent", "mapped"):
            table[name] = getattr(self, name).ravel()
        table["bias"] = (self.mapped - self.share).ravel()
        table["unseen"], table["df"] = self.unseen.ravel(), self.df.ravel()
        scales = {}
        if np.isfinite(self.pixels).any():
            scales["pixels"] = np.repeat(self.pixels, k)
            if self.pixel_area is not None:
                scales["area"] = scales["pixels"] * self.pixel_area
        for name, scale in scales.items():
            table[name] = table["share"] * scale
            for part in ("standard_error", "low", "high"):
                table[f"{name}_{part}"] = table[part] * scale
            table[f"mapped_{name}"] = table["mapped"] * scale
        return pd.DataFrame(table)

    def estimate(
        self,
        label: Any,
        *,
        domain: Any = None,
        of: Literal["share", "pixels", "area"] = "share",
    ) -> Estimate:
        """Look up one figure.

        Parameters
        ----------
        label : str or int
            One of :attr:`classes`.
        domain : str or int, optional
            One of :attr:`domains`, if there are any.
        of : {"share", "pixels", "area"}, default="share"
            Which figure; "area" in :attr:`area_unit`.

        Returns
        -------
        Estimate
            The figure with its standard error and interval.

        Raises
        ------
        KeyError
            If there is no such class or domain.
        ValueError
            If `of` is none of these, or needs pixels or a pixel area that were not given.
        """
        row, column = self._row(domain), self._column(label)
        scale = self._scale(of, row)
        value, error, low, high = (
            float(values[row, column] * scale)
            for values in (self.share, self.standard_error, self.low, self.high)
        )
        df = float(self.df[row, column])
        return Estimate(value, error, low, high, self.confidence, df, self.interval, self.note)

    def plot(self, ax: Axes | None = None, *, label: Any = None) -> Axes:
        """Draw estimates with their intervals, and what counting pixels says.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        label : str or int, optional
            The class to draw domain by domain. Needed if there are domains.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.

        Raises
        ------
        ValueError
            If there are domains and no class is named.
        """
        if self.domains and label is None:
            raise ValueError(
                f"There are {len(self.domains)} domains: name the class to draw, "
                f"as in plot(label={self.classes[0]!r})."
            )
        ax = axes(ax)
        known = bool(np.isfinite(self.pixels).all()) and self.pixel_area is not None
        scale = self.pixels[:, None] * (self.pixel_area or 1.0) if known else 1.0
        part: Any = (slice(None), self._column(label)) if self.domains else (0, slice(None))
        value, low, high, mapped = (
            (figures * scale)[part] for figures in (self.share, self.low, self.high, self.mapped)
        )
        places = np.arange(len(value))
        margins = np.nan_to_num(np.maximum([value - low, high - value], 0))
        if np.isfinite(mapped).any():
            ax.plot(mapped, places, "D", color=VERMILION, mfc="none", ms=9, label="pixels counted")
        bars = f"estimate, {100 * self.confidence:g} % interval"
        ax.errorbar(value, places, xerr=margins, fmt="o", color=BLUE, capsize=4, label=bars)
        ax.set_yticks(places, [str(name) for name in (self.domains or self.classes)])
        ax.margins(y=0.15)
        ax.invert_yaxis()
        if known:
            ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.set_xlim(left=min(0.0, *np.nan_to_num(low)))
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(f"area, {self.area_unit}" if known else "share of the map")
        ax.set_title(f"Area of {label} by domain" if self.domains else "Area of each class")
        ax.legend(loc="best")
        return ax

    def _row(self, domain: Any) -> int:
        if domain is None and not self.domains:
            return 0
        if domain not in self.domains:
            raise KeyError(f"No domain {domain!r}. There are: {named(self.domains) or 'none'}.")
        return self.domains.index(domain)

    def _column(self, label: Any) -> int:
        if label not in self.classes:
            raise KeyError(f"No class {label!r}. There are: {named(self.classes)}.")
        return self.classes.index(label)

    def _scale(self, of: str, row: int) -> float:
        if of not in ("share", "pixels", "area"):
            raise ValueError(f"of={of!r}; allowed are 'share', 'pixels' and 'area'.")
        if of == "share":
            return 1.0
        if not np.isfinite(self.pixels[row]):
            raise ValueError(f"of={of!r} needs the pixels of the map. Give sizes in pixels.")
        if of == "area" and self.pixel_area is None:
            raise ValueError("of='area' needs the area of a pixel. Give pixel_area.")
        return float(self.pixels[row]) * (1.0 if of == "pixels" else float(self.pixel_area or 1))

    def _table(self) -> pd.DataFrame:
        rows = self.to_frame().head(_ROWS)
        shown: dict[str, Any] = {
            name: rows[name].map(str) for name in ("domain", "class") if name in rows
        }
        shown["share"] = rows["share"].map("{:.4f}".format)
        shown["standard error"] = rows["standard_error"].map(or_dash("{:.4f}"))
        shown["interval"] = _between(rows["low"], rows["high"], "{:.4f}")
        shown["CV %"] = rows["cv_percent"].map(or_dash("{:.1f}"))
        if "area" in rows:
            shown[f"area, {self.area_unit}"] = rows["area"].map("{:,.0f}".format)
            shown[f"interval, {self.area_unit}"] = _between(
                rows["area_low"], rows["area_high"], "{:,.0f}"
            )
        if rows["mapped"].notna().any():
            shown["pixels counted"] = rows["mapped"].map(or_dash("{:.4f}"))
        if (rows["unseen"] > 0).any():
            shown["unseen, at most"] = rows["unseen"].map(or_dash("{:.4f}"))
        if self.domains:
            shown["few points"] = rows["few_points"].map({True: "few", False: ""})
        return pd.DataFrame(shown)

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        more = self.share.size - _ROWS
        return (
            f"Class areas: {self.estimator}",
            self._table(),
            f"{more:,} more rows: to_frame() has them all." if more > 0 else "",
            f"{100 * self.confidence:g} % intervals ({self.interval}).",
            f"Note: {self.note}." if self.note else "",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def or_dash(form: str) -> Any:
    """Show a number, or a dash where there is none."""
    return lambda number: "–" if np.isnan(number) else form.format(number)


def _between(low: pd.Series[float], high: pd.Series[float], form: str) -> list[str]:
    return [
        "–" if np.isnan(first) or np.isnan(second) else f"{form} to {form}".format(first, second)
        for first, second in zip(low, high, strict=True)
    ]
