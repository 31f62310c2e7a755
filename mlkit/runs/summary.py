"""How runs and results are put into words, on the page and in the terminal alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.runs.store import Metric, Run

__all__ = [
    "LessonRuns",
    "by_lesson",
    "numbers_of",
    "say_all",
    "say_duration",
    "say_interval",
    "say_parameters",
    "say_range",
    "say_recorders",
    "say_state",
    "say_summary",
    "say_value",
]


@dataclass(frozen=True)
class LessonRuns:
    """The runs of one lesson in a batch.

    Parameters
    ----------
    key, title : str
        The lesson.
    runs : tuple of Run
        In the order of the plan.
    """

    key: str
    title: str
    runs: tuple[Run, ...]

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the parameters that are not the same in all runs."""
        first = self.runs[0].parameters
        return tuple(
            name
            for name, value in first.items()
            if any(run.parameters.get(name) != value for run in self.runs)
        )

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters that are the same in all runs."""
        first = self.runs[0].parameters
        return {name: value for name, value in first.items() if name not in self.varied}

    @property
    def metrics(self) -> dict[str, list[tuple[Run, Metric]]]:
        """The results by name, each with the runs that recorded it."""
        found: dict[str, list[tuple[Run, Metric]]] = {}
        for run in self.runs:
            for metric in run.metrics:
                found.setdefault(metric.name, []).append((run, metric))
        return found

    def label(self, run: Run) -> str:
        """Tell a run from the others of its lesson."""
        return say_parameters({name: run.parameters[name] for name in self.varied})


def by_lesson(runs: Iterable[Run]) -> list[LessonRuns]:
    """Gather runs by lesson, in the order in which the lessons first come.

    Parameters
    ----------
    runs : iterable of Run
        The runs.

    Returns
    -------
    list of LessonRuns
        One for each lesson.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.lesson, []).append(run)
    return [LessonRuns(key, group[0].title, tuple(group)) for key, group in groups.items()]


def say_summary(runs: Sequence[Run]) -> str:
    """Say in one sentence how the runs ended.

    Parameters
    ----------
    runs : sequence of Run
        The runs.

    Returns
    -------
    str
        Such as ``"2 of 3 runs succeeded; 1 failed."``
    """
    counts = Counter(run.state for run in runs)
    good = counts.pop("succeeded", 0)
    if not counts:
        return "The run succeeded." if good == 1 else f"All {good} runs succeeded."
    rest = ", ".join(f"{count} {say_state(state)}" for state, count in counts.items())
    return f"{good} of {len(runs)} {'run' if len(runs) == 1 else 'runs'} succeeded; {rest}."


def say_state(state: str) -> str:
    """Write a state in words.

    Parameters
    ----------
    state : str
        One of :data:`mlkit.runs.store.STATES`.

    Returns
    -------
    str
        The state.

    Examples
    --------
    >>> say_state("timed_out")
    'timed out'
    """
    return state.replace("_", " ")


def say_parameters(parameters: Mapping[str, Any]) -> str:
    """Write parameters in one line.

    Parameters
    ----------
    parameters : dict
        From name to value.

    Returns
    -------
    str
        The line.

    Examples
    --------
    >>> say_parameters({"SEED": 0, "TARGET": 0.95})
    'SEED 0, TARGET 0.95'
    >>> say_parameters({"QUICK": True})
    'QUICK true'
    """
    words = {True: "true", False: "false"}
    return ", ".join(
        f"{name} {words[value] if isinstance(value, bool) else value}"
        for name, value in parameters.items()
    )


def say_value(value: float | int | str | bool | None) -> str:
    """Write a result for reading; the record keeps it in full.

    Parameters
    ----------
    value : float, int, str, bool or None
        The result.

    Returns
    -------
    str
        Numbers with four significant digits, from 1,000 on without decimals.

    Examples
    --------
    >>> [say_value(value) for value in (0.523412, 28521, 28521.4, 3.2e-07, True, None)]
    ['0.5234', '28,521', '28,521', '3.2e-07', 'yes', 'none']
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if math.isinf(value):
        return "open"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def say_range(metrics: Sequence[Metric]) -> str:
    """Sum up what several runs got for one result.

    Parameters
    ----------
    metrics : sequence of Metric
        One for each run.

    Returns
    -------
    str
        The value, when all runs have the same; the range of numbers; or how many values
        there are.
    """
    values = list(dict.fromkeys(metric.value for metric in metrics))
    if len(values) == 1:
        return say_value(values[0])
    numbers = numbers_of(metrics)
    if not numbers:
        return f"{len(values)} different values"
    return f"{say_value(min(numbers))} to {say_value(max(numbers))}"


def say_recorders(lesson: LessonRuns) -> str:
    """Say how many runs of a lesson recorded its results.

    Parameters
    ----------
    lesson : LessonRuns
        The lesson.

    Returns
    -------
    str
        Such as ``"3 runs"`` or ``"2 of 3 runs"``.
    """
    total = len(lesson.runs)
    good = sum(run.state == "succeeded" for run in lesson.runs)
    return f"{total} runs" if good == total else f"{good} of {total} runs"


def say_duration(seconds: float | None) -> str:
    """Write how long something took.

    Parameters
    ----------
    seconds : float or None
        None when it is not known.

    Returns
    -------
    str
        Empty when it is not known.

    Examples
    --------
    >>> say_duration(7.25), say_duration(125.0), say_duration(None)
    ('7.2 s', '2 min 5 s', '')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def say_all(words: Iterable[str]) -> str:
    """Name each of several words once.

    Parameters
    ----------
    words : iterable of str
        Such as the unit of a result in each run.

    Returns
    -------
    str
        The words, which are mostly one, with "and" between them.

    Examples
    --------
    >>> say_all(["real", "real"]), say_all(["real", "simulated"])
    ('real', 'real and simulated')
    """
    return " and ".join(dict.fromkeys(words))


def say_interval(metric: Metric) -> str:
    """Write the uncertainty of a result: its interval, else its standard error, else nothing.

    Parameters
    ----------
    metric : Metric
        The result.

    Returns
    -------
    str
        Such as ``"0.51 to 0.54 (95%)"``.
    """
    if metric.interval is not None:
        low, high = metric.interval
        level = f" ({metric.confidence:.0%})" if metric.confidence else ""
        return f"{say_value(low)} to {say_value(high)}{level}"
    if metric.standard_error is not None:
        error = metric.standard_error
        return f"standard error {error:,.0f}" if error >= 100 else f"standard error {error:.2g}"
    return ""


def numbers_of(metrics: Sequence[Metric]) -> list[float]:
    """Give the values of results as numbers.

    Parameters
    ----------
    metrics : sequence of Metric
        The results.

    Returns
    -------
    list of float
        In the same order; empty when one of them is no number.
    """
    values = [metric.value for metric in metrics]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return numbers if len(numbers) == len(values) else []
