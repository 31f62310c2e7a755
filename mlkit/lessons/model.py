"""What a lesson consists of."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from mlkit.lessons.schema import CodeKeys, FrontMatter, MarkdownKeys

__all__ = [
    "PARAMETER_TYPES",
    "Cell",
    "ExerciseCells",
    "Master",
    "Option",
    "Parameter",
    "Section",
    "by_exercise",
    "poll_options",
    "read_parameters",
]

PARAMETER_TYPES = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell.

    Parameters
    ----------
    name : str
        In capitals.
    type : type
        int, float, str or bool.
    default : object
        The value in the master.
    meaning : str
        What it does, for the reader of a plan.
    """

    name: str
    type: type
    default: int | float | str | bool
    meaning: str


@dataclass(frozen=True)
class Cell:
    """One cell of a master.

    Parameters
    ----------
    line : int
        The line in the master on which the cell's text begins, counted from 1.
    cell_type : {"markdown", "code"}
        What it holds.
    source : str
        Its text.
    tags : frozenset of str
        See `CODE_TAGS` and `MARKDOWN_TAGS`.
    keys : CodeKeys or MarkdownKeys
        What stands beside the tags.
    """

    line: int
    cell_type: str
    source: str
    tags: frozenset[str] = frozenset()
    keys: CodeKeys | MarkdownKeys = field(default_factory=MarkdownKeys)

    @property
    def exercise(self) -> str | None:
        """The exercise that the cell belongs to."""
        return self.keys.exercise

    @property
    def title(self) -> str | None:
        """The title of the section that the cell opens, if it opens one."""
        if self.cell_type == "markdown" and self.source.startswith("## "):
            return self.source.partition("\n")[0].removeprefix("## ").strip()
        return None


@dataclass(frozen=True)
class Section:
    """A part of a lesson that begins with a ``##`` heading.

    Parameters
    ----------
    title : str
        The heading.
    talk, practice : int
        Minutes of a person's time.
    stretch : bool
        Whether a short cut may drop it.
    cells : tuple of Cell
        The heading's cell and all that follow, up to the next section.
    """

    title: str
    talk: int
    practice: int
    stretch: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ExerciseCells:
    """The cells that make one exercise.

    Parameters
    ----------
    name : str
        The name they share.
    blank, solution, check : Cell
        One of each.
    wrong, hints, words : tuple of Cell
        Wrong answers, hints in order, and words to go with the solution.
    """

    name: str
    blank: Cell
    solution: Cell
    check: Cell
    wrong: tuple[Cell, ...]
    hints: tuple[Cell, ...]
    words: tuple[Cell, ...]


@dataclass(frozen=True)
class Option:
    """One option of a poll question.

    Parameters
    ----------
    text : str
        What the room sees.
    right : bool
        Whether it is a right one.
    why : str
        Why it is right, or why it tempts.
    """

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Master:
    """A lesson as its author wrote it, checked.

    Parameters
    ----------
    path : Path
        Its file.
    text : str
        The whole text of the file.
    front : FrontMatter
        What stands under ``mlkit:``.
    cells : tuple of Cell
        All cells in order.
    """

    path: Path
    text: str
    front: FrontMatter
    cells: tuple[Cell, ...]

    @property
    def key(self) -> str:
        """Theme and name, such as ``text-classification/01-dictionary-to-model``."""
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def root(self) -> Path:
        """The folder that holds ``tutorials``."""
        return self.path.parent.parent.parent

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What a plan may change."""
        cell = next(cell for cell in self.cells if "parameters" in cell.tags)
        return tuple(p for p, _ in read_parameters(cell) if isinstance(p, Parameter))

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The sections in order."""
        starts = [i for i, cell in enumerate(self.cells) if cell.title]
        sections = []
        for start, end in zip(starts, [*starts[1:], len(self.cells)], strict=True):
            head = self.cells[start]
            assert isinstance(head.keys, MarkdownKeys)  # noqa: S101 - a title is Markdown
            sections.append(
                Section(
                    title=head.title or "",
                    talk=head.keys.talk or 0,
                    practice=head.keys.practice or 0,
                    stretch="stretch" in head.tags,
                    cells=self.cells[start:end],
                )
            )
        return tuple(sections)

    @cached_property
    def exercises(self) -> dict[str, ExerciseCells]:
        """The exercises by name, in order."""
        return {
            name: ExerciseCells(
                name,
                blank=of("exercise")[0],
                solution=next(cell for cell in of("solution") if cell.cell_type == "code"),
                check=of("check")[0],
                wrong=of("wrong"),
                hints=of("hint"),
                words=tuple(cell for cell in of("solution") if cell.cell_type == "markdown"),
            )
            for name, of in by_exercise(self.cells)
        }


def poll_options(cell: Cell) -> tuple[str, tuple[Option, ...]]:
    """Take a poll question apart.

    Parameters
    ----------
    cell : Cell
        Its text is the question, then one item ``- [ ] option`` (``- [x]`` for a right one)
        for each option, each followed by an indented line that says why.

    Returns
    -------
    question : str
        Markdown.
    options : tuple of Option
        In order.
    """
    question, *items = re.split(r"^- \[(?=[ x]\])", cell.source, flags=re.M)
    options = []
    for item in items:
        head, _, why = item[3:].partition("\n")
        options.append(Option(head.strip(), item[0] == "x", " ".join(why.split())))
    return question.strip(), tuple(options)


def by_exercise(cells: Iterable[Cell]) -> Iterator[tuple[str, Callable[[str], tuple[Cell, ...]]]]:
    """Yield the exercises of some cells.

    Parameters
    ----------
    cells : iterable of Cell
        The cells of a lesson, in order.

    Yields
    ------
    name : str
        The exercise.
    of : callable
        Takes a tag, and gives the exercise's cells with that tag, in order.
    """
    mine: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.exercise:
            mine.setdefault(cell.exercise, []).append(cell)
    for name, group in mine.items():
        yield name, partial(_tagged, group)


def _tagged(cells: list[Cell], tag: str) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if tag in cell.tags)


def read_parameters(cell: Cell) -> Iterator[tuple[Parameter | str, int]]:
    """Read the parameters cell.

    Parameters
    ----------
    cell : Cell
        Lines ``NAME = value  # type: meaning``.

    Yields
    ------
    parameter : Parameter or str
        A parameter, or what is wrong with it.
    line : int
        The line in the cell, counted from 1.

    Raises
    ------
    SyntaxError
        If the cell is not Python.
    """
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(cell.source).readline)
        if token.type == tokenize.COMMENT
    }
    for statement in ast.parse(cell.source).body:
        yield _read_parameter(statement, comments.get(statement.lineno, "")), statement.lineno


def _read_parameter(statement: ast.stmt, comment: str) -> Parameter | str:
    form = "A parameter is written NAME = value  # type: meaning, on one line."
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case _:
            return f"the parameters cell holds only parameters. {form}"
    if not name.isupper():
        return f"{name} must be in capitals. {form}"
    kind, _, meaning = comment.partition(":")
    if kind not in PARAMETER_TYPES or not meaning.strip():
        return f"{name} has no type and meaning. {form} Types: {', '.join(PARAMETER_TYPES)}."
    try:
        default: int | float | str | bool = ast.literal_eval(value)
    except (TypeError, ValueError):
        return f"{name} must be a plain value, not computed. {form}"
    if type(default) is not PARAMETER_TYPES[kind]:
        return f"{name} is said to be {kind}, but {default!r} is {type(default).__name__}."
    return Parameter(name, PARAMETER_TYPES[kind], default, meaning.strip())
