"""Refuse cells with which a test of a notebook says nothing, or not what it seems to say.

Each guard looks at one code cell and says what is wrong and what to do, or nothing. nbval
(measured: 0.11) lets most of these cells pass unseen.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlkit.lessons.compare import relative_tolerance

__all__ = ["cell_faults", "source_faults"]

Cell = Mapping[str, Any]

_REFUSED_TAGS = {
    "nbval-skip": "the cell would never be tested. Remove the tag.",
    "nbval-raises-exception": "the cell would pass even if it raised nothing. Catch the exception.",
    "raises-exception": "the cell would pass even if it raised nothing. Catch the exception.",
    "pytest-validate-ignore-output": "an old name. Use nbval-ignore-output.",
}

_MARKER = re.compile(r"^\s*#+\s*((?:NBVAL|PYTEST_VALIDATE)_[A-Z_]+)\s*$", re.MULTILINE)


def source_faults(cell: Cell) -> list[str]:
    """List what is wrong with a cell as it is written, executed or not.

    Parameters
    ----------
    cell : NotebookNode
        A cell of a notebook.

    Returns
    -------
    list of str
        What is wrong and what to do; empty for a sound cell and for text.

    Examples
    --------
    >>> source_faults({"cell_type": "code", "source": "x = 1", "metadata": {}})
    []
    >>> source_faults({"cell_type": "code", "source": "!exit 3", "metadata": {}})
    ["line 1 is not Python: '!exit 3'. Magic and shell lines fail unnoticed. Write Python."]
    """
    return list(_run(_SOURCE_GUARDS, cell))


def cell_faults(cell: Cell) -> list[str]:
    """List what is wrong with a cell of a built notebook: its source and its stored outputs.

    Parameters
    ----------
    cell : NotebookNode
        A cell of an executed notebook.

    Returns
    -------
    list of str
        What is wrong and what to do; empty for a sound cell and for text.
    """
    return list(_run(_SOURCE_GUARDS + _STORED_GUARDS, cell))


def _run(guards: tuple[Callable[[Cell], str | None], ...], cell: Cell) -> Iterator[str]:
    if cell["cell_type"] == "code" and cell["source"].strip():
        yield from filter(None, (guard(cell) for guard in guards))


# ------------------------------------------------------------------------------------------
# The source
# ------------------------------------------------------------------------------------------


def _not_python(cell: Cell) -> str | None:
    """Refuse magic: an unknown one ends the cell silently, a failed ``!command`` fails nothing."""
    # The grammar decides, not the first character: "% total" may continue an expression.
    try:
        _parse(cell)
    except SyntaxError as error:
        lines = cell["source"].splitlines()
        number = min(error.lineno or 1, len(lines))
        return (
            f"line {number} is not Python: {lines[number - 1].strip()!r}. Magic and shell lines "
            "fail unnoticed. Write Python."
        )
    return None


def _trailing_semicolon(cell: Cell) -> str | None:
    """Refuse what hides a value from readers but not from nbval."""
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(cell["source"]).readline))
    except (SyntaxError, tokenize.TokenError):
        return None  # not Python: another guard says so
    last = [token.string for token in tokens if token.type not in blank][-1:]
    if last != [";"]:
        return None
    return "the trailing semicolon hides an output from readers but not from the test. Remove it."


def _refused_tag(cell: Cell) -> str | None:
    return next(
        (f"tag {tag}: {why}" for tag, why in _REFUSED_TAGS.items() if tag in _tags(cell)), None
    )


def _marker_comment(cell: Cell) -> str | None:
    marker = _MARKER.search(cell["source"])
    if marker is None:
        return None
    return f"the comment {marker[1]} steers nbval where readers see it. Use a tag of the cell."


def _unguarded_output(cell: Cell) -> str | None:
    if "nbval-ignore-output" not in _tags(cell):
        return None
    try:
        guarded = any(_asserts(_parse(cell).body))
    except SyntaxError:
        return None  # not Python: another guard says so
    return (
        None
        if guarded
        else (
            "tag nbval-ignore-output: nothing checks this cell. Add an assert that holds on every "
            "machine, or remove the tag."
        )
    )


def _asserts(statements: list[ast.stmt]) -> Iterator[ast.Assert]:
    """Give the asserts that run with the cell: not those of functions, nor of constants."""
    for statement in statements:
        if isinstance(statement, ast.Assert) and not isinstance(statement.test, ast.Constant):
            yield statement
        elif isinstance(statement, (ast.For, ast.While, ast.With, ast.If, ast.Try)):
            yield from _asserts(statement.body)


def _faulty_tolerance(cell: Cell) -> str | None:
    try:
        relative_tolerance(cell["metadata"].get("tolerance"))
    except ValueError as error:
        return str(error)
    return None


def _parse(cell: Cell) -> ast.Module:
    # A notebook may await at top level.
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(cell["source"], "cell", "exec", flags)
    assert isinstance(tree, ast.Module)  # noqa: S101 - that is what "exec" gives
    return tree


def _tags(cell: Cell) -> list[str]:
    tags = cell["metadata"].get("tags", [])
    return [tags] if isinstance(tags, str) else list(tags)


# ------------------------------------------------------------------------------------------
# What is stored
# ------------------------------------------------------------------------------------------


def _not_executed(cell: Cell) -> str | None:
    """Without stored outputs, nbval only runs a cell and compares nothing."""
    return "not executed: run mlkit build." if cell.get("execution_count") is None else None


def _stored_stderr(cell: Cell) -> str | None:
    texts = [o["text"] for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    if not texts:
        return None
    return f"a warning or other text on stderr is stored. Mend its cause: {''.join(texts).strip()}"


def _stored_error(cell: Cell) -> str | None:
    for output in cell.get("outputs", []):
        if output["output_type"] == "error":
            return (
                f"an exception is stored: {output['ename']}: {output['evalue']}. Mend its cause, "
                "or catch it."
            )
    return None


_SOURCE_GUARDS = (
    _not_python,
    _trailing_semicolon,
    _refused_tag,
    _marker_comment,
    _unguarded_output,
    _faulty_tolerance,
)

_STORED_GUARDS = (_not_executed, _stored_stderr, _stored_error)
