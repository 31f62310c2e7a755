"""Cut a master into blocks, as jupytext's MyST reader does, but keeping the lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlkit.lessons.faults import Fault, FaultyTextError

__all__ = ["Block", "closes", "scan"]


@dataclass(frozen=True)
class Block:
    """A cell before its keys are checked. `keys_line` is where the keys stand."""

    line: int
    cell_type: str
    source: str
    keys_line: int
    keys: str


def scan(text: str, path: Path, start: int) -> Iterator[Block]:
    """Cut a master's text into blocks.

    Parameters
    ----------
    text : str
        The whole text of the file.
    path : Path
        The file, for messages.
    start : int
        The index of the first line after the front matter.

    Yields
    ------
    Block
        In order.

    Raises
    ------
    FaultyTextError
        If a fence is never closed.
    """
    lines = text.split("\n")
    i, keys, keys_line = start, "", start + 1
    words: list[str] = []
    words_from = start

    def flush() -> Iterator[Block]:
        source = "\n".join(words)
        if source.strip() or keys:
            first = next((n for n, line in enumerate(words) if line.strip()), None)
            line = keys_line if first is None else words_from + first + 1
            yield Block(line, "markdown", source.strip("\n \t"), keys_line, keys)

    while i < len(lines):
        line = lines[i]
        if line.startswith("+++"):
            yield from flush()
            keys, keys_line, words, words_from = line[3:].strip(), i + 1, [], i + 1
            i += 1
            continue
        fence = re.match(r"^(`{3,}|~{3,}|:{3,})(.*)$", line)
        if not fence:
            words.append(line)
            i += 1
            continue
        end = _end_of_fence(lines, i, fence[1])
        if end is None:
            raise FaultyTextError(
                [Fault(path, i + 1, f"this fence is never closed. Add a line {fence[1]}.")]
            )
        if fence[2].strip().startswith("{code-cell}"):
            yield from flush()
            keys, words, words_from = "", [], end + 1
            yield _code_block(lines, i, end)
        else:
            words += lines[i : end + 1]
        i = end + 1
    yield from flush()


def closes(line: str, fence: str) -> bool:
    """Tell whether a line closes a fence: with as many marks as opened it, or more.

    Parameters
    ----------
    line : str
        A line behind the opening one.
    fence : str
        The marks that opened it, such as three backticks.

    Returns
    -------
    bool
        Whether the fence ends here.
    """
    stripped = line.strip()
    return stripped.startswith(fence) and not stripped.strip(fence[0])


def _end_of_fence(lines: list[str], start: int, fence: str) -> int | None:
    return next((i for i in range(start + 1, len(lines)) if closes(lines[i], fence)), None)


def _code_block(lines: list[str], start: int, end: int) -> Block:
    body = start + 1
    while body < end and re.match(r"^:[\w-]+:", lines[body]):
        body += 1
    keys = "\n".join(re.sub(r"^:([\w-]+):", r"\1:", line) for line in lines[start + 1 : body])
    while body < end and not lines[body].strip():
        body += 1
    source = "\n".join(lines[body:end]).rstrip()
    return Block(body + 1, "code", source, start + 2, keys)
