"""What a master must obey, beyond its form: each rule yields the faults it finds."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

from mlkit.datasets import dataset_names
from mlkit.lessons.faults import Fault, close_match
from mlkit.lessons.guards import source_faults
from mlkit.lessons.links import IMAGE, LINK, glossary_terms, is_outside, pilot_studies
from mlkit.lessons.model import Cell, Parameter, by_exercise, poll_options, read_parameters
from mlkit.lessons.scan import closes
from mlkit.lessons.schema import CodeKeys, FrontMatter, MarkdownKeys

__all__ = ["MASTER_NAME", "find_masters", "master_faults"]

MASTER_NAME = re.compile(r"^\d\d-[a-z0-9]+(-[a-z0-9]+)*$")

# Sections that every lesson has, in this order (design section 2).
REQUIRED_SECTIONS = ("What this does to the published figure", "What to take away", "Where next")

# From a tag to an exercise's cells with that tag.
Tagged = Callable[[str], tuple[Cell, ...]]


def find_masters(root: Path) -> list[Path]:
    """List the masters of a checkout, in the order of themes and numbers.

    Parameters
    ----------
    root : Path
        The folder that holds ``tutorials``.

    Returns
    -------
    list of Path
        The files ``tutorials/<theme>/<nn>-<slug>.md``; the theme ``start`` comes first.
    """
    found = (p for p in (root / "tutorials").glob("*/*.md") if MASTER_NAME.match(p.stem))
    return sorted(found, key=lambda p: (p.parent.name != "start", p.parent.name, p.name))


def master_faults(
    path: Path, text: str, front: FrontMatter | None, cells: tuple[Cell, ...], *, complete: bool
) -> Iterator[Fault]:
    """Yield what is wrong with a master beyond its form.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        The whole text of the file.
    front : FrontMatter or None
        None if it is faulty.
    cells : tuple of Cell
        Those that could be read.
    complete : bool
        Whether these are all. If not, what they lack may stand in the others, so how they
        fit together is not judged.

    Yields
    ------
    Fault
        Each with its line and a remedy.
    """
    if front is not None:
        yield from _check_front(front, path, text)
    yield from _check_cells(cells, path)
    yield from _check_links(cells, path)
    if complete:
        yield from _check_parameters(cells, path)
        yield from _check_exercises(cells, path)
        yield from _check_skeleton(cells, path)


def _check_front(front: FrontMatter, path: Path, text: str) -> Iterator[Fault]:
    tutorials = path.parent.parent

    def line(key: str) -> int:
        found = re.search(rf"^\s+{key}:", text, flags=re.M)
        return text.count("\n", 0, found.start()) + 1 if found else 1

    if not MASTER_NAME.match(path.stem):
        yield Fault(path, 1, "a master is named <two digits>-<words-with-hyphens>.md.")
    if front.theme != path.parent.name:
        yield Fault(
            path, line("theme"), f"theme {front.theme!r}, but the folder is {path.parent.name!r}."
        )
    lessons = [f"{p.parent.name}/{p.stem}" for p in find_masters(tutorials.parent)]
    for lesson in front.prerequisites:
        if lesson not in lessons:
            yield Fault(
                path,
                line("prerequisites"),
                f"no lesson {lesson!r}.{close_match(lesson, lessons)}",
            )
    for name in front.datasets:
        if name not in dataset_names():
            yield Fault(
                path, line("datasets"), f"no data set {name!r}.{close_match(name, dataset_names())}"
            )
    pilots = pilot_studies(tutorials / "pilots.yaml")
    for name in front.pilots:
        if name not in pilots:
            yield Fault(
                path,
                line("pilots"),
                f"no pilot study {name!r} in pilots.yaml.{close_match(name, pilots)}",
            )


def _check_cells(cells: tuple[Cell, ...], path: Path) -> Iterator[Fault]:
    for cell in cells:
        if not cell.source:
            yield Fault(path, cell.line, "an empty cell. Fill it or remove it.")
        elif cell.cell_type == "code":
            yield from _check_code(cell, path)
        elif isinstance(cell.keys, MarkdownKeys):
            yield from _check_markdown(cell, cell.keys, path)


def _check_parameters(cells: tuple[Cell, ...], path: Path) -> Iterator[Fault]:
    parameters = [cell for cell in cells if "parameters" in cell.tags]
    if len(parameters) != 1:
        where = parameters[1].line if parameters else 1
        yield Fault(
            path, where, f"{len(parameters)} cells tagged 'parameters'. A lesson has exactly one."
        )
    for cell in parameters:
        yield from _check_parameter_lines(cell, path)


def _check_parameter_lines(cell: Cell, path: Path) -> Iterator[Fault]:
    try:
        lines = list(read_parameters(cell))
    except (SyntaxError, tokenize.TokenError):
        return  # said already
    for parameter, line in lines:
        if isinstance(parameter, str):
            yield Fault(path, cell.line + line - 1, parameter)
    if not any(isinstance(p, Parameter) and p.name == "SEED" and p.type is int for p, _ in lines):
        yield Fault(
            path, cell.line, "no SEED. Add: SEED = 0  # int: seed of everything that is random"
        )


def _check_code(cell: Cell, path: Path) -> Iterator[Fault]:
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        lines = cell.source.split("\n")
        number = min(error.lineno or 1, len(lines)) - 1
        what = f"not valid Python: {error.msg}."
        if lines[number].lstrip().startswith(("%", "!")):
            what = (
                "magic and shell lines do not belong in a lesson: nbval passes them without "
                "running them. Write Python."
            )
        yield Fault(path, cell.line + number, what)
        return
    metadata = {"tags": sorted(cell.tags)}
    for fault in source_faults({"cell_type": "code", "source": cell.source, "metadata": metadata}):
        yield Fault(path, cell.line, fault)
    assert isinstance(cell.keys, CodeKeys)  # noqa: S101 - _read_cell gave it so
    shows = any(
        isinstance(node, ast.Attribute) and node.attr == "show" and ast.unparse(node.value) == "plt"
        for node in ast.walk(tree)
    )
    if shows and not cell.keys.alt:
        yield Fault(
            path, cell.line, "this cell shows a figure. Describe it in words with :alt: ..."
        )
    kinds = cell.tags & {"exercise", "solution", "wrong", "check"}
    if len(kinds) > 1:
        yield Fault(path, cell.line, f"one cell cannot be {' and '.join(sorted(kinds))}.")
    if kinds and not cell.exercise:
        yield Fault(path, cell.line, "name the exercise with :exercise: name.")
    if cell.exercise and not kinds:
        yield Fault(
            path,
            cell.line,
            "the cell names an exercise; tag it exercise, solution, wrong or check.",
        )
    if ("wrong" in cell.tags) != bool(cell.keys.expect):
        yield Fault(
            path,
            cell.line,
            "a wrong answer, and only that, has :expect: with words of the message it must get.",
        )


def _check_markdown(cell: Cell, keys: MarkdownKeys, path: Path) -> Iterator[Fault]:
    minutes = (keys.talk, keys.practice)
    if cell.title and None in minutes:
        yield Fault(
            path,
            cell.line,
            'a section begins after a line with its minutes: +++ {"talk": 5, "practice": 0}.',
        )
    if not cell.title and (minutes != (None, None) or cell.tags & {"core", "stretch"}):
        yield Fault(path, cell.line, "minutes and core/stretch belong to a ## heading.")
    headings = _outside_fences(cell.source)
    for i, heading in headings:
        if re.match(r"#\s", heading):
            yield Fault(path, cell.line + i, "the title is made from the front matter. Use ##.")
        if i and heading.startswith("## "):
            yield Fault(path, cell.line + i, 'begin a section with a line +++ {"talk": ...}.')
    for image in IMAGE.finditer(cell.source):
        if not image["alt"].strip():
            line = cell.line + cell.source.count("\n", 0, image.start())
            yield Fault(path, line, "this picture has no alt text: ![what it shows](file).")
    if "poll" in cell.tags:
        yield from _check_poll(cell, path)
    if cell.tags & {"hint", "solution"} and not cell.exercise:
        yield Fault(
            path, cell.line, 'name the exercise: +++ {"tags": ["hint"], "exercise": "name"}.'
        )


def _check_poll(cell: Cell, path: Path) -> Iterator[Fault]:
    question, options = poll_options(cell)
    if not question or not 2 <= len(options) <= 8 or not any(option.right for option in options):
        yield Fault(
            path,
            cell.line,
            "a poll is a question and two to eight items '- [ ] option', a right one '- [x]'.",
        )
    for option in options:
        if not option.why:
            yield Fault(
                path,
                cell.line,
                f"say in an indented line under {option.text!r} why it is right or why it tempts.",
            )


def _outside_fences(source: str) -> list[tuple[int, str]]:
    kept, fence = [], ""
    for i, line in enumerate(source.split("\n")):
        opening = re.match(r"^(`{3,}|~{3,}|:{3,})", line)
        if fence:
            fence = "" if closes(line, fence) else fence
        elif opening:
            fence = opening[1]
        else:
            kept.append((i, line))
    return kept


def _check_exercises(cells: tuple[Cell, ...], path: Path) -> Iterator[Fault]:
    names = [name for name, _ in by_exercise(cells)]
    if len(names) < 2:
        yield Fault(path, 1, f"{len(names)} exercises. A lesson has at least two.")
    for name, of in by_exercise(cells):
        yield from _check_exercise(name, of, cells, path)


def _check_exercise(name: str, of: Tagged, cells: tuple[Cell, ...], path: Path) -> Iterator[Fault]:
    solutions = [cell for cell in of("solution") if cell.cell_type == "code"]
    first = next(cell for cell in cells if cell.exercise == name)
    for what, found in (("blank", of("exercise")), ("solution", solutions), ("check", of("check"))):
        if not found:
            yield Fault(path, first.line, f"exercise {name!r} has no {what}. Add one.")
        for double in found[1:]:
            yield Fault(
                path,
                double.line,
                f"exercise {name!r} has a second {what}. If these are two exercises, give them "
                "two names.",
            )
    for what, tag in (("wrong answer", "wrong"), ("hint", "hint")):
        if not of(tag):
            yield Fault(path, first.line, f"exercise {name!r} has no {what}. Add one or more.")
    if not (of("exercise") and solutions and of("check")):
        return
    blank, solution, check = of("exercise")[0], solutions[0], of("check")[0]
    if cells.index(check) < max(map(cells.index, (blank, solution, *of("wrong"), *of("hint")))):
        yield Fault(path, check.line, f"the check of {name!r} comes after its other cells.")
    try:
        trees = {cell: ast.parse(cell.source) for cell in (blank, solution, check, *of("wrong"))}
    except SyntaxError:
        return  # said already
    if not any(
        isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(trees[blank])
    ):
        yield Fault(path, blank.line, "a blank is written ... as the right-hand side or body.")
    wanted = _names(trees[blank])
    for cell in (solution, *of("wrong")):
        if not wanted <= _names(trees[cell]):
            missing = ", ".join(sorted(wanted - _names(trees[cell])))
            yield Fault(path, cell.line, f"this cell must define {missing}, as the blank does.")
    yield from _check_check(name, check, trees[check], path)


def _check_check(name: str, check: Cell, tree: ast.Module, path: Path) -> Iterator[Fault]:
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func): node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    for needed in ("exercise", "right_if", "go_on_with"):
        if needed not in called:
            yield Fault(path, check.line, f"the check of {name!r} has no {needed}(...).")
    if not check.source.startswith("#"):
        yield Fault(
            path,
            check.line,
            "begin the check with a comment: the notebook folds it and shows its first line, as "
            "# Run this cell to check your answer.",
        )
    begun = called.get("exercise")
    if begun and (
        not begun.args or not isinstance(begun.args[0], ast.Constant) or begun.args[0].value != name
    ):
        yield Fault(path, check.line, f'the check must begin with exercise("{name}", ...).')
    if not any(isinstance(node, ast.Assign) for node in tree.body):
        yield Fault(
            path, check.line, "the check must keep what go_on_with hands on: name = (exercise(...)."
        )


def _names(tree: ast.Module) -> set[str]:
    """Give the names that a cell defines at its top level."""
    found: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            found.add(statement.name)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return found


def _check_skeleton(cells: tuple[Cell, ...], path: Path) -> Iterator[Fault]:
    if not cells or not cells[0].title:
        line = cells[0].line if cells else 1
        yield Fault(path, line, "a lesson begins with a section: a ## heading with its minutes.")
        return
    titles = [cell.title for cell in cells if cell.title]
    for title in REQUIRED_SECTIONS:
        if title not in titles:
            yield Fault(path, 1, f"the section '## {title}' is missing.")
    found = [title for title in titles if title in REQUIRED_SECTIONS]
    if found != [title for title in REQUIRED_SECTIONS if title in found]:
        yield Fault(path, 1, f"these sections come in the order {', '.join(REQUIRED_SECTIONS)}.")
    second = next((i for i, cell in enumerate(cells) if i and cell.title), len(cells))
    for cell in cells[:second]:
        if cell.cell_type == "code":
            yield Fault(path, cell.line, "the first section says why this matters, without code.")
    for tag, what in (("poll", "poll question"), ("notes", "speaker note")):
        if not any(tag in cell.tags for cell in cells):
            yield Fault(path, 1, f"no {what}. Add a Markdown cell tagged {tag!r}.")


def _check_links(cells: tuple[Cell, ...], path: Path) -> Iterator[Fault]:
    for cell in cells:
        if cell.cell_type != "markdown":
            continue
        for link in (*LINK.finditer(cell.source), *IMAGE.finditer(cell.source)):
            line = cell.line + cell.source.count("\n", 0, link.start())
            fault = _broken(link["target"], path)
            if fault:
                yield Fault(path, line, fault)


def _broken(target: str, path: Path) -> str | None:
    if is_outside(target):
        return None
    file, _, part = target.partition("#")
    linked = (path.parent / file).resolve()
    if not linked.is_file():
        return f"the link leads to {target}, and there is no such file."
    if linked.suffix == ".ipynb":
        return f"link to the master, not to the notebook: {file.removesuffix('.ipynb')}.md."
    if linked.name == "glossary.md":
        terms = glossary_terms(linked)
        if part not in terms:
            return f"the glossary has no term {part!r}.{close_match(part, terms)}"
    return None
