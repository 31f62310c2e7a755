"""Measure class totals of ten million coded units, beside ppi-python.

Run it from the checkout: python benchmarks/bench_totals.py

The units come as a column of text, as from a file, and once more as counts. ppi-python is
optional: without it, a line says so. It takes one number per unit and code, so it is given one
code at a time; it gets them ready made, which is not in its time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mlkit.classifications import Classification
from mlkit.estimate import Design
from mlkit.evaluation.totals import (
    Audit,
    Target,
    calibration_estimator,
    classify_and_count,
    collapse_rare,
    misclassification_estimator,
    prediction_powered_estimator,
    subtracted_bias_estimator,
    to_level,
)

LIMIT_SECONDS, LIMIT_MEGABYTES = 5.0, 2000
FAMILIES, CODES, REGIONS = 40, 400, 20


def family(code: int) -> str:
    """Name the family of a code."""
    return f"F{code * FAMILIES // CODES:02d}"


def make_classification() -> Classification:
    """Make two levels with 40 families of ten codes."""
    families = [(f"F{i:02d}", "") for i in range(FAMILIES)]
    codes = [(f"{i:03d}", family(i)) for i in range(CODES)]
    frame = pd.DataFrame([*families, *codes], columns=["code", "parent"]).assign(title="Title")
    return Classification.from_table(
        frame, code="code", parent="parent", title="title", name="benchmark"
    )


def draw(n: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Draw true codes, some common and most rare, and predicted ones."""
    shares = 1 / np.arange(1, CODES + 1)
    levels = (shares / shares.sum()).cumsum()
    true = np.searchsorted(levels, rng.random(n)).clip(max=CODES - 1).astype(np.int16)
    other = np.searchsorted(levels, rng.random(n)).clip(max=CODES - 1).astype(np.int16)
    return true, np.where(rng.random(n) < 0.8, true, other)


def as_text(numbers: Any) -> pd.Series[Any]:
    """Write codes as a column of text, which is how they come from a file."""
    names = pd.array([f"{i:03d}" for i in range(CODES)], dtype="str")
    return pd.Series(names.take(numbers))


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Give the best time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_megabytes() -> float:
    """Give the largest memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def compare_with_ppi_python(audit: Audit, target: Target, predicted: Any, name: str) -> None:
    """Time the share of one family with ppi-python, and check that it is the same."""
    if importlib.util.find_spec("ppi_py") is None:
        print("ppi-python is not installed: not compared (pip install ppi-python)")
        return
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    place = audit.codes.index(name)
    y, f = ((side == place).astype(float) for side in (audit.true, audit.predicted))
    inside = np.array([family(code) == name for code in range(CODES)])
    rest = inside[predicted].astype(float)
    theirs = seconds(lambda: ppi_mean_ci(y, f, rest, alpha=0.05, lam=1.0))
    found = prediction_powered_estimator(audit, target).estimate(name)
    point = float(ppi_mean_pointestimate(y, f, rest, lam=1.0)[0])
    low, high = (float(end[0]) for end in ppi_mean_ci(y, f, rest, alpha=0.05, lam=1.0))
    assert abs(point - found.value) < 1e-9, (point, found.value)
    assert abs(low - found.low) < 1e-4 * point
    assert abs(high - found.high) < 1e-4 * point
    ours = seconds(lambda: prediction_powered_estimator(audit, target), 3)
    print(
        f"ppi-python {importlib.metadata.version('ppi-python')}, the share of one code from "
        f"{len(rest):,} ready-made numbers: {theirs:.2f} s"
    )
    print(f"  share {point:.9f}, interval {low:.6f} to {high:.6f}")
    print(f"  mlkit {found.value:.9f}, interval {found.low:.6f} to {found.high:.6f}: the same")
    print(f"  mlkit, all {len(audit.codes)} codes, once they are counted: {1000 * ours:.0f} ms")


def main() -> int:
    """Run all, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=10_000_000)
    parser.add_argument("--audited", type=int, default=20_000)
    given = parser.parse_args()
    n, audited = given.units, given.audited
    rng = np.random.default_rng(0)
    classification = make_classification()
    _, predicted = draw(n, rng)
    column = as_text(predicted)
    region = pd.Series(rng.integers(0, REGIONS, n, dtype=np.int8))
    true, sample = draw(audited, rng)
    before = peak_megabytes()

    start, worked = time.perf_counter(), time.process_time()
    target = Target(column)
    counted = time.perf_counter() - start
    audit = Audit(as_text(true), as_text(sample), drawn_from="elsewhere")
    audit, target = collapse_rare(audit, target, classification)
    found = [
        classify_and_count(target),
        *(
            estimator(audit, target)
            for estimator in (
                calibration_estimator,
                misclassification_estimator,
                subtracted_bias_estimator,
                prediction_powered_estimator,
            )
        ),
    ]
    whole, worked = time.perf_counter() - start, time.process_time() - worked
    assert all(abs(one.share.sum() - 1) < 1e-9 for one in found)
    print(
        f"{n:,} units as text, {audited:,} audited, {CODES} codes joined to {len(audit.codes)}: "
        f"{counted:.2f} s to count, {whole:.2f} s with all five estimators, of which a processor "
        f"worked {worked:.2f} s"
    )
    print(f"peak {peak_megabytes():,.0f} MB, of which {before:,.0f} MB are the data")

    design = Design(rng.uniform(1, 9, audited), psu=np.arange(audited) // 10)
    clustered = Audit(as_text(true), as_text(sample), drawn_from="elsewhere", design=design)

    def in_regions() -> None:
        joined, by_region = collapse_rare(
            clustered, Target(column, domain=region), classification, at_least=20
        )
        calibration_estimator(joined, by_region)

    domains = seconds(in_regions)
    print(f"the same in {REGIONS} regions, the audit in clusters, calibration: {domains:.2f} s")
    counts = dict(zip(target.codes, target.counts[0], strict=True))
    from_counts = seconds(lambda: calibration_estimator(audit, Target.from_counts(counts)), 3)
    print(f"from counts per code, calibration: {1000 * from_counts:.0f} ms")
    families, by_family = to_level(
        Audit(as_text(true), as_text(sample), drawn_from="elsewhere"),
        Target(column),
        classification,
        "level 1",
    )
    compare_with_ppi_python(families, by_family, predicted, family(3))
    limits = {
        f"all estimators under {LIMIT_SECONDS:g} s": whole < LIMIT_SECONDS,
        f"in regions under {LIMIT_SECONDS:g} s": domains < LIMIT_SECONDS,
        f"and {LIMIT_MEGABYTES:,} MB": peak_megabytes() < LIMIT_MEGABYTES,
    }
    for limit, held in limits.items():
        print(f"{'held' if held else 'MISSED'}: {limit}")
    return 0 if all(limits.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
