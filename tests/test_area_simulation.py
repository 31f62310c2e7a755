"""Do intervals of areas and accuracies cover the truth as often as they say?

Simulation supports claims about methods only. Each scenario draws a reference sample from a known
confusion matrix, again and again, and counts how often a 95 % interval holds the truth, for the
four kinds of interval. A cell passes when its coverage differs from .95 by no more than three
standard errors of the simulation. Cells of the default interval that fail are published in KNOWN,
as measured; those above .95 are too careful, those below cover too little. The
usual intervals are negative controls: they must fail for the rare class as stated.

Every coverage is of 2,000 draws. The normal suite runs a part of the grid, ``make soak`` all of it.
``python tests/test_area_simulation.py`` prints the published figures.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from mlkit.evaluation._area_result import simple_interval
from mlkit.evaluation.area import (
    direct_area,
    map_accuracy,
    prediction_powered_area,
    regression_area,
)

NOMINAL = 0.95
DRAWS = 2_000
PIXELS = 10_000_000
KINDS = ("score", "logit", "t", "normal")
FIGURES = ("OA", "UA0", "UA1", "UA2", "PA0", "PA1", "PA2", "area0", "area1", "area2")


class Scenario(NamedTuple):
    rare: float  # true share of class 0; class 1 has .30
    good: bool  # the map
    points: str  # "equal 30", "proportional 600", "minimum 75 of 600"; of strata
    strata: str = "map classes"  # or "others", "simple random" (poststratified)

    @property
    def name(self) -> str:
        return f"{self.rare:g} {'good' if self.good else 'bad'}, {self.points}" + (
            f", {self.strata}" if self.strata != "map classes" else ""
        )


def joint(rare: float, good: bool) -> np.ndarray:
    """Give shares of map class (rows) by reference class (columns)."""
    part = rare / 0.02
    given = (
        [[0.9, 0.05, 0.05], [0.002 * part, 0.95, 0.048], [0.002 * part, 0.03, 0.968]]
        if good
        else [[0.6, 0.2, 0.2], [0.01 * part, 0.8, 0.19], [0.01 * part, 0.1, 0.89]]
    )  # P(map | reference)
    matrix = np.array(given)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return (np.array([rare, 0.3, 0.7 - rare])[:, None] * matrix).T


def cells(scenario: Scenario) -> np.ndarray:
    """Give shares of stratum by map class by reference class."""
    shares = joint(scenario.rare, scenario.good)
    if scenario.strata == "others":  # four regions, which differ in their classes
        tilt = np.array([[4, 1, 1], [1, 3, 1], [1, 1, 2], [2, 2, 1]], dtype=float)
        tilt /= tilt.sum(axis=0)
        return tilt[:, :, None] * shares[None]
    h = len(shares)
    out = np.zeros((h, h, h))
    out[range(h), range(h)] = shares
    return out


def sizes_of_samples(scenario: Scenario, weights: np.ndarray) -> np.ndarray:
    kind, number = scenario.points.split(" ")[0], int(scenario.points.split(" ")[1])
    h = len(weights)
    if kind == "equal":
        return np.full(h, number)
    if kind == "proportional":
        return np.maximum(np.round(number * weights).astype(int), 2)
    rest = 600 - number
    points = np.round(rest * weights / weights[1:].sum()).astype(int)
    points[0] = number
    return points


def draws(scenario: Scenario, number: int) -> Iterator[tuple[Any, ...]]:
    """Give pairs of sample and sizes: stratum, map class, reference class of each point."""
    rng = np.random.default_rng(zlib.crc32(scenario.name.encode()))
    shares = cells(scenario)
    h, k = len(shares), shares.shape[1]
    weights = shares.sum(axis=(1, 2))
    if scenario.strata == "simple random":
        n = int(scenario.points.split(" ")[1])
        counts = rng.multinomial(n, shares.ravel(), number)
    else:
        points = sizes_of_samples(scenario, weights)
        flat = [
            rng.multinomial(points[i], (shares[i] / weights[i]).ravel(), number) for i in range(h)
        ]
        counts = np.concatenate(flat, axis=1)
    where = np.indices((h, k, k)).reshape(3, -1)
    sizes = dict(enumerate(PIXELS * weights))
    for row in counts:
        if scenario.strata == "simple random" and (row.reshape(h, -1).sum(axis=1) == 0).any():
            continue  # refused: a map class without a point
        yield (*np.repeat(where, row, axis=1), sizes)


def coverage(scenario: Scenario, number: int) -> dict[tuple[str, str], float]:
    """Measure the coverage of each kind of interval, for each figure.

    Samples in which a figure does not exist (no point has the class) are left out; a figure
    without standard error counts as not covered.
    """
    shares = cells(scenario).sum(axis=0)
    right = np.diag(shares)
    truth = np.concatenate(
        [[right.sum()], right / shares.sum(axis=1), right / shares.sum(axis=0), shares.sum(axis=0)]
    )
    found = []
    for stratum, mapped, true, sizes in draws(scenario, number):
        other = stratum if scenario.strata == "others" else None
        result = map_accuracy(true, mapped, sizes, strata=other, classes=[0, 1, 2])
        figures = [result.overall, *result.users.values(), *result.producers.values()]
        figures += [result.areas.estimate(label) for label in result.classes]
        found.append([[f.value, f.standard_error, f.low, f.high, f.df] for f in figures])
    value, error, low, high, df = np.array(found).transpose(2, 0, 1)
    exists = ~np.isnan(value)
    measured = {}
    for kind in KINDS:
        if kind != "score":
            low, high = simple_interval(value, error, df, NOMINAL, kind)
        inside = (low <= truth + 1e-12) & (truth <= high + 1e-12)
        share = inside.sum(axis=0) / exists.sum(axis=0)
        measured |= {(kind, name): float(s) for name, s in zip(FIGURES, share, strict=True)}
    return measured


def tolerance(number: int) -> float:
    return 3 * math.sqrt(NOMINAL * (1 - NOMINAL) / number)


GRID = [
    Scenario(rare, good, points)
    for rare in (0.02, 0.005)
    for good in (True, False)
    for points in ("equal 30", "equal 100", "proportional 600", "minimum 75 of 600")
] + [
    Scenario(0.02, True, "equal 100", "others"),
    Scenario(0.02, False, "equal 100", "others"),
    Scenario(0.02, False, "simple 600", "simple random"),
]
IN_NORMAL_SUITE = {
    "0.02 good, equal 100",
    "0.02 bad, equal 100, others",
}

# Too careful (above) or too short (below): cells of the default interval outside .935 to .965.
KNOWN: dict[tuple[str, str], float] = {
    ("0.02 good, equal 30", "OA"): 0.931,
    ("0.02 good, equal 30", "UA0"): 0.976,
    ("0.02 good, equal 30", "UA2"): 0.970,
    ("0.02 good, equal 30", "PA1"): 0.971,
    ("0.02 good, equal 30", "area0"): 0.928,
    ("0.02 good, equal 30", "area1"): 0.976,
    ("0.02 good, equal 30", "area2"): 0.971,
    ("0.02 good, equal 100", "UA2"): 0.968,
    ("0.02 good, equal 100", "area0"): 0.934,
    ("0.02 good, equal 100", "area2"): 0.966,
    ("0.02 good, proportional 600", "UA0"): 0.971,
    ("0.02 good, proportional 600", "UA1"): 0.931,
    ("0.02 good, proportional 600", "PA0"): 0.910,
    ("0.02 good, proportional 600", "area0"): 0.992,
    ("0.02 good, minimum 75 of 600", "PA0"): 0.924,
    ("0.02 bad, equal 30", "UA0"): 0.933,
    ("0.02 bad, equal 30", "UA2"): 0.934,
    ("0.02 bad, equal 30", "PA0"): 0.921,
    ("0.02 bad, equal 30", "area0"): 0.921,
    ("0.02 bad, equal 100", "PA0"): 0.925,
    ("0.02 bad, equal 100", "area0"): 0.923,
    ("0.005 good, equal 30", "OA"): 0.926,
    ("0.005 good, equal 30", "UA0"): 0.974,
    ("0.005 good, equal 30", "UA2"): 0.974,
    ("0.005 good, equal 30", "PA0"): 0.969,
    ("0.005 good, equal 30", "PA1"): 0.972,
    ("0.005 good, equal 30", "area0"): 0.969,
    ("0.005 good, equal 30", "area1"): 0.975,
    ("0.005 good, equal 30", "area2"): 0.974,
    ("0.005 good, equal 100", "OA"): 0.934,
    ("0.005 good, equal 100", "UA0"): 0.933,
    ("0.005 good, equal 100", "UA2"): 0.927,
    ("0.005 good, equal 100", "PA0"): 0.892,
    ("0.005 good, equal 100", "area0"): 0.920,
    ("0.005 good, proportional 600", "UA0"): 0.979,
    ("0.005 good, proportional 600", "area0"): 0.996,
    ("0.005 good, minimum 75 of 600", "UA1"): 0.970,
    ("0.005 good, minimum 75 of 600", "PA0"): 0.975,
    ("0.005 good, minimum 75 of 600", "PA2"): 0.970,
    ("0.005 bad, equal 30", "PA0"): 0.928,
    ("0.005 bad, equal 30", "area0"): 0.923,
    ("0.005 bad, proportional 600", "UA0"): 1.000,
    ("0.005 bad, proportional 600", "PA0"): 0.908,
    ("0.005 bad, minimum 75 of 600", "PA0"): 0.915,
    ("0.005 bad, minimum 75 of 600", "area0"): 0.915,
    ("0.02 good, equal 100, others", "OA"): 0.932,
    ("0.02 good, equal 100, others", "UA1"): 0.932,
    ("0.02 good, equal 100, others", "UA2"): 0.922,
    ("0.02 good, equal 100, others", "PA1"): 0.920,
    ("0.02 good, equal 100, others", "PA2"): 0.924,
    ("0.02 good, equal 100, others", "area0"): 0.925,
    ("0.02 bad, equal 100, others", "UA0"): 0.993,
    ("0.02 bad, equal 100, others", "PA0"): 0.998,
    ("0.02 bad, equal 100, others", "area0"): 0.919,
}

# Negative controls: the interval of the papers, for the area of the rare class.
NORMAL_FAILS = {
    "0.02 good, equal 30": 0.679,
    "0.02 good, equal 100": 0.373,
    "0.02 good, proportional 600": 0.898,
    "0.02 good, minimum 75 of 600": 0.692,
    "0.02 bad, equal 30": 0.436,
    "0.02 bad, equal 100": 0.851,
    "0.02 bad, minimum 75 of 600": 0.910,
    "0.005 good, equal 30": 0.619,
    "0.005 good, equal 100": 0.117,
    "0.005 good, proportional 600": 0.438,
    "0.005 good, minimum 75 of 600": 0.250,
    "0.005 bad, equal 30": 0.133,
    "0.005 bad, equal 100": 0.356,
    "0.005 bad, proportional 600": 0.877,
    "0.005 bad, minimum 75 of 600": 0.641,
    "0.02 good, equal 100, others": 0.921,
    "0.02 bad, equal 100, others": 0.929,
}


def cases() -> list[object]:
    return [
        pytest.param(
            scenario,
            id=scenario.name,
            marks=[] if scenario.name in IN_NORMAL_SUITE else [pytest.mark.soak],
        )
        for scenario in GRID
    ]


@pytest.mark.parametrize("scenario", cases())
def test_coverage(scenario: Scenario) -> None:
    measured = coverage(scenario, DRAWS)
    for name in FIGURES:
        published = KNOWN.get((scenario.name, name))
        found = measured["score", name]
        if published is None:
            assert abs(found - NOMINAL) <= tolerance(DRAWS), (name, found)
        else:
            assert abs(found - published) <= tolerance(DRAWS), (name, found, published)
    fails = NORMAL_FAILS.get(scenario.name)
    if fails is not None:
        assert abs(measured["normal", "area0"] - fails) <= tolerance(DRAWS)


def test_nothing_published_is_far_below() -> None:
    assert min(KNOWN.values()) > 0.89
    assert min(NORMAL_FAILS.values()) < 0.12
    names = {scenario.name for scenario in GRID}
    assert {name for name, _ in KNOWN} <= names


def test_coverage_by_region() -> None:
    """Intervals of class areas by region: regression, prediction-powered and direct estimator.

    A finite population with probabilities from a model that is too sure of itself; simple random
    samples of 300. The smallest region has about 24 points of a sample.
    """
    rng = np.random.default_rng(6)
    size, n = 20_000, 300
    region = rng.choice(3, size, p=[0.08, 0.32, 0.6])
    score = rng.beta(0.4, 0.8, size)
    true = (rng.random(size) < 0.1 + 0.7 * score).astype(int)
    probability = np.column_stack([1 - score, score])
    totals = pd.DataFrame([probability[region == d].sum(axis=0) for d in range(3)])
    truth = np.array([true[region == d].mean() for d in range(3)])
    estimators = {"regression": regression_area, "ppi": prediction_powered_area}
    inside = {name: np.zeros(3) for name in (*estimators, "direct")}
    errors = {name: np.zeros(3) for name in inside}
    for _ in range(DRAWS):
        drawn = rng.choice(size, n, replace=False)
        table = pd.DataFrame(probability[drawn])
        for name in inside:
            found = (
                direct_area(true[drawn], domain=region[drawn])
                if name == "direct"
                else estimators[name](true[drawn], table, totals, domain=region[drawn])
            )
            inside[name] += (found.low[:, 1] <= truth) & (truth <= found.high[:, 1])
            errors[name] += (found.share[:, 1] - truth) ** 2
    for name, counts in inside.items():
        covered = counts / DRAWS
        for row in range(3):
            known = BY_REGION.get((name, row), NOMINAL)
            assert abs(covered[row] - known) <= tolerance(DRAWS), (name, row, covered)
    assert (errors["regression"] < errors["direct"]).all()  # what the map is worth


BY_REGION: dict[tuple[str, int], float] = {("ppi", 0): 0.968}  # too careful, 24 points


if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor

    number = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    with ProcessPoolExecutor(2) as pool:
        for scenario, measured in zip(
            GRID, pool.map(coverage, GRID, [number] * len(GRID)), strict=True
        ):
            for kind in KINDS:
                row = " ".join(f"{measured[kind, name]:.3f}" for name in FIGURES)
                sys.stdout.write(f"{scenario.name:45s} {kind:7s} {row}\n")
            sys.stdout.flush()
