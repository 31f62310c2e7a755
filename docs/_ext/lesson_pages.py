"""Bring the lessons into the site: their notebooks, their masters, the glossary, and lists.

Sphinx reads one folder only, and the lessons stand outside of it. They are copied into it
with the folder names they have in the repository, so that the links between them hold.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from mlkit.lessons import Master, MasterError, find_masters, read_master
from mlkit.lessons.derive import read_measures

FOLDERS = ("notebooks", "tutorials")
CONTENTS_MARK = "<!-- contents of all themes -->"
TABLES_MARK = "<!-- tables of all lessons -->"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx what to call, and when."""
    app.connect("builder-inited", copy_lessons)
    app.connect("source-read", adapt_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def copy_lessons(app: Sphinx) -> None:
    """Copy what the site takes from other folders of the checkout."""
    for name in FOLDERS:
        copy = app.srcdir / name
        shutil.rmtree(copy, ignore_errors=True)
        # The files keep their times, by which Sphinx knows what has changed.
        shutil.copytree(app.srcdir.parent / name, copy, ignore=shutil.ignore_patterns(".*"))


def adapt_page(app: Sphinx, page: str, content: list[str]) -> None:
    """Change the text of a page between reading and parsing."""
    text = content[0]
    folder, _, key = page.partition("/")
    if folder == "notebooks":
        text = notebook_page(text, key)
    elif page == "tutorials/glossary":
        text = glossary_page(text)
    elif folder == "tutorials":
        text = master_page(text, key)
    else:
        text = re.sub(r"\]\(\.\./(?=notebooks/|tutorials/)", "](", text)
        if CONTENTS_MARK in text or TABLES_MARK in text:
            app.env.note_reread()  # a lesson may have come or changed
            masters = read_masters(app.srcdir.parent)
            text = text.replace(CONTENTS_MARK, "\n".join(contents(masters)))
            text = text.replace(TABLES_MARK, "\n".join(tables(masters, app.srcdir.parent)))
    content[0] = text


def read_masters(root: Path) -> list[Master]:
    """Read every master; faults end the build with their places alone, without a traceback."""
    try:
        return [read_master(path) for path in find_masters(root)]
    except MasterError as error:
        raise SystemExit(str(error)) from None


def notebook_page(text: str, key: str) -> str:
    """Add to a notebook what its page needs beyond the notebook."""
    notebook = json.loads(text)
    name = key.rpartition("/")[2]
    notebook["cells"][0]["source"] = [
        *notebook["cells"][0]["source"],
        f"\n\n{{download}}`Download this notebook <{name}.ipynb>` · "
        f"[Read its master](../../tutorials/{key}.md)",
    ]
    for cell in notebook["cells"]:
        if "alt" in cell["metadata"]:
            # myst-nb looks for the alt text here, unlike nbconvert.
            cell["metadata"]["mystnb"] = {"image": {"alt": cell["metadata"]["alt"]}}
    return json.dumps(notebook)


def master_page(text: str, key: str) -> str:
    """Show a master, or the template of one, as the text it is."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=3))
    head = [
        "---",
        "orphan: true",  # reached from its lesson, not from the contents
        "nosearch: true",  # a search finds the lesson
        "---",
        f"# tutorials/{key}.md",
        "",
        "This is the file as it stands in the repository.",
        "",
    ]
    return "\n".join([*head, f"{fence}markdown", text, fence])


def glossary_page(text: str) -> str:
    """Lead from the glossary to lessons, not to their masters."""
    return re.sub(r"\]\((?:\./)?([\w-]+/\d\d-[\w-]+)\.md", r"](../notebooks/\1.ipynb", text)


def contents(masters: Iterable[Master]) -> Iterator[str]:
    """Yield a table of contents for each theme, as Markdown."""
    for theme, lessons in by_theme(masters):
        yield f"\n```{{toctree}}\n:hidden:\n:caption: {theme}\n"
        yield from (f"notebooks/{lesson.key}" for lesson in lessons)
        yield "```"


def tables(masters: Iterable[Master], root: Path) -> Iterator[str]:
    """Yield a table of the lessons of each theme, as Markdown."""
    measures = read_measures(root)
    for theme, lessons in by_theme(masters):
        yield f"\n## {theme}\n\n```{{list-table}}\n:class: lessons"
        yield ":header-rows: 1\n:widths: 40 17 13 13 17\n"
        yield row(["Lesson", "Level", "Reading", "Practice", "Computer"])
        for lesson in lessons:
            core = [section for section in lesson.sections if not section.stretch]
            cost = measures.get(lesson.key)
            yield row(
                [
                    f"[{lesson.front.title}](notebooks/{lesson.key}.ipynb)",
                    lesson.front.level,
                    f"{sum(section.talk for section in core)}&nbsp;min",
                    f"{sum(section.practice for section in core)}&nbsp;min",
                    f"{cost['seconds']}&nbsp;s, {cost['megabytes']}&nbsp;MB" if cost else "",
                ]
            )
        yield "```"


def row(cells: Iterable[str]) -> str:
    """Write one row of a list-table."""
    return "* - " + "\n  - ".join(cells)


def by_theme(masters: Iterable[Master]) -> Iterator[tuple[str, list[Master]]]:
    """Yield the name of each theme with its lessons; masters of a theme stand together."""
    for theme, lessons in groupby(masters, key=lambda master: master.front.theme):
        yield theme.replace("-", " ").capitalize(), list(lessons)
