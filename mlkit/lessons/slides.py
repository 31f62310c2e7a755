"""Make a lesson's slides: one HTML file that needs no network."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from mlkit.lessons.derive import follows, learner_copy, notebook_path, slide_copy
from mlkit.lessons.model import Master
from mlkit.lessons.session import Cut, Part, PresentationError, cut
from mlkit.lessons.slide_html import SlideHtml, data_url
from mlkit.paths import write_whole

__all__ = ["Presentation", "present"]

ASSETS = Path(__file__).parent / "assets"

CODE_STYLE = "default"  # of Pygments; its colours keep a contrast of 4.5 on the light box

DETAILS = re.compile(r"<details>\s*<summary>(?P<summary>.*?)</summary>(?P<body>.*)</details>", re.S)


@dataclass(frozen=True)
class Presentation:
    """Slides that were made; printed, the plan of minutes and the place of the file.

    Parameters
    ----------
    path : Path
        The HTML file.
    plan : Cut
        The minutes of each section.
    """

    path: Path
    plan: Cut

    def __str__(self) -> str:
        return f"{self.plan}\n\nSlides: {self.path}\nOpen the file in a browser; press S for notes."


def present(master: Master, *, out: Path, minutes: int | None = None) -> Presentation:
    """Make a lesson's slides, with the outputs of its built notebook and speaker notes.

    Parameters
    ----------
    master : Master
        The lesson. Its notebook must have been built.
    out : Path
        The HTML file to write; it holds all it needs. Its folder is made if need be.
    minutes : int, optional
        The length of the session, to which the lesson is cut; see `cut`.

    Returns
    -------
    Presentation
        The file and the plan of minutes.

    Raises
    ------
    PresentationError
        If the lesson does not fit, its notebook is missing or out of date, or a cell shows
        what cannot stand in one file without a network.
    """
    if out.suffix != ".html" or out.is_dir():
        raise PresentationError(f"{out}: slides are one file with a name that ends in .html.")
    plan = cut(master.sections, minutes)
    deck = _deck(master, _with_outputs(master), plan)
    write_whole(deck, out)
    return Presentation(out, plan)


# ------------------------------------------------------------------------------------------
# From cells to slides
# ------------------------------------------------------------------------------------------


@dataclass
class _Slide:
    """Blocks of HTML under one heading; the browser breaks them into as many as they need."""

    kind: str
    label: str = ""
    blocks: list[str] = field(default_factory=list)

    @property
    def bare(self) -> bool:
        """Whether it shows nothing but its heading."""
        return all(not block or block.startswith("<aside") for block in self.blocks)


def _with_outputs(master: Master) -> NotebookNode:
    """Give the copy for slides, with the outputs that the built notebook holds."""
    place = notebook_path(master.path)
    name = place.relative_to(master.root)
    if not place.is_file():
        raise PresentationError(f"{name} is missing: run mlkit build {master.key}, then again.")
    stored, wanted = nbformat.read(place, as_version=4), learner_copy(master)
    if not follows(stored, wanted):
        raise PresentationError(
            f"{name} does not follow from its master: run mlkit build {master.key}, then again. "
            "Slides show what the notebook shows."
        )
    # Both copies have the same code cells, in the same order.
    outputs = iter([cell.outputs for cell in stored.cells if cell.cell_type == "code"])
    notebook = slide_copy(master)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = next(outputs)
    return notebook


def _by_section(cells: Iterable[NotebookNode]) -> list[list[NotebookNode]]:
    """Cut a notebook's cells at its sections; head and foot are left out."""
    sections: list[list[NotebookNode]] = []
    for cell in cells:
        if "talk" in cell.metadata:
            sections.append([])
        if not _tags(cell) & {"header", "footer"}:
            sections[-1].append(cell)
    return sections


def _kinds(cells: Sequence[NotebookNode]) -> list[str]:
    """Tell of each cell of a section on which kind of slide it belongs.

    An exercise reaches from its first hint or blank to its answer. The Markdown cell before
    it is the question.
    """
    kinds: list[str] = []
    inside = False
    for cell in cells:
        tags = _tags(cell)
        if tags & {"hint", "exercise"} and not inside:
            inside = True
            before = max((i for i, kind in enumerate(kinds) if kind != "notes"), default=None)
            if (
                before is not None
                and kinds[before] == "talk"
                and cells[before].cell_type == "markdown"
            ):
                kinds[before] = "question"
        if "notes" in tags:
            kinds.append("notes")
        elif "answer" in tags:
            kinds.append("answer")
            inside = False
        elif "check" in tags:
            kinds.append("check")
        elif inside:
            kinds.append("exercise")
        else:
            kinds.append("poll" if "poll" in tags else "talk")
    return kinds


def _slides(cells: Sequence[NotebookNode], part: Part, html: SlideHtml) -> list[_Slide]:
    """Give the slides of one section."""
    label = _exercise_label(part)
    slides = [_Slide("talk")]
    dropping = False
    for cell, kind in zip(cells, _kinds(cells), strict=True):
        if kind != "notes":
            dropping = not part.practised and kind in {"question", "exercise", "check", "answer"}
        if kind == "question" and dropping and "talk" in cell.metadata:
            # The question stands under the section's heading, which stays.
            slides[-1].blocks += [_show(cell, html), "<p>This exercise is for home.</p>"]
        elif dropping or kind == "check":
            continue
        elif kind == "notes":
            slides[-1].blocks.append(html.notes(cell.source))
        elif kind == "question":
            slides.append(_Slide("exercise", label, [_show(cell, html)]))
        elif kind == "exercise":
            if slides[-1].kind != "exercise":
                slides.append(_Slide("exercise", label))
            slides[-1].blocks.append(_show(cell, html))
        elif kind == "answer":
            summary, body = _unfold(cell.source)
            slides.append(_Slide("answer", summary, [html.markdown(body)]))
        elif kind == "poll":
            slides.append(_poll(cell, html))
        else:
            if slides[-1].kind != "talk":
                slides.append(_Slide("talk"))
            slides[-1].blocks.append(_show(cell, html))
    return _tidy(slides)


def _tidy(slides: list[_Slide]) -> list[_Slide]:
    """Drop slides that show nothing, handing their notes on, and put hints last."""
    kept: list[_Slide] = []
    notes: list[str] = []
    for slide, after in itertools.zip_longest(slides, slides[1:]):
        if slide.bare and after:
            notes += slide.blocks
            continue
        blocks = [block for block in slide.blocks if not block.startswith("<details")]
        hints = [block for block in slide.blocks if block.startswith("<details")]
        if hints:
            blocks.append(f'<div class="hints">{"".join(hints)}</div>')
        kept.append(_Slide(slide.kind, slide.label, notes + blocks))
        notes = []
    return kept


def _poll(cell: NotebookNode, html: SlideHtml) -> _Slide:
    question = cell.source.partition("<details>")[0].removeprefix("**Poll.** ")
    _, reasons = _unfold(cell.source)
    # One press shows the reasons; until then the room makes up its mind.
    answers = f'<div class="fragment reasons">{html.markdown(reasons)}</div>'
    return _Slide("poll", "Poll", [html.markdown(question), answers])


def _exercise_label(part: Part) -> str:
    exercises = [cell for cell in part.section.cells if "exercise" in cell.tags]
    if not part.practice:
        return "Exercise"
    together = " for all in this section" if len(exercises) > 1 else ""
    return f"Exercise · {_minutes(part.practice)}{together}"


def _show(cell: NotebookNode, html: SlideHtml) -> str:
    if cell.cell_type == "code":
        return html.code(cell)
    # Every slide of a section repeats its heading, so the heading stands apart.
    opens_section = "talk" in cell.metadata
    return html.markdown(cell.source.partition("\n")[2] if opens_section else cell.source)


def _unfold(source: str) -> tuple[str, str]:
    found = DETAILS.search(source)
    assert found  # noqa: S101 - derive.py folds answers and polls in this way
    return found["summary"], found["body"].strip()


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def _minutes(number: int) -> str:
    return "1 minute" if number == 1 else f"{number} minutes"


# ------------------------------------------------------------------------------------------
# The file
# ------------------------------------------------------------------------------------------


def _deck(master: Master, notebook: NotebookNode, plan: Cut) -> str:
    from jinja2 import Environment, FileSystemLoader
    from pygments.formatters import HtmlFormatter

    html = SlideHtml(master)
    stacks = [
        {
            "part": part,
            "heading": html.markdown(f"## {part.section.title}"),
            "slides": _slides(cells, part, html),
        }
        for cells, part in zip(_by_section(notebook.cells), plan.parts, strict=True)
        if part.kept
    ]
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["minutes"] = _minutes
    return environment.get_template("deck.html.j2").render(
        front=master.front,
        plan=plan,
        stacks=stacks,
        notebook=notebook_path(master.path).relative_to(master.root).as_posix(),
        code_css=HtmlFormatter(style=CODE_STYLE).get_style_defs(".highlight"),
        text=lambda name: (ASSETS / name).read_text(encoding="utf-8"),
        script=lambda name: data_url((ASSETS / name).read_bytes(), "text/javascript"),
    )
