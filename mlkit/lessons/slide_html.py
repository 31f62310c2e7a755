"""Cells of a notebook as HTML that needs nothing else."""

from __future__ import annotations

import ast
import base64
import itertools
import mimetypes
import re
from collections.abc import Iterator
from html import escape
from urllib.parse import unquote

import nbformat
from nbformat import NotebookNode

from mlkit.lessons.derive import notebook_path
from mlkit.lessons.model import Master
from mlkit.lessons.session import PresentationError

__all__ = ["SlideHtml", "data_url"]


class SlideHtml:
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

    def markdown(self, source: str) -> str:
        """Turn Markdown into HTML.

        Parameters
        ----------
        source : str
            Markdown with formulas between dollar signs.

        Returns
        -------
        str
            HTML, with formulas as MathML and pictures inside.

        Raises
        ------
        PresentationError
            If a formula, a picture or a piece of HTML cannot be shown without a network.
        """
        return self._closed(self._convert(source))

    def notes(self, source: str) -> str:
        """Turn what the speaker says into HTML that only the speaker view shows.

        Parameters
        ----------
        source : str
            Markdown.

        Returns
        -------
        str
            An aside, as reveal.js looks for it.
        """
        return f'<aside class="notes">{self.markdown(source)}</aside>'

    def code(self, cell: NotebookNode) -> str:
        """Turn a code cell and its outputs into HTML.

        Parameters
        ----------
        cell : NotebookNode
            Executed.

        Returns
        -------
        str
            One block, in it the pieces at which it may be broken; nothing if there is nothing
            to see.

        Raises
        ------
        PresentationError
            If an output loads something when it is shown.
        """
        hidden = "hide-input" in cell.metadata.get("tags", ())
        pieces = [] if hidden else _pieces(cell.source)
        cells = [nbformat.v4.new_code_cell(piece) for piece in pieces]
        if cell.outputs:
            no_code = {"transient": {"remove_source": True}}
            cells.append(nbformat.v4.new_code_cell(metadata=no_code, outputs=cell.outputs))
        for number, piece in enumerate(cells):
            piece.id = f"{cell.id}-{number}"  # nbformat's own ids differ each time
        if not cells:
            return ""
        body, _ = self._exporter.from_notebook_node(nbformat.v4.new_notebook(cells=cells))
        return f'<div class="together">{self._closed(body)}</div>'

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
        data = data_url(file.read_bytes(), kind or "image/png")
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
        names = ["href"] if tag.name == "link" else ["src", "srcset", "poster", "data"]
        for value in (str(tag.get(name, "data:")) for name in names):
            if not value.startswith("data:"):
                yield value
    for tag in [*soup.find_all("style"), *soup.find_all(style=True)]:
        style = f"{tag.get('style', '')}{tag.get_text() if tag.name == 'style' else ''}"
        yield from re.findall(r"url\(\s*[\"']?(?!data:|#)([^)\"']+)", style)
        yield from re.findall(r"@import[^;]+", style)


def data_url(content: bytes, kind: str) -> str:
    """Give a file's content in the form in which HTML holds it.

    Parameters
    ----------
    content : bytes
        What is in the file.
    kind : str
        Its media type.

    Returns
    -------
    str
        An address that is the file itself.

    Examples
    --------
    >>> data_url(b"abc", "text/plain")
    'data:text/plain;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
