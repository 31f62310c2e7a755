"""Thresholds with a guarantee.

The bound of Clopper and Pearson holds at one threshold that was fixed beforehand. To look for
the smallest threshold whose bound passes is to test many thresholds on one sample and to keep
the luckiest. Fixed-sequence testing walks down a grid that was fixed beforehand and stops at the
first failure; then no correction is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlkit.coding._certificate import (
    Certificate,
    CodeCertificates,
    Scope,
    Step,
    cut_offs,
    looseness,
    percent,
)
from mlkit.coding._checks import (
    as_code,
    as_codes,
    as_confidences,
    as_correct,
    as_design,
    fewest_records,
    require_count,
    require_share,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from mlkit.estimate import AnyDesign

FIXED_SEQUENCE = "fixed-sequence test"
ONE_TEST = "one test on an audit sample"

# A walk starts where this many times the bare minimum of records is expected (design rule, from
# simulation: with fewer, the first bound often fails by chance and the walk ends at once).
_ROOM = 4


def threshold_grid(scores: ArrayLike, *, size: int = 20) -> tuple[float, ...]:
    """Fix thresholds to walk down, at equal steps of the share coded automatically.

    Every threshold is a score that occurs, so that records with equal scores stay together.

    Parameters
    ----------
    scores : array-like of shape (n,) or (n, k)
        Confidences of records outside the certification sample.
    size : int, default=20
        How many thresholds; fewer where scores are equal.

    Returns
    -------
    tuple of float
        Thresholds, from strict to loose. The last one codes every record given.

    Raises
    ------
    ValueError
        If there are no scores, a score is missing or outside [0, 1], or `size` is below 1.

    Examples
    --------
    >>> threshold_grid([0.95, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3], size=5)
    (0.9, 0.8, 0.6, 0.5, 0.3)
    """
    require_count("size", size)
    falling = np.sort(as_confidences(scores))[::-1]
    places = np.ceil(np.arange(1, size + 1) / size * len(falling)).astype(int) - 1
    return tuple(dict.fromkeys(falling[places].tolist()))


def certify_thresholds(
    correct: ArrayLike,
    scores: ArrayLike,
    *,
    planning_scores: ArrayLike,
    scope: Scope,
    target: float = 0.95,
    confidence: float = 0.95,
    starts: int = 1,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
) -> Certificate:
    """Find the loosest threshold for automatic coding that can be certified.

    Fixed-sequence testing [1]_. A grid of 20 thresholds, and the place to start, are fixed from
    other records. The walk goes from strict to loose, compares the lower bound of the agreement
    with the target, and stops at the first failure. The last pass is certified.

    Parameters
    ----------
    correct : array-like of shape (n,)
        Whether the first code agrees with the gold standard, for each record of the
        certification sample. The sample is a random one of the population, with records that a
        clerk would code included.
    scores : array-like of shape (n,) or (n, k)
        The confidences of its records. Of k columns, the best first, only the first is used.
    planning_scores : array-like of shape (m,) or (m, k)
        Confidences of records outside the certification sample, from the same population: they
        need not be checked. They fix the grid and the start.
    scope : Scope
        Population, period, unit and gold standard.
    target : float, default=0.95
        The agreement to certify.
    confidence : float, default=0.95
        The confidence of the certificate.
    starts : int, default=1
        How many walks begin, at equal steps down the grid. Each has an equal part of the error
        probability. More than one guards against a bad strictest block, at the price of wider
        bounds.
    sample_weight : array-like of shape (n,), optional
        Design weights, valid for independent selection only. With strata or primary units, give
        `design`.
    design : Design or ReplicateDesign, optional
        The design of the certification sample.

    Returns
    -------
    Certificate
        The threshold with its path. Its threshold is None if no test passes, or if the sample is
        too small for any test to pass.

    Raises
    ------
    ValueError
        If records are missing, lengths differ, a score is missing or outside [0, 1], weights are
        negative or all 0, `target` or `confidence` is not between 0 and 1, `starts` is below 1,
        or `planning_scores` are those of the certification sample.
    TypeError
        If `scores` are not numbers, or `correct` holds codes.

    Notes
    -----
    The bound is that of Clopper and Pearson for a simple random sample, and that of Korn and
    Graubard for a weighted one or a design: :func:`mlkit.estimate.proportion`. The first is
    exact, the second approximate, and both treat the records above a threshold as a domain.

    A walk starts at the strictest threshold where at least ``4 ln(delta) / ln(target)`` records
    are expected, with delta the error probability of the walk: four times as many as pass when
    all are right (for 95% at 5%: 59). If not even the loosest threshold has as many, it alone is
    tested; if it has fewer than the bare minimum, nothing is.

    References
    ----------
    .. [1] Angelopoulos, A., Bates, S., Candes, E., Jordan, M. and Lei, L. (2021). Learn then
       test. arXiv:2110.01052, section on fixed-sequence testing.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> score = rng.random(6000)
    >>> correct = rng.random(6000) < 0.8 + 0.2 * score
    >>> sample = np.arange(6000) < 2000
    >>> scope = Scope("simulated answers", "2024", "records", "the arbitrated code")
    >>> certify_thresholds(
    ...     correct[sample], score[sample], planning_scores=score[~sample], scope=scope
    ... )  # doctest: +ELLIPSIS
    Certificate(threshold 0.6...; agreement with the arbitrated code of at least 95%, with 95% confidence)
    """  # noqa: E501 - the last line is what Python prints
    sample = _Sample.read(correct, scores, sample_weight, design)
    planned = as_confidences(planning_scores, name="planning_scores")
    _refuse_same_rows(sample.scores, planned)
    return _walk_down(
        sample, sample.everyone, planned, sample.size,
        _Aim(scope, *_levels(target, confidence), require_count("starts", starts)),
    )  # fmt: skip


def certify_per_code(
    correct: ArrayLike,
    scores: ArrayLike,
    codes: Any,
    *,
    planning_scores: ArrayLike,
    planning_codes: Any,
    scope: Scope,
    target: float = 0.95,
    confidence: float = 0.95,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
) -> CodeCertificates:
    """Find a threshold for each predicted code, so that all hold together.

    The error probability is shared out equally among the codes that are tested. Which those are
    is fixed beforehand: the planning records say how many each code may expect, and codes that
    could not start a walk are left out, which leaves more for the others.

    Parameters
    ----------
    correct, scores : array-like
        As for :func:`certify_thresholds`.
    codes : array-like of shape (n,)
        The predicted code of each record.
    planning_scores : array-like of shape (m,) or (m, k)
        Confidences of records outside the certification sample, from the same population.
    planning_codes : array-like of shape (m,)
        Their predicted codes.
    scope, target, confidence, sample_weight, design
        As for :func:`certify_thresholds`. The target holds for each code.

    Returns
    -------
    CodeCertificates
        One certificate per tested code, and the reason for each code that was not tested.

    Raises
    ------
    ValueError
        As for :func:`certify_thresholds`, and if a predicted code is missing.
    TypeError
        As there, and if codes are neither text nor whole numbers.

    Notes
    -----
    To certify thresholds by code pooled, with all error probability spent on one statement about
    all automatic records: choose them on other records, and test them with
    :func:`certify_audit`.
    """
    sample = _Sample.read(correct, scores, sample_weight, design)
    own = as_codes(codes, sample.records)
    planned = as_confidences(planning_scores, name="planning_scores")
    planned_codes = as_codes(planning_codes, len(planned), name="planning_codes")
    _refuse_same_rows(sample.scores, planned)
    target, delta = _levels(target, confidence)

    rows, planned_rows = _rows_by_code(own), _rows_by_code(planned_codes)
    expected = {
        code: len(places) * sample.records / len(planned) for code, places in planned_rows.items()
    }
    tested = _codes_to_test(expected, delta, target)
    aim = _Aim(scope, target, delta / max(len(tested), 1), 1)
    nowhere = np.empty(0, dtype=np.intp)
    certificates = {
        code: _walk_down(
            *sample.among(rows.get(code, nowhere)),
            planned[planned_rows[code]],
            expected[code],
            aim,
        )
        for code in tested
    }
    untested = {
        code: (
            f"Too few records: {expected[code]:.0f} expected in the sample."
            if code in expected
            else "A new code: no planning record has it."
        )
        for code in sorted({*rows, *planned_rows} - {*tested})
    }
    result = CodeCertificates(
        certificates, untested, target, confidence, scope, sample.records, share=0.0
    )
    automatic = result.automatic(sample.scores, own)
    return replace(result, share=sample.share(automatic))


def certify_audit(
    correct: ArrayLike,
    scores: ArrayLike,
    threshold: float | Mapping[Any, float],
    *,
    scope: Scope,
    codes: Any = None,
    target: float = 0.95,
    confidence: float = 0.95,
    sample_weight: ArrayLike | None = None,
    design: AnyDesign | None = None,
) -> Certificate:
    """Test one rule, fixed beforehand, on a fresh audit sample.

    Parameters
    ----------
    correct, scores : array-like
        As for :func:`certify_thresholds`. No record may have been used to choose the threshold.
        The sample may be one of the automatic records alone.
    threshold : float, or mapping of code to float
        The rule. With a threshold by code, records of other codes go to a clerk, and the
        certificate is about all automatic records together.
    scope : Scope
        Population, period, unit and gold standard.
    codes : array-like of shape (n,), optional
        The predicted code of each record, for a threshold by code.
    target, confidence, sample_weight, design
        As for :func:`certify_thresholds`.

    Returns
    -------
    Certificate
        The rule with its one test. Its threshold is None if the test fails.

    Raises
    ------
    ValueError
        As for :func:`certify_thresholds`, and if a threshold is outside [0, 1], or thresholds by
        code are given without codes.
    TypeError
        As there.

    Examples
    --------
    >>> scope = Scope("simulated answers", "2024", "records", "the arbitrated code")
    >>> certificate = certify_audit([True] * 59, [0.9] * 59, 0.8, scope=scope)
    >>> certificate.threshold
    0.8
    >>> certify_audit([True] * 58, [0.9] * 58, 0.8, scope=scope).threshold is None
    True
    """
    sample = _Sample.read(correct, scores, sample_weight, design)
    target, delta = _levels(target, confidence)
    rule = _read_rule(threshold)
    automatic = sample.scores >= cut_offs(rule, codes, sample.records)
    value = None if isinstance(rule, Mapping) else rule
    step = sample.test(1, value, automatic, sample.everyone, delta)
    passed = step.bound >= target
    return Certificate(
        threshold=rule if passed else None,
        target=target,
        confidence=1 - delta,
        scope=scope,
        procedure=ONE_TEST,
        grid=() if value is None else (value,),
        starts=() if value is None else (0,),
        test_confidence=1 - delta,
        path=(step,),
        records=sample.records,
        method=sample.method,
        reason=_one_test_reason(step, target, delta),
    )


@dataclass(frozen=True)
class _Aim:
    """What a walk wants to show: agreement of at least `target`, wrong at most in `delta`."""

    scope: Scope
    target: float
    delta: float
    starts: int


@dataclass(frozen=True)
class _Sample:
    """A certification sample that has been checked."""

    correct: NDArray[np.bool_]
    scores: NDArray[np.float64]
    design: AnyDesign | None
    size: int  # of the whole sample, also where this is a part of it

    @classmethod
    def read(
        cls, correct: Any, scores: Any, sample_weight: Any, design: AnyDesign | None
    ) -> _Sample:
        confidences = as_confidences(scores)
        right = as_correct(correct, len(confidences))
        records = len(confidences)
        return cls(right, confidences, as_design(sample_weight, design, records), records)

    @property
    def records(self) -> int:
        return len(self.scores)

    @property
    def everyone(self) -> NDArray[np.bool_]:
        return np.ones(self.records, dtype=bool)

    @property
    def method(self) -> str:
        if self.design is None:
            return "Clopper-Pearson, one-sided, for a simple random sample"
        note = f" ({self.design.note})" if self.design.note else ""
        return f"Korn-Graubard, one-sided, for the design given{note}"

    def among(self, rows: NDArray[np.intp]) -> tuple[_Sample, NDArray[np.bool_]]:
        """Give a sample to look for these rows in, and where they are in it.

        Rows of a simple random sample are one themselves. Under a design they are a domain,
        whose variance needs the other rows too.
        """
        if self.design is None:
            part = _Sample(self.correct[rows], self.scores[rows], None, self.size)
            return part, part.everyone
        chosen = np.zeros(self.records, dtype=bool)
        chosen[rows] = True
        return self, chosen

    def share(self, automatic: NDArray[np.bool_], of: NDArray[np.bool_] | None = None) -> float:
        """Estimate the share of the records `of` that are automatic; 0 if there are none."""
        weights = np.ones(self.records) if self.design is None else self.design.weights
        whole = weights.sum() if of is None else weights[of].sum()
        return float(weights[automatic].sum() / whole) if whole else 0.0

    def test(
        self,
        start: int,
        threshold: float | None,
        automatic: NDArray[np.bool_],
        of: NDArray[np.bool_],
        delta: float,
    ) -> Step:
        """Bound the agreement of automatic records, with error probability `delta`."""
        from mlkit.estimate import proportion

        share = self.share(automatic, of)
        if not share:  # no records, or none with a positive weight
            return Step(start, threshold, 0, 0.0, math.nan, 0.0)
        agreement = proportion(
            self.correct, design=self.design, domain=automatic, confidence=1 - delta, side="lower"
        )
        count = int(automatic.sum())
        return Step(start, threshold, count, share, agreement.value, agreement.low)


def _walk_down(
    sample: _Sample,
    among: NDArray[np.bool_],
    planned: NDArray[np.float64],
    expected: float,
    aim: _Aim,
) -> Certificate:
    """Walk down the grid of `planned`, among records of which so many are expected."""
    grid = threshold_grid(planned)
    level = aim.delta / aim.starts
    falling = np.sort(planned)
    # Expected numbers of records from each threshold up, before the sample is looked at.
    reached = 1 - np.searchsorted(falling, grid) / len(falling)
    places = _places_to_start(reached * expected, aim.starts, level, aim.target)

    path = [
        step
        for number, place in enumerate(places, 1)
        for step in _one_walk(sample, grid[place:], number, among, level, aim.target)
    ]
    passed = [step for step in path if step.bound >= aim.target]
    last = min(passed, key=looseness, default=None)
    return Certificate(
        threshold=last.threshold if last else None,
        target=aim.target,
        confidence=1 - aim.delta,
        scope=aim.scope,
        procedure=FIXED_SEQUENCE,
        grid=grid,
        starts=places,
        test_confidence=1 - level,
        path=tuple(path),
        records=sample.size,
        method=sample.method,
        reason=_walk_reason(path, last, grid, expected, level, aim.target),
    )


def _one_walk(
    sample: _Sample,
    thresholds: Sequence[float],
    number: int,
    among: NDArray[np.bool_],
    level: float,
    target: float,
) -> list[Step]:
    """Test from strict to loose, and stop at the first failure."""
    steps = []
    for threshold in thresholds:
        automatic = among & (sample.scores >= threshold)
        steps.append(sample.test(number, threshold, automatic, among, level))
        if steps[-1].bound < target:
            break
    return steps


def _places_to_start(
    expected: NDArray[np.float64], starts: int, level: float, target: float
) -> tuple[int, ...]:
    """Fix where in the grid walks begin; nowhere if no test could pass."""
    bare_minimum = math.log(level) / math.log(target)
    roomy = np.flatnonzero(expected >= _ROOM * bare_minimum)
    if len(roomy):
        first = int(roomy[0])
    elif expected[-1] >= bare_minimum:
        first = len(expected) - 1
    else:
        return ()
    steps = first + np.arange(starts) * (len(expected) - first) // starts
    return tuple(dict.fromkeys(steps.tolist()))


def _codes_to_test(expected: Mapping[str, float], delta: float, target: float) -> list[str]:
    """Choose as many codes as can each start a walk with their part of delta."""
    falling = sorted(expected, key=lambda code: -expected[code])
    count = max(
        (
            number
            for number, code in enumerate(falling, 1)
            if expected[code] >= _ROOM * math.log(delta / number) / math.log(target)
        ),
        default=0,
    )
    return sorted(falling[:count])


def _rows_by_code(codes: NDArray[np.object_]) -> dict[str, NDArray[np.intp]]:
    """Find the rows of each code in one pass: there may be hundreds of codes."""
    groups = pd.Series(codes).groupby(codes).indices
    return {str(code): np.asarray(rows, dtype=np.intp) for code, rows in groups.items()}


def _refuse_same_rows(own: NDArray[np.float64], planned: NDArray[np.float64]) -> None:
    if len(np.unique(own)) > 1 and np.array_equal(own, planned):
        raise ValueError(
            "planning_scores are the scores of the certification sample itself. A grid that was "
            "chosen on the sample that judges it guarantees nothing: take other records of the "
            "same population. They need not be checked."
        )


def _read_rule(threshold: Any) -> float | dict[str, float]:
    """Check a threshold, or one by code."""
    if not isinstance(threshold, Mapping):
        return _require_threshold(threshold)
    if not threshold:
        raise ValueError("The mapping of thresholds is empty. Give the threshold of a code.")
    return {as_code(code): _require_threshold(value) for code, value in threshold.items()}


def _require_threshold(value: Any) -> float:
    try:
        inside = not isinstance(value, bool) and 0 <= value <= 1
    except TypeError:
        inside = False
    if not inside:
        raise ValueError(
            f"The threshold {value!r} is not a confidence; allowed are numbers from 0 to 1."
        )
    return float(value)


def _levels(target: float, confidence: float) -> tuple[float, float]:
    return require_share("target", target), 1 - require_share("confidence", confidence)


def _walk_reason(
    path: Sequence[Step],
    last: Step | None,
    grid: Sequence[float],
    expected: float,
    level: float,
    target: float,
) -> str:
    fewest = fewest_records(level, target)
    if not path:
        return (
            f"No test could pass: {expected:,.0f} records are expected, and even if all of them "
            f"were right, {fewest:,} would be needed. Check more records."
        )
    if last is None:
        return (
            "No test passed. Check more records (plan_audit_sample says how many), improve the "
            "confidences, or start at several thresholds."
        )
    if last.threshold == grid[-1]:
        return "The walk passed the whole grid."
    return "The walk stopped at the first lower bound below the target."


def _one_test_reason(step: Step, target: float, delta: float) -> str:
    if step.bound >= target:
        return "The lower bound reaches the target."
    fewest = fewest_records(delta, target)
    if step.automatic < fewest:
        return (
            f"The test could not pass: the sample has {step.automatic:,} automatic records, and "
            f"even if all of them were right, {fewest:,} would be needed."
        )
    return (
        f"The lower bound {percent(step.bound)} is below the target {percent(target)}. A new "
        "attempt needs a fresh sample."
    )
