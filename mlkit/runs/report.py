"""Compare the runs of a batch on one page that needs neither a network nor JavaScript."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlkit.paths import write_whole
from mlkit.runs.store import STATES, Batch, Metric, Run
from mlkit.runs.summary import (
    LessonRuns,
    by_lesson,
    numbers_of,
    say_duration,
    say_interval,
    say_parameters,
    say_range,
    say_recorders,
    say_state,
    say_summary,
    say_value,
)

__all__ = ["write_report"]


def write_report(batch: Batch) -> Path:
    """Write the report of a batch into the batch's folder.

    Parameters
    ----------
    batch : Batch
        As read from the record.

    Returns
    -------
    Path
        The file, one page of HTML.

    Examples
    --------
    >>> import tempfile
    >>> from mlkit.runs.store import Store
    >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as store:
    ...     number = store.begin("my-plan", "runs: []", [])
    ...     write_report(store.batch(number)).name
    'report.html'
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mlkit.runs", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        value=say_value,
        interval=say_interval,
        parameters=say_parameters,
        state=say_state,
        moment=_say_moment,
        duration=say_duration,
        breakable=_breakable,
        recorders=say_recorders,
        drawn=_is_drawn,
    )
    lessons = by_lesson(batch.runs)
    page = environment.get_template("report.html.j2").render(
        batch=batch,
        lessons=lessons,
        labels={run.number: lesson.label(run) for lesson in lessons for run in lesson.runs},
        troubled=[run for run in batch.runs if run.state != "succeeded"],
        summary=say_summary(batch.runs),
        links={run.number: _link(batch, run) for run in batch.runs if run.output},
        states={run.state: STATES[run.state] for run in batch.runs},
        versions=_together(run.versions or {} for run in batch.runs),
        datasets=_together(run.dataset_hashes for run in batch.runs),
        whiskers=_whiskers,
        alike=_are_alike,
        say_range=say_range,
    )
    path = batch.folder / "report.html"
    write_whole(page, path)
    return path


def _say_moment(moment: str | None) -> str:
    return moment.replace("T", " ").replace("Z", " UTC") if moment else ""


def _breakable(name: str) -> Any:
    """Let the browser break a long name after each underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _whiskers(metrics: Sequence[Metric]) -> list[tuple[float, float, float]]:
    """Place values and their intervals on a common scale from 0 to 100.

    Returns
    -------
    list
        For each metric the low end, the value and the high end; empty when the metrics
        cannot be compared so, or there is nothing to compare.
    """
    numbers = numbers_of(metrics)
    spans = []
    for metric, number in zip(metrics, numbers, strict=False):
        reach = 2 * (metric.standard_error or 0)
        spans.append((*(metric.interval or (number - reach, number + reach)), number))
    ends = [end for span in spans for end in span if math.isfinite(end)]
    if len(metrics) < 2 or not ends or min(ends) == max(ends):
        return []
    low, high = min(ends), max(ends)

    def place(end: float) -> float:
        return round(100 * (min(max(end, low), high) - low) / (high - low), 1)

    return [(place(left), place(number), place(right)) for left, right, number in spans]


def _are_alike(metrics: Sequence[Metric]) -> bool:
    """Tell whether all runs recorded the very same."""
    return len(metrics) > 1 and len(set(metrics)) == 1


def _is_drawn(lesson: LessonRuns) -> bool:
    return any(_whiskers([metric for _, metric in found]) for found in lesson.metrics.values())


def _link(batch: Batch, run: Run) -> str:
    """Give the address of a run's notebook, seen from the report."""
    assert run.output is not None  # noqa: S101 - asked only for runs that have one
    return quote(f"../{run.output}")


def _together(found: Iterable[Any]) -> dict[str, str]:
    """Merge dictionaries; where they differ, name every value."""
    merged: dict[str, list[str]] = {}
    for one in found:
        for name, value in one.items():
            if value not in merged.setdefault(name, []):
                merged[name].append(value)
    return {name: " and ".join(values) for name, values in sorted(merged.items())}
