"""Run lessons by plan, keep a record of every run, and compare the runs in a report."""

from mlkit.runs.command import run_command
from mlkit.runs.execute import run_plan
from mlkit.runs.plan import Limits, Plan, PlanError, PlannedRun, read_plan
from mlkit.runs.report import write_report
from mlkit.runs.store import STATES, Batch, Metric, NewRun, Run, Store, StoreError

__all__ = [
    "STATES",
    "Batch",
    "Limits",
    "Metric",
    "NewRun",
    "Plan",
    "PlanError",
    "PlannedRun",
    "Run",
    "Store",
    "StoreError",
    "read_plan",
    "run_command",
    "run_plan",
    "write_report",
]
