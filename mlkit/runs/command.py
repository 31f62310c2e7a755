"""What ``mlkit run`` does: carry out a plan in front of a person or a scheduler."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mlkit.lessons.faults import FaultyTextError
from mlkit.paths import NoCheckoutError, find_checkout
from mlkit.runs.execute import run_plan
from mlkit.runs.plan import Plan, read_plan
from mlkit.runs.report import write_report
from mlkit.runs.store import Batch, Run, StoreError
from mlkit.runs.summary import (
    LessonRuns,
    by_lesson,
    say_all,
    say_duration,
    say_interval,
    say_parameters,
    say_range,
    say_recorders,
    say_state,
    say_summary,
    say_value,
)

__all__ = ["run_command"]

MOST_COLUMNS = 3


def run_command(plan_path: Path, out: Path | None = None, resume: bool = False) -> int:
    """Carry out a plan, show how it goes, and write the report.

    What is under way goes to stderr. The results go to stdout, whose last line is the path
    of the report.

    Parameters
    ----------
    plan_path : Path
        The plan.
    out : Path, optional
        The folder of the record; ``runs`` in the checkout by default.
    resume : bool, default=False
        Whether to keep the runs that succeeded before.

    Returns
    -------
    int
        0 when every run succeeded or was skipped for want of a package, 1 when another run
        did not succeed, 2 when the plan or the folder cannot be used, 130 after Ctrl-C.

    Examples
    --------
    >>> run_command(Path("plans/no-such-plan.yaml"))
    2
    """
    messages = Console(stderr=True, highlight=False, markup=False)
    try:
        root = find_checkout()
        plan = read_plan(plan_path, root)
    except (FaultyTextError, NoCheckoutError, FileNotFoundError) as error:
        messages.print(f"Nothing was run.\n{error}", soft_wrap=True)
        return 2
    try:
        batch = _carry_out(plan, out or root / "runs", messages, resume=resume)
        report = write_report(batch)
    except StoreError as error:
        messages.print(f"Nothing was run.\n{error}", soft_wrap=True)
        return 2
    except (OSError, sqlite3.Error) as error:
        messages.print(
            f"Stopped, because the runs could not be recorded: {error}\nIs the disk full, or was "
            "the folder removed? Mend that and repeat with --resume to run what is missing.",
            soft_wrap=True,
        )
        return 1
    except KeyboardInterrupt:
        messages.print("Stopped at once. Repeat with --resume to run what is missing.")
        return 130
    _show(batch, report, Console(highlight=False, markup=False))
    if any(run.state in ("cancelled", "not_started") for run in batch.runs):
        return 130
    return 0 if all(run.good for run in batch.runs) else 1


def _carry_out(plan: Plan, out: Path, messages: Console, *, resume: bool) -> Batch:
    total = len(plan.runs)
    messages.print(f"Plan {plan.name}: {total} {'run' if total == 1 else 'runs'}.")
    if not messages.is_terminal:
        return run_plan(plan, out=out, resume=resume, progress=_Lines(total, messages).show)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=messages) as bar:
        return run_plan(plan, out=out, resume=resume, progress=_Bar(total, bar).show)


class _Lines:
    """One line for every start and end, for logs."""

    def __init__(self, total: int, console: Console) -> None:
        self.total = total
        self.console = console
        self.started: set[int] = set()
        self.ended = 0

    def show(self, run: Run) -> None:
        if run.state == "running":
            self.started.add(run.number)
            self.console.print(f"started: {_name(run)}", soft_wrap=True)
            return
        self.ended += 1
        ending = _ending(run) if run.number in self.started else f"{_name(run)} kept"
        self.console.print(f"{self.ended} of {self.total}: {ending}", soft_wrap=True)


class _Bar:
    """A bar that names what is under way, and a line for every run that did not succeed."""

    def __init__(self, total: int, bar: Progress) -> None:
        self.bar = bar
        self.task = bar.add_task("", total=total)
        self.under_way: dict[int, str] = {}

    def show(self, run: Run) -> None:
        if run.state == "running":
            self.under_way[run.number] = run.lesson.rpartition("/")[2]
        else:
            self.under_way.pop(run.number, None)
            self.bar.advance(self.task)
        if run.state not in ("running", "succeeded"):
            self.bar.console.print(_ending(run), soft_wrap=True)
        self.bar.update(self.task, description=", ".join(dict.fromkeys(self.under_way.values())))


def _show(batch: Batch, report: Path, console: Console) -> None:
    """Print the results, what did not succeed, and last the path of the report."""
    for lesson in by_lesson(batch.runs):
        if lesson.metrics:
            console.print(_results(lesson))
    for run in batch.runs:
        if run.state != "succeeded":
            console.print(_ending(run), soft_wrap=True)
            if run.output:
                console.print(f"  {batch.folder.parent / run.output}", soft_wrap=True)
    console.print(f"{say_summary(batch.runs)} Report:")
    console.print(str(report), soft_wrap=True)


def _results(lesson: LessonRuns) -> Table:
    """Make a short table with one line for each result."""
    good = [run for run in lesson.runs if run.metrics]
    several = len(lesson.runs) > 1
    # Side by side where they fit into a terminal; else the range, and the report has them all.
    apart = several and len(good) <= MOST_COLUMNS
    title = f"{lesson.title} ({say_recorders(lesson)})" if several else lesson.title
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("Result", overflow="fold")
    for heading in map(lesson.label, good) if apart else ["Value"]:
        table.add_column(heading, overflow="fold")
    table.add_column("Unit")
    table.add_column("Data")
    for name, found in lesson.metrics.items():
        metrics = {run.number: metric for run, metric in found}
        first = found[0][1]
        if apart:
            values = [
                say_value(metrics[r.number].value) if r.number in metrics else "" for r in good
            ]
        elif several:
            values = [say_range(list(metrics.values()))]
        else:
            values = [", ".join(filter(None, (say_value(first.value), say_interval(first))))]
        units = say_all(metric.unit for _, metric in found)
        table.add_row(name, *values, units, say_all(metric.data for _, metric in found))
    return table


def _name(run: Run) -> str:
    return f"{run.lesson} ({say_parameters(run.parameters)})"


def _ending(run: Run) -> str:
    words = say_state(run.state)
    if run.error_cell:
        words += f" in cell [{run.error_cell}]"
    if run.state == "succeeded" and run.seconds is not None:
        words += f" in {say_duration(run.seconds)}"
    why = f": {run.error_name}: {run.error_message}" if run.error_name else ""
    return f"{_name(run)} {words}{why}"
