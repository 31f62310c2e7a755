"""Faults in a text that a person wrote, each with its file, its line and a remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mlkit.paths import KitError

__all__ = ["Fault", "FaultyTextError", "LocatedYaml", "close_match", "load_yaml", "validate"]

Location = tuple[Hashable, ...]
M = TypeVar("M", bound=BaseModel)

# Nothing of ours is nested deeper. YAML can be endlessly deep: &a [*a].
DEEPEST = 20


@dataclass(frozen=True, order=True)
class Fault:
    """One fault.

    Parameters
    ----------
    path : Path
        The file.
    line : int
        The line, counted from 1.
    what : str
        What is wrong and what to do about it.
    """

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class FaultyTextError(KitError):
    """A file has faults; the message lists them all.

    Parameters
    ----------
    faults : iterable of Fault
        At least one.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(set(faults))
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True)
class LocatedYaml:
    """YAML data and the line on which each part of it stands.

    Parameters
    ----------
    data : object
        The data as plain Python.
    lines : dict
        From the path of a part, such as ``("mlkit", "datasets", 0)``, to its line.
    """

    data: Any
    lines: dict[Location, int]

    def line(self, location: Location) -> int:
        """Give the line of a part, or of the nearest part around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def load_yaml(text: str, path: Path, *, first_line: int = 1) -> LocatedYaml:
    """Read YAML and remember where each part stands.

    Parameters
    ----------
    text : str
        The YAML.
    path : Path
        The file it stands in, for messages.
    first_line : int, default=1
        The line of that file on which `text` begins.

    Returns
    -------
    LocatedYaml
        The data with its lines.

    Raises
    ------
    FaultyTextError
        If the text is no YAML, or a key stands twice in one mapping.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first_line + (mark.line if mark else 0)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise FaultyTextError(
            [Fault(path, line, f"this is not valid YAML: {what}. Text with a colon needs quotes.")]
        ) from None
    except yaml.YAMLError as error:
        raise FaultyTextError(
            [Fault(path, first_line, f"this is not valid YAML: {error}.")]
        ) from None
    lines: dict[Location, int] = {}
    doubles: list[Fault] = []
    if node is not None:
        _locate(node, (), first_line, lines, doubles, path)
    if doubles:
        raise FaultyTextError(doubles)
    return LocatedYaml(data, lines)


def validate(model: type[M], located: LocatedYaml, path: Path, *, within: Location = ()) -> M:
    """Check YAML data against a schema.

    Parameters
    ----------
    model : type of pydantic.BaseModel
        The schema.
    located : LocatedYaml
        The data with its lines.
    path : Path
        The file, for messages.
    within : tuple, optional
        The part of the data to check; all of it by default.

    Returns
    -------
    pydantic.BaseModel
        The checked data.

    Raises
    ------
    FaultyTextError
        Listing every fault with its line, and for an unknown key the closest known one.
    """
    data = located.data
    for key in within:
        data = data[key]
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise FaultyTextError(
            Fault(path, located.line(within + detail["loc"]), _say(model, detail))
            for detail in error.errors()
        ) from None


def close_match(word: str, known: Iterable[str]) -> str:
    """Suggest what a mistyped word may have meant.

    Parameters
    ----------
    word : str
        The word that is not known.
    known : iterable of str
        The words that are.

    Returns
    -------
    str
        ``" Did you mean 'x'?"``, or all the known words when none is close.

    Examples
    --------
    >>> close_match("titel", ["title", "theme"])
    " Did you mean 'title'?"
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(known) or 'none'}."


def _locate(
    node: yaml.Node,
    at: Location,
    first_line: int,
    lines: dict[Location, int],
    doubles: list[Fault],
    path: Path,
) -> None:
    lines.setdefault(at, first_line + node.start_mark.line)
    if len(at) > DEEPEST:
        return
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            line = first_line + key.start_mark.line
            if key.value in seen:
                doubles.append(
                    Fault(path, line, f"the key {key.value!r} stands twice. Keep one of them.")
                )
            seen.add(key.value)
            # A fault in a value is best found at its key.
            lines[(*at, key.value)] = line
            _locate(value, (*at, key.value), first_line, lines, doubles, path)
    elif isinstance(node, yaml.SequenceNode):
        for i, part in enumerate(node.value):
            _locate(part, (*at, i), first_line, lines, doubles, path)


def _say(model: type[BaseModel], detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "this"
    if detail["type"] == "missing":
        return f"the key {place!r} is missing. Add it."
    if detail["type"] == "extra_forbidden":
        known = model.model_fields if len(detail["loc"]) == 1 else ()
        return f"unknown key {place!r}.{close_match(str(detail['loc'][-1]), known)}"
    given = detail["input"]
    shown = f" given {given!r}" if isinstance(given, (str, int, float, bool)) else ""
    message = detail["msg"].removeprefix("Value error, ")
    # pydantic's words for programmers, in words for authors.
    message = re.sub(
        r"valid dictionary( or instance of \w+)?", "block of lines key: value", message
    )
    return f"{place}:{shown}{':' if shown else ''} {message[0].lower()}{message[1:]}."
