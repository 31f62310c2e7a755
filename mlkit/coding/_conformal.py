"""Short-lists that hold the true code as often as was asked for: split conformal sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from mlkit.coding._certificate import percent
from mlkit.coding._checks import _numbers, as_weights, require_share
from mlkit.coding._short_lists import (
    NOWHERE,
    Ranked,
    ShortLists,
    read_automatic,
    read_ranked,
    read_truth,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from mlkit.classifications import Classification

# Sums and products of weights are rounded: no record is gained or lost by that.
_ROUNDING = 1e-9

_EVERYTHING, _REST, _POOLED = "all codes", "all other codes", "all other codes (cut of all)"

_LAST = -1  # of the cells: that of all codes without one of their own


def conformal_quantile(
    scores: ArrayLike, *, coverage: float = 0.90, sample_weight: ArrayLike | None = None
) -> float:
    """Find the score that a new record stays below or at, with the probability asked for.

    Parameters
    ----------
    scores : array-like of shape (n,)
        How strange each calibration record is: larger is stranger. Such as 1 - the probability
        that the model gives the true code. Infinite where that is not known.
    coverage : float, default=0.90
        The probability.
    sample_weight : array-like of shape (n,), optional
        How much more frequent such a record is among the new ones than among these: design
        weights, or the ratio of densities under covariate shift. Any scale.

    Returns
    -------
    float
        The quantile; infinite if there are too few records, or too many infinite scores.

    Raises
    ------
    ValueError
        If there are no records, a score is NaN, `coverage` is not between 0 and 1, or weights
        are negative, missing or all 0.
    TypeError
        If scores are not numbers.

    Notes
    -----
    Without weights it is the ceil((n + 1) coverage)-th smallest score, infinite if that is more
    than n [1]_. It takes ceil(1 / (1 - coverage)) - 1 records to be finite: 9 for 90 %, 19 for
    95 %.

    With weights w it is the smallest score up to which at least ``coverage (sum of w + v)`` of
    the weights lie, where v is the weight of the new record [2]_. That weight is seldom known,
    and a quantile for each record would give clerks lists by different rules, so v is the
    largest w: the promise holds for every new record with that weight or less.

    References
    ----------
    .. [1] Angelopoulos, A. and Bates, S. (2021). A gentle introduction to conformal prediction
       and distribution-free uncertainty quantification. arXiv:2107.07511.
    .. [2] Tibshirani, R., Barber, R., Candès, E. and Ramdas, A. (2019). Conformal prediction
       under covariate shift. NeurIPS. arXiv:1904.06019.

    Examples
    --------
    >>> scores = [0.05, 0.10, 0.12, 0.20, 0.22, 0.30, 0.35, 0.41, 0.55, 0.80]
    >>> conformal_quantile(scores, coverage=0.80)
    0.55
    >>> conformal_quantile(scores, coverage=0.95)
    inf
    """
    require_share("coverage", coverage)
    strange = _numbers(scores, "scores")
    if strange.ndim != 1 or not len(strange):
        raise ValueError(
            f"scores have the shape {strange.shape}; give one per record, shape (n,), and at least "
            "one."
        )
    if absent := int(np.isnan(strange).sum()):
        raise ValueError(
            f"scores: {absent:,} of {len(strange):,} are missing (NaN). Give infinity where the "
            "true code has no score."
        )
    weights = as_weights(sample_weight, len(strange))
    weights = np.ones(len(strange)) if weights is None else weights
    return _quantile(strange, weights, float(weights.max()), coverage)


class ConformalShortLists(BaseEstimator):  # type: ignore[misc]
    """Short-lists that hold the true code as often as was asked for: split conformal sets.

    A code is on the list if the model's score for it reaches a cut; the list is never empty,
    for the best code is always on it. The cut is calibrated on records whose true code is known,
    and which neither trained the model nor judge the lists. The promise holds for records *like
    these*. So calibrate on the cases that clerks see: on all records, many are easy, and lists
    that hold the true code of 90 % of all hold it for some 70 % of the clerks' own.

    The order of work: fix the threshold of automatic coding, calibrate below it, judge with
    :func:`short_list_report` on other records, and compare with :func:`top_k_lists`.

    Parameters
    ----------
    coverage : float, default=0.90
        The share of lists that shall hold the true code.
    classification : Classification, optional
        Of which the codes are. Needed for a level.
    by : str, optional
        To promise the coverage not only of all cases together, but for the codes one by one.
        A level of the classification, such as "minor": then for the cases of each code of this
        level that has enough calibration records. Codes with too few are put together with
        those under the same parent that have too few as well, then with those under the next
        parent, and so on. Without a classification the only level is "code". Lists grow longer.

    Attributes
    ----------
    note_ : str
        What was calibrated, and what is promised.
    cells_ : DataFrame
        One row per group of codes with a cut of their own: `cell` (its name), `codes` (how many
        different true codes it was calibrated on), `records` (how many records), `not_given`
        (how many of these have a true code for which no score was given), `cut` (the least score
        that puts a code on the list; minus infinity if every code given is listed), `promised`.

    See Also
    --------
    top_k_lists : The plain alternative.
    short_list_report : Judge short-lists.

    Notes
    -----
    Method sheet:

    - *Target*: the share of lists that hold the true code, over new records and over the
      calibration sample.
    - *Formula*: LAC [1]_: a record is as strange as 1 - p, with p the score of its true code; q
      is the :func:`conformal_quantile`; codes with a score of at least 1 - q are listed. `cut`
      is 1 - q. Longer lists of more even coverage (APS) are no better for clerks: at 90 % asked
      for, on injury narratives, they held 9.6 codes instead of 2.7.
    - *Assumptions*: new records and calibration records are exchangeable: same population, same
      period, same model, same threshold. The coverage then is at least as asked for, *on average
      over calibration samples*. Of one calibration on n records it varies around that with the
      distribution Beta(r, n + 1 - r), r = ceil((n + 1) coverage): with 100 records, 90 % asked
      for is anything from 84 % to 95 %; with 1,000, from 88 % to 92 %.
    - *Only k codes given*: where the true code is not among the k best, its score is unknown and
      counts as minus infinity. No list of k codes can promise more than that share allows: then
      all k codes are listed, and the promise is refused (`promised` in `cells_`, and the note of
      the lists). Lists must be made from as many codes as were calibrated on.
    - *By code*: the Mondrian form, one quantile per group of *true* codes [2]_. A group needs
      ceil(1 / (1 - coverage)) - 1 records. What has too few records even together has the cut
      of all records, and no promise. Which codes are put together is decided by the calibration
      records themselves, and the promise is for them together, so the rarest are covered a
      little less: in a simulation with 96 codes and 600 records, those with fewer than 3 in 89 %
      of cases instead of 90 %, single ones from 84 %; without `by` in 76 %.
    - *Weights*: for a calibration sample drawn with unequal probabilities, or covariate shift
      with a known ratio of densities [3]_; see :func:`conformal_quantile`. Weights that are
      estimated make the promise approximate.
    - *When it fails*: after drift, other than that of the covariates with known weights; for
      automatic records, if calibrated on clerk cases, and the other way round; for subgroups,
      such as one month or one interviewer; by true code without `by`. In clusters, such as
      several records of one enterprise, with a design effect of 3: of 95 % asked for, 30 clusters
      of 6 records gave 94.3 % on average, 10 clusters 93.2 %, and single calibrations vary as if
      there were a third of the records. One record of each cluster keeps the promise.
    - *Test*: ``tests/test_short_lists.py`` and ``tests/test_short_lists_simulation.py``, with
      calibration on all records as the negative control.

    References
    ----------
    .. [1] Sadinle, M., Lei, J. and Wasserman, L. (2019). Least ambiguous set-valued classifiers
       with bounded error levels. Journal of the American Statistical Association 114(525).
    .. [2] Vovk, V. (2012). Conditional validity of inductive conformal predictors. ACML.
    .. [3] Tibshirani, R., Barber, R., Candès, E. and Ramdas, A. (2019). Conformal prediction
       under covariate shift. NeurIPS.

    Examples
    --------
    Three codes, and the model's probabilities for ten clerk cases whose true code is "11":

    >>> p = np.array([0.95, 0.90, 0.88, 0.80, 0.78, 0.70, 0.65, 0.59, 0.45, 0.20])
    >>> scores = np.column_stack([p, (1 - p) * 0.6, (1 - p) * 0.4])
    >>> lists = ConformalShortLists(coverage=0.80).fit(["11", "12", "21"], scores, ["11"] * 10)
    >>> round(lists.cells_["cut"].item(), 4)
    0.45
    >>> lists.predict(["11", "12", "21"], [[0.50, 0.46, 0.04], [0.34, 0.33, 0.33]]).codes
    array([['11', '12'],
           ['11', None]], dtype=object)
    """

    def __init__(
        self,
        coverage: float = 0.90,
        *,
        classification: Classification | None = None,
        by: str | None = None,
    ) -> None:
        self.coverage = coverage
        self.classification = classification
        self.by = by

    def fit(
        self,
        codes: Any,
        scores: ArrayLike,
        y_true: Any,
        *,
        automatic: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> ConformalShortLists:
        """Calibrate the lists.

        Parameters
        ----------
        codes, scores : array-like
            The codes and scores of the calibration records, as for :func:`top_k_lists`: the k
            best of each, or the K codes with a column of `scores` each.
        y_true : array-like of shape (n,)
            Their true codes.
        automatic : array-like of bool, of shape (n,), optional
            The records that are coded without a clerk, such as
            ``certificate.automatic(scores)``. They are left out. Without it, all records given
            must be clerk cases.
        sample_weight : array-like of shape (n,), optional
            How much more frequent such a record is among those to come than among these; see
            :func:`conformal_quantile`.

        Returns
        -------
        ConformalShortLists
            Itself.

        Raises
        ------
        ValueError
            If `coverage` is not between 0 and 1; if `by` is no level, or the classification is
            missing; if shapes or lengths differ, a record has no code, a true code is missing,
            scores lie outside [0, 1] or are not sorted; if all records are automatic, or all
            weights 0; if a code is unknown to the classification.
        TypeError
            If a code is neither text nor a whole number, or scores are not numbers.
        """
        require_share("coverage", self.coverage)
        ranked = read_ranked(codes, scores)
        truth = read_truth(y_true, len(ranked.scores))
        weights = as_weights(sample_weight, len(truth))
        mask = read_automatic(automatic, len(truth))
        tree = self._tree(np.union1d(ranked.labels, pd.unique(truth)))
        clerk = np.ones(len(truth), dtype=bool) if mask is None else ~mask
        sample = _Sample(
            code=tree.places(truth[clerk]),
            strange=-ranked.score_of(truth)[clerk],
            weights=np.ones(int(clerk.sum())) if weights is None else weights[clerk],
            full=ranked.full,
            coverage=float(self.coverage),
        )
        if not sample.weights.any():
            raise ValueError("sample_weight is 0 for every clerk case. Give positive weights.")
        cell_of_code, names = tree.share_out(sample)
        self.cells_ = _calibrate(sample, cell_of_code, names)
        seen = f"{len(sample.code):,} records"
        if mask is not None:
            seen = f"{len(sample.code):,} clerk cases ({int(mask.sum()):,} automatic left out)"
        self.note_ = f"Split conformal lists, calibrated on {seen}: {_promise(sample, self.cells_)}"
        self._columns = np.shape(scores)[1], frozenset(ranked.labels) if ranked.full else None
        # Codes without a cell of their own point to the last one.
        self._cut = dict(zip(tree.codes, self.cells_["cut"].to_numpy()[cell_of_code], strict=True))
        return self

    def predict(self, codes: Any, scores: ArrayLike) -> ShortLists:
        """Make the short-list of every record.

        Parameters
        ----------
        codes, scores : array-like
            Codes and scores of the records, in the form that :meth:`fit` was given.

        Returns
        -------
        ShortLists
            The lists, none of them empty, with what is promised of them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            As :meth:`fit`; and if there are more or fewer codes per record than there.
        TypeError
            As :meth:`fit`.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        ranked = read_ranked(codes, scores, empty=True)
        self._refuse_other_columns(ranked, np.shape(scores)[1])
        if self.classification is not None:
            self.classification.level_of(ranked.labels)  # raises if a code is unknown
        rest = self.cells_["cut"].iloc[_LAST]
        cuts = np.array([self._cut.get(label, rest) for label in ranked.labels])
        return ranked.lists(ranked.above(cuts), float(self.coverage), self.note_)

    def _tree(self, labels: NDArray[np.object_]) -> _Tree:
        """Say which codes may share a cut."""
        codes = labels.tolist()
        if self.by is None:
            return _Tree(codes, [])
        if self.classification is None:
            if self.by != "code":
                raise ValueError(
                    f"by={self.by!r} without a classification; allowed are None and 'code'. Give "
                    "the classification that has this level."
                )
            # Besides them stands any code that comes later.
            return _Tree([*codes, ""], [(np.array([*range(len(codes)), NOWHERE]), codes)])
        self.classification.codes(self.by)  # raises if there is no such level
        self.classification.level_of(labels)  # raises if a code is unknown
        codes = list(self.classification)
        levels = self.classification.levels
        above = []
        for level in reversed(levels[: levels.index(self.by) + 1]):
            numbers, names = pd.factorize(self.classification.at_level(codes, level))
            above.append((numbers, names.tolist()))
        return _Tree(codes, above)

    def _refuse_other_columns(self, ranked: Ranked, columns: int) -> None:
        count, labels = self._columns
        if ranked.full != (labels is not None) or columns != count:
            form = "a column for each of" if labels is not None else "the best"
            raise ValueError(
                f"The lists were calibrated on {form} {count:,} codes; given are {columns:,} per "
                "record. The promise holds for lists made in one way: give the same number."
            )
        if labels is not None and labels != frozenset(ranked.labels):
            raise ValueError("The lists were calibrated on other codes. Give the same columns.")


@dataclass(frozen=True, eq=False)
class _Sample:
    """Calibration records: place of the true code in the tree, strangeness, weight."""

    code: NDArray[np.intp]
    strange: NDArray[np.float64]
    weights: NDArray[np.float64]
    full: bool
    coverage: float

    @property
    def heaviest(self) -> float:
        """The weight that a new record is taken to have."""
        return float(self.weights.max())

    @property
    def least(self) -> float:
        """The weight of records that a finite quantile takes at least."""
        return self.heaviest * self.coverage / (1 - self.coverage)

    def cell(self, name: str, rows: NDArray[np.intp], *, own: bool = True) -> dict[str, Any]:
        """Calibrate one cut."""
        strange = self.strange[rows]
        cut = -_quantile(strange, self.weights[rows], self.heaviest, self.coverage)
        not_given = int(np.isinf(strange).sum())
        return {
            "cell": name,
            "codes": len(np.unique(self.code[rows])),
            "records": len(rows),
            "not_given": not_given,
            "cut": cut,
            # To list all codes keeps every promise, if there are no others.
            "promised": own and (np.isfinite(cut) or (self.full and not not_given)),
        }


@dataclass(frozen=True, eq=False)
class _Tree:
    """Codes, and from the level asked for upwards: the number of the code above, and names."""

    codes: list[str]
    levels: list[tuple[NDArray[np.intp], list[str]]]

    def places(self, codes: NDArray[np.object_]) -> NDArray[np.intp]:
        place = {code: number for number, code in enumerate(self.codes)}
        found = pd.Series(codes, dtype=object).map(place)
        return np.asarray(found, dtype=np.intp)

    def share_out(self, sample: _Sample) -> tuple[NDArray[np.intp], list[str]]:
        """Give each code the lowest cell with enough records; _LAST if there is none."""
        weight = np.bincount(sample.code, sample.weights, minlength=len(self.codes))
        cell = np.full(len(self.codes), _LAST, dtype=np.intp)
        names: list[str] = []
        for above, labels in self.levels:
            free = (cell == _LAST) & (above != NOWHERE)
            size = np.bincount(above[free], weight[free], minlength=len(labels))
            enough = np.flatnonzero(size >= sample.least * (1 - _ROUNDING))
            number = np.full(len(labels), _LAST, dtype=np.intp)
            number[enough] = len(names) + np.arange(len(enough))
            whole = np.bincount(above[~free & (above != NOWHERE)], minlength=len(labels)) == 0
            names += [labels[g] if whole[g] else f"{labels[g]}, the rest" for g in enough]
            cell[free] = number[above[free]]
        return cell, names


def _calibrate(sample: _Sample, cell_of_code: NDArray[np.intp], names: list[str]) -> pd.DataFrame:
    """Calibrate the cut of each cell, and of what has none of its own."""
    cell = cell_of_code[sample.code]
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(len(names) + 1))
    rows = [sample.cell(name, order[bounds[i] : bounds[i + 1]]) for i, name in enumerate(names)]
    rest = np.flatnonzero(cell == _LAST)
    if not names:
        rows.append(sample.cell(_EVERYTHING, rest))
    elif sample.weights[rest].sum() >= sample.least * (1 - _ROUNDING):
        rows.append(sample.cell(_REST, rest))
    elif (cell_of_code == _LAST).any():
        rows.append(sample.cell(_POOLED, np.arange(len(cell)), own=False))
    return pd.DataFrame(rows).astype({"cell": "str"})


def _promise(sample: _Sample, cells: pd.DataFrame) -> str:
    """Say what is promised, and where it is not, why."""
    promise = (
        f"at least {percent(sample.coverage)} of the lists hold the true code, on average over "
        "calibration samples, where records are like these"
    )
    if len(cells) > 1:
        count = int(cells["promised"].sum())
        but = f"; no promise for {len(cells) - count:,} (see cells_)" if count < len(cells) else ""
        return f"{promise}, for each of {count:,} groups of codes{but}."
    if np.isfinite(cells["cut"].item()):
        return f"{promise}."
    if sample.weights.sum() < sample.least * (1 - _ROUNDING):
        why = (
            f"that takes {sample.least / sample.heaviest:,.0f} records at least, of equal weight. "
            "Calibrate on more."
        )
    else:
        given = np.isfinite(sample.strange)
        most = sample.weights[given].sum() / (sample.weights.sum() + sample.heaviest)
        why = (
            f"the true code of {int((~given).sum()):,} is not among the codes given, so that at "
            f"most {math.floor(1000 * most) / 10:g}% could be promised. Give more codes per "
            "record, or ask for less."
        )
    if cells["promised"].item():
        return f"{promise}, but only because every code is listed: {why}"
    return f"no promise of {percent(sample.coverage)}, and every code given is listed: {why}"


def _quantile(
    strange: NDArray[np.float64], weights: NDArray[np.float64], new: float, coverage: float
) -> float:
    """Find the smallest score up to which enough of the weights lie; see conformal_quantile."""
    order = np.argsort(strange, kind="stable")
    reached = weights[order].cumsum()
    needed = coverage * (reached[-1] + new) * (1 - _ROUNDING)
    place = int(np.searchsorted(reached, needed))
    return float(strange[order[place]]) if place < len(order) else math.inf
