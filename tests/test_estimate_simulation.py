"""Do intervals cover the truth as often as they say? Samples are drawn again and again.

Simulation supports claims about methods only. A cell passes when its coverage differs from the
nominal .95 by no more than three standard errors of the simulation. Cells that fail are
published in KNOWN, with the coverage that was measured over 60,000 draws: a user reads there
where not to trust an interval, and a change of these figures fails the test.

``make soak`` runs every cell with 20,000 draws, the normal suite with 2,000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from mlkit.estimate import (
    Design,
    Estimate,
    ReplicateDesign,
    difference,
    from_replicates,
    mean,
    proportion,
    ratio,
    replicate_weights,
    total,
)

NOMINAL = 0.95
FAST, LONG, PUBLISHED = 2_000, 20_000, 60_000

Draw = Callable[[np.random.Generator], Estimate]


class Cell(NamedTuple):
    draw: Draw
    truth: float


# --- populations and samples -----------------------------------------------------------------


def simple(share: float, n: int) -> Draw:
    return lambda rng: mean(rng.random(n) < share)


def skew(rng: np.random.Generator) -> Estimate:
    return mean(rng.lognormal(0, 1, 100))


def small_strata(rng: np.random.Generator) -> Estimate:
    """Draw 2 or 3 of each of 20 strata, whose means differ."""
    stratum = np.repeat(np.arange(20), [2, 3] * 10)
    weights = np.where(stratum % 2 == 0, 30.0, 20.0)  # 60 in every stratum
    y = stratum + rng.normal(0, 2, len(stratum))
    return mean(y, design=Design(weights, strata=stratum))


def clusters(rng: np.random.Generator, n: int = 40, size: int = 21) -> tuple[np.ndarray, Design]:
    """Draw clusters with a correlation of .1 inside: a design effect of 3."""
    psu = np.repeat(np.arange(n), size)
    latent = math.sqrt(0.1) * rng.normal(size=n)[psu] + math.sqrt(0.9) * rng.normal(size=n * size)
    return latent, Design(strata=psu % 4, psu=psu)


def cluster_mean(rng: np.random.Generator) -> Estimate:
    y, design = clusters(rng)
    return mean(y, design=design)


def cluster_mean_without_design(rng: np.random.Generator) -> Estimate:
    return mean(clusters(rng)[0])


def cluster_bootstrap(rng: np.random.Generator) -> Estimate:
    y, design = clusters(rng, size=5)
    made = replicate_weights(design, replicates=100, seed=int(rng.integers(2**32)))
    replicates = ReplicateDesign(design.weights, made, df=design.df)
    return from_replicates(lambda weights: float(weights @ y / weights.sum()), design=replicates)


def cluster_share(share: float, **options: str) -> Draw:
    from scipy.special import ndtri

    def draw(rng: np.random.Generator) -> Estimate:
        latent, design = clusters(rng)
        return proportion(latent < ndtri(share), design=design, **options)

    return draw


def weighted(rng: np.random.Generator, n: int = 300) -> tuple[np.ndarray, Design]:
    """Draw independently with chances that vary: a design effect of about 2.7."""
    weights = np.exp(rng.normal(0, math.sqrt(math.log(2.7)), n))
    return rng.random(n), Design(weights)


def weighted_share(share: float, how: Callable[..., Estimate] = proportion) -> Draw:
    def draw(rng: np.random.Generator) -> Estimate:
        uniform, design = weighted(rng)
        return how(uniform < share, design=design)

    return draw


def rare_domain(rng: np.random.Generator) -> Estimate:
    """Ask for the mean of a code that 9 of 300 records have."""
    return mean(rng.normal(size=300), domain=np.arange(300) < 9)


def domain_in_strata(rng: np.random.Generator) -> Estimate:
    """Ask for the mean of a domain that meets some of the clusters of 30 strata of two."""
    psu = np.repeat(np.arange(60), 8)
    y = rng.normal(size=60)[psu] + rng.normal(size=len(psu))
    domain = rng.random(len(psu)) < 0.1
    return mean(y, design=Design(strata=psu // 2, psu=psu), domain=domain)


def one_stratum(rng: np.random.Generator) -> Estimate:
    """Ask for the mean of one stratum of 5 units among many."""
    stratum = np.repeat(np.arange(30), 5)
    return mean(rng.normal(size=150), design=Design(strata=stratum), domain=stratum == 3)


POPULATION = np.random.default_rng(5).gamma(4, 2, (3, 120)) * np.array([[1.0], [2.0], [4.0]])


def finite(rng: np.random.Generator) -> Estimate:
    """Draw 40 of each 120 without replacement."""
    drawn = np.concatenate([rng.choice(row, 40, replace=False) for row in POPULATION])
    stratum = np.repeat(["s", "m", "l"], 40)
    return total(drawn, design=Design(np.full(120, 3.0), strata=stratum, fpc=np.full(120, 120)))


def drift(rng: np.random.Generator) -> Estimate:
    """Audit 25 records a month while accuracy falls from .95 to .73."""
    month = np.repeat(np.arange(12), 25)
    volume = 1.0 + month % 3
    right = rng.random(300) < 0.95 - 0.02 * month
    return proportion(right, design=Design(volume, strata=month))


DRIFT_TRUTH = float(np.average(0.95 - 0.02 * np.arange(12), weights=1.0 + np.arange(12) % 3))


def turnover_per_person(rng: np.random.Generator) -> Estimate:
    staff = 5.0 + rng.poisson(10, 80)
    return ratio(3 * staff + rng.normal(0, 4, 80), staff)


def rivals(rng: np.random.Generator) -> Estimate:
    """Compare two coders, right on .85 and .80, who share the hard records."""
    hard = rng.random(400)
    return difference(hard + rng.normal(0, 0.1, 400) < 0.85, hard + rng.normal(0, 0.1, 400) < 0.80)


def expected_gap() -> float:
    """Integrate the gap of the two rivals over uniform hardness."""
    from scipy.special import ndtr

    hard = (np.arange(200_000) + 0.5) / 200_000
    return float((ndtr((0.85 - hard) / 0.1) - ndtr((0.80 - hard) / 0.1)).mean())


CELLS = {
    "mean, share .3, n 100": Cell(simple(0.3, 100), 0.3),
    "mean, rarest class .02, n 300": Cell(simple(0.02, 300), 0.02),
    "mean, skew, n 100": Cell(skew, math.exp(0.5)),
    "mean, strata of 2 and 3": Cell(small_strata, 9.5),
    "mean, design effect 3": Cell(cluster_mean, 0.0),
    "mean, design effect 3, design left out": Cell(cluster_mean_without_design, 0.0),
    "mean, weights, design effect 2.7": Cell(weighted_share(0.3, mean), 0.3),
    "mean, weights, rarest class .02": Cell(weighted_share(0.02, mean), 0.02),
    "mean, domain of 9 in 300": Cell(rare_domain, 0.0),
    "mean, domain across strata of two clusters": Cell(domain_in_strata, 0.0),
    "mean, domain is a stratum of 5": Cell(one_stratum, 0.0),
    "total, finite population": Cell(finite, float(POPULATION.sum())),
    "ratio, n 80": Cell(turnover_per_person, 3.0),
    "difference of rivals, n 400": Cell(rivals, expected_gap()),
    "bootstrap, design effect 1.4": Cell(cluster_bootstrap, 0.0),
}
EXACT_CELLS = {
    "rarest class .02, n 300": Cell(lambda rng: proportion(rng.random(300) < 0.02), 0.02),
    "share .3, n 30": Cell(lambda rng: proportion(rng.random(30) < 0.3), 0.3),
    "design effect 3, share .3": Cell(cluster_share(0.3), 0.3),
    "design effect 3, rarest class .01": Cell(cluster_share(0.01), 0.01),
    "design effect 3, lower bound of .95": Cell(cluster_share(0.95, side="lower"), 0.95),
    "design effect 3, upper bound of .02": Cell(cluster_share(0.02, side="upper"), 0.02),
    "weights, design effect 2.7, share .3": Cell(weighted_share(0.3), 0.3),
    "weights, design effect 2.7, rarest class .02": Cell(weighted_share(0.02), 0.02),
    "drift over twelve months": Cell(drift, DRIFT_TRUTH),
}
# Cells that fail, and by how much: their coverage over 60,000 draws.
KNOWN = {
    # Too short. Skew: the standard error is small in just those samples whose figure is low.
    "mean, rarest class .02, n 300": 0.9325,
    "mean, skew, n 100": 0.916,
    "mean, weights, design effect 2.7": 0.935,
    "mean, weights, rarest class .02": 0.798,
    "weights, design effect 2.7, rarest class .02": 0.9455,
    # Too short. Little information: fewer degrees of freedom than are counted.
    "mean, strata of 2 and 3": 0.947,
    "mean, domain of 9 in 300": 0.9395,
    "mean, domain across strata of two clusters": 0.944,
    # A negative control: the design is left out on purpose.
    "mean, design effect 3, design left out": 0.739,
    # Too long, which is the price of exact intervals.
    "rarest class .02, n 300": 0.965,
    "share .3, n 30": 0.974,
    "design effect 3, share .3": 0.956,
    "design effect 3, rarest class .01": 0.969,
    "design effect 3, upper bound of .02": 0.964,
    "drift over twelve months": 0.9595,
}


def coverage(cell: Cell, draws: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    figures = [cell.draw(rng) for _ in range(draws)]
    return float(np.mean([figure.low <= cell.truth <= figure.high for figure in figures]))


def tolerance(draws: int, at: float = NOMINAL) -> float:
    return 3 * math.sqrt(at * (1 - at) / draws)


# --- does it cover? ----------------------------------------------------------------------------


def check(name: str, draws: int, seed: int) -> None:
    cell = {**CELLS, **EXACT_CELLS}[name]
    measured = coverage(cell, draws, seed)
    if name in KNOWN:
        known = KNOWN[name]
        # The published figure has a simulation error of its own.
        allowed = math.hypot(tolerance(draws, known), tolerance(PUBLISHED, known))
        assert measured == pytest.approx(known, abs=allowed)
    else:
        assert measured == pytest.approx(NOMINAL, abs=tolerance(draws))


@pytest.mark.parametrize("name", [*CELLS, *EXACT_CELLS])
def test_coverage(name: str) -> None:
    check(name, FAST, seed=12)


@pytest.mark.soak
@pytest.mark.parametrize("name", [*CELLS, *EXACT_CELLS])
def test_coverage_over_many_draws(name: str) -> None:
    check(name, LONG, seed=34)


def test_only_failures_are_published_as_known() -> None:
    assert set(KNOWN) < {*CELLS, *EXACT_CELLS}
    assert all(abs(known - NOMINAL) > tolerance(PUBLISHED) for known in KNOWN.values())


def test_exact_intervals_repair_the_rare_class() -> None:
    """Where the mean of a rare class fails, the proportion holds, or misses by half a percent."""
    assert min(KNOWN.get(name, NOMINAL) for name in EXACT_CELLS) > NOMINAL - 0.005
    assert KNOWN["mean, rarest class .02, n 300"] < 0.94


# --- degrees of freedom of domains ----------------------------------------------------------------


def test_degrees_of_freedom_of_domains_beat_the_usual_counts() -> None:
    """Compare Design.df_in with all degrees of freedom, and with R's count for the domain."""
    rng = np.random.default_rng(3)
    psu = np.repeat(np.arange(60), 8)
    design = Design(strata=psu // 2, psu=psu)
    hits, nothing_left = np.zeros(2), 0
    for _ in range(FAST):
        domain = rng.random(len(psu)) < 0.03
        y = rng.normal(size=60)[psu] + rng.normal(size=len(psu))
        figure = mean(y, design=design, domain=domain)
        whole = estimate_with(design.df, figure)
        hits += figure.low <= 0 <= figure.high, whole[0] <= 0 <= whole[1]
        met = np.unique(psu[domain])
        nothing_left += len(met) == len(np.unique(met // 2))
    ours, all_of_them = hits / FAST
    assert ours > all_of_them + 0.01
    assert ours > 0.92
    assert nothing_left / FAST > 0.15  # as R counts, there is no interval


def estimate_with(df: int, figure: Estimate) -> tuple[float, float]:
    from scipy.special import stdtrit

    margin = stdtrit(df, 0.975) * figure.standard_error
    return figure.value - margin, figure.value + margin


# --- negative controls: what must fail ---------------------------------------------------------


def multinomial_coverage(draws: int, seed: int) -> tuple[float, float]:
    """Resample weighted counts, as many scripts do with a confusion matrix, and linearise."""
    rng = np.random.default_rng(seed)
    n, truth, hits = 300, 0.3, np.zeros(2)
    for _ in range(draws):
        weights = np.where(rng.random(n) < 0.19, 10.0, 1.0)  # a design effect of 2.7
        figure = mean(rng.random(n) < truth, design=Design(weights))
        # The counts are scaled to n, so the resampling believes in n equal records.
        again = rng.multinomial(n, [figure.value, 1 - figure.value], size=400)[:, 0] / n
        low, high = np.quantile(again, [0.025, 0.975])
        hits += low <= truth <= high, figure.low <= truth <= figure.high
    resampled, linearised = hits / draws
    return float(resampled), float(linearised)


def test_multinomial_resampling_of_weighted_counts_fails() -> None:
    """methods.md 3: it covers about .75 at design effect 2.7, and linearisation .94."""
    resampled, linearised = multinomial_coverage(FAST, seed=7)
    assert resampled == pytest.approx(0.76, abs=0.03)
    assert linearised == pytest.approx(0.945, abs=0.015)


def test_leaving_out_the_design_fails() -> None:
    """At a design effect of 3 an interval that ignores clusters covers less than .8."""
    assert KNOWN["mean, design effect 3, design left out"] < 0.8
