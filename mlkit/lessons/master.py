"""Read a lesson's master and refuse a faulty one, with the line of every fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mlkit.lessons.faults import Fault, FaultyTextError, LocatedYaml, close_match, load_yaml
from mlkit.lessons.faults import validate as validate_yaml
from mlkit.lessons.model import Cell, Master, Parameter
from mlkit.lessons.rules import find_masters, master_faults
from mlkit.lessons.scan import Block, scan
from mlkit.lessons.schema import CODE_TAGS, MARKDOWN_TAGS, CodeKeys, FrontMatter, MarkdownKeys

__all__ = ["Master", "MasterError", "Parameter", "find_masters", "read_master"]


class MasterError(FaultyTextError):
    """A master has faults; the message lists each with file, line and remedy."""


def read_master(path: Path) -> Master:
    """Read and check a master.

    Parameters
    ----------
    path : Path
        A file ``tutorials/<theme>/<nn>-<slug>.md``.

    Returns
    -------
    Master
        The lesson.

    Raises
    ------
    MasterError
        If the master has faults; the message lists them all, each with its line. Whether the
        cells make a lesson is told once every cell can be read.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path).resolve()
    faults: list[Fault] = []
    try:
        text = _read_text(path)
        front, cells_from = _read_front(text, path, faults)
        blocks = list(scan(text, path, cells_from))
    except FaultyTextError as error:
        raise MasterError([*faults, *error.faults]) from None
    cells = tuple(filter(None, [_read_cell(block, path, faults) for block in blocks]))
    if not faults and all(cell.source for cell in cells):
        # jupytext is what turns the master into a notebook: both must see the same cells.
        faults += _disagreements_with_jupytext(text, cells, path)
    faults += master_faults(path, text, front, cells, complete=len(cells) == len(blocks))
    if faults or front is None:
        raise MasterError(faults)
    return Master(path, text, front, cells)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FaultyTextError(
            [Fault(path, line, "this is not UTF-8. Save the file with the encoding UTF-8.")]
        ) from None


def _read_front(text: str, path: Path, faults: list[Fault]) -> tuple[FrontMatter | None, int]:
    """Read the front matter; None where it is faulty. Give also where the cells begin."""
    lines = text.split("\n")
    if lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        raise FaultyTextError(
            [Fault(path, 1, "no front matter. A master begins with --- and a block of YAML.")]
        )
    end = next(i for i, line in enumerate(lines) if i and line.strip() == "---")
    try:
        located = load_yaml("\n".join(lines[1:end]), path, first_line=2)
        faults += _header_faults(located, path)
        return validate_yaml(FrontMatter, located, path, within=("mlkit",)), end + 1
    except FaultyTextError as error:
        faults += error.faults
        return None, end + 1


def _header_faults(located: LocatedYaml, path: Path) -> list[Fault]:
    data = located.data
    if not isinstance(data, dict) or not isinstance(data.get("mlkit"), dict):
        raise FaultyTextError(
            [Fault(path, 1, "the front matter has no block 'mlkit:'. Copy that of the template.")]
        )
    faults = [
        Fault(path, located.line((key,)), f"unknown key {key!r}.{close_match(str(key), known)}")
        for known in [("jupytext", "kernelspec", "mlkit")]
        for key in data
        if key not in known
    ]
    try:
        form = data["jupytext"]["text_representation"]["format_name"]
    except (KeyError, TypeError):
        form = None
    if form != "myst":
        faults.append(
            Fault(path, located.line(("jupytext",)), "jupytext's format_name must be 'myst'.")
        )
    try:
        kernel = data["kernelspec"]["name"]
    except (KeyError, TypeError):
        kernel = None
    if kernel != "python3":
        faults.append(
            Fault(path, located.line(("kernelspec",)), "kernelspec's name must be 'python3'.")
        )
    return faults


def _read_cell(block: Block, path: Path, faults: list[Fault]) -> Cell | None:
    """Check a cell's keys; None where they are faulty."""
    known = CODE_TAGS if block.cell_type == "code" else MARKDOWN_TAGS
    model: type[CodeKeys | MarkdownKeys] = CodeKeys if block.cell_type == "code" else MarkdownKeys
    try:
        located = load_yaml(block.keys, path, first_line=block.keys_line)
        data = located.data or {}
        if not isinstance(data, dict) or not _reads_as_written(block):
            raise FaultyTextError(
                [Fault(path, block.keys_line, 'keys are written +++ {"key": "value"}.')]
            )
        tags = data.pop("tags", [])
        keys = validate_yaml(model, replace(located, data=data), path)
    except FaultyTextError as error:
        faults += error.faults
        return None
    line = located.line(("tags",)) if tags else block.keys_line
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        faults.append(Fault(path, line, "tags are a list of words, such as [exercise]."))
        return None
    unknown = [
        Fault(
            path, line, f"unknown tag {tag!r} on a {block.cell_type} cell.{close_match(tag, known)}"
        )
        for tag in tags
        if tag not in known
    ]
    faults += unknown
    if unknown:
        return None
    return Cell(block.line, block.cell_type, block.source, frozenset(tags), keys)


def _reads_as_written(block: Block) -> bool:
    """Tell whether the keys are what jupytext wants: JSON after +++, YAML in a code cell."""
    if block.cell_type == "code" or not block.keys:
        return True
    try:
        json.loads(block.keys)
    except json.JSONDecodeError:
        return False
    return True


def _disagreements_with_jupytext(text: str, cells: tuple[Cell, ...], path: Path) -> Iterator[Fault]:
    import jupytext

    theirs = jupytext.reads(text, fmt="md:myst").cells
    for ours, other in zip(cells, theirs, strict=False):
        if ours.cell_type != other.cell_type or ours.source.split() != other.source.split():
            yield Fault(path, ours.line, "jupytext reads this cell differently. Simplify it.")
            return
    if len(cells) != len(theirs):
        yield Fault(
            path, 1, f"jupytext sees {len(theirs)} cells here, the kit {len(cells)}. Simplify."
        )
