"""Do intervals of class totals cover the truth as often as they say? Samples are drawn anew.

Simulation supports claims about methods only. Each scenario draws an audit, and where it says so
a target, again and again, and counts for each estimator and code how often the 95 % interval holds
the true share. A cell passes when its coverage differs from .95 by no more than three standard
errors of the simulation. Cells that fail are published in KNOWN, as measured over 20,000 draws: a
user reads there where not to trust an interval, and a change of these figures fails the test.

``make soak`` runs every scenario with 6,000 draws, the normal suite with 2,000.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from mlkit.estimate import Design
from mlkit.evaluation.totals import (
    Audit,
    ClassTotals,
    Target,
    calibration_estimator,
    classify_and_count,
    misclassification_estimator,
    prediction_powered_estimator,
)

NOMINAL = 0.95
FAST, LONG, PUBLISHED = 2_000, 6_000, 20_000

Rng = np.random.Generator
Drawn = tuple[Audit, Target, np.ndarray]  # with the true shares

SHARES = np.array([0.6, 0.38, 0.02])  # the last code is rare
K = len(SHARES)
CONFUSION = np.array(  # P(predicted | true)
    [
        [0.88, 0.11, 0.01],
        [0.13, 0.85, 0.02],
        [0.12, 0.08, 0.80],
    ]
)


def tuned(audit: Audit, target: Target) -> ClassTotals:
    return prediction_powered_estimator(audit, target, power_tuning=True)


ESTIMATORS: dict[str, Callable[[Audit, Target], ClassTotals]] = {
    "calibration": calibration_estimator,
    "misclassification": misclassification_estimator,
    "prediction-powered": prediction_powered_estimator,
}


def code(rng: Rng, true: np.ndarray, easy: float = 0.0) -> np.ndarray:
    """Predict a code for each true one; a part, `easy`, is right for certain."""
    levels = CONFUSION.cumsum(axis=1)[true]
    predicted = (rng.random(len(true))[:, None] > levels).sum(axis=1).clip(max=K - 1)
    return np.where(rng.random(len(true)) < easy, true, predicted)


def shares_of(true: np.ndarray, n: int = K) -> np.ndarray:
    return np.bincount(true, minlength=n) / len(true)


def population(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.choice(K, size, p=SHARES)
    return true, code(rng, true)


def clusters(seed: int, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Make clusters that differ in their shares, and of which some are hard to code.

    The residuals of the calibration estimator then have a design effect of 3, those of the
    prediction-powered estimator of 1.8, those of the misclassification estimator of 1.4.
    """
    rng = np.random.default_rng(seed)
    own = rng.dirichlet(3 * SHARES, number)
    true = (rng.random((number, size))[..., None] > own.cumsum(axis=1)[:, None]).sum(axis=2)
    true = true.clip(max=K - 1).ravel()
    hard = (rng.random(number) < 0.3).repeat(size)
    return true, np.where(hard, code(rng, code(rng, true)), code(rng, true, easy=0.7))


# --- scenarios --------------------------------------------------------------------------------

TRUE, PREDICTED = population(1, 20_000)
TARGET, SHARES_OF_ALL = Target(PREDICTED), shares_of(TRUE)
SMALL_TRUE, SMALL_PREDICTED = population(2, 1_500)
SMALL_TARGET, SMALL_SHARES = Target(SMALL_PREDICTED), shares_of(SMALL_TRUE)
PSUS, PSU_SIZE = 1_000, 20
CLUSTER_TRUE, CLUSTER_PREDICTED = clusters(3, PSUS, PSU_SIZE)
CLUSTER_TARGET, CLUSTER_SHARES = Target(CLUSTER_PREDICTED), shares_of(CLUSTER_TRUE)


def simple(rng: Rng) -> Drawn:
    """A simple random audit of 800 of a finite target of 20,000."""
    rows = rng.choice(len(TRUE), 800, replace=False)
    audit = Audit(TRUE[rows], PREDICTED[rows], drawn_from="target")
    return audit, TARGET, SHARES_OF_ALL


def large_part(rng: Rng) -> Drawn:
    """An audit of 800 of only 1,500: the finite population correction halves the variance."""
    rows = rng.choice(1_500, 800, replace=False)
    audit = Audit(SMALL_TRUE[rows], SMALL_PREDICTED[rows], drawn_from="target")
    return audit, SMALL_TARGET, SMALL_SHARES


def small_strata(rng: Rng) -> Drawn:
    """Twelve audited records in each of 60 strata, which are regions of unequal size."""
    rows = np.concatenate([rng.choice(part, 12, replace=False) for part in REGION_ROWS])
    size = REGION_SIZES[REGION[rows]]
    design = Design(size / 12, strata=REGION[rows], fpc=size)
    audit = Audit(TRUE[rows], PREDICTED[rows], drawn_from="target", design=design)
    return audit, TARGET, SHARES_OF_ALL


REGION = np.random.default_rng(4).choice(60, len(TRUE), p=np.arange(40, 100) / 4170)
REGION_ROWS = [np.flatnonzero(one == REGION) for one in range(60)]
REGION_SIZES = np.bincount(REGION).astype(float)


def clustered(rng: Rng) -> Drawn:
    """An audit of 60 whole clusters of 20."""
    drawn = rng.choice(PSUS, 60, replace=False)
    rows = (drawn[:, None] * PSU_SIZE + np.arange(PSU_SIZE)).ravel()
    design = Design(np.full(len(rows), PSUS / 60), psu=rows // PSU_SIZE, fpc=float(PSUS))
    audit = Audit(CLUSTER_TRUE[rows], CLUSTER_PREDICTED[rows], drawn_from="target", design=design)
    return audit, CLUSTER_TARGET, CLUSTER_SHARES


def clustered_left_out(rng: Rng) -> Drawn:
    """The same, and the design is left out: a negative control."""
    audit, target, truth = clustered(rng)
    return Audit(audit.true, audit.predicted, drawn_from="target"), target, truth


def weighted(rng: Rng) -> Drawn:
    """Units drawn with unequal chances: weights with a design effect of 2.8."""
    rows = np.flatnonzero(rng.random(len(TRUE)) < CHANCE)
    audit = Audit(TRUE[rows], PREDICTED[rows], drawn_from="target", design=Design(1 / CHANCE[rows]))
    return audit, TARGET, SHARES_OF_ALL


CHANCE = np.random.default_rng(5).choice([0.2, 0.0125], len(TRUE), p=[0.15, 0.85])


def two_phases(rng: Rng) -> Drawn:
    """A sample of 2,500 units is coded, and 800 of these are audited."""
    true = rng.choice(K, 2_500, p=SHARES)
    predicted = code(rng, true)
    audit = Audit(true[:800], predicted[:800], drawn_from="target")
    return audit, Target(predicted, design=Design(np.ones(2_500))), SHARES


def two_phases_clustered(rng: Rng) -> Drawn:
    """A sample of 80 clusters is coded, and 600 of its 1,600 units are audited."""
    drawn = rng.choice(PSUS, 80, replace=False)
    rows = (drawn[:, None] * PSU_SIZE + np.arange(PSU_SIZE)).ravel()
    design = Design(np.full(len(rows), PSUS / 80), psu=rows // PSU_SIZE, fpc=float(PSUS))
    some = rng.choice(len(rows), 600, replace=False)
    audit = Audit(
        CLUSTER_TRUE[rows[some]], CLUSTER_PREDICTED[rows[some]], drawn_from="target", rows=some
    )
    return audit, Target(CLUSTER_PREDICTED[rows], design=design), CLUSTER_SHARES


def independent(rng: Rng) -> Drawn:
    """An audit of 800 and a coded sample of 1,500, drawn from one population independently."""
    audited, sampled = rng.choice(K, 800, p=SHARES), rng.choice(K, 1_500, p=SHARES)
    audit = Audit(audited, code(rng, audited), drawn_from="elsewhere")
    return audit, Target(code(rng, sampled), design=Design(np.ones(1_500))), SHARES


NEXT_SHARES = np.array([0.45, 0.48, 0.07])


def shifted(rng: Rng) -> Drawn:
    """Last year's audit, after a shift of shares: calibration and PPI must fail."""
    audited = rng.choice(K, 800, p=SHARES)
    audit = Audit(audited, code(rng, audited), drawn_from="elsewhere")
    counts = 1e7 * NEXT_SHARES @ CONFUSION
    return audit, Target.from_counts(dict(enumerate(counts))), NEXT_SHARES


SCENARIOS = {
    draw.__name__: draw
    for draw in (
        simple,
        large_part,
        small_strata,
        clustered,
        clustered_left_out,
        weighted,
        two_phases,
        two_phases_clustered,
        independent,
        shifted,
    )
}

TUNED = ("simple", "weighted", "independent")  # power tuning is tried here, as it takes long

# Cells that fail, and by how much: their coverage over 20,000 draws, or more where so many could
# not tell it from nominal.
MORE_DRAWS = {("clustered_left_out", "misclassification", 2): 46_000}
KNOWN = {
    ("simple", "calibration", 2): 0.9415,
    ("simple", "misclassification", 2): 0.962,
    ("large_part", "calibration", 2): 0.9409,
    ("large_part", "prediction-powered", 2): 0.9363,
    ("small_strata", "calibration", 2): 0.9346,
    ("small_strata", "misclassification", 0): 0.955,
    ("small_strata", "misclassification", 2): 0.9636,
    ("small_strata", "prediction-powered", 2): 0.9425,
    ("clustered", "calibration", 1): 0.955,
    ("clustered", "calibration", 2): 0.909,
    ("clustered", "prediction-powered", 2): 0.955,
    ("clustered_left_out", "calibration", 0): 0.7599,
    ("clustered_left_out", "calibration", 1): 0.7531,
    ("clustered_left_out", "calibration", 2): 0.7224,
    ("clustered_left_out", "misclassification", 0): 0.9075,
    ("clustered_left_out", "misclassification", 1): 0.9025,
    ("clustered_left_out", "misclassification", 2): 0.9459,
    ("clustered_left_out", "prediction-powered", 0): 0.8633,
    ("clustered_left_out", "prediction-powered", 1): 0.8579,
    ("clustered_left_out", "prediction-powered", 2): 0.9078,
    ("weighted", "calibration", 2): 0.8808,
    ("weighted", "misclassification", 0): 0.9571,
    ("weighted", "misclassification", 1): 0.9583,
    ("weighted", "prediction-powered", 2): 0.9291,
    ("weighted", "tuned", 2): 0.9282,
    ("two_phases", "calibration", 2): 0.9416,
    ("two_phases", "misclassification", 2): 0.958,
    ("two_phases_clustered", "calibration", 2): 0.8854,
    ("two_phases_clustered", "misclassification", 2): 0.9123,
    ("two_phases_clustered", "prediction-powered", 2): 0.9069,
    ("independent", "calibration", 2): 0.937,
    ("independent", "misclassification", 2): 0.9623,
    ("independent", "tuned", 2): 0.9451,
    ("shifted", "calibration", 0): 0.0002,
    ("shifted", "calibration", 1): 0.1569,
    ("shifted", "calibration", 2): 0.0382,
    ("shifted", "misclassification", 1): 0.9561,
    ("shifted", "misclassification", 2): 0.924,
    ("shifted", "prediction-powered", 0): 0.1483,
    ("shifted", "prediction-powered", 1): 0.3992,
    ("shifted", "prediction-powered", 2): 0.4586,
}


class Result(NamedTuple):
    coverage: dict[tuple[str, int], float]  # by estimator and code
    bias: dict[tuple[str, int], float]  # in standard deviations of the estimate
    refused: float


def simulate(name: str, draws: int, seed: int) -> Result:
    rng = np.random.default_rng(seed)
    used = ESTIMATORS | ({"tuned": tuned} if name in TUNED else {})
    hits = {estimator: np.zeros(K) for estimator in used}
    errors: dict[str, list[np.ndarray]] = {estimator: [] for estimator in used}
    refused = 0
    for _ in range(draws):
        audit, target, truth = SCENARIOS[name](rng)
        try:
            found = {key: estimator(audit, target) for key, estimator in used.items()}
        except ValueError as error:
            # The rare code was hardly met. Such draws are counted, and there may be few.
            assert re.search("fewer than 2 audited|cannot be inverted", str(error))  # noqa: PT017
            refused += 1
            continue
        for key, one in found.items():
            low, high = one._interval(one.share, one.standard_error)
            hits[key] += ((low <= truth) & (truth <= high))[0]
            errors[key].append(one.share[0] - truth)
    covered, bias = {}, {}
    for key in used:
        relative = np.mean(errors[key], axis=0) / np.std(errors[key], axis=0)
        for k in range(K):
            covered[key, k] = float(hits[key][k] / (draws - refused))
            bias[key, k] = float(relative[k])
    return Result(covered, bias, refused / draws)


def tolerance(draws: int, at: float = NOMINAL) -> float:
    return 3 * math.sqrt(at * (1 - at) / draws)


def check(name: str, draws: int, seed: int) -> None:
    found = simulate(name, draws, seed)
    assert found.refused < 0.04
    for (estimator, k), value in found.coverage.items():
        known = KNOWN.get((name, estimator, k))
        if known is None:
            assert value == pytest.approx(NOMINAL, abs=tolerance(draws)), (name, estimator, k)
        else:
            # The published figure has a simulation error of its own.
            published = MORE_DRAWS.get((name, estimator, k), PUBLISHED)
            allowed = math.hypot(tolerance(draws, known), tolerance(published, known))
            assert value == pytest.approx(known, abs=allowed), (name, estimator, k)
    for (estimator, k), value in found.bias.items():
        if name == "shifted" and estimator != "misclassification":
            assert abs(value) > 1, (estimator, k)  # bias rules: a negative control
        else:
            assert abs(value) < 0.3, (name, estimator, k)


@pytest.mark.parametrize("name", SCENARIOS)
def test_coverage(name: str) -> None:
    check(name, FAST, seed=21)


@pytest.mark.soak
@pytest.mark.parametrize("name", SCENARIOS)
def test_coverage_over_many_draws(name: str) -> None:
    check(name, LONG, seed=22)


def test_only_failures_are_published_as_known() -> None:
    assert {name for name, _, _ in KNOWN} <= {*SCENARIOS}
    for cell, known in KNOWN.items():
        assert abs(known - NOMINAL) > tolerance(MORE_DRAWS.get(cell, PUBLISHED)), cell


# --- negative controls: what must fail ----------------------------------------------------------


def test_calibration_and_prediction_powered_fail_after_a_shift() -> None:
    """methods.md 9: they assume what a shift of shares breaks; misclassification survives."""
    for k in range(K):
        assert KNOWN["shifted", "calibration", k] < 0.2
        assert KNOWN["shifted", "prediction-powered", k] < 0.5
        assert KNOWN.get(("shifted", "misclassification", k), NOMINAL) > 0.92


def test_leaving_out_the_design_fails() -> None:
    assert max(KNOWN["clustered_left_out", "calibration", k] for k in range(K)) < 0.8
    with_design = [KNOWN.get(("clustered", "calibration", k), NOMINAL) for k in range(K)]
    assert min(with_design) > 0.9


def test_classify_and_count_never_covers() -> None:
    """With the sampling error of 1,500 units, and of a billion."""
    rng = np.random.default_rng(23)
    hits = np.zeros(K)
    for _ in range(FAST):
        _, target, truth = independent(rng)
        found = classify_and_count(target)
        low, high = found._interval(found.share, found.standard_error)
        hits += ((low <= truth) & (truth <= high))[0]
    assert (hits / FAST)[[0, 2]].max() < 0.7
