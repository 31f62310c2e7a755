"""Measure the coding report and hierarchical scores beside scikit-learn and hiclass.

Run it from the checkout: python benchmarks/bench_coding_report.py

Each time is the best of three, or of ten where it is some milliseconds. hiclass is optional:
without it, a line says so. It loops over the records in Python, so it is measured on fewer of
them and its time is scaled up, which is printed too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from mlkit.classifications import Classification
from mlkit.estimate import Design
from mlkit.evaluation.coding import coding_report, hierarchical_scores

LIMIT_SECONDS, LIMIT_MEGABYTES, LIMIT_HIERARCHICAL = 3.0, 1000, 0.020


def make_classification() -> Classification:
    """Make four levels with 10, 40, 100 and 400 codes."""
    sizes = (10, 40, 100, 400)
    rows = [(f"1-{i:03d}", "") for i in range(sizes[0])]
    for level, (above, size) in enumerate(itertools.pairwise(sizes), start=1):
        rows += [(f"{level + 1}-{i:03d}", f"{level}-{i * above // size:03d}") for i in range(size)]
    frame = pd.DataFrame(rows, columns=["code", "parent"]).assign(title="Title")
    return Classification.from_table(
        frame, code="code", parent="parent", title="title", name="benchmark"
    )


def make_records(classification: Classification, n: int, k: int) -> tuple[Any, Any, Design]:
    """Draw true codes, k guesses and a design with strata, clusters and weights."""
    rng = np.random.default_rng(0)
    codes = classification.codes("level 4").astype(str)
    shares = 1 / np.arange(1, len(codes) + 1)
    true = rng.choice(len(codes), n, p=shares / shares.sum())
    guesses = rng.integers(0, len(codes), (n, k))
    guesses[:, 0] = np.where(rng.random(n) < 0.8, true, guesses[:, 0])
    psu = np.arange(n) // 20
    design = Design(weights=rng.uniform(1, 20, n), strata=psu % 50, psu=psu)
    return codes[true], codes[guesses], design


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
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


def numbers_at(level: str, codes: Any, classification: Classification) -> Any:
    """Climb to a level, and number the codes there."""
    places = {code: place for place, code in enumerate(classification.codes(level))}
    numbers, different = pd.factorize(codes)
    above = classification.at_level(list(different), level)
    return np.array([places[code] for code in above])[numbers]


def report_times(classification: Classification, n: int) -> tuple[float, float]:
    """Time the report of n records; give also the peak memory."""
    true, guesses, design = make_records(classification, n, 1)
    first = pd.Series(guesses[:, 0], dtype="str")  # how codes come from a file
    truth = pd.Series(true, dtype="str")
    ours = seconds(
        lambda: coding_report(truth, first, classification=classification, design=design)
    )
    megabytes = peak_megabytes()
    print(f"coding_report, {n:,} records, 400 codes, 4 levels, records and population, with")
    print(f"  standard errors under strata and clusters: {ours:.2f} s, peak {megabytes:,.0f} MB")
    plain = seconds(lambda: coding_report(truth, first, classification=classification))
    print(f"  without a design: {plain:.2f} s")

    def with_scikit_learn() -> None:
        for level in classification.levels:
            # In the form that suits scikit-learn best: it sorts texts, which is slow.
            a, b = (numbers_at(level, side, classification) for side in (truth, first))
            for by in (None, design.weights):
                accuracy_score(a, b, sample_weight=by)
                f1_score(a, b, average="macro", sample_weight=by)
                f1_score(a, b, average="weighted", sample_weight=by)

    theirs = seconds(with_scikit_learn, repeats=1)
    print(
        f"  scikit-learn {importlib.metadata.version('scikit-learn')}, the same figures without "
        f"standard errors, from whole numbers: {theirs:.1f} s"
    )
    print(f"  ratio scikit-learn / mlkit: {theirs / ours:.1f}")
    true, guesses, design = make_records(classification, n, 5)
    top = seconds(
        lambda: coding_report(true, guesses, classification=classification, design=design), 1
    )
    print(f"  top-5 codes, shape (n, 5), more than twice the figures: {top:.2f} s")
    return ours, megabytes


def hierarchical_times(classification: Classification, n: int = 20_000) -> float:
    """Time the macro F1 of hiclass, the mean over records, and that over codes."""
    true, guesses, _ = make_records(classification, n, 1)
    first = guesses[:, 0]
    work = {
        name: seconds(
            lambda a=name: hierarchical_scores(true, first, classification, average=a), repeats=10
        )
        for name in ("records", "macro", "micro")
    }
    print(f"hierarchical_scores, {n:,} records, from codes (as text):")
    print(", ".join(f"  {name} {1000 * one:.1f} ms" for name, one in work.items()))
    paths = [
        np.column_stack([classification.at_level(side, level) for level in classification.levels])
        for side in (true, first)
    ]
    from_paths = seconds(lambda: hierarchical_scores(*paths, average="records"), repeats=10)
    print(f"  from paths of four codes: {1000 * from_paths:.1f} ms")
    compare_with_hiclass([side.astype(str) for side in paths], n, work["records"])
    return max(work.values())


def compare_with_hiclass(paths: list[Any], n: int, ours: float) -> None:
    """Time the same with hiclass, if it is there, and check that it finds the same."""
    if importlib.util.find_spec("hiclass") is None:
        print("  hiclass is not installed: not compared (pip install hiclass)")
        return
    from hiclass.metrics import f1

    part = min(n, 2000)
    few = [side[:part] for side in paths]
    # It warns for each record without a hit. To say zero_division=0.0 raises: a bug of hiclass.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = seconds(lambda: f1(*few, average="macro"), 1) * n / part
        found = f1(*few, average="macro")
    same = hierarchical_scores(*few, average="records").f1
    assert abs(found - same) < 1e-9, (found, same)
    print(
        f"  hiclass {importlib.metadata.version('hiclass')}, f1(average='macro'): {theirs:.2f} s "
        f"(measured on {part:,} records, times {n / part:g}), the same result"
    )
    print(f"  ratio hiclass / mlkit: {theirs / ours:,.0f}")


def main() -> int:
    """Run all, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    n = parser.parse_args().records
    classification = make_classification()
    ours, megabytes = report_times(classification, n)
    hierarchical = hierarchical_times(classification)
    limits = {
        f"coding report under {LIMIT_SECONDS:g} s": ours < LIMIT_SECONDS,
        f"and {LIMIT_MEGABYTES:,} MB": megabytes < LIMIT_MEGABYTES,
        f"hierarchical F1 under {1000 * LIMIT_HIERARCHICAL:g} ms": (
            hierarchical < LIMIT_HIERARCHICAL
        ),
    }
    for limit, held in limits.items():
        print(f"{'held' if held else 'MISSED'}: {limit}")
    return 0 if all(limits.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
