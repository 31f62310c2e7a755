"""Measure how fast edit rules are checked, beside pandas.eval and plain Python.

Run it from the checkout: python benchmarks/bench_edit_rules.py

A business survey with 2 % of cells missing and 30 rules: balances, inequalities, conditional and
categorical rules. pandas.eval computes the linear and conditional rules of the list as
expressions: it knows no missing values, tolerances nor rounding. Plain Python judges a thousand
records by one balance, and is scaled up. Each time is the best of three.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from mlkit.editing import EditRules

LIMIT_SECONDS = 5.0
NAMES = ("turnover", "other", "total", "staffcosts", "othercosts", "costs", "profit", "vat")
LINEAR = """
turnover + other == total
staffcosts + othercosts == costs
total - costs == profit
turnover >= 0
other >= 0
total >= 0
staffcosts >= 0
othercosts >= 0
costs >= 0
vat >= 0
staff >= 0
turnover <= 550 * staff
staffcosts <= 40 * staff
profit <= 0.9 * total
profit >= -0.9 * total
vat <= 0.3 * turnover
staff <= 100
profit <= 0.6 * turnover
costs <= 2 * turnover
othercosts <= turnover
vat <= 0.2 * total
total >= turnover
""".strip().splitlines()
OTHERS = """
status in {"employee", "self-employed", "other"}
if married then age >= 17
if status == "employee" then age >= 14 and age <= 80
if status == "self-employed" and married then staff >= 1
if turnover > 0 then vat > 0
if staff >= 50 then turnover >= 100
0 <= age <= 100
age != 99
""".strip().splitlines()


def make_records(n: int) -> pd.DataFrame:
    """Make records of which most satisfy the rules."""
    rng = np.random.default_rng(0)
    staff = rng.integers(1, 60, n).astype(float)
    turnover = np.round(staff * rng.lognormal(4, 0.3, n))
    other = np.round(turnover * rng.uniform(0, 0.1, n))
    staffcosts = np.round(staff * rng.uniform(10, 25, n))
    othercosts = np.round((turnover + other) * rng.uniform(0.3, 0.7, n))
    total, costs = turnover + other, staffcosts + othercosts
    vat = np.round(turnover * rng.uniform(0.02, 0.15, n))
    columns = (turnover, other, total, staffcosts, othercosts, costs, total - costs, vat)
    frame = pd.DataFrame(dict(zip(NAMES, columns, strict=True))).assign(staff=staff)
    frame = frame.mask(rng.random(frame.shape) < 0.02)
    status = rng.choice(["employee", "self-employed", "other"], n)
    return frame.assign(status=status, married=rng.random(n) < 0.5, age=rng.integers(0, 90, n))


def seconds(work: Callable[[], object]) -> float:
    """Give the best of three times."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def python_balance(records: list[tuple[float, float, float]]) -> list[bool]:
    """Judge a balance record by record."""
    return [abs(a + b - c) <= 1e-8 for a, b, c in records]


def main() -> int:
    """Print times and ratios; fail where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    n = parser.parse_args().records
    frame = make_records(n)
    rules = EditRules.from_text("\n".join([*LINEAR, *OTHERS]))
    weights = np.linspace(1, 5, n)

    ours = seconds(lambda: rules.check(frame))
    report = seconds(lambda: rules.check(frame, sample_weight=weights).to_frame()) - ours
    linear = EditRules.from_text("\n".join(LINEAR))
    ours_linear = seconds(lambda: linear.check(frame))
    peer = seconds(lambda: [frame.eval(rule, engine="python") for rule in LINEAR])
    thousand = list(frame[["turnover", "other", "total"]].head(1000).itertuples(index=False))
    plain = seconds(lambda: python_balance(thousand)) * n / 1000 * len(LINEAR)
    consistency = seconds(rules.check_consistency)
    redundancy = seconds(rules.check_redundancy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)

    print(f"{n:,} records, {len(rules)} rules")
    print(f"  check                         {ours:8.2f} s   (limit {LIMIT_SECONDS:g} s a million)")
    print(f"  weighted report on top        {report:8.2f} s")
    print(f"  {len(LINEAR)} linear rules only          {ours_linear:8.2f} s")
    print(f"    pandas.eval, the same       {peer:8.2f} s   {peer / ours_linear:.1f} times ours")
    print(f"    plain Python, scaled up     {plain:8.2f} s   {plain / ours_linear:.1f} times ours")
    print(f"  consistency                   {consistency:8.2f} s")
    print(f"  redundancy                    {redundancy:8.2f} s")
    print(f"  peak memory, data included    {peak_mb:8.0f} MB")
    return int(ours > LIMIT_SECONDS * n / 1e6 + 1)


if __name__ == "__main__":
    sys.exit(main())
