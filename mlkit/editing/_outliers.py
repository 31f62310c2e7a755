"""Values far from the others: bounds from quartiles, of values and of ratios to last period."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.editing._score_inputs import (
    Groups,
    as_amount,
    as_label,
    check_same_records,
    read_groups,
    read_values,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mlkit.editing._score_inputs import Floats, Labels, Mask, Places, Values

# Fewer values than this make uncertain quartiles: Banff's own advice.
_FEW = 10
_MOST_SHOWN = 30  # classes in a view or figure
_MOST_POINTS = 5_000  # records in a figure
_EPSILON = float(np.finfo(np.float64).eps)


class OutlierStatus(enum.IntEnum):
    """What a value is to the bounds of its class."""

    NOT_JUDGED = 0
    INSIDE = 1
    EXCLUDE = 2
    IMPUTE = 3
    OUTSIDE = 4

    @property
    def label(self) -> str:
        """The status in words."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, eq=False)
class Quartiles:
    """Quartiles by class, and the distances from the median that count as one."""

    records: Places
    q1: Floats
    median: Floats
    q3: Floats
    left: Floats
    right: Floats

    def bounds(self, multiplier: float) -> tuple[Floats, Floats]:
        """Give the interval of a multiplier, by class."""
        return self.median - multiplier * self.left, self.median + multiplier * self.right

    def outside(self, values: Floats, places: Places, multiplier: float) -> Mask:
        """Say which values lie outside; one on a bound, up to rounding, lies inside."""
        low, high = self.bounds(multiplier)
        reach = np.abs(self.median) + multiplier * np.maximum(self.left, self.right)
        noise = 4 * _EPSILON * reach
        with np.errstate(invalid="ignore"):  # a class without values has no bounds
            found: Mask = (values < (low - noise)[places]) | (values > (high + noise)[places])
        return found

    def distances(self, values: Floats, places: Places) -> Floats:
        """Say how many distances each value lies from the median, negative on the left."""
        gap = values - self.median[places]
        unit = np.where(gap < 0, self.left[places], self.right[places])
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = np.where(gap == 0, 0.0, gap / unit)
        return found

    def notes(self) -> list[str]:
        """Say of each class what to know before its bounds are used."""
        notes = []
        for n, left, right in zip(self.records, self.left, self.right, strict=True):
            said = []
            if not n:
                said.append("no values")
            elif n < _FEW:
                said.append(f"fewer than {_FEW} values")
            if left == 0 or right == 0:
                side = "either" if left == right else "the left" if left == 0 else "the right"
                said.append(f"no distance on {side} side: anything beyond the median is outside")
            notes.append("; ".join(said))
        return notes


def quartiles_by(values: Floats, groups: Groups, minimum: float) -> Quartiles:
    """Find the quartiles of each class; missing values are left out.

    Quantile p of n values lies at place p (n + 1) of the ordered values, between two places in
    proportion: Banff's rule, definition 6 of Hyndman and Fan, which NumPy calls "weibull".
    """
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known])]
    # Sixteen bits are sorted by radix, ten times faster.
    small = np.uint16 if len(groups) <= np.iinfo(np.uint16).max else np.intp
    order = order[np.argsort(groups.places[order].astype(small), kind="stable")]
    ordered = values[order]
    n = np.bincount(groups.places[known], minlength=len(groups))
    start = np.cumsum(n) - n

    def at(share: float) -> Floats:
        place = np.clip(share * (n + 1), 1, np.maximum(n, 1)) - 1
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(n, 1) - 1)
        if not len(ordered):
            return np.full(len(n), np.nan)
        lower = ordered[np.minimum(start + below, len(ordered) - 1)]
        upper = ordered[np.minimum(start + above, len(ordered) - 1)]
        found: Floats = np.where(n > 0, lower + (place - below) * (upper - lower), np.nan)
        return found

    q1, median, q3 = at(0.25), at(0.5), at(0.75)
    least = np.abs(minimum * median)
    return Quartiles(
        n, q1, median, q3, np.maximum(median - q1, least), np.maximum(q3 - median, least)
    )


@dataclass(frozen=True, repr=False, eq=False)
class QuartileOutliers:
    """What :func:`quartile_outliers` found.

    Attributes
    ----------
    values : Series of shape (n,)
        The values that were judged.
    status : ndarray of int8, of shape (n,)
        The :class:`OutlierStatus` of each: 0 not judged, 1 inside, 2 exclude, 3 impute.
    distance : ndarray of shape (n,)
        How far each value lies from the median of its class, in quartile distances (with their
        minimum), negative on the left: a multiplier below this flags it. NaN if not judged.
    groups : ndarray of int, of shape (n,)
        The class of each record: its row in `intervals`.
    intervals : DataFrame
        One row per class: `records` (values judged), `q1`, `median`, `q3`, the bounds
        `exclude_low`, `exclude_high`, `impute_low`, `impute_high` (NaN where no multiplier was
        given), the numbers found, `exclude` and `impute`, and a `note`.
    """

    values: pd.Series[Any]
    status: NDArray[np.int8]
    distance: Floats
    groups: Places
    intervals: pd.DataFrame

    @property
    def to_impute(self) -> pd.Series[Any]:
        """Which values are so far out that they are to be imputed: Banff's FTI."""
        return self._mask(OutlierStatus.IMPUTE)

    @property
    def to_exclude(self) -> pd.Series[Any]:
        """Which values stay but are no model for others: Banff's FTE (not those to impute)."""
        return self._mask(OutlierStatus.EXCLUDE)

    def _mask(self, status: OutlierStatus) -> pd.Series[Any]:
        return pd.Series(self.status == status, index=self.values.index, name=self.values.name)

    def flagged(self) -> pd.DataFrame:
        """List the outliers, the farthest first.

        Returns
        -------
        DataFrame
            One row per outlier: `record`, `class`, `value`, `status` and `distance`.
        """
        rows = _farthest_first(self.status, self.distance)
        return pd.DataFrame(
            {
                "record": self.values.index[rows],
                "class": self.intervals.index[self.groups[rows]],
                "value": self.values.to_numpy()[rows],
                "status": [OutlierStatus(status).label for status in self.status[rows]],
                "distance": self.distance[rows],
            }
        )

    def to_frame(self) -> pd.DataFrame:
        """Write the bounds of each class as a table; see `intervals`."""
        return self.intervals.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the outliers of each class against its bounds.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes
            Where it was drawn: of more than 30 classes those with most outliers; of more than
            5,000 outliers the farthest. The axis is squeezed (symmetric logarithm) where outliers
            lie 20 times beyond the bounds.
        """
        from mlkit.style import BLACK, GREY, ORANGE, VERMILION

        ax = axes(ax)
        table = self.intervals
        shown = _most_flagged(table, ("impute", "exclude"))
        place = np.full(len(table), -1)
        place[shown] = np.arange(len(shown))
        rows = _farthest_first(self.status, self.distance)
        rows = rows[place[self.groups[rows]] >= 0][:_MOST_POINTS]
        here = table.iloc[shown]
        heights = np.arange(len(shown))
        for kind, width in (("impute", 4), ("exclude", 10)):
            low, high = here[f"{kind}_low"], here[f"{kind}_high"]
            if low.notna().any():
                ax.hlines(
                    heights, low, high, color=GREY, lw=width, alpha=0.4, label=f"not to {kind}"
                )
        ax.plot(here["median"], heights, "|", color=BLACK, ms=14, mew=2, label="median")
        found = self.values.to_numpy()
        for status, colour, marker in (
            (OutlierStatus.EXCLUDE, ORANGE, "^"),
            (OutlierStatus.IMPUTE, VERMILION, "X"),
        ):
            some = rows[self.status[rows] == status]
            if len(some):
                label = f"{status.label} ({int((self.status == status).sum()):,})"
                at = place[self.groups[some]]
                ax.plot(found[some], at, marker, color=colour, ms=7, ls="", label=label)
        _squeeze(ax, found[rows], here)
        ax.set_yticks(heights, [as_label(label) for label in here.index])
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.set_xlabel(str(self.values.name))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        return ax

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        table = self.intervals
        shown = _most_flagged(table, ("impute", "exclude"))
        here = table.iloc[shown]
        wide = pd.DataFrame({"class": [as_label(label) for label in here.index]})
        wide["values"] = [f"{n:,}" for n in here["records"]]
        wide["median"] = [as_amount(value) for value in here["median"]]
        for kind in ("exclude", "impute"):
            low, high = here[f"{kind}_low"], here[f"{kind}_high"]
            if low.notna().any():
                wide[f"{kind} outside"] = [
                    f"{as_amount(a)} to {as_amount(b)}" for a, b in zip(low, high, strict=True)
                ]
                wide[kind] = [f"{n:,}" for n in here[kind]]
        judged = int((self.status > OutlierStatus.NOT_JUDGED).sum())
        return (
            f"Quartile outliers of {self.values.name}: {int(table['impute'].sum()):,} to impute, "
            f"{int(table['exclude'].sum()):,} to exclude, of {judged:,} values",
            wide,
            _more(table, shown),
            _not_judged(self.status),
            _class_notes(here),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def quartile_outliers(
    values: Values,
    *,
    by: Labels | None = None,
    exclusion: float | None = None,
    imputation: float | None = None,
    minimum_distance: float = 0.05,
    min_records: int = 3,
) -> QuartileOutliers:
    """Find values far from the median of their class, in quartile distances.

    Two intervals are told apart. A value outside the wide one is taken for an error: impute it.
    A value between the two may be right but is no model for others: keep it, and exclude it from
    what imputes them (means, ratios, donors).

    Parameters
    ----------
    values : Series or array-like of shape (n,)
        Numbers; missing ones are not judged. To find *influential* outliers multiply by the
        design weights first, as Banff's `weight` does: there is no weight here, as quartiles of a
        population (weighted) and influence (multiplied) are different things.
    by : array-like, Series or DataFrame of shape (n,) or (n, k), optional
        Classes that are judged by themselves; columns of a data frame are crossed.
    exclusion, imputation : float, optional
        The multipliers of the two intervals, Banff's `mei` and `mii`; at least one is needed, and
        imputation is the larger. There is no default that suits all variables: start with about
        2.5 and 4, look at what is found, and adjust.
    minimum_distance : float, default=0.05
        The least quartile distance, as a part of the median: Banff's `mdm`. It keeps a class with
        hardly any spread from flagging everything.
    min_records : int, default=3
        Classes with fewer known values are not judged. From 3 on they are, with a note below 10.

    Returns
    -------
    QuartileOutliers
        The status of each value, and the bounds of each class.

    Raises
    ------
    ValueError
        If there are no records, identifiers come twice, all values are missing, one is infinite,
        a label is missing, lengths or indexes differ, no multiplier is given, or a parameter is
        out of range.
    TypeError
        If values are not numbers.

    Notes
    -----
    With median M and quartiles Q1 and Q3 of the class, the interval of a multiplier m reaches
    from M - m max(M - Q1, abs(d M)) to M + m max(Q3 - M, abs(d M)), d being `minimum_distance`;
    both ends lie inside. Quartile p of n values lies at place p (n + 1) of the ordered ones,
    between two places in proportion, as in Banff.

    Source: Statistics Canada, Banff 3.1.3, procedure outlier, method CURRENT (its guide, and runs
    of it). It fails for classes with several humps, where more than a quarter of the values is
    wrong on one side, and where the median is 0: then the least distance is 0 too.

    Examples
    --------
    Banff's documentation, outlier01:

    >>> from mlkit.editing import quartile_outliers
    >>> x = [2, 19, 9, 1, -8, 5, 7, 9, 2, -3, 17, 2, 14, 3, -1]
    >>> found = quartile_outliers(x, exclusion=2.5, imputation=4)
    >>> found.flagged()[["value", "status", "distance"]]
       value   status  distance
    0   -8.0   impute -5.500000
    1   -3.0  exclude -3.000000
    2   19.0  exclude  2.666667
    """
    _check_multipliers(exclusion, imputation)
    _check_common(minimum_distance, min_records)
    series = read_values(values, "value")
    groups = read_groups(by, series.index)
    numbers = series.to_numpy()
    quartiles = quartiles_by(numbers, groups, minimum_distance)
    judged = _judged(numbers, groups, quartiles, min_records)
    status = np.where(judged, OutlierStatus.INSIDE, OutlierStatus.NOT_JUDGED).astype(np.int8)
    table = _quartile_table(quartiles, groups)
    for kind, multiplier in (("exclude", exclusion), ("impute", imputation)):
        low, high = quartiles.bounds(np.nan if multiplier is None else multiplier)
        table[f"{kind}_low"], table[f"{kind}_high"] = low, high
        if multiplier is not None:
            outside = judged & quartiles.outside(numbers, groups.places, multiplier)
            status[outside] = OutlierStatus[kind.upper()]
    for kind in ("exclude", "impute"):
        found = groups.places[status == OutlierStatus[kind.upper()]]
        table[kind] = np.bincount(found, minlength=len(groups))
    table["note"] = _notes(quartiles, min_records)
    distance = np.where(judged, quartiles.distances(numbers, groups.places), np.nan)
    return QuartileOutliers(series, status, distance, groups.places, table)


@dataclass(frozen=True, repr=False, eq=False)
class RatioOutliers:
    """What :func:`hidiroglou_berthelot` found.

    Attributes
    ----------
    current, previous : Series of shape (n,)
        The values of both periods.
    status : ndarray of int8, of shape (n,)
        The :class:`OutlierStatus` of each record: 0 not judged, 1 inside, 4 outside.
    reason : ndarray of str, of shape (n,)
        Why a record was not judged; empty if it was.
    effect : ndarray of shape (n,)
        The effect E of each record, negative where it fell more than the median; NaN if not
        judged.
    distance : ndarray of shape (n,)
        How far the effect lies from its median, in quartile distances: a `c` below this flags it.
    groups : ndarray of int, of shape (n,)
        The class of each record: its row in `intervals`.
    intervals : DataFrame
        One row per class: `records` (judged), `median_ratio`, the quartiles of the effect `q1`,
        `median` and `q3`, its bounds `low` and `high`, the number `outside`, and a `note`.
    u : float
        The exponent of the size.
    """

    current: pd.Series[Any]
    previous: pd.Series[Any]
    status: NDArray[np.int8]
    reason: NDArray[Any]
    effect: Floats
    distance: Floats
    groups: Places
    intervals: pd.DataFrame
    u: float

    @property
    def outside(self) -> pd.Series[Any]:
        """Which records changed in a way unlike the others of their class."""
        found = self.status == OutlierStatus.OUTSIDE
        return pd.Series(found, index=self.current.index, name=self.current.name)

    @property
    def not_judged(self) -> pd.Series[Any]:
        """Why records were not judged, one entry for each that was not: look at them otherwise."""
        rows = np.flatnonzero(self.status == OutlierStatus.NOT_JUDGED)
        return pd.Series(self.reason[rows], index=self.current.index[rows], name="reason")

    def flagged(self) -> pd.DataFrame:
        """List the outliers, the farthest first.

        Returns
        -------
        DataFrame
            One row per outlier: `record`, `class`, `previous`, `current`, `ratio`, the ratios
            `low` and `high` between which a record of its size and class lies inside, `effect`
            and `distance`.
        """
        rows = _farthest_first(self.status, self.distance)
        before, now = self.previous.to_numpy()[rows], self.current.to_numpy()[rows]
        group = self.groups[rows]
        low, high = self._ratio_bounds(np.maximum(before, now), group)
        return pd.DataFrame(
            {
                "record": self.current.index[rows],
                "class": self.intervals.index[group],
                "previous": before,
                "current": now,
                "ratio": now / before,
                "low": low,
                "high": high,
                "effect": self.effect[rows],
                "distance": self.distance[rows],
            }
        )

    def _ratio_bounds(self, size: Floats, group: Places | int) -> tuple[Floats, Floats]:
        """Turn bounds of the effect into bounds of the ratio of a record of this size."""
        median = self.intervals["median_ratio"].to_numpy()[group]
        low, high = (
            median * _unsymmetric(self.intervals[end].to_numpy()[group] / size**self.u)
            for end in ("low", "high")
        )
        return low, high

    def to_frame(self) -> pd.DataFrame:
        """Write the bounds of each class as a table; see `intervals`."""
        return self.intervals.copy()

    def plot(self, ax: Axes | None = None, *, group: Any = None) -> Axes:
        """Draw the ratio of each record against its size, with the bounds.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        group : label, optional
            The class to draw, one of `intervals.index`; needed if there are several.

        Returns
        -------
        matplotlib Axes
            Where it was drawn. Of more than 5,000 records inside (or outside) every kth one (or
            the farthest).

        Raises
        ------
        KeyError
            If there are several classes and none, or an unknown one, is named.
        """
        from mlkit.style import BLACK, BLUE, GREY, VERMILION

        ax = axes(ax)
        place = self._place(group)
        before, now = self.previous.to_numpy(), self.current.to_numpy()
        here = self.groups == place
        inside = np.flatnonzero(here & (self.status == OutlierStatus.INSIDE))
        far = _farthest_first(np.where(here, self.status, 0), self.distance)
        judged = np.concatenate([inside, far])
        if not len(judged):
            raise ValueError(f"No record of {as_label(self.intervals.index[place])} was judged.")
        for rows, step, colour, marker, size, what in (
            (inside, -(-len(inside) // _MOST_POINTS) or 1, GREY, ".", 4, "inside"),
            (far[:_MOST_POINTS], 1, VERMILION, "X", 7, "outside"),
        ):
            drawn = rows[::step]
            x, y = np.maximum(before, now)[drawn], now[drawn] / before[drawn]
            total = len(inside) if what == "inside" else len(far)
            label = f"{what} ({total:,})"
            ax.plot(x, y, marker, color=colour, ms=size, ls="", label=label, rasterized=True)
        sizes = np.maximum(before, now)[judged]
        line = np.geomspace(sizes.min(), sizes.max(), 200)
        low, high = self._ratio_bounds(line, place)
        ax.plot(line, low, color=BLUE, label="bounds")
        ax.plot(line, high, color=BLUE)
        ax.axhline(self.intervals["median_ratio"].iloc[place], color=BLACK, lw=1, ls="--")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("size: the larger of both periods")
        ax.set_ylabel(f"{self.current.name}: current / previous")
        if group is not None:
            ax.set_title(as_label(group))
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return ax

    def _place(self, group: Any) -> int:
        labels = list(self.intervals.index)
        if group is None and len(labels) == 1:
            return 0
        if group not in labels:
            shown = ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
            raise KeyError(f"group={group!r}; name one of the {len(labels):,} classes: {shown}")
        return labels.index(group)

    def _view(self) -> tuple[str, pd.DataFrame, str, str, str]:
        table = self.intervals
        shown = _most_flagged(table, ("outside",))
        here = table.iloc[shown]
        wide = pd.DataFrame({"class": [as_label(label) for label in here.index]})
        wide["records"] = [f"{n:,}" for n in here["records"]]
        wide["median ratio"] = [f"{value:.4f}" for value in here["median_ratio"]]
        sizes = self._typical_sizes()[shown]
        low, high = self._ratio_bounds(sizes, shown)
        wide["ratios inside, at a typical size"] = [
            f"{a:.3f} to {b:.3f} at {as_amount(size)}"
            for a, b, size in zip(low, high, sizes, strict=True)
        ]
        wide["outside"] = [f"{n:,}" for n in here["outside"]]
        judged = int((self.status > OutlierStatus.NOT_JUDGED).sum())
        return (
            f"Hidiroglou-Berthelot, {self.current.name}: {int(table['outside'].sum()):,} outside "
            f"of {judged:,} ratios",
            wide,
            _more(table, shown),
            _not_judged(self.status, self.reason),
            _class_notes(here),
        )

    def _typical_sizes(self) -> Floats:
        """Give the median size of each class."""
        size = np.maximum(self.previous.to_numpy(), self.current.to_numpy())
        size = np.where(self.status > OutlierStatus.NOT_JUDGED, size, np.nan)
        return quartiles_by(size, Groups(self.groups, self.intervals.index), 0.0).median

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def hidiroglou_berthelot(
    current: Values,
    previous: Values,
    *,
    by: Labels | None = None,
    u: float = 0.5,
    a: float = 0.05,
    c: float = 4.0,
    min_records: int = 3,
) -> RatioOutliers:
    """Find records whose ratio to last period is unlike that of others, the larger the stricter.

    A ratio far from the median is more suspect in a large record than in a small one, and a fall
    to a tenth as much as a rise to ten times. The method makes the two sides alike and lets size
    count.

    Parameters
    ----------
    current, previous : Series or array-like of shape (n,)
        The values of the same records in this period and the last one, in the same order.
    by : array-like, Series or DataFrame of shape (n,) or (n, k), optional
        Classes that are judged by themselves; columns of a data frame are crossed.
    u : float, default=0.5
        The exponent of the size, from 0 (size does not count) to 1 (it counts fully): U of the
        paper, Banff's `exponent`, whose default is 0.
    a : float, default=0.05
        The least quartile distance, as a part of the median effect: A of the paper, Banff's
        `mdm`.
    c : float, default=4.0
        The multiplier: C of the paper, Banff's `mei` or `mii`. There is no best one: univOutl
        (R) has 4 as default, Statistics Norway 20. Look at what is found, and adjust.
    min_records : int, default=3
        Classes with fewer ratios are not judged. From 3 on they are, with a note below 10.

    Returns
    -------
    RatioOutliers
        The status of each record, and the bounds of each class.

    Raises
    ------
    ValueError
        If there are no records, identifiers come twice, all values of a period are missing, one
        is infinite, a label is missing, lengths or indexes differ, or a parameter is out of range.
    TypeError
        If values are not numbers.

    Notes
    -----
    With the ratio r of a record and the median ratio m of its class, s = 1 - m / r where r < m
    and s = r / m - 1 elsewhere; the effect is E = s max(current, previous)^U. A record is outside
    if E < E2 - C max(E2 - E1, abs(A E2)) or E > E2 + C max(E3 - E2, abs(A E2)), with E1, E2 and
    E3 the quartiles of the effects of its class, computed as in :func:`quartile_outliers`.

    A ratio needs two values above 0. A record with a missing value, a zero or a negative value in
    either period is *not judged*, and `reason` says why, as in Banff and univOutl: a birth, a
    death or an item that began is no outlier of a ratio. They may be the largest changes of all:
    :func:`compare_totals` shows them.

    The median effect is 0 or nearly so, which makes A work little: where more than half of the
    records repeat last period's value, the quartile distances are 0 and every change is outside;
    the class gets a note.

    Source: Hidiroglou and Berthelot 1986, Statistical editing and imputation for periodic business
    surveys, Survey Methodology 12(1), 73-83, as described by R's univOutl; pinned to runs of Banff
    3.1.3, method HISTORIC.

    Examples
    --------
    >>> from mlkit.editing import hidiroglou_berthelot
    >>> previous = [420, 40, 83, 31, 35, 44, 60, 43, 23, 1500, 68, 38]
    >>> current = [443, 45, 88, 340, 39, 47, 63, 46, 25, 2100, 0, 40]
    >>> found = hidiroglou_berthelot(current, previous)
    >>> found.flagged()[["record", "ratio", "low", "high"]].round(2)
       record  ratio   low  high
    0       3  10.97  1.05  1.15
    1       9   1.40  1.06  1.10
    >>> found.not_judged
    10    zero now
    Name: reason, dtype: str
    """
    if not 0 <= u <= 1:
        raise ValueError(f"u={u}; allowed is an exponent from 0 to 1.")
    require_positive(c=c)
    _check_common(a, min_records, name="a")
    now, before = read_values(current, "current"), read_values(previous, "previous")
    check_same_records(now.index, before.index, "current and previous")
    groups = read_groups(by, now.index)
    reason = _unfit(before.to_numpy(), now.to_numpy())
    effect, median_ratio = effects(before.to_numpy(), now.to_numpy(), reason == "", groups, u)
    quartiles = quartiles_by(effect, groups, a)
    judged = _judged(effect, groups, quartiles, min_records)
    reason[(reason == "") & ~judged] = "small class"
    outside = judged & quartiles.outside(effect, groups.places, c)
    status = np.where(judged, OutlierStatus.INSIDE, OutlierStatus.NOT_JUDGED).astype(np.int8)
    status[outside] = OutlierStatus.OUTSIDE
    table = _quartile_table(quartiles, groups)
    table.insert(1, "median_ratio", median_ratio)
    table["low"], table["high"] = quartiles.bounds(c)
    table["outside"] = np.bincount(groups.places[outside], minlength=len(groups))
    table["note"] = _notes(quartiles, min_records)
    distance = np.where(judged, quartiles.distances(effect, groups.places), np.nan)
    effect = np.where(judged, effect, np.nan)
    return RatioOutliers(
        now, before, status, reason, effect, distance, groups.places, table, float(u)
    )


def effects(
    previous: Floats, current: Floats, fit: Mask, groups: Groups, u: float
) -> tuple[Floats, Floats]:
    """Compute the effect of each record that is fit, NaN elsewhere, and the median ratios."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(fit, current / previous, np.nan)
        median = quartiles_by(ratio, groups, 0.0).median
        relative = ratio / median[groups.places]
        symmetric = np.where(relative < 1, 1 - 1 / relative, relative - 1)
        size = np.where(fit, np.maximum(previous, current), np.nan)
        found: Floats = symmetric * size**u
    return found, median


def _unsymmetric(s: Floats) -> Floats:
    """Turn a symmetric deviation back into a ratio to the median ratio."""
    return np.where(s < 0, 1 / (1 - np.minimum(s, 0)), 1 + s)


def _unfit(previous: Floats, current: Floats) -> NDArray[Any]:
    """Say why a record has no ratio; empty if it has."""
    reason = np.full(len(current), "", dtype=object)
    # The later ones take precedence: nothing is said about the sign of a missing value.
    for fault, words in (
        (current == 0, "zero now"),
        (previous == 0, "zero before"),
        ((current == 0) & (previous == 0), "zero in both"),
        ((current < 0) | (previous < 0), "negative"),
        (np.isnan(current), "missing now"),
        (np.isnan(previous), "missing before"),
        (np.isnan(current) & np.isnan(previous), "missing in both"),
    ):
        reason[fault] = words
    return reason


def _check_multipliers(exclusion: float | None, imputation: float | None) -> None:
    given = {"exclusion": exclusion, "imputation": imputation}
    require_positive(**{name: value for name, value in given.items() if value is not None})
    if exclusion is None and imputation is None:
        raise ValueError(
            "Neither exclusion nor imputation is given. Give at least one multiplier, such as "
            "exclusion=2.5 and imputation=4."
        )
    if exclusion is not None and imputation is not None and exclusion >= imputation:
        raise ValueError(
            f"exclusion={exclusion} and imputation={imputation}; the interval of values to impute "
            "lies outside that of values to exclude. Give imputation the larger multiplier."
        )


def _check_common(minimum: float, min_records: int, name: str = "minimum_distance") -> None:
    if not (np.isfinite(minimum) and minimum >= 0):
        raise ValueError(f"{name}={minimum}; allowed is a part of the median, 0 or more.")
    if min_records < 3:
        raise ValueError(f"min_records={min_records}; quartiles need at least 3 values.")


def _judged(values: Floats, groups: Groups, quartiles: Quartiles, min_records: int) -> Mask:
    enough = quartiles.records >= min_records
    judged: Mask = ~np.isnan(values) & enough[groups.places]
    return judged


def _quartile_table(quartiles: Quartiles, groups: Groups) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "records": quartiles.records,
            "q1": quartiles.q1,
            "median": quartiles.median,
            "q3": quartiles.q3,
        },
        index=pd.Index(groups.labels, name="class", tupleize_cols=False),
    )


def _notes(quartiles: Quartiles, min_records: int) -> list[str]:
    small = quartiles.records < min_records
    return [
        f"fewer than {min_records} values: not judged" if few else note
        for few, note in zip(small, quartiles.notes(), strict=True)
    ]


def _farthest_first(status: NDArray[np.int8], distance: Floats) -> Places:
    rows = np.flatnonzero(status >= OutlierStatus.EXCLUDE)
    return rows[np.argsort(-np.abs(distance[rows]), kind="stable")]


def _most_flagged(table: pd.DataFrame, counts: tuple[str, ...]) -> Places:
    """Choose the classes to show, in their own order."""
    flagged = table[list(counts)].sum(axis=1).to_numpy()
    return np.sort(np.argsort(-flagged, kind="stable")[:_MOST_SHOWN])


def _more(table: pd.DataFrame, shown: Places) -> str:
    rest = len(table) - len(shown)
    return f"{rest:,} more classes, with fewer outliers: to_frame() has them." if rest else ""


def _not_judged(status: NDArray[np.int8], reason: NDArray[Any] | None = None) -> str:
    left = status == OutlierStatus.NOT_JUDGED
    if not left.any():
        return ""
    said = f"Not judged: {int(left.sum()):,} of {len(status):,} records"
    if reason is None:
        return f"{said}, missing or in a class too small."
    words, counts = np.unique(reason[left].astype(str), return_counts=True)
    listed = ", ".join(f"{word} {n:,}" for word, n in zip(words, counts, strict=True))
    return f"{said} ({listed})."


def _class_notes(table: pd.DataFrame) -> str:
    noted = table["note"][table["note"] != ""]
    said = [f"{as_label(label)}: {note}" for label, note in noted.items()]
    more = f"; and {len(said) - 5:,} more" if len(said) > 5 else ""
    return "Beware. " + "; ".join(said[:5]) + more + "." if said else ""


def _squeeze(ax: Axes, outliers: Floats, table: pd.DataFrame) -> None:
    """Squeeze an axis on which one outlier would flatten all bounds."""
    ends = table[["exclude_low", "exclude_high", "impute_low", "impute_high"]].to_numpy()
    known = np.abs(ends[~np.isnan(ends)])
    reach = float(known.max()) if len(known) else 0.0
    if len(outliers) and reach > 0 and np.abs(outliers).max() > 20 * reach:
        ax.set_xscale("symlog", linthresh=reach)
