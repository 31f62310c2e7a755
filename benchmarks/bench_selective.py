"""Measure outliers, selective scores and macro editing on a million records.

Run it from the checkout: python benchmarks/bench_selective.py

ssb-vaskify (Statistics Norway) computes the same Hidiroglou-Berthelot limits, where it is
installed; its quartiles are NumPy's default ones, so a few records differ. It is measured with
its own long table, which is part of how it is used, and without. Each time is the best of three.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from mlkit.editing import (
    compare_totals,
    hidiroglou_berthelot,
    quartile_outliers,
    selective_scores,
)

LIMIT_SECONDS = 10.0  # of each, for a million records
CLASSES = 80


def make_periods(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make two periods of a survey; the later one has thousand-errors, births and deaths."""
    rng = np.random.default_rng(0)
    previous = pd.DataFrame(
        {
            "division": rng.integers(0, CLASSES, n),
            "region": rng.choice(["north", "south", "east", "west"], n),
            "turnover": rng.lognormal(5, 1.5, n),
            "costs": rng.lognormal(4.5, 1.5, n),
            "weight": rng.uniform(1, 20, n),
        },
        index=[f"F{i:07d}" for i in range(n)],
    )
    current = previous.copy()
    for name in ("turnover", "costs"):
        current[name] *= rng.lognormal(0.02, 0.1, n) * np.where(rng.random(n) < 0.005, 1000, 1)
    return current.iloc[n // 100 :], previous.iloc[: n - n // 100]


def seconds(work: Callable[[], object]) -> float:
    """Give the best of three times."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def vaskify_times(both: pd.DataFrame) -> tuple[float, float, int]:
    """Time the peer as it is used, and its formula alone; count what it flags."""
    from vaskify.detect import Detect

    long = pd.concat(
        [
            both[["division"]].assign(id=both.index, period=period, turnover=both[name].to_numpy())
            for period, name in (("2023", "previous"), ("2024", "current"))
        ],
        ignore_index=True,
    )
    detect = Detect(long, id_nr="id")
    used = seconds(
        lambda: detect.hb("turnover", "period", strata_var="division", pu=0.5, pa=0.05, pc=4)
    )
    flags = detect.hb("turnover", "period", strata_var="division", pu=0.5, pa=0.05, pc=4)
    groups = [part for _, part in both.groupby("division")]
    alone = seconds(
        lambda: [
            Detect._calculate_hb(g["current"], g["previous"], 0.5, 0.05, 4, (0.25, 0.75))
            for g in groups
        ]
    )
    return used, alone, int(flags["flag_hb"].sum())


def main() -> int:
    """Print times and ratios; fail where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    n = parser.parse_args().records
    current, previous = make_periods(n)
    shared = current.index.intersection(previous.index)
    now, before = current.loc[shared], previous.loc[shared]
    names = ["turnover", "costs"]
    scores = selective_scores(now[names], before[names] * 1.02, sample_weight=now["weight"])
    by = ["division", "region", ["division", "region"]]
    totals = compare_totals(current, previous, names, by=by, weights="weight")
    ratios = hidiroglou_berthelot(now["turnover"], before["turnover"], by=now["division"])
    work: dict[str, Callable[[], object]] = {
        "quartile_outliers": lambda: quartile_outliers(
            now["turnover"], by=now["division"], exclusion=2.5, imputation=4
        ),
        "hidiroglou_berthelot": lambda: hidiroglou_berthelot(
            now["turnover"], before["turnover"], by=now["division"]
        ),
        "  list of what it flags": ratios.flagged,
        "selective_scores, 2 variables": lambda: selective_scores(
            now[names], before[names] * 1.02, sample_weight=now["weight"]
        ),
        "  curve with the truth": lambda: scores.curve(before[names]),
        "compare_totals, 3 levels": lambda: compare_totals(
            current, previous, names, by=by, weights="weight"
        ),
        "  drill_down, all records": lambda: totals.drill_down("turnover"),
    }
    print(f"{n:,} records, {CLASSES} classes")
    taken = {}
    for name, run in work.items():
        taken[name] = seconds(run)
        print(f"  {name:32} {taken[name]:7.2f} s")
    if importlib.util.find_spec("vaskify") is None:
        print("  ssb-vaskify is not installed")
    else:
        both = pd.DataFrame(
            {
                "division": now["division"],
                "previous": before["turnover"],
                "current": now["turnover"],
            }
        )
        used, alone, found = vaskify_times(both)
        ours = taken["hidiroglou_berthelot"]
        print(f"  ssb-vaskify, as used             {used:7.2f} s   {used / ours:.1f} times ours")
        print(f"  ssb-vaskify, its formula alone   {alone:7.2f} s   {alone / ours:.1f} times ours")
        print(f"  flagged: ours {int(ratios.outside.sum()):,}, ssb-vaskify {found:,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)
    print(f"  peak memory, data included       {peak_mb:7.0f} MB")
    return int(max(taken.values()) > LIMIT_SECONDS * n / 1e6 + 1)


if __name__ == "__main__":
    sys.exit(main())
