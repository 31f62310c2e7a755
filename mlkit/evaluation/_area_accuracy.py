"""Accuracy of a map and areas of its classes, from a probability sample of reference labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text
from mlkit.estimate import SIMPLE_RANDOM, AnyDesign, Design, Estimate, ReplicateDesign
from mlkit.evaluation._area_inputs import (
    Sizes,
    Strata,
    are_shares,
    check_confidence,
    check_pixel_area,
    named,
    one_stratum,
    read_classes,
    read_pair,
    read_sizes,
    read_strata,
)
from mlkit.evaluation._area_result import (
    ClassAreas,
    Interval,
    or_dash,
    score_interval,
    simple_interval,
    unseen_bound,
)
from mlkit.evaluation._inputs import Labels, check_lengths, read_truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Places: TypeAlias = NDArray[np.intp]
    Mask: TypeAlias = NDArray[np.bool_]

_ROUNDING = 1e-12  # of a figure: below it a standard error is 0
_FIGURES = {"share", "standard_error", "bound", "counts"}


@dataclass(frozen=True, eq=False, repr=False)
class MapAccuracy:
    """How good a map is, and how large its classes really are.

    Attributes
    ----------
    classes : tuple
        The K classes, of the map and of the reference.
    overall : Estimate
        Overall accuracy: the share of the map that is right.
    users : dict of Estimate
        User's accuracy by class: the right part of what the map gives to the class. NaN for a
        class that no sampled point has on the map.
    producers : dict of Estimate
        Producer's accuracy by class: the part of the class that the map has found. NaN for a
        class that no sampled point has as reference.
    areas : ClassAreas
        The area of each class, beside what counting pixels says.
    counts : ndarray of shape (K, K)
        Sampled points: class on the map (rows) by reference class (columns).
    confusion : ndarray of shape (K, K)
        The same as shares of the map's area.
    confusion_standard_error : ndarray of shape (K, K)
        NaN for cells without a point, of which the sample shows no variation.
    confusion_bound : ndarray of shape (K, K)
        For cells without a point, the share that they may have, at the confidence; else NaN.
    note : str
        What to know before using the figures.
    """

    classes: tuple[Any, ...]
    overall: Estimate
    users: Mapping[Any, Estimate]
    producers: Mapping[Any, Estimate]
    areas: ClassAreas
    counts: NDArray[np.intp]
    confusion: Floats
    confusion_standard_error: Floats
    confusion_bound: Floats
    note: str

    def to_frame(self) -> pd.DataFrame:
        """Write all figures as one table; :attr:`areas` has more on areas.

        Returns
        -------
        DataFrame
            One row per figure: `figure` ("overall accuracy", "user's accuracy", "producer's
            accuracy" or "area share"), `class` (None for overall accuracy), `value`,
            `standard_error`, `low`, `high`, `df`, `note`.
        """
        rows = [("overall accuracy", None, self.overall)]
        rows += [("user's accuracy", label, found) for label, found in self.users.items()]
        rows += [("producer's accuracy", label, found) for label, found in self.producers.items()]
        rows += [("area share", label, self.areas.estimate(label)) for label in self.classes]
        return pd.DataFrame(
            [
                {
                    "figure": figure,
                    "class": label,
                    "value": found.value,
                    "standard_error": found.standard_error,
                    "low": found.low,
                    "high": found.high,
                    "df": found.df,
                    "note": found.note,
                }
                for figure, label, found in rows
            ]
        )

    def confusion_frame(
        self, of: Literal["share", "standard_error", "bound", "counts"] = "share"
    ) -> pd.DataFrame:
        """Write the confusion matrix as a table.

        Parameters
        ----------
        of : {"share", "standard_error", "bound", "counts"}, default="share"
            Shares of the map's area, their standard errors, bounds of the cells without a point,
            or points.

        Returns
        -------
        DataFrame
            Classes of the map in rows, of the reference in columns.

        Raises
        ------
        ValueError
            If `of` is none of these.
        """
        if of not in _FIGURES:
            raise ValueError(f"of={of!r}; allowed are {sorted(_FIGURES)}.")
        cells = {
            "share": self.confusion,
            "standard_error": self.confusion_standard_error,
            "bound": self.confusion_bound,
            "counts": self.counts,
        }[of]
        return pd.DataFrame(
            cells,
            index=pd.Index(self.classes, name="map"),
            columns=pd.Index(self.classes, name="reference"),
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the class areas; see :meth:`ClassAreas.plot`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn.
        """
        return self.areas.plot(ax)

    def _view(self) -> tuple[str, pd.DataFrame, str, str]:
        shown = self.areas._table()
        for title, figures in (("user's", self.users), ("producer's", self.producers)):
            shown[f"{title} accuracy"] = [_with_interval(found) for found in figures.values()]
        return (
            f"Map accuracy: {self.counts.sum():,} points, overall {_with_interval(self.overall)}",
            shown,
            f"In brackets: {100 * self.overall.confidence:g} % intervals ({self.areas.interval}).",
            f"Note: {self.note}." if self.note else "",
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def map_accuracy(
    reference: Labels,
    mapped: Labels,
    sizes: Sizes | None = None,
    *,
    strata: Labels | None = None,
    map_totals: Sizes | None = None,
    design: AnyDesign | None = None,
    classes: Sequence[Any] | None = None,
    collapse: Mapping[Any, Any] | None = None,
    fpc: bool = False,
    pixel_area: float | None = None,
    area_unit: str = "ha",
    confidence: float = 0.95,
    interval: Interval | None = None,
) -> MapAccuracy:
    """Estimate accuracy and class areas from a map and a probability sample.

    Parameters
    ----------
    reference : array-like of shape (n,)
        The reference class of each sampled point, as people saw it: text or whole numbers.
    mapped : array-like of shape (n,)
        Its class on the map.
    sizes : dict or Series, optional
        Pixels of each stratum, or shares that sum to 1. The strata are the map classes, unless
        `strata` names others. For a simple random or systematic sample give the pixels of each
        map class: the sample is then poststratified. All pixels count the same:
        use a map on an equal-area grid. Without sizes and design, a simple random sample.
    strata : array-like of shape (n,), optional
        The stratum of each point, if strata are not the map classes.
    map_totals : dict or Series, optional
        Pixels of each map class, or shares, for the column of counted pixels, if strata are not
        the map classes or a design is given.
    design : Design or ReplicateDesign, optional
        How the points were drawn, in place of `sizes`, for samples with clusters or unequal
        weights.
    classes : sequence, optional
        The legend, in its order. Labels outside are refused. By default the map classes in the
        order of `sizes`, then other classes sorted.
    collapse : dict, optional
        For standard errors only, join the stratum of each key with that of its value. For strata
        with one point, which have no standard error. Choose strata that are alike, before
        looking at the sample.
    fpc : bool, default=False
        Whether to correct for the part of each stratum that was drawn. Needs sizes in pixels. It
        matters for small strata; those drawn in full then add nothing to standard errors.
    pixel_area : float, optional
        The area of a pixel, in `area_unit`: 0.09 for 30 m pixels in hectares.
    area_unit : str, default="ha"
        The unit of areas.
    confidence : float, default=0.95
        The confidence of intervals and bounds.
    interval : {"score", "logit", "t", "normal"}, optional
        How to make intervals, see below. By default "score", and "logit" for a `design`.

    Returns
    -------
    MapAccuracy
        Confusion in shares of area; overall, user's and producer's accuracy; class areas.

    Raises
    ------
    ValueError
        If lengths differ; a label is missing, or outside the legend; a point lies in a stratum
        or map class without pixels; a stratum has no point; sizes are negative, missing, or
        shares that do not sum to 1; `collapse` names an unknown stratum; options contradict.
    TypeError
        If labels are of mixed types, or sizes are no dict and no Series.

    Notes
    -----
    With W_h the share of stratum h and n_h its points, the share of the area with map class i and
    reference class j is ``p_ij`` = sum over h of ``W_h n_hij / n_h``. Class areas are column sums,
    overall accuracy is the trace, user's accuracy ``p_ii / p_i.``, producer's ``p_jj / p_.j``:
    all are ratios of weighted totals. Their linearised variances
    (:func:`mlkit.estimate.estimate`, each stratum a simple random sample) equal the published
    ones, to rounding: Olofsson et al. 2014
    for strata that are map classes, Stehman 2014 for others, with `fpc`. For a poststratified
    sample they are conditional on how many points fell into each map class.

    *Intervals.* "normal" takes 1.96 standard errors, as the papers do, "t" Student's quantile,
    "logit" does this on the logit scale. All three fail for a rare class: if no point of a large
    stratum shows it, its standard error knows nothing of what that stratum may hide. In
    simulations (tests/test_area_simulation.py) they held the area of a class of .5 % in as few
    as .11 of samples instead of .95. "score" makes Wilson's interval in every stratum and joins
    them by squaring and adding (MOVER: Zou and Donner 2008, Statistics in Medicine 27,
    1693-1702; cited from memory), for ratios too. It is not symmetric, needs no standard error,
    and held every figure in .89 of samples or more.

    *A cell without a point* has a standard error of 0, which is false: NaN is given, and beside
    it the bound W_i (1 - a^(1/n_i)), with a = 1 - confidence. The same for a figure that shows no
    variation at all. *One point in a stratum:* NaN for every figure that the stratum is part of,
    unless collapsed; the score interval remains. *A class only on the map* has no producer's
    accuracy; *a class only in the reference* no user's accuracy.

    Fails when points were not drawn at random (labelled plots at hand, road sides); when the
    reference itself errs: all figures are about agreement with it; when sizes are not those of
    the map that was sampled.

    References
    ----------
    Olofsson et al. 2014 and Stehman 2014: see :mod:`mlkit.evaluation.area`.

    Examples
    --------
    >>> import numpy as np
    >>> mapped = np.repeat(["crop", "other"], [50, 100])
    >>> reference = np.repeat(["crop", "other", "crop", "other"], [40, 10, 5, 95])
    >>> found = map_accuracy(reference, mapped, {"crop": 200_000, "other": 800_000})
    >>> print(found.overall)
    0.920 (standard error 0.021; 95 % interval 0.864 to 0.949)
    >>> print(found.areas.estimate("crop"))
    0.200 (standard error 0.021; 95 % interval 0.165 to 0.252)
    """
    check_confidence(confidence)
    kind = _interval_kind(interval, design)
    truth, on_map = read_pair(reference, mapped)
    totals = None if map_totals is None else read_sizes(map_totals, "map_totals")
    strata_are_classes = sizes is not None and strata is None
    _check_options(sizes, strata, map_totals, design, collapse, fpc)
    if design is not None:
        check_lengths(reference=len(truth), design=len(design.weights))
    drawn: Strata | None = None
    if sizes is not None:
        read = read_sizes(sizes, "sizes")
        if strata is None:
            codes, totals = on_map, read
        else:
            codes = read_truth(strata, "strata")
            check_lengths(reference=len(truth), strata=len(codes))
        drawn = read_strata(codes, read, fpc=fpc)
    elif design is None:
        drawn = one_stratum(len(truth))
    first = tuple(totals) if totals is not None else tuple(sorted(on_map.different))
    labels, (true, predicted) = read_classes(first, truth, on_map, classes=classes)
    pixels = _pixels(drawn, totals, design)
    check_pixel_area(pixel_area, pixels_known=math.isfinite(pixels))
    sample = _Sample(true, predicted, len(labels), drawn, strata_are_classes, collapse, design)
    figures = _estimate_all(sample, confidence, kind)
    note = _note(sample, design)
    return _result(
        sample,
        figures,
        labels,
        totals,
        (pixels, pixel_area, area_unit, confidence, kind, note),
    )


def map_accuracy_from_counts(
    counts: pd.DataFrame,
    sizes: Sizes | None = None,
    *,
    classes: Sequence[Any] | None = None,
    collapse: Mapping[Any, Any] | None = None,
    fpc: bool = False,
    pixel_area: float | None = None,
    area_unit: str = "ha",
    confidence: float = 0.95,
    interval: Interval | None = None,
) -> MapAccuracy:
    """Estimate accuracy and class areas from a published confusion matrix of points.

    Parameters
    ----------
    counts : DataFrame
        Sampled points with the map class of the row and the reference class of the column.
    sizes : dict or Series, optional
        Pixels or shares of each map class, which are the strata.
    classes, collapse, fpc, pixel_area, area_unit, confidence, interval
        As in :func:`map_accuracy`.

    Returns
    -------
    MapAccuracy
        As :func:`map_accuracy`.

    Raises
    ------
    ValueError
        If counts are missing, negative, not whole, or all 0; and as :func:`map_accuracy`.
    TypeError
        If counts are no DataFrame.

    Examples
    --------
    The example of Olofsson et al. 2014, table 8, with its areas in hectares:

    >>> import pandas as pd
    >>> classes = ["deforestation", "gain", "forest", "other"]
    >>> counts = pd.DataFrame(
    ...     [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]], classes, classes
    ... )
    >>> pixels = dict(zip(classes, [200_000, 150_000, 3_200_000, 6_450_000]))
    >>> found = map_accuracy_from_counts(counts, pixels, pixel_area=0.09, interval="normal")
    >>> print(found.areas.estimate("deforestation", of="area"))
    21,158 (standard error 3,142; 95 % interval 15,000 to 27,315)
    """
    if not isinstance(counts, pd.DataFrame):
        raise TypeError(
            f"counts is a {type(counts).__name__}; give a DataFrame with a row per map class and a "
            "column per reference class."
        )
    try:
        cells = counts.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"counts needs numbers: {error}.") from error
    bad = ~np.isfinite(cells) | (cells < 0) | (cells % 1 != 0)
    if cells.size == 0 or bad.any() or not cells.any():
        what = f"such as {cells[bad][0]:g}" if bad.any() else "all 0 or none"
        raise ValueError(
            f"counts must be whole numbers of points, 0 or more, not all 0; given: {what}. For "
            "shares of area give the points themselves to map_accuracy."
        )
    for axis, which in ((counts.index, "row"), (counts.columns, "column")):
        if not axis.is_unique:
            raise ValueError(f"A class names more than one {which} of counts. Give each one.")
    times = cells.astype(np.intp).ravel()
    mapped = np.repeat(counts.index.to_numpy(dtype=object), counts.shape[1])
    reference = np.tile(counts.columns.to_numpy(dtype=object), counts.shape[0])
    return map_accuracy(
        np.repeat(reference, times),
        np.repeat(mapped, times),
        sizes,
        classes=classes,
        collapse=collapse,
        fpc=fpc,
        pixel_area=pixel_area,
        area_unit=area_unit,
        confidence=confidence,
        interval=interval,
    )


# --- the work --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Sample:
    """The points as numbers, and how they were drawn: in strata, or by a design."""

    true: Places
    mapped: Places
    k: int
    strata: Strata | None
    strata_are_classes: bool
    collapse: Mapping[Any, Any] | None
    given: AnyDesign | None

    @cached_property
    def design(self) -> AnyDesign:
        if self.given is not None:
            return self.given
        assert self.strata is not None  # noqa: S101 - one of the two is there
        return self.strata.design(self.collapse)

    def counts(self) -> NDArray[np.intp]:
        cells = np.bincount(self.mapped * self.k + self.true, minlength=self.k**2)
        return cells.reshape(self.k, self.k)

    @cached_property
    def lone(self) -> Mask | None:
        return None if self.strata is None else self.strata.still_lone(self.collapse)

    @cached_property
    def stratum_class(self) -> Places:
        """Give the class of each stratum, where strata are the map classes."""
        assert self.strata is not None  # noqa: S101
        classes = np.empty(len(self.strata.labels), dtype=np.intp)
        classes[self.strata.place] = self.mapped
        return classes


@dataclass(frozen=True, eq=False)
class _Ratio:
    """A figure: among points that hit or miss, the weighted share of those that hit."""

    hit: Mask  # of each point
    miss: Mask
    hit_possible: Mask  # of each stratum
    miss_possible: Mask


@dataclass(frozen=True, eq=False)
class _Figures:
    """Overall accuracy, then K user's and producer's accuracies, then K areas, in this order."""

    value: Floats
    error: Floats
    low: Floats
    high: Floats
    df: Floats


def _ratios(sample: _Sample) -> Iterator[_Ratio]:
    """List the figures, in the order of :class:`_Figures`."""
    h = 1 if sample.strata is None else len(sample.strata.labels)
    everywhere, right = np.ones(h, dtype=bool), sample.true == sample.mapped
    classes = sample.stratum_class if sample.strata_are_classes else None
    yield _Ratio(right, ~right, everywhere, everywhere)
    for k in range(sample.k):
        on_map = sample.mapped == k
        there = everywhere
        if classes is not None:
            there = classes == k
        elif sample.strata is not None:
            # Where no point has the class on the map, nothing is taken to have it.
            there = np.bincount(sample.strata.place[on_map], minlength=h) > 0
        yield _Ratio(on_map & right, on_map & ~right, there, there)
    for k in range(sample.k):
        true = sample.true == k
        own = everywhere if classes is None else classes == k
        others = everywhere if classes is None else ~own
        yield _Ratio(true & right, true & ~right, own, others)
    for k in range(sample.k):
        true = sample.true == k
        yield _Ratio(true, ~true, everywhere, everywhere)


def _estimate_all(sample: _Sample, confidence: float, kind: Interval) -> _Figures:
    design, strata = sample.design, sample.strata
    ratios = list(_ratios(sample))
    value, error, df = (np.full(len(ratios), np.nan) for _ in range(3))
    lone = sample.lone
    for place, ratio in enumerate(ratios):
        inside = ratio.hit | ratio.miss
        below = float(design.weights @ inside)
        if below == 0:
            continue
        value[place] = min(design.weights @ ratio.hit / below, 1.0)
        df[place] = design.df if inside.all() else design.df_in(inside)
        error[place] = _error(design, (ratio.hit - value[place] * inside) / below, value[place])
        touched = ratio.hit_possible | ratio.miss_possible
        if lone is not None and (lone & touched).any():
            error[place] = np.nan
        elif error[place] == 0 and not _known(sample, touched):
            error[place] = np.nan  # no variation in the sample is not no variation
    if kind == "score" and strata is not None:
        low, high = _score(sample, strata, ratios, confidence)
    else:
        low, high = simple_interval(value, error, df, confidence, kind)
    exact = error == 0
    low, high = np.where(exact, value, low), np.where(exact, value, high)
    unknown = np.isnan(value)
    low[unknown] = high[unknown] = np.nan
    return _Figures(value, error, low, high, df)


def _error(design: AnyDesign, influence: Floats, value: float) -> float:
    error = math.sqrt(design.variance(influence))
    return 0.0 if error <= _ROUNDING * max(abs(value), _ROUNDING) else error


def _known(sample: _Sample, touched: Mask) -> bool:
    """Say whether every stratum that a figure is about was drawn in full."""
    strata = sample.strata
    return strata is not None and bool((strata.fractions[touched] >= 1).all())


def _score(
    sample: _Sample, strata: Strata, ratios: Sequence[_Ratio], confidence: float
) -> tuple[Floats, Floats]:
    h = len(strata.labels)
    hits, misses = (
        np.array([np.bincount(strata.place, part, h) for part in parts])
        for parts in ([ratio.hit for ratio in ratios], [ratio.miss for ratio in ratios])
    )
    with np.errstate(divide="ignore"):
        effective = strata.points / (1 - strata.fractions)  # infinite if drawn in full
    return score_interval(
        hits / strata.points,
        misses / strata.points,
        effective,
        strata.weights,
        np.array([ratio.hit_possible for ratio in ratios]),
        np.array([ratio.miss_possible for ratio in ratios]),
        confidence,
    )


def _cells(sample: _Sample, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Give shares, standard errors and bounds of the cells of the confusion matrix."""
    design, strata, k = sample.design, sample.strata, sample.k
    weights = design.weights
    cell = sample.mapped * k + sample.true
    share = np.bincount(cell, weights, k * k) / weights.sum()
    error, bound = np.full(k * k, np.nan), np.full(k * k, np.nan)
    lone = sample.lone
    classes = sample.stratum_class if sample.strata_are_classes else None
    for c in np.flatnonzero(share):
        own = np.ones(1, dtype=bool) if strata is None else np.ones(len(strata.labels), dtype=bool)
        if classes is not None:
            own = classes == c // k
        if lone is None or not (lone & own).any():
            influence = ((cell == c) - share[c]) / weights.sum()
            spread = _error(design, influence, share[c])
            error[c] = spread if spread or _known(sample, own) else np.nan
    if strata is not None:
        _fill_bounds(bound, share, strata, classes, confidence)
    shape = (k, k)
    return share.reshape(shape), error.reshape(shape), bound.reshape(shape)


def _fill_bounds(
    bound: Floats, share: Floats, strata: Strata, classes: Places | None, confidence: float
) -> None:
    """Bound the cells without a point; 0 where the map has no such pixel, or all were drawn."""
    k = math.isqrt(len(bound))
    empty, open_ = share == 0, strata.fractions < 1
    if classes is None:
        bound[empty] = unseen_bound(strata.weights[open_], strata.points[open_], confidence)
        return
    for row in range(k):
        own = open_ & (classes == row)
        cells = slice(row * k, (row + 1) * k)
        limit = unseen_bound(strata.weights[own], strata.points[own], confidence)
        bound[cells] = np.where(empty[cells], limit, np.nan)


def _unseen(sample: _Sample, confidence: float) -> Floats:
    """Bound what strata without a hit may hide of each class."""
    strata = sample.strata
    if strata is None:
        return np.full(sample.k, np.nan)
    h = len(strata.labels)
    met = np.bincount(strata.place * sample.k + sample.true, minlength=h * sample.k)
    without = (met.reshape(h, sample.k) == 0) & (strata.fractions < 1)[:, None]
    return np.array(
        [
            unseen_bound(strata.weights[hidden], strata.points[hidden], confidence)
            for hidden in without.T
        ]
    )


# --- results ---------------------------------------------------------------------------------


def _result(
    sample: _Sample,
    figures: _Figures,
    labels: tuple[Any, ...],
    totals: dict[Any, float] | None,
    rest: tuple[float, float | None, str, float, Interval, str],
) -> MapAccuracy:
    pixels, pixel_area, area_unit, confidence, kind, note = rest
    k = sample.k
    share, error, bound = _cells(sample, confidence)
    counted = np.full(k, np.nan)
    if totals is not None:
        counted = np.array([totals.get(label, 0.0) for label in labels]) / sum(totals.values())
    areas = slice(1 + 2 * k, None)

    def row(values: Floats) -> Floats:
        return values[areas][None]

    estimator = "poststratified or stratified" if sample.strata_are_classes else "stratified"
    if sample.strata is None or sample.strata.labels == ("all",):
        estimator = "design-weighted" if sample.strata is None else "simple random sample"
    class_areas = ClassAreas(
        estimator,
        labels,
        (),
        np.array([len(sample.true)]),
        np.array([pixels]),
        row(figures.value),
        row(figures.error),
        row(figures.low),
        row(figures.high),
        counted[None],
        _unseen(sample, confidence)[None],
        row(figures.df),
        pixel_area,
        area_unit,
        confidence,
        kind,
        note,
    )

    def accuracy(place: int, missing: str) -> Estimate:
        undefined = bool(np.isnan(figures.value[place]))
        return Estimate(
            float(figures.value[place]),
            float(figures.error[place]),
            float(figures.low[place]),
            float(figures.high[place]),
            confidence,
            0.0 if undefined else float(figures.df[place]),
            kind,
            missing if undefined else _reason(figures.error[place]),
        )

    return MapAccuracy(
        labels,
        accuracy(0, ""),
        {
            label: accuracy(1 + i, "no sampled point has this class on the map")
            for i, label in enumerate(labels)
        },
        {
            label: accuracy(1 + k + i, "no sampled point has this reference class")
            for i, label in enumerate(labels)
        },
        class_areas,
        sample.counts(),
        share,
        error,
        bound,
        note,
    )


def _reason(error: float) -> str:
    if math.isnan(error):
        return "no standard error: the sample shows no variation, or a stratum has one point"
    return ""


def _interval_kind(interval: Interval | None, design: AnyDesign | None) -> Interval:
    if interval is None:
        return "score" if design is None else "logit"
    if interval not in get_args(Interval):
        raise ValueError(f"interval={interval!r}; allowed are {list(get_args(Interval))}.")
    if interval == "score" and design is not None:
        raise ValueError(
            "interval='score' is made stratum by stratum from sizes. With a design give 'logit', "
            "'t' or 'normal'."
        )
    return interval


def _check_options(
    sizes: object,
    strata: object,
    map_totals: object,
    design: object,
    collapse: object,
    fpc: bool,
) -> None:
    if design is not None and not isinstance(design, (Design, ReplicateDesign)):
        raise TypeError(
            f"design is a {type(design).__name__}; give a Design, such as Design(weights=...)."
        )
    if design is not None and sizes is not None:
        raise ValueError("Both sizes and design are given. Give one: a design has the weights.")
    for name, given in (("strata", strata), ("collapse", collapse), ("fpc", fpc or None)):
        if given is not None and sizes is None:
            raise ValueError(f"{name} needs sizes: the pixels of each stratum.")
    if map_totals is not None and sizes is not None and strata is None:
        raise ValueError("Without strata, sizes are the totals of the map: leave out map_totals.")
    if map_totals is not None and sizes is None and design is None:
        raise ValueError(
            "map_totals of a simple random sample: give them as sizes, which poststratifies."
        )


def _pixels(
    strata: Strata | None, totals: Mapping[Any, float] | None, design: AnyDesign | None
) -> float:
    if strata is not None and strata.are_pixels:
        return float(strata.sizes.sum())
    if design is not None and totals is not None and not are_shares(totals):
        return sum(totals.values())
    return math.nan


def _note(sample: _Sample, design: AnyDesign | None) -> str:
    strata = sample.strata
    if design is not None:
        return design.note
    assert strata is not None  # noqa: S101
    if strata.labels == ("all",):
        return SIMPLE_RANDOM
    lone = sample.lone
    if lone is not None and lone.any():
        names = [strata.labels[place] for place in np.flatnonzero(lone)]
        other = next((name for name in strata.labels if name != names[0]), "another")
        return (
            f"one point in {named(names)} shows no variation, so that there is no standard error; "
            f"join it with a stratum like it, as in collapse={{{names[0]!r}: {other!r}}}"
        )
    return "standard errors from joined strata" if sample.collapse else ""


def _with_interval(found: Estimate) -> str:
    show = or_dash("{:.3f}")
    if math.isnan(found.low):
        return str(show(found.value))
    return f"{show(found.value)} ({found.low:.3f} to {found.high:.3f})"
