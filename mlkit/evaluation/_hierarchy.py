"""Precision, recall and F1 of paths through a classification, and where they first go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from mlkit._views import as_html, as_text, axes
from mlkit.classifications import Classification
from mlkit.evaluation._inputs import (
    MISSING,
    Codes,
    Labels,
    at_levels,
    check_lengths,
    match,
    read_codes,
    read_predictions,
    read_truth,
    read_weights,
)
from mlkit.evaluation._views import three_decimals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

Average = Literal["micro", "records", "macro"]


class HierarchicalScores(NamedTuple):
    """What :func:`hierarchical_scores` found: unpacks to precision, recall, f1.

    Attributes
    ----------
    precision, recall, f1 : float
        The scores.
    """

    precision: float
    recall: float
    f1: float

    def to_frame(self) -> pd.DataFrame:
        """Write the scores as a table.

        Returns
        -------
        DataFrame
            One row, with the columns `precision`, `recall` and `f1`.
        """
        return pd.DataFrame([self._asdict()])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the three scores as bars.

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
        ax.barh(self._fields, list(self))
        ax.invert_yaxis()
        ax.set_xlim(0, 1)
        ax.set_xlabel("hierarchical score")
        return ax

    def _repr_html_(self) -> str:
        return as_html("Hierarchical scores", self.to_frame().map(three_decimals))


@dataclass(frozen=True, eq=False, repr=False)
class FirstWrongLevel:
    """What :func:`first_wrong_level` found.

    Attributes
    ----------
    levels : tuple of str
        The levels, from the top down.
    per_record : ndarray of shape (n,)
        For each record, the name of the first level at which the code is wrong; None if it is
        right as far as the true code goes.
    right : ndarray of shape (m,)
        For each level, the share of records right down to it, among those whose true code
        reaches it; weighted if weights were given. NaN at a level that none reaches.
    first_wrong : ndarray of shape (m,)
        For each level, the share of all records that go wrong there first; weighted likewise.
    record_right, record_first_wrong : ndarray of shape (m,)
        The same, each record counted once.
    records : ndarray of shape (m,)
        How many true codes reach each level.
    weighted : bool
        Whether weights were given.
    """

    levels: tuple[str, ...]
    per_record: NDArray[np.object_]
    right: NDArray[np.float64]
    first_wrong: NDArray[np.float64]
    record_right: NDArray[np.float64]
    record_first_wrong: NDArray[np.float64]
    records: NDArray[np.intp]
    weighted: bool

    def to_frame(self) -> pd.DataFrame:
        """Write the result as a table.

        Returns
        -------
        DataFrame
            One row per level: `level`, `records`, `record_right`, `record_first_wrong`, and, if
            weights were given, `population_right` and `population_first_wrong`.
        """
        table = {
            "level": self.levels,
            "records": self.records,
            "record_right": self.record_right,
            "record_first_wrong": self.record_first_wrong,
        }
        if self.weighted:
            table["population_right"] = self.right
            table["population_first_wrong"] = self.first_wrong
        return pd.DataFrame(table)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share that goes wrong first at each level.

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
        places = np.arange(len(self.levels))
        sets = [(self.record_first_wrong, "of records")]
        if self.weighted:
            sets.append((self.first_wrong, "of the population (weighted)"))
        width = 0.8 / len(sets)
        for number, (shares, label) in enumerate(sets):
            ax.bar(places + number * width, shares, width, label=label)
        ax.set_xticks(places + (len(sets) - 1) * width / 2, self.levels)
        ax.set_xlabel("first wrong level")
        ax.set_ylabel("share")
        ax.legend()
        return ax

    def _view(self) -> tuple[str, pd.DataFrame]:
        frame = self.to_frame()
        counts = frame["records"].map("{:,}".format)
        shares = frame.iloc[:, 2:].map(three_decimals)
        return (
            f"First wrong level of {len(self.per_record):,} records",
            pd.concat([frame["level"], counts, shares], axis=1),
        )

    def __repr__(self) -> str:
        return as_text(*self._view())

    def _repr_html_(self) -> str:
        return as_html(*self._view())


def hierarchical_scores(
    y_true: Labels,
    y_pred: Labels,
    classification: Classification | None = None,
    *,
    average: Average = "micro",
    sample_weight: ArrayLike | None = None,
) -> HierarchicalScores:
    """Compute hierarchical precision, recall and F1: a near miss counts in part.

    Each code stands for the set of itself and all its ancestors. Precision is the share of the
    predicted set that is true, recall the share of the true set that is predicted.

    Parameters
    ----------
    y_true : array-like of shape (n,), or (n, m) without a classification
        The true codes, of any level. Without a classification: their paths, one column per
        level from the top down, with missing values (or empty text) behind the end of a
        path. A code in a path is known by the whole path down to it, so that equal labels at
        different levels, or below different parents, are different codes.
    y_pred : array-like of shape (n,) or (n, k), or (n, m) without a classification
        The predicted codes or paths. Of k codes, the first counts.
    classification : Classification, optional
        Of which the codes are. Without one, paths are given.
    average : {"micro", "records", "macro"}, default="micro"
        What to average over:

        - "micro": nothing; the sizes of the sets are added up over the records first.
        - "records": precision, recall and F1 of each record. (hiclass calls this "macro".)
        - "macro": precision, recall and F1 of each code of any level that occurs, true or
          predicted or as an ancestor; 0 where nothing was predicted, or nothing is true.
    sample_weight : array-like of shape (n,), optional
        The design weights.

    Returns
    -------
    HierarchicalScores
        Unpacks to precision, recall, F1.

    Raises
    ------
    ValueError
        If there are no records, a label is missing, a path has a gap, lengths differ, a code
        is unknown, or weights are negative, missing or all zero.
    TypeError
        If the codes are of mixed types, or neither text nor whole numbers.

    Notes
    -----
    With p_k and t_k the sizes of the predicted and the true set of record k, and c_k that of
    what they have in common, precision is sum c_k / sum p_k, recall sum c_k / sum t_k, and F1
    their harmonic mean (Kiritchenko, Matwin, Nock and Famili 2006, "Learning and evaluation in
    the presence of class hierarchies"). The root, which all codes share, is left out. No set is
    empty, so that nothing is divided by zero.

    Examples
    --------
    >>> from mlkit.evaluation.coding import hierarchical_scores
    >>> hierarchical_scores([["1", "12", "123"]], [["1", "12", "124"]]).precision
    0.6666666666666666
    """
    if average not in ("micro", "records", "macro"):
        raise ValueError(f"average={average!r}; allowed are 'micro', 'records' and 'macro'.")
    paths = _read_paths(y_true, y_pred, classification)
    weights = read_weights(sample_weight, len(paths.true))
    if weights is None:
        weights = np.ones(len(paths.true))
    if average == "macro":
        return _macro(paths, weights)
    shared, predicted, true = paths.shared(), _lengths(paths.predicted), _lengths(paths.true)
    if average == "micro":
        return _scores(float(weights @ shared), float(weights @ predicted), float(weights @ true))
    return HierarchicalScores(
        float(np.average(shared / predicted, weights=weights)),
        float(np.average(shared / true, weights=weights)),
        float(np.average(2 * shared / (predicted + true), weights=weights)),
    )


def first_wrong_level(
    y_true: Labels,
    y_pred: Labels,
    classification: Classification | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> FirstWrongLevel:
    """Find the first level at which each code is wrong, and the accuracy down to each level.

    Parameters
    ----------
    y_true, y_pred : array-like
        Codes or paths, as in :func:`hierarchical_scores`. A predicted code that ends above the
        true one is wrong at the first level that it lacks; one that goes on below the true
        one is right.
    classification : Classification, optional
        Of which the codes are. Without one, paths are given.
    sample_weight : array-like of shape (n,), optional
        The design weights.

    Returns
    -------
    FirstWrongLevel
        The first wrong level of each record, and shares by level.

    Raises
    ------
    ValueError
        As :func:`hierarchical_scores`.
    TypeError
        As :func:`hierarchical_scores`.

    Examples
    --------
    >>> from mlkit.evaluation.coding import first_wrong_level
    >>> first_wrong_level(
    ...     [["1", "12"], ["1", "12"], ["2", "21"], ["2", "21"]],
    ...     [["1", "12"], ["1", "11"], ["2", "22"], ["1", "11"]],
    ... ).to_frame()
         level  records  record_right  record_first_wrong
    0  level 1        4          0.75                0.25
    1  level 2        4          0.25                0.50
    """
    paths = _read_paths(y_true, y_pred, classification)
    weights = read_weights(sample_weight, len(paths.true))
    # A path is right down to the level behind which nothing is shared.
    right_levels, depth = paths.shared(), _lengths(paths.true)
    names = np.array([*paths.levels, None], dtype=object)
    ones = np.ones(len(paths.true))
    record_right, record_first_wrong, records = _by_level(paths, right_levels, ones)
    right, first_wrong = record_right, record_first_wrong
    if weights is not None:
        right, first_wrong, _ = _by_level(paths, right_levels, weights)
    return FirstWrongLevel(
        paths.levels,
        names[np.where(right_levels < depth, right_levels, len(paths.levels))],
        right,
        first_wrong,
        record_right,
        record_first_wrong,
        records.astype(np.intp),
        weights is not None,
    )


@dataclass(frozen=True, eq=False)
class _Paths:
    """The codes of each record at each level, as places in a tree; MISSING behind the end.

    `true` and `predicted` have the shape (n, levels). Equal places in a column are one code,
    and have equal places in the columns before it. `sizes` counts the places of each column.
    """

    levels: tuple[str, ...]
    true: NDArray[np.intp]
    predicted: NDArray[np.intp]
    sizes: tuple[int, ...]

    def shared(self) -> NDArray[np.intp]:
        """Count the codes that both paths of each record have."""
        return _count((self.true == self.predicted) & (self.true != MISSING))


def _read_paths(y_true: Labels, y_pred: Labels, classification: Classification | None) -> _Paths:
    if classification is None:
        true, predicted = read_codes(y_true, "y_true"), read_codes(y_pred, "y_pred")
        check_lengths(y_true=len(true), y_pred=len(predicted))
        return _number_paths(true, predicted)
    true, predicted = read_truth(y_true, "y_true"), read_predictions(y_pred, "y_pred").first()
    check_lengths(y_true=len(true), y_pred=len(predicted))
    levels, truths, guesses, sizes = zip(
        *at_levels(true, predicted, classification, classification.levels), strict=True
    )
    return _Paths(levels, np.hstack(truths), np.hstack(guesses), sizes)


def _number_paths(true: Codes, predicted: Codes) -> _Paths:
    """Give each code of each level a number, by the whole path down to them."""
    for codes in (true, predicted):
        _check_gaps(codes)
    sides = [*match(true, predicted)[:2]]
    different = max(side.max() for side in sides) + 1
    depth = max(side.shape[1] for side in sides)
    labels = np.vstack(
        [np.pad(s, ((0, 0), (0, depth - s.shape[1])), constant_values=MISSING) for s in sides]
    )
    places, sizes = np.empty_like(labels), []
    above = np.zeros(len(labels), dtype=np.intp)
    for level in range(depth):
        there = labels[:, level] != MISSING
        numbers, known = pd.factorize(above[there] * different + labels[there, level])
        places[:, level] = MISSING
        places[there, level] = numbers
        above = places[:, level]
        sizes.append(len(known))
    names = tuple(f"level {number}" for number in range(1, depth + 1))
    return _Paths(names, places[: len(true)], places[len(true) :], tuple(sizes))


def _check_gaps(codes: Codes) -> None:
    absent = codes.numbers == MISSING
    broken = absent[:, 0] | (absent[:, :-1] & ~absent[:, 1:]).any(axis=1)
    if broken.any():
        raise ValueError(
            f"{int(broken.sum()):,} of {len(codes):,} paths in {codes.name} are empty or have a "
            "gap: a path goes from the top down, and missing values stand behind its end only."
        )


def _lengths(places: NDArray[np.intp]) -> NDArray[np.intp]:
    return _count(places != MISSING)


def _count(marks: NDArray[np.bool_]) -> NDArray[np.intp]:
    counts: NDArray[np.intp] = np.count_nonzero(marks, axis=1)
    return counts


def _scores(shared: float, predicted: float, true: float) -> HierarchicalScores:
    return HierarchicalScores(shared / predicted, shared / true, 2 * shared / (predicted + true))


def _macro(paths: _Paths, weights: NDArray[np.float64]) -> HierarchicalScores:
    """Average over the codes of all levels that occur with a positive weight."""
    shared, predicted, true = (
        np.concatenate(
            [
                # MISSING is -1: one place up, it is counted at 0 and dropped.
                np.bincount(side[:, level] + 1, weights, minlength=size + 1)[1:]
                for level, size in enumerate(paths.sizes)
            ]
        )
        for side in (
            np.where(paths.true == paths.predicted, paths.true, MISSING),
            paths.predicted,
            paths.true,
        )
    )
    occurs = predicted + true > 0
    averages = [
        np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)[occurs].mean()
        for part, whole in ((shared, predicted), (shared, true), (2 * shared, predicted + true))
    ]
    return HierarchicalScores(*map(float, averages))


def _by_level(
    paths: _Paths, right_levels: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Add up by level: share right down to it, share first wrong there, records there."""
    reached = paths.true != MISSING
    level = np.arange(len(paths.levels))
    right = reached & (right_levels[:, None] > level)
    wrong = reached & (right_levels[:, None] == level)
    there = weights @ reached
    share = np.divide(weights @ right, there, out=np.full(len(level), np.nan), where=there > 0)
    return share, weights @ wrong / weights.sum(), there
