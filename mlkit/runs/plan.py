"""Read a plan and check all of it before anything runs: papermill checks nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mlkit.lessons import Master, MasterError, Parameter, find_masters, read_master
from mlkit.lessons.faults import (
    Fault,
    FaultyTextError,
    LocatedYaml,
    close_match,
    load_yaml,
    validate,
)

__all__ = ["Limits", "Plan", "PlanError", "PlannedRun", "read_plan"]

MOST_RUNS = 10_000
"""More runs than this in one plan are surely a slip."""

Value = int | float | str | bool
Part = TypeVar("Part", bound=BaseModel)

# What a parameter takes, in words, and what to do when something else was given.
_FORMS: Mapping[type, tuple[str, str]] = {
    int: ("a whole number", "Write it without quotes and without a decimal point, such as 3."),
    float: ("a number", "Write it without quotes and with a decimal point, such as 0.95."),
    str: ("text", "Put it in quotes."),
    bool: ("true or false", "Write true or false, without quotes."),
}


class PlanError(FaultyTextError):
    """A plan has faults; the message lists each with file, line and remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Limits(_Strict):
    """What the runs of a plan may take."""

    seconds_per_cell: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120
    seconds_per_run: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 900
    workers: Annotated[int, Field(ge=1, le=64)] = 2


class _Entry(_Strict):
    """One lesson of a plan. Its parameters are checked against the lesson."""

    lesson: str
    parameters: dict[str, Any] = {}
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1


class _File(_Strict):
    """The top level of a plan. Its parts are checked one by one, so that all faults show."""

    runs: Annotated[list[Any], Field(min_length=1)]
    limits: dict[str, Any] = {}


@dataclass(frozen=True)
class PlannedRun:
    """One run of one lesson.

    Parameters
    ----------
    lesson : str
        The lesson's key.
    parameters : dict
        A value for every parameter of the lesson, of the parameter's type.
    repeat : int
        Counts from 0.
    """

    lesson: str
    parameters: Mapping[str, Value]
    repeat: int


@dataclass(frozen=True)
class Plan:
    """A plan that was checked against its lessons.

    Parameters
    ----------
    path : Path
        Its file; the file's name without its ending is the plan's name.
    text : str
        The whole text of the file.
    limits : Limits
        What its runs may take.
    runs : tuple of PlannedRun
        Grids and repeats multiplied out, in the order of the file.
    masters : dict
        From the key of a lesson to the lesson.
    """

    path: Path
    text: str
    limits: Limits
    runs: tuple[PlannedRun, ...]
    masters: Mapping[str, Master]

    @property
    def name(self) -> str:
        """The name of the plan's file, without its ending."""
        return self.path.stem


def read_plan(path: Path, root: Path) -> Plan:
    """Read and check a plan.

    Parameters
    ----------
    path : Path
        A YAML file; docs/runs.md says what may stand in it.
    root : Path
        The checkout that holds the lessons.

    Returns
    -------
    Plan
        Every run with every parameter.

    Raises
    ------
    PlanError
        If the plan, or a lesson it names, has faults; the message lists them all, each with
        its file and line.
    FileNotFoundError
        If there is no such file; the message names the plans of the checkout.

    Examples
    --------
    >>> from mlkit.paths import find_checkout
    >>> root = find_checkout()
    >>> read_plan(root / "plans" / "first-run.yaml", root).name
    'first-run'
    """
    text = _read_text(path, root)
    try:
        located = load_yaml(text, path)
        top = validate(_File, located, path)
    except FaultyTextError as error:
        raise PlanError(error.faults) from None
    reader = _Reader(path, root, located)
    limits = reader.limits()
    runs = tuple(reader.runs(len(top.runs)))
    if reader.faults or limits is None:
        raise PlanError(reader.faults)
    return Plan(path, text, limits, runs, reader.masters)


def _read_text(path: Path, root: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        known = sorted(p.relative_to(root).as_posix() for p in (root / "plans").glob("*.yaml"))
        raise FileNotFoundError(
            f"no plan {path}. Plans of this checkout: {', '.join(known) or 'none'}."
        ) from None
    except UnicodeDecodeError:
        raise PlanError(
            [Fault(path, 1, "this is not UTF-8 text. Save the file as UTF-8.")]
        ) from None


class _Reader:
    """Checks the parts of one plan and gathers all faults."""

    def __init__(self, path: Path, root: Path, located: LocatedYaml) -> None:
        self.path = path
        self.located = located
        self.faults: list[Fault] = []
        self.masters: dict[str, Master] = {}
        self.known = {f"{p.parent.name}/{p.stem}": p for p in find_masters(root)}
        self.faulty: set[str] = set()
        self.seen: dict[tuple[Any, ...], int] = {}

    def limits(self) -> Limits | None:
        if "limits" not in self.located.data:
            return Limits()
        return self._valid(Limits, "limits")

    def runs(self, entries: int) -> Iterator[PlannedRun]:
        for i in range(entries):
            entry = self._valid(_Entry, "runs", i)
            master = entry and self._master(entry.lesson, i)
            axes = entry and master and self._axes(entry, master, i)
            if entry and axes:
                yield from self._expand(entry, axes, i)

    def _valid(self, model: type[Part], *within: str | int) -> Part | None:
        try:
            return validate(model, self.located, self.path, within=within)
        except FaultyTextError as error:
            self.faults += error.faults
            return None

    def _fault(self, what: str, *location: str | int) -> None:
        self.faults.append(Fault(self.path, self.located.line(location), what))

    def _master(self, lesson: str, i: int) -> Master | None:
        if lesson in self.faulty:
            return None  # said already
        if lesson not in self.known:
            self._fault(
                f"no lesson {lesson!r}.{close_match(lesson, self.known)}", "runs", i, "lesson"
            )
            return None
        if lesson not in self.masters:
            try:
                self.masters[lesson] = read_master(self.known[lesson])
            except MasterError as error:
                self.faults += error.faults
                self.faulty.add(lesson)
                return None
        return self.masters[lesson]

    def _axes(self, entry: _Entry, master: Master, i: int) -> dict[str, list[Value]] | None:
        """Give the values of every parameter, or None when the entry has faults."""
        before = len(self.faults)
        known = {parameter.name: parameter for parameter in master.parameters}
        axes: dict[str, list[Value]] = {name: [p.default] for name, p in known.items()}
        for name, given in entry.parameters.items():
            if name not in known:
                self._fault(
                    f"{entry.lesson} has no parameter {name!r}.{close_match(name, known)}",
                    *("runs", i, "parameters", name),
                )
            else:
                axes[name] = self._axis(given, known[name], "runs", i, "parameters", name)
        if entry.repeats > 1 and len(axes.get("SEED", [])) > 1:
            self._fault(
                "SEED is a list and the runs are repeated, which changes SEED as well. Keep one "
                "of the two.",
                *("runs", i, "repeats"),
            )
        total = math.prod(map(len, axes.values())) * entry.repeats
        if total > MOST_RUNS:
            self._fault(
                f"these are {total:,} runs; a plan has at most {MOST_RUNS:,}. Shorten the lists.",
                *("runs", i),
            )
        return axes if len(self.faults) == before else None

    def _axis(self, given: Any, parameter: Parameter, *at: str | int) -> list[Value]:
        """Give the values that a parameter takes in turn."""
        if not isinstance(given, list):
            value = self._value(given, parameter, *at)
            return [] if value is None else [value]
        if not given:
            self._fault(
                f"{parameter.name}: an empty list means no run at all. Give one or more values.",
                *at,
            )
        values: list[Value] = []
        for j, one in enumerate(given):
            value = self._value(one, parameter, *at, j)
            if value is not None and value in values:
                self._fault(f"{parameter.name}: {_show(one)} stands twice. Keep one.", *at, j)
            elif value is not None:
                values.append(value)
        return values

    def _value(self, given: Any, parameter: Parameter, *at: str | int) -> Value | None:
        """Give a value in the parameter's type, or None when it does not fit."""
        try:
            return _fit(given, parameter.type)
        except (TypeError, OverflowError):
            form, remedy = _FORMS[parameter.type]
            self._fault(
                f"{parameter.name}: given {_show(given)}; it takes {form} "
                f"({parameter.meaning}). {remedy}",
                *at,
            )
            return None

    def _expand(self, entry: _Entry, axes: dict[str, list[Value]], i: int) -> Iterator[PlannedRun]:
        for values in itertools.product(*axes.values()):
            for repeat in range(entry.repeats):
                parameters = dict(zip(axes, values, strict=True))
                parameters["SEED"] = int(parameters["SEED"]) + repeat
                run = PlannedRun(entry.lesson, parameters, repeat)
                identity = (entry.lesson, *parameters.items())
                if identity in self.seen:
                    shown = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
                    self._fault(
                        f"{entry.lesson} with {shown} is planned already on line "
                        f"{self.seen[identity]}. Remove one of the two.",
                        *("runs", i),
                    )
                    return
                self.seen[identity] = self.located.line(("runs", i))
                yield run


def _fit(value: Any, kind: type) -> Value:
    """Give a value in a parameter's type, or raise TypeError.

    Examples
    --------
    >>> _fit(1, float)
    1.0
    >>> _fit(True, int)
    Traceback (most recent call last):
    TypeError: True
    """
    # type(), not isinstance: True is an int to Python, and never what a plan means by one.
    given = type(value)
    if kind is float and given is int:
        return float(value)
    if given is not kind or (kind is float and not math.isfinite(value)):
        raise TypeError(value)
    fitting: Value = value
    return fitting


def _show(value: Any) -> str:
    """Show a value as it may stand in a plan."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, (str, int, float, list, dict)) else f"the date {value}"
