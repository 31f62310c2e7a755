"""Derive the copies of a lesson from its master; nothing is executed here."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from mlkit.datasets import dataset_card
from mlkit.lessons.links import IMAGE, LINK, glossary_terms, is_outside, pilot_studies
from mlkit.lessons.model import Cell, ExerciseCells, Master, poll_options
from mlkit.lessons.schema import GSBPM, CodeKeys

__all__ = [
    "fingerprint",
    "follows",
    "learner_copy",
    "notebook_path",
    "slide_copy",
    "solved_copy",
    "trial_copy",
]


def learner_copy(master: Master) -> NotebookNode:
    """Make the notebook that a learner runs, with the blanks unfilled.

    Parameters
    ----------
    master : Master
        The lesson.

    Returns
    -------
    NotebookNode
        Not executed. Hints and answers are folded, speaker notes are left out.
    """
    return _notebook(master, "learner", _learner_cells(master))


def slide_copy(master: Master) -> NotebookNode:
    """Make the learner copy with the speaker notes left in, for the slides.

    Parameters
    ----------
    master : Master
        The lesson.

    Returns
    -------
    NotebookNode
        Not executed. Its code cells are those of the learner copy, with the same ids.
    """
    return _notebook(master, "slides", _learner_cells(master, notes=True))


def solved_copy(master: Master) -> NotebookNode:
    """Make the notebook with every blank filled by the lesson's own solution.

    Parameters
    ----------
    master : Master
        The lesson.

    Returns
    -------
    NotebookNode
        Not executed. Plans run this copy, so that results after an exercise exist.
    """
    return _notebook(master, "solved", _solved_cells(master))


def trial_copy(master: Master) -> NotebookNode:
    """Make the notebook that tries every exercise blank, wrong in each way, and solved.

    Parameters
    ----------
    master : Master
        The lesson.

    Returns
    -------
    NotebookNode
        Not executed. Every cell that checks carries ``metadata["trial"]`` with the exercise,
        the attempt ("blank", "wrong" or "solution"), the line in the master, and the message
        expected.
    """
    return _notebook(master, "trial", _trial_cells(master))


def notebook_path(master_path: Path) -> Path:
    """Give the place of the notebook that is built from a master.

    Parameters
    ----------
    master_path : Path
        The master's file.

    Returns
    -------
    Path
        Its notebook, which need not exist.
    """
    root = master_path.parent.parent.parent
    return root / "notebooks" / master_path.parent.name / f"{master_path.stem}.ipynb"


def fingerprint(notebook: NotebookNode) -> str:
    """Hash what a notebook is made of: its cells' text and keys, not their outputs.

    Parameters
    ----------
    notebook : NotebookNode
        Executed or not.

    Returns
    -------
    str
        The first 16 hexadecimal digits of the SHA-256.
    """
    parts = [
        (cell.cell_type, cell.source, {k: v for k, v in cell.metadata.items() if k != "execution"})
        for cell in notebook.cells
    ]
    return _hash(json.dumps(parts, sort_keys=True))


def follows(stored: NotebookNode | None, wanted: NotebookNode) -> bool:
    """Tell whether a stored notebook is what its master gives, apart from outputs.

    Parameters
    ----------
    stored : NotebookNode or None
        The built notebook; None when there is none.
    wanted : NotebookNode
        The learner copy of its master, executed or not.

    Returns
    -------
    bool
        False also when a cell of the stored notebook was not executed.
    """
    return (
        stored is not None
        and all(cell.execution_count for cell in stored.cells if cell.cell_type == "code")
        and stored.metadata.get("mlkit", {}) == wanted.metadata["mlkit"]
        and fingerprint(stored) == fingerprint(wanted)
        and [cell.id for cell in stored.cells] == [cell.id for cell in wanted.cells]
    )


# ------------------------------------------------------------------------------------------
# The cells of each copy
# ------------------------------------------------------------------------------------------


def _learner_cells(master: Master, *, notes: bool = False) -> Iterator[NotebookNode]:
    dropped = {"wrong", "solution"} if notes else {"wrong", "solution", "notes"}
    hint_numbers: Counter[str] = Counter()
    yield _header(master)
    for cell in master.cells:
        if cell.tags & dropped:
            continue
        exercise = master.exercises.get(cell.exercise or "")
        if "hint" in cell.tags and exercise:
            hint_numbers[exercise.name] += 1
            yield _hint(cell, hint_numbers[exercise.name], len(exercise.hints), master)
        elif "poll" in cell.tags:
            yield _poll(cell, master)
        elif cell.cell_type == "markdown":
            yield _markdown(cell, master)
        else:
            yield _code(cell)
            if "check" in cell.tags and exercise:
                yield _answer(exercise, master)
    yield _footer(master)


def _solved_cells(master: Master) -> Iterator[NotebookNode]:
    yield _header(master)
    for cell in master.cells:
        if cell.tags & {"wrong", "solution", "notes", "hint"}:
            continue
        if "poll" in cell.tags:
            yield _poll(cell, master)
        elif cell.cell_type == "markdown":
            yield _markdown(cell, master)
        elif "exercise" in cell.tags:
            yield _code(master.exercises[cell.exercise or ""].solution)
        else:
            yield _code(cell)
    yield _footer(master)


def _trial_cells(master: Master) -> Iterator[NotebookNode]:
    for cell in master.cells:
        if cell.cell_type == "markdown" or cell.tags & {"exercise", "solution", "wrong"}:
            continue
        if "check" not in cell.tags:
            yield _code(cell)
            continue
        exercise = master.exercises[cell.exercise or ""]
        attempts = [("blank", exercise.blank)]
        attempts += [("wrong", wrong) for wrong in exercise.wrong]
        attempts += [("solution", exercise.solution)]
        for attempt, answer in attempts:
            yield _code(answer)
            checked = _code(cell)
            checked.metadata["trial"] = {
                "exercise": exercise.name,
                "attempt": attempt,
                "line": answer.line,
                "expect": answer.keys.expect if isinstance(answer.keys, CodeKeys) else None,
            }
            yield checked


def _notebook(master: Master, copy: str, cells: Iterable[NotebookNode]) -> NotebookNode:
    front = master.front
    notebook = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "mlkit": {
                "lesson": master.key,
                "copy": copy,
                "title": front.title,
                "theme": front.theme,
                "level": front.level,
                "requires": front.requires,
            },
        }
    )
    notebook.cells = list(cells)
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        # jupytext makes random ids, which churn in every diff; ours follow the content.
        text = f"{cell.cell_type}\n{cell.source}"
        seen[text] += 1
        cell.id = _hash(f"{text}\n{seen[text]}")
    notebook.metadata["mlkit"]["built_from"] = {
        "copy": fingerprint(notebook),
        "datasets": {name: dataset_card(name).fingerprint for name in front.datasets},
    }
    return notebook


def _code(cell: Cell) -> NotebookNode:
    metadata: dict[str, Any] = _tags(cell)
    assert isinstance(cell.keys, CodeKeys)  # noqa: S101 - it is a code cell
    for key in ("exercise", "alt"):
        if getattr(cell.keys, key):
            metadata[key] = getattr(cell.keys, key)
    if cell.keys.tolerance:
        metadata["tolerance"] = cell.keys.tolerance.model_dump()
    if cell.tags & {"hide-input", "check"}:
        # Folded, one click away: a check states the right answer, which nobody should have to
        # read before trying. JupyterLab heeds the first key, the site the tag.
        metadata["jupyter"] = {"source_hidden": True}
        metadata["tags"] = sorted(cell.tags | {"hide-input"})
    return nbformat.v4.new_code_cell(cell.source, metadata=metadata)


def _markdown(cell: Cell, master: Master) -> NotebookNode:
    metadata: dict[str, Any] = _tags(cell)
    if cell.title:
        metadata["talk"] = getattr(cell.keys, "talk", None)
        metadata["practice"] = getattr(cell.keys, "practice", None)
    return nbformat.v4.new_markdown_cell(_relink(cell.source, master), metadata=metadata)


def _hint(cell: Cell, number: int, total: int, master: Master) -> NotebookNode:
    summary = "Hint" if total == 1 else f"Hint {number} of {total}"
    return _folded(summary, _relink(cell.source, master), ["hint"])


def _answer(exercise: ExerciseCells, master: Master) -> NotebookNode:
    words = [_relink(cell.source, master) for cell in exercise.words]
    body = "\n\n".join([f"```python\n{exercise.solution.source}\n```", *words])
    return _folded("One right answer", body, ["answer"])


def _poll(cell: Cell, master: Master) -> NotebookNode:
    question, options = poll_options(cell)
    letters = "ABCDEFGH"
    shown = [
        f"- **{letter}.** {option.text}" for letter, option in zip(letters, options, strict=False)
    ]
    reasons = [
        f"- **{letter}** is {'right' if option.right else 'wrong'}. {option.why}"
        for letter, option in zip(letters, options, strict=False)
    ]
    text = "\n".join([f"**Poll.** {question}", "", *shown, "", *_details("Answers", reasons)])
    return nbformat.v4.new_markdown_cell(_relink(text, master), metadata={"tags": ["poll"]})


def _folded(summary: str, body: str, tags: list[str]) -> NotebookNode:
    text = "\n".join(_details(summary, [body]))
    return nbformat.v4.new_markdown_cell(text, metadata={"tags": tags})


def _details(summary: str, body: list[str]) -> list[str]:
    # The blank lines make GitHub and JupyterLab read what is inside as Markdown.
    return ["<details>", f"<summary>{summary}</summary>", "", *body, "", "</details>"]


def _tags(cell: Cell) -> dict[str, Any]:
    return {"tags": sorted(cell.tags)} if cell.tags else {}


# ------------------------------------------------------------------------------------------
# Head and foot
# ------------------------------------------------------------------------------------------


def _header(master: Master) -> NotebookNode:
    front = master.front
    lines = [f"# {front.title}", "", f"*{_times(master)}*", "", "**You will be able to**", ""]
    lines += [f"- {objective}" for objective in front.objectives]
    lines += [""]
    if front.prerequisites:
        links = ", ".join(_lesson_link(key, master) for key in front.prerequisites)
        lines += [f"**Before this:** {links}", ""]
    for name in front.datasets:
        card = dataset_card(name)
        lines += [f"**Data:** {card.title} ({card.kind})", ""]
    pilots = pilot_studies(master.path.parent.parent / "pilots.yaml")
    if front.pilots:
        lines += ["**From practice**", ""]
        lines += [f"- {pilots[name]['office']}: {pilots[name]['study']}" for name in front.pilots]
        lines += [""]
    lines += [
        f"**Where this fits:** [GSBPM](../glossary.md#gsbpm) {front.gsbpm} "
        f"({GSBPM[front.gsbpm].lower()}); [QF4SA](../glossary.md#qf4sa): {', '.join(front.qf4sa)}",
    ]
    if front.requires:
        lines += ["", f"**Needs the extra:** {', '.join(front.requires)}"]
    return nbformat.v4.new_markdown_cell(
        _relink("\n".join(lines), master), metadata={"tags": ["header"]}
    )


def _times(master: Master) -> str:
    core = [section for section in master.sections if not section.stretch]
    extra = sum(s.talk + s.practice for s in master.sections if s.stretch)
    words = [
        master.front.level.capitalize(),
        f"{sum(s.talk for s in core)} minutes to read",
        f"{sum(s.practice for s in core)} to practise",
    ]
    if extra:
        words.append(f"{extra} more if you like")
    measured = read_measures(master.root).get(master.key)
    if measured:
        words.append(
            f"the computer needs up to {measured['seconds']} s and {measured['megabytes']} MB"
        )
    return " · ".join(words)


def _footer(master: Master) -> NotebookNode:
    neighbours = sorted(p.stem for p in master.path.parent.glob("[0-9][0-9]-*.md"))
    at = neighbours.index(master.path.stem)
    theme = master.path.parent.name
    ways = []
    if at > 0:
        ways.append(f"Before: {_lesson_link(f'{theme}/{neighbours[at - 1]}', master)}")
    if at + 1 < len(neighbours):
        ways.append(f"Next: {_lesson_link(f'{theme}/{neighbours[at + 1]}', master)}")
    if master.key != "start/01-welcome":
        ways.append("[All lessons](../start/01-welcome.md)")
    ways.append("[Glossary](../glossary.md)")
    return nbformat.v4.new_markdown_cell(
        _relink(" · ".join(ways), master), metadata={"tags": ["footer"]}
    )


def _lesson_link(key: str, master: Master) -> str:
    path = master.root / "tutorials" / f"{key}.md"
    title = re.search(r"^\s+title:\s*(.+)$", path.read_text(encoding="utf-8"), flags=re.M)
    words = title[1].strip().strip("\"'") if title else key
    return f"[{words}]({os.path.relpath(path, master.path.parent).replace(os.sep, '/')})"


def _relink(text: str, master: Master) -> str:
    """Turn links between masters into links between notebooks, with the glossary's words."""
    text = LINK.sub(lambda link: _notebook_link(link, master), text)
    return IMAGE.sub(
        lambda link: f"![{link['alt']}]({_from_notebook(link['target'], master)})", text
    )


def _notebook_link(link: re.Match[str], master: Master) -> str:
    target = link["target"]
    if is_outside(target):
        return link[0]
    moved = _from_notebook(target, master)
    file, _, part = target.partition("#")
    glossary = (master.path.parent / file).resolve()
    if glossary.name == "glossary.md" and part:
        # The definition as the link's title: a reader need not leave the page.
        return f'[{link["text"]}]({moved} "{glossary_terms(glossary)[part]}")'
    return f"[{link['text']}]({moved})"


def _from_notebook(target: str, master: Master) -> str:
    if is_outside(target):
        return target
    file, hash_, part = target.partition("#")
    linked = (master.path.parent / file).resolve()
    tutorials = master.path.parent.parent
    if linked.parent.parent == tutorials and linked.suffix == ".md":
        linked = notebook_path(linked)
    here = notebook_path(master.path).parent
    return os.path.relpath(linked, here).replace(os.sep, "/") + hash_ + part


def read_measures(root: Path) -> dict[str, dict[str, int]]:
    """Read what the lessons needed when they were last measured.

    Parameters
    ----------
    root : Path
        The root of the checkout.

    Returns
    -------
    dict
        From the lesson's key to ``seconds`` and ``megabytes``, in coarse steps.
    """
    file = root / "notebooks" / "measured.json"
    if not file.is_file():
        return {}
    measures: dict[str, dict[str, int]] = json.loads(file.read_text(encoding="utf-8"))
    return measures


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
