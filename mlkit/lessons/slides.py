"""Make a lesson's slides: one HTML file that needs no network, cut to the minutes there are."""

from __future__ import annotations

import ast
import base64
import itertools
import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import unquote

import nbformat
from nbformat import NotebookNode

from mlkit.lessons.derive import fingerprint, learner_copy, notebook_path, slide_copy
from mlkit.lessons.model import Master, Section

__all__ = ["Cut", "Part", "Presentation", "PresentationError", "cut", "present"]

ASSETS = Path(__file__).parent / "assets"

CODE_STYLE = "default"  # of Pygments; its colours keep a contrast of 4.5 on the light box

DETAILS = re.compile(r"<details>\s*<summary>(?P<summary>.*?)</summary>(?P<body>.*)</details>", re.S)


class PresentationError(Exception):
    """Slides cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Part:
    """What one section gets of a session.

    Parameters
    ----------
    section : Section
        The section.
    kept : bool
        Whether it is in the session.
    start : int
        The minute at which it begins, or would begin.
    talk, practice : int
        The minutes it gets.
    """

    section: Section
    kept: bool
    start: int
    talk: int
    practice: int

    @property
    def end(self) -> int:
        """The minute at which it ends."""
        return self.start + self.talk + self.practice

    @property
    def practised(self) -> bool:
        """Whether its exercises are done in the session."""
        return self.kept and self.practice == self.section.practice

    @property
    def at_home(self) -> tuple[str, ...]:
        """The exercises that are left for home, by name."""
        if self.practised:
            return ()
        cells = self.section.cells
        return tuple(cell.exercise or "" for cell in cells if "exercise" in cell.tags)


@dataclass(frozen=True)
class Cut:
    """A session's plan; printed, it is a table of minutes.

    Parameters
    ----------
    parts : tuple of Part
        One for each section of the lesson, in order.
    minutes : int or None
        What the session was cut to; None if nothing was cut.
    """

    parts: tuple[Part, ...]
    minutes: int | None = None

    @property
    def end(self) -> int:
        """The minute at which the session ends."""
        return self.parts[-1].end if self.parts else 0

    @property
    def at_home(self) -> tuple[str, ...]:
        """What the session leaves out: sections, and exercises with their section."""
        lines = []
        for part in self.parts:
            names = "; ".join(f"exercise {name}" for name in part.at_home)
            if names or not part.kept:
                lines.append(part.section.title + (f" ({names})" if names else ""))
        return tuple(lines)

    def __str__(self) -> str:
        rows = [("section", "talk", "practice", "minutes"), *map(_row, self.parts)]
        of = f" of {self.minutes}" if self.minutes else ""
        talk, practice = (
            sum(getattr(p, what) for p in self.parts) for what in ("talk", "practice")
        )
        rows.append(("in all", str(talk), str(practice), f"{self.end}{of}"))
        widest = max(len(row[0]) for row in rows)
        return "\n".join(
            f"{name:<{widest}}  {talk:>4}  {practice:>8}  {span:>9}".rstrip()
            for name, talk, practice, span in rows
        )


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


def cut(sections: Sequence[Section], minutes: int | None = None) -> Cut:
    """Choose what a session of so many minutes holds.

    The talk of every core section stays. Then the practice of core sections is taken in
    order, wherever it still fits; then whole stretch sections, likewise.

    Parameters
    ----------
    sections : sequence of Section
        The lesson's sections in order.
    minutes : int, optional
        How long the session is; by default as long as the whole lesson takes.

    Returns
    -------
    Cut
        The plan.

    Raises
    ------
    PresentationError
        If not even the talk of the core sections fits.

    Examples
    --------
    >>> from mlkit.lessons.model import Section
    >>> lesson = [
    ...     Section("Why", talk=5, practice=0, stretch=False, cells=()),
    ...     Section("How", talk=10, practice=15, stretch=False, cells=()),
    ...     Section("More", talk=5, practice=5, stretch=True, cells=()),
    ... ]
    >>> print(cut(lesson, minutes=30))
    section         talk  practice    minutes
    Why                5         0        0-5
    How               10        15       5-30
    More (stretch)     -         -   left out
    in all            15        15   30 of 30
    """
    given = {i: (s.talk, 0) for i, s in enumerate(sections) if not s.stretch}
    needed = sum(talk for talk, _ in given.values())
    left = float("inf") if minutes is None else minutes - needed
    if left < 0:
        raise PresentationError(
            f"The session has {minutes} minutes, and the talk of the core sections alone takes "
            f"{needed}. Give it {needed} minutes or more, or tag sections that may be dropped as "
            "stretch."
        )
    for i, section in enumerate(sections):
        if not section.stretch and section.practice <= left:
            given[i] = (section.talk, section.practice)
            left -= section.practice
    for i, section in enumerate(sections):
        if section.stretch and section.talk + section.practice <= left:
            given[i] = (section.talk, section.practice)
            left -= section.talk + section.practice
    return Cut(tuple(_parts(sections, given)), minutes)


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
    _write(deck, out)
    return Presentation(out, plan)


# ------------------------------------------------------------------------------------------
# The plan
# ------------------------------------------------------------------------------------------


def _parts(sections: Sequence[Section], given: dict[int, tuple[int, int]]) -> Iterator[Part]:
    minute = 0
    for i, section in enumerate(sections):
        talk, practice = given.get(i, (0, 0))
        # A section of practice alone has nothing to show without it.
        kept = i in given and bool(talk or practice == section.practice)
        part = Part(section, kept, minute, talk, practice)
        minute = part.end
        yield part


def _row(part: Part) -> tuple[str, str, str, str]:
    name = part.section.title + (" (stretch)" if part.section.stretch else "")
    if not part.kept:
        return name, "-", "-", "left out"
    practice = str(part.practice) if part.practised else "at home"
    return name, str(part.talk), practice, f"{part.start}-{part.end}"


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
    if (
        stored.metadata.get("mlkit") != wanted.metadata["mlkit"]
        or fingerprint(stored) != fingerprint(wanted)
        or any(cell.get("execution_count", 1) is None for cell in stored.cells)
    ):
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
            if before is not None and kinds[before] == "talk" and not _is_code(cells[before]):
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


def _slides(cells: Sequence[NotebookNode], part: Part, html: _Html) -> list[_Slide]:
    """Give the slides of one section."""
    label = _exercise_label(part)
    slides = [_Slide("talk")]
    dropping = False
    for cell, kind in zip(cells, _kinds(cells), strict=True):
        if kind != "notes":
            dropping = not part.practised and kind in {"question", "exercise", "check", "answer"}
        if kind == "question" and dropping and "talk" in cell.metadata:
            # The question stands under the section's heading, which stays.
            slides[-1].blocks += [html.markdown(_body(cell)), "<p>This exercise is for home.</p>"]
        elif dropping or kind == "check":
            continue
        elif kind == "notes":
            slides[-1].blocks.append(html.notes(cell.source))
        elif kind == "question":
            slides.append(_Slide("exercise", label, [html.markdown(_body(cell))]))
        elif kind == "exercise":
            if slides[-1].kind != "exercise":
                slides.append(_Slide("exercise", label))
            slides[-1].blocks.append(html.cell(cell))
        elif kind == "answer":
            summary, body = _unfold(cell.source)
            slides.append(_Slide("answer", summary, [html.markdown(body)]))
        elif kind == "poll":
            slides.append(_poll(cell, html))
        else:
            if slides[-1].kind != "talk":
                slides.append(_Slide("talk"))
            slides[-1].blocks.append(html.cell(cell))
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


def _poll(cell: NotebookNode, html: _Html) -> _Slide:
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


def _body(cell: NotebookNode) -> str:
    """Give a Markdown cell's text without the section's heading."""
    source: str = cell.source
    return source.partition("\n")[2] if "talk" in cell.metadata else source


def _unfold(source: str) -> tuple[str, str]:
    found = DETAILS.search(source)
    assert found  # noqa: S101 - derive.py folds answers and polls in this way
    return found["summary"], found["body"].strip()


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def _is_code(cell: NotebookNode) -> bool:
    return bool(cell.cell_type == "code")


def _minutes(number: int) -> str:
    return "1 minute" if number == 1 else f"{number} minutes"


# ------------------------------------------------------------------------------------------
# HTML
# ------------------------------------------------------------------------------------------


class _Html:
    """Cells as HTML, by nbconvert, with all they need inside.

    Parameters
    ----------
    master : Master
        The lesson, from whose notebook links and pictures are found.
    """

    def __init__(self, master: Master) -> None:
        from nbconvert import HTMLExporter
        from nbconvert.filters.markdown_mistune import IPythonRenderer

        self._master = master
        self._renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
        self._renderer.inline_math = self._formula
        self._renderer.block_math = lambda tex: self._formula(tex, display="block")
        self._renderer.latex_environment = lambda name, tex: self._formula(
            f"\\begin{{{name}}}{tex}\\end{{{name}}}", display="block"
        )
        self._renderer.link = self._link
        self._renderer.image = self._image
        self._exporter = HTMLExporter(
            template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True
        )
        self._exporter.register_filter("markdown2html", self._convert)

    def cell(self, cell: NotebookNode) -> str:
        """Give a cell of any kind."""
        return self._code(cell) if _is_code(cell) else self.markdown(_body(cell))

    def markdown(self, source: str) -> str:
        """Give Markdown text."""
        return self._closed(self._convert(source))

    def notes(self, source: str) -> str:
        """Give what the speaker says; only the speaker view shows it."""
        return f'<aside class="notes">{self.markdown(source)}</aside>'

    def _code(self, cell: NotebookNode) -> str:
        """Give a code cell, its code in pieces at which it may be broken."""
        pieces = [] if "hide-input" in _tags(cell) else _pieces(cell.source)
        cells = [nbformat.v4.new_code_cell(piece) for piece in pieces]
        if cell.outputs:
            hidden = {"transient": {"remove_source": True}}
            cells.append(nbformat.v4.new_code_cell(metadata=hidden, outputs=cell.outputs))
        for number, piece in enumerate(cells):
            piece.id = f"{cell.id}-{number}"  # nbformat's own ids differ each time
        body, _ = self._exporter.from_notebook_node(nbformat.v4.new_notebook(cells=cells))
        return f'<div class="together">{self._closed(body)}</div>' if cells else ""

    def _convert(self, source: str) -> str:
        from nbconvert.filters.markdown_mistune import MarkdownWithMath

        html: str = MarkdownWithMath(renderer=self._renderer).render(source)
        return html

    def _formula(self, tex: str, display: str = "inline") -> str:
        """Turn a formula into MathML, which browsers draw by themselves."""
        from latex2mathml.converter import convert

        mathml: str = convert(tex, display=display)
        unknown = re.search(r"\\\w+", mathml)
        if unknown:
            raise PresentationError(
                f"{self._master.path}: slides cannot show {unknown[0]} in the formula {tex!r}. "
                "Write it with other commands."
            )
        return mathml

    def _link(self, text: str, url: str, title: str | None = None) -> str:
        if re.match(r"https?://", url):
            return f'<a href="{escape(url)}" target="_blank" rel="noopener">{text}</a>'
        # The slides travel alone: other lessons and the glossary are not beside them.
        return f'<span class="term" title="{escape(title)}">{text}</span>' if title else text

    def _image(self, text: str, url: str, title: str | None = None) -> str:
        file = notebook_path(self._master.path).parent / unquote(url)
        if not file.is_file():
            raise PresentationError(
                f"{self._master.path}: the picture {url} is no file of the checkout, so slides "
                "cannot hold it. Put it beside the master."
            )
        kind, _ = mimetypes.guess_type(file.name)
        data = _data_url(file.read_bytes(), kind or "image/png")
        return f'<img src="{data}" alt="{escape(text)}">'

    def _closed(self, html: str) -> str:
        """Refuse HTML that loads something from elsewhere."""
        for what in _loads(html):
            raise PresentationError(
                f"{self._master.path}: a cell loads {what} when it is shown. Slides work without "
                "a network; show a figure or a table instead."
            )
        return html


def _pieces(source: str) -> list[str]:
    """Cut code at the blank lines between its statements, and leave out what only speaks."""
    inside: set[int] = set()
    left_out: set[int] = set()
    for statement in ast.parse(source).body:
        span = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        (left_out if _speaks(statement) else inside).update(span)
    lines = [line for line in enumerate(source.split("\n"), start=1) if line[0] not in left_out]
    runs = itertools.groupby(lines, key=lambda line: bool(line[1].strip()) or line[0] in inside)
    return ["\n".join(text for _, text in run) for full, run in runs if full]


def _speaks(statement: ast.stmt) -> bool:
    """Tell whether a statement is there to say or record a result, which the output shows."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"say", "record"}
        for node in ast.walk(statement)
    )


def _loads(html: str) -> Iterator[str]:
    """Find what a browser would load from outside the file."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(True):
        for name in ("src", "srcset", "poster", "data", "href" if tag.name == "link" else "src"):
            value = str(tag.get(name, ""))
            if value and not value.startswith("data:"):
                yield value
    for tag in [*soup.find_all("style"), *soup.find_all(style=True)]:
        style = f"{tag.get('style', '')}{tag.get_text() if tag.name == 'style' else ''}"
        yield from re.findall(r"url\(\s*[\"']?(?!data:|#)([^)\"']+)", style)
        yield from re.findall(r"@import[^;]+", style)


def _deck(master: Master, notebook: NotebookNode, plan: Cut) -> str:
    from jinja2 import Environment, FileSystemLoader
    from pygments.formatters import HtmlFormatter

    html = _Html(master)
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
        script=lambda name: _data_url((ASSETS / name).read_bytes(), "text/javascript"),
    )


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _write(text: str, place: Path) -> None:
    """Write beside and move into place, so that a file is never half written."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
