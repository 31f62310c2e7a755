"""Measure how fast imputed records are adjusted to their rules, beside scipy record by record.

Run it from the checkout: python benchmarks/bench_adjust.py

A business survey with three balances and thirteen inequalities, 3 % of cells imputed by the value
of another record. scipy solves the same quadratic programme (SLSQP), and the one with absolute
moves (HiGHS, linprog), for a sample of the records; both times are scaled up. Each time of ours
is the best of three.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linprog, minimize

from mlkit.editing import EditRules
from mlkit.editing._adjust import adjust_to_rules

LIMIT_SECONDS = 2.0  # for 20,000 records
RULES = """
turnover + other == total
staffcosts + othercosts == costs
total - costs == profit
turnover >= 0
other >= 0
total >= 0
staffcosts >= 0
othercosts >= 0
costs >= 0
staff >= 0
vat >= 0
turnover <= 550 * staff
staffcosts <= 40 * staff
-0.9 * total <= profit <= 0.9 * total
vat <= 0.3 * turnover
"""


def make_records(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make records with imputed cells, and say which they are."""
    rng = np.random.default_rng(0)
    true = pd.DataFrame({"staff": rng.integers(1, 60, n).astype(float)})
    true["turnover"] = np.round(true["staff"] * rng.lognormal(4, 0.3, n))
    true["other"] = np.round(true["turnover"] * rng.uniform(0, 0.1, n))
    true["total"] = true["turnover"] + true["other"]
    true["staffcosts"] = np.round(true["staff"] * rng.uniform(10, 25, n))
    true["othercosts"] = np.round(np.maximum(true["total"] * rng.uniform(0.3, 0.7, n), 1))
    true["costs"] = true["staffcosts"] + true["othercosts"]
    true["profit"] = true["total"] - true["costs"]
    true["vat"] = np.round(true["turnover"] * rng.uniform(0.02, 0.15, n))
    imputed = pd.DataFrame(rng.random(true.shape) < 0.03, columns=true.columns)
    others = true.sample(frac=1, random_state=0).reset_index(drop=True)
    return true.where(~imputed, others), imputed


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Give the best of some times."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def by_scipy(frame: pd.DataFrame, imputed: pd.DataFrame, rules: EditRules, linear: bool) -> None:
    """Solve the programme of each record."""
    system = rules.linear_system()
    names = list(system.columns)
    equal = np.array([operator == "==" for operator in system.operators])
    for values, free in zip(frame[names].to_numpy(), imputed[names].to_numpy(), strict=True):
        start = values[free]
        A = system.A[:, free]  # noqa: N806 - the field's name
        b = system.b - system.A[:, ~free] @ values[~free]
        used = (A != 0).any(axis=1)
        A, b, e = A[used], b[used], equal[used]  # noqa: N806
        if linear:
            k, eye = len(start), np.eye(len(start))
            moves = np.block([[eye, -eye], [-eye, -eye]])
            linprog(
                np.r_[np.zeros(k), np.ones(k)],
                A_ub=np.r_[np.c_[A[~e], np.zeros((int((~e).sum()), k))], moves],
                b_ub=np.r_[b[~e], start, -start],
                A_eq=np.c_[A[e], np.zeros((int(e.sum()), k))] if e.any() else None,
                b_eq=b[e] if e.any() else None,
                bounds=(None, None),
            )
            continue
        rows: list[dict[str, Any]] = [
            {"type": "eq" if same else "ineq", "fun": lambda x, a=a, c=c: c - a @ x}
            for a, c, same in zip(A, b, e, strict=True)
        ]
        weight = 1 / np.maximum(np.abs(start), 1e-3 * np.abs(start).max() or 1.0)
        minimize(
            lambda x, w=weight, s=start: w @ (x - s) ** 2, start, constraints=rows, method="SLSQP"
        )


def main() -> int:
    """Print times and ratios; fail where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    n = parser.parse_args().records
    frame, imputed = make_records(n)
    rules = EditRules.from_text(RULES)
    before = rules.check(frame).failing
    ours = seconds(lambda: adjust_to_rules(frame, rules, imputed))
    done = adjust_to_rules(frame, rules, imputed)

    sample = np.flatnonzero(before & imputed.any(axis=1).to_numpy())[:200]
    some, cells = frame.iloc[sample], imputed.iloc[sample]
    up = before.sum() / len(sample)
    slsqp = up * seconds(lambda: by_scipy(some, cells, rules, False), 1)
    highs = up * seconds(lambda: by_scipy(some, cells, rules, True), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)

    print(f"{n:,} records, {int(imputed.to_numpy().sum()):,} imputed cells")
    print(f"  failing before                {before.sum():8,}")
    print(f"  failing after                 {rules.check(done.frame).failing.sum():8,}")
    print(f"  adjust_to_rules               {ours:8.2f} s")
    print(f"  SLSQP, scaled up              {slsqp:8.2f} s   {slsqp / ours:.0f} times ours")
    print(f"  HiGHS, absolute moves         {highs:8.2f} s   {highs / ours:.0f} times ours")
    print(f"  peak memory, data included    {peak_mb:8.0f} MB")
    return int(ours > LIMIT_SECONDS * n / 20_000 + 1)


if __name__ == "__main__":
    sys.exit(main())
