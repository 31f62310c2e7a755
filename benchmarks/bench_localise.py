"""Measure how fast errors are localised, beside Banff 3.1.3 of Statistics Canada.

Run it from the checkout:

    python benchmarks/bench_localise.py --banff-python PATH/TO/VENV/bin/python

A business survey of nine variables with three balances and thirteen inequalities, 3 % of cells
wrong. Banff is GPL: it is never imported here, but run by the Python of an environment of its own
(`python -m venv banff && banff/bin/pip install banff`); without one the comparison is skipped.
Each side is timed inside its own process, data in memory, the best of three; reading, writing
and start-up do not count. Both must flag the same number of fields in the same records.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mlkit.datasets import make_business_survey
from mlkit.editing import EditRules, Localisation, localise_errors

LEAST_RATIO = 10.0
MOST_MB = 2_000.0
RULES = """
turnover + otherrev == totalrev
staffcosts + othercosts == totalcosts
totalrev - totalcosts == profit
staff >= 0
turnover >= 0
otherrev >= 0
totalrev >= 0
staffcosts >= 0
othercosts >= 0
totalcosts >= 0
vat >= 0
turnover <= 550 * staff
staffcosts <= 40 * staff
-0.9 * totalrev <= profit <= 0.9 * totalrev
vat <= 0.3 * turnover
"""
# Banff draws ties at random and wants bounds, which never bind, for every variable.
BANFF = """
import json, resource, sys, time
import numpy as np
import pandas as pd
import banff

names, edits, repeats = sys.argv[2].split(), sys.argv[3], int(sys.argv[4])
data = pd.DataFrame(np.load(sys.argv[1]), columns=names)
data["record"] = [f"r{number:09d}" for number in range(len(data))]
best = float("inf")
for _ in range(repeats):
    start = time.perf_counter()
    call = banff.errorloc(
        indata=data, edits=edits, unit_id="record", accept_negative=True, seed=1, capture=None,
        no_by_stats=True, outstatus="pandas", outreject="pandas",
    )
    best = min(best, time.perf_counter() - start)
flagged = call.outstatus
print(json.dumps({
    "seconds": best,
    "fields": len(flagged),
    "records": int(flagged["record"].nunique()),
    "rejected": 0 if call.outreject is None else len(call.outreject),
    "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
}))
"""


def banff_edits() -> str:
    """Write the rules as Banff reads them."""
    written = [line.replace("==", "=") for line in RULES.strip().splitlines()]
    written.remove("-0.9 * totalrev <= profit <= 0.9 * totalrev")
    written += ["profit <= 0.9 * totalrev", "profit >= -0.9 * totalrev"]
    return "; ".join([*written, "staff <= 1000000000", "otherrev <= 1000000000000"]) + ";"


def run_banff(python: str, frame: pd.DataFrame, repeats: int) -> dict[str, float]:
    """Run Banff in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "survey.npy"
        np.save(path, frame.to_numpy())
        names = " ".join(frame.columns)
        command = [python, "-c", BANFF, str(path), names, banff_edits(), str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"Banff failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run_ours(frame: pd.DataFrame, repeats: int) -> tuple[float, Localisation]:
    """Localise errors, the rules being read each time."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        found = localise_errors(frame, EditRules.from_text(RULES))
        best = min(best, time.perf_counter() - start)
    return best, found


def main() -> int:
    """Print times and ratios; fail where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--banff-python", help="the Python of an environment with banff 3.1.3")
    chosen = parser.parse_args()
    frame = make_business_survey(chosen.records, seed=0, setting="simple").observed
    ours, found = run_ours(frame, chosen.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1e6 if sys.platform == "darwin" else 1e3)
    failing, fields = int((found.status != "valid").sum()), int(found.fields.to_numpy().sum())
    verified = found.verified["feasible"] & found.verified["minimal"]

    print(f"{chosen.records:,} records, {failing:,} failing, {fields:,} fields to change")
    print(
        f"  ours                   {ours:8.2f} s, {peak_mb:,.0f} MB, {verified.mean():.2%} verified"
    )
    missed = peak_mb > MOST_MB or not verified.all()
    if chosen.banff_python is None:
        print("  Banff                  skipped: give --banff-python, see the text above")
        return int(missed)
    peer = run_banff(chosen.banff_python, frame, chosen.repeats)
    print(
        f"  Banff                  {peer['seconds']:8.2f} s, {peer['mb']:,.0f} MB, "
        f"{peer['records']:,} failing, {peer['fields']:,} fields, {peer['rejected']:,} rejected"
    )
    ratio = peer["seconds"] / ours
    print(f"  Banff takes            {ratio:8.1f} times as long   (at least {LEAST_RATIO:g})")
    same = (peer["records"] + peer["rejected"], peer["fields"]) == (failing, fields)
    if not same:
        print("  the answers differ")
    return int(missed or ratio < LEAST_RATIO or not same)


if __name__ == "__main__":
    sys.exit(main())
