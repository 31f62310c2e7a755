"""What a lesson needs while it runs: exercises that answer back, computed sentences, results.

Everything shown here is a small bundle of formats, so that it reads well in
JupyterLab, on GitHub, on the site and in a plain terminal.
"""

from __future__ import annotations

import dis
import html
import math
import numbers
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import EllipsisType, FunctionType
from typing import Any, Generic, Literal, TypeVar

__all__ = ["CHECK_MIME", "METRIC_MIME", "Exercise", "exercise", "record", "say"]

CHECK_MIME = "application/vnd.mlkit.check+json"
"""MIME type under which the outcome of a check is stored in a notebook."""

METRIC_MIME = "application/vnd.mlkit.metric+json"
"""MIME type under which a recorded result is stored in a notebook."""

T = TypeVar("T")

Outcome = Literal["not attempted", "wrong", "right"]

# Words as well as colours: a message must not depend on seeing the colour.
_TITLES: dict[Outcome, tuple[str, str]] = {
    "not attempted": ("Not attempted yet.", "#0072B2"),
    "wrong": ("Not yet.", "#D55E00"),
    "right": ("Right.", "#009E73"),
}


def exercise(name: str, answer: T) -> Exercise[T]:
    """Begin the check of an exercise.

    Chain :meth:`Exercise.wrong_if` and :meth:`Exercise.right_if`, and end with
    :meth:`Exercise.go_on_with`, which shows the message and hands on a value with which
    the rest of the lesson works, whatever the learner wrote.

    Parameters
    ----------
    name : str
        The name of the exercise, as in the lesson's master.
    answer : object
        What the learner wrote. ``...``, a function whose body is ``...``, a class with
        such a method, and a list, tuple or dictionary with any of these inside count as
        not attempted.

    Returns
    -------
    Exercise
        The check, ready to be given its conditions.

    Examples
    --------
    >>> share = 45  # the learner's answer
    >>> share = (
    ...     exercise("share", share)
    ...     .wrong_if(lambda s: s > 1, "A share lies between 0 and 1. Is this a percentage?")
    ...     .right_if(lambda s: abs(s - 0.45) < 0.005, "Almost half.")
    ...     .go_on_with(lambda: 0.45)
    ... )
    Not yet. A share lies between 0 and 1. Is this a percentage?
    >>> share
    0.45
    """
    check = Exercise(name, answer)
    last = _last_checks.get(name)
    if last is not None and last.value is answer and not _answered_since(last):
        # The check was run a second time, so what it finds is our answer, not the learner's.
        check._outcome, check._message = last.outcome, last.message
    return check


class Exercise(Generic[T]):
    """The check of one exercise: the first condition that holds decides.

    A check never raises because of an answer: an answer of a surprising kind, with which a
    condition cannot work, is told so.

    Parameters
    ----------
    name : str
        The name of the exercise.
    answer : object
        What the learner wrote.
    """

    def __init__(self, name: str, answer: T) -> None:
        self.name = name
        self.answer = answer
        self._outcome: Outcome | None = "not attempted" if _is_blank(answer) else None
        self._message = ""
        self._failure: Exception | None = None

    def wrong_if(
        self, condition: Callable[[T], Any], message: str | Callable[[T], str]
    ) -> Exercise[T]:
        """Recognise a wrong answer.

        Parameters
        ----------
        condition : callable
            Takes the answer; true for this wrong answer.
        message : str or callable
            What the mistake is, in the words of statistics; or a function that makes the
            message from the answer.

        Returns
        -------
        Exercise
            The same check, for chaining.
        """
        return self._decide("wrong", condition, message)

    def right_if(
        self, condition: Callable[[T], Any], message: str | Callable[[T], str]
    ) -> Exercise[T]:
        """Recognise a right answer: any answer for which the condition holds.

        Parameters
        ----------
        condition : callable
            Takes the answer; true for every right answer.
        message : str or callable
            What to notice now; or a function that makes the message from the answer.

        Returns
        -------
        Exercise
            The same check, for chaining.
        """
        return self._decide("right", condition, message)

    def go_on_with(self, fallback: Callable[[], T]) -> T:
        """Show the message, and hand on a value to continue with.

        Parameters
        ----------
        fallback : callable
            Takes nothing and returns a right answer. It is called only when the answer is
            not right, so it may compute.

        Returns
        -------
        object
            The answer if it is right, else the fall-back.
        """
        if self._outcome == "right":
            _last_checks.pop(self.name, None)
            self._show("right", self._message)
            return self.answer
        value = fallback()
        outcome: Outcome = self._outcome or "wrong"
        message = self._message or self._explain(value)
        self._show(outcome, message)
        _last_checks[self.name] = _LastCheck(value, outcome, message, *_this_cell())
        return value

    def _decide(
        self,
        outcome: Outcome,
        condition: Callable[[T], Any],
        message: str | Callable[[T], str],
    ) -> Exercise[T]:
        if self._outcome is not None or self._failure is not None:
            return self
        try:
            with warnings.catch_warnings():
                # A comparison with an odd answer may warn; the learner asked no such thing.
                warnings.simplefilter("ignore")
                if bool(condition(self.answer)):
                    self._message = message if isinstance(message, str) else message(self.answer)
                    self._outcome = outcome
        except Exception as failure:  # any answer may be given, none may raise
            self._failure = failure
        return self

    def _explain(self, expected: T) -> str:
        """Say what to do about an answer that no condition recognised."""
        if self._outcome == "not attempted":
            return (
                "Replace the ... above, run that cell, and then this one. Meanwhile the lesson "
                "goes on with our answer."
            )
        if self._failure is None:
            return (
                "This is not the answer, and not a mistake we foresaw either. The hints above go "
                "on step by step."
            )
        given, wanted = _kind(self.answer), _kind(expected)
        if given != wanted:
            return f"Your answer is {given}; what fits here is {wanted}."
        reason = f"{type(self._failure).__name__}: {self._failure}".strip().rstrip(".:")
        return f"The check could not work with your answer. ({reason}.)"

    def _show(self, outcome: Outcome, message: str) -> None:
        title, colour = _TITLES[outcome]
        box = (
            f'<div role="status" style="border-left: 5px solid {colour}; padding: 0.4em 0.9em; '
            f'margin: 0.3em 0">'
            f"<strong>{title}</strong> {_inline_code(message)}</div>"
        )
        _display(
            {
                "text/plain": f"{title} {message}",
                "text/html": box,
                CHECK_MIME: {
                    "schema": 1,
                    "exercise": self.name,
                    "outcome": outcome,
                    "message": message,
                },
            }
        )


def say(sentence: str) -> None:
    """Show a sentence, usually an f-string with computed figures, as running text.

    A figure that is computed stays true when the lesson runs on other data.

    Parameters
    ----------
    sentence : str
        Markdown.

    Examples
    --------
    >>> accuracy = 0.5234
    >>> say(f"The model codes **{accuracy:.0%}** of the titles right.")
    The model codes **52%** of the titles right.
    """
    _display({"text/plain": sentence, "text/markdown": sentence})


def record(
    name: str,
    value: float | int | str | bool | None,
    *,
    data: Literal["real", "simulated"],
    unit: str = "",
    standard_error: float | None = None,
    interval: tuple[float, float] | None = None,
    confidence: float | None = None,
    note: str = "",
) -> None:
    """Publish a result of the lesson, so that scheduled runs can compare it.

    Numbers are kept to ten significant digits: beyond that, two machines may differ.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and underscores, such as ``"accuracy_4_digits"``.
    value : float, int, str, bool or None
        The result; None when it could not be computed (say why in `note`). Numpy scalars
        are taken as the Python number they stand for.
    data : {"real", "simulated"}
        What the figure was computed from. Simulation supports claims about methods only.
    unit : str, optional
        Such as ``"share"``, ``"titles"`` or ``"EUR"``.
    standard_error : float, optional
        In the unit of the value.
    interval : tuple of two floats, optional
        Lower and upper bound, in the unit of the value. An infinite bound is allowed.
    confidence : float, optional
        The confidence of the interval, between 0 and 1; .95 when an interval is given
        without it.
    note : str, optional
        What a reader of the report must know.

    Raises
    ------
    ValueError
        If the name is no such name, a number is not finite, the standard error is
        negative, or the interval does not run from low to high.
    TypeError
        If the value is of another type.

    Examples
    --------
    >>> record("accuracy", 0.5234, data="real", unit="share", interval=(0.51, 0.54))
    Recorded: accuracy = 0.5234 share, 95% interval 0.51 to 0.54 (real data)
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"The name of a result is made of lower-case letters, digits and underscores and "
            f"begins with a letter, such as 'accuracy_4_digits'; {name!r} is not."
        )
    if data not in ("real", "simulated"):
        raise ValueError(f"data={data!r}: say 'real' or 'simulated'.")
    if interval is not None:
        low, high = (_number(bound, name, infinite=True) for bound in interval)
        if not low <= high:
            raise ValueError(f"{name}: the interval {interval} does not run from low to high.")
        confidence = 0.95 if confidence is None else confidence
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"{name}: confidence={confidence} is not between 0 and 1.")
    if standard_error is not None and standard_error < 0:
        raise ValueError(f"{name}: standard_error={standard_error} is negative.")
    metric = {
        "schema": 1,
        "name": name,
        "value": _scalar(value, name),
        "unit": unit,
        "data": data,
        "standard_error": None if standard_error is None else _number(standard_error, name),
        # JSON has no infinity: an open end is null.
        "interval": None if interval is None else [_open_end(low), _open_end(high)],
        "confidence": None if confidence is None else _number(confidence, name),
        "note": note,
    }
    _display({"text/plain": _metric_text(metric), METRIC_MIME: metric})


@dataclass(frozen=True)
class _LastCheck:
    """What a check handed on in place of an answer, and the cell in which it did."""

    value: object
    outcome: Outcome
    message: str
    cell: int
    source: str


_last_checks: dict[str, _LastCheck] = {}


def _this_cell() -> tuple[int, str]:
    """Give the number and the text of the cell that is running; 0 outside a notebook."""
    cells = _cells_run()
    return max(len(cells) - 1, 0), cells[-1] if cells else ""


def _cells_run() -> list[str]:
    shell = _shell()
    return list(shell.user_ns.get("In", [])) if shell is not None else []


def _answered_since(last: _LastCheck) -> bool:
    """Tell whether a cell run since the last check gives the answer a value."""
    cells = _cells_run()
    variable = re.search(r"exercise\(\s*[\"'][^\"']*[\"']\s*,\s*(\w+)", last.source)
    if not cells or variable is None:
        return True
    gives = re.compile(rf"^(def {variable[1]}\b|[^#\n]*\b{variable[1]}\b[^#\n=]*=(?!=))", re.M)
    return any(gives.search(cell) for cell in cells[last.cell + 1 : -1])


def _is_blank(answer: object, depth: int = 3) -> bool:
    if isinstance(answer, EllipsisType):
        return True
    if isinstance(answer, FunctionType):
        return _does_nothing(answer)
    parts: Iterable[object] = ()
    if isinstance(answer, type):
        # An empty __init__ is common in finished classes.
        parts = [part for name, part in vars(answer).items() if not name.startswith("__")]
    elif isinstance(answer, Mapping):
        parts = answer.values()
    elif isinstance(answer, (list, tuple)):
        parts = answer
    # Nobody leaves a blank deeper than this, and an answer may hold itself.
    return depth > 0 and any(_is_blank(part, depth - 1) for part in parts)


def _does_nothing(function: FunctionType) -> bool:
    """Tell whether a function's body is ``...`` or returns it, with or without a docstring."""
    return all(
        step.argval in (None, ...)
        if step.opname in ("LOAD_CONST", "RETURN_CONST")
        else step.opname in ("RESUME", "NOP", "RETURN_VALUE")
        for step in dis.get_instructions(function)
    )


def _kind(value: object) -> str:
    """Say what kind of thing a value is, for a reader who is no programmer."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, numbers.Number):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, type):
        return f"the class {value.__name__} (was it meant to be called?)"
    if callable(value) and hasattr(value, "__code__"):
        return "a function"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _scalar(value: Any, name: str) -> float | int | str | bool | None:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _number(value, name)
    raise TypeError(
        f"{name}: a result is one int or float, text, True, False or None; given "
        f"{type(value).__name__}. Record each figure under a name of its own."
    )


def _number(value: Any, name: str, *, infinite: bool = False) -> float:
    number = float(value)
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise ValueError(
            f"{name}: {number} is not a result. Record None, and say in note= why it could not "
            "be computed."
        )
    return float(f"{number:.10g}")


def _open_end(bound: float) -> float | None:
    return None if math.isinf(bound) else bound


def _metric_text(metric: Mapping[str, Any]) -> str:
    value = metric["value"]
    text = f"Recorded: {metric['name']} = {_short(value, 4) if isinstance(value, float) else value}"
    text += f" {metric['unit']}" if metric["unit"] else ""
    if metric["standard_error"] is not None:
        text += f", standard error {_short(metric['standard_error'], 2)}"
    if metric["interval"] is not None:
        low, high = metric["interval"]
        text += f", {100 * metric['confidence']:g}% interval {_end(low)} to {_end(high)}"
    text += f" ({metric['data']} data)"
    text += f": {metric['note']}" if metric["note"] else ""
    # A notebook breaks long lines in the middle of words.
    return textwrap.fill(text, 100, subsequent_indent="    ", break_on_hyphens=False)


def _end(bound: float | None) -> str:
    return "open" if bound is None else _short(bound, 4)


def _short(number: float, digits: int) -> str:
    """Write a number with some digits, and large ones in full: 21,158 and not 2.116e+04."""
    return f"{number:,.0f}" if abs(number) >= 10**digits else f"{number:.{digits}g}"


def _inline_code(message: str) -> str:
    """Escape a message for HTML; words between backticks become code."""
    parts: Iterable[str] = html.escape(message, quote=False).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def _display(bundle: dict[str, Any]) -> None:
    """Show a bundle in a notebook; print its plain text anywhere else."""
    shell = _shell()
    if shell is None:
        print(bundle["text/plain"])  # noqa: T201 - outside a notebook, the terminal is the display
    else:
        from IPython.display import display

        display(bundle, raw=True)  # type: ignore[no-untyped-call]


def _shell() -> Any:
    """Give the notebook's shell; None in a terminal and in plain Python."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return shell if hasattr(shell, "kernel") else None
