"""The web site: built once from a copy of the checkout, then read as its readers do."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

import mlkit

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("datasets", "docs", "mlkit", "notebooks", "plans", "tutorials")
LESSONS = sorted(
    path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
    for path in ROOT.glob("notebooks/*/*.ipynb")
)
NOT_FOR_PROGRAMS = {"cli", "paths"}  # the command line, and where a checkout is

PHONE = {"width": 400, "height": 800}


BROKEN_LINKS = [
    "nowhere.md",
    "../tutorials/glossary.md#nothing",
    "../notebooks/start/99-none.ipynb",
]
FORMULAS = [r"$\hat{Y}_{HT}$", r"$$\begin{aligned} a &= b \\ &= c \end{aligned}$$"]


@dataclass(frozen=True)
class Build:
    """What a build of the site said, and where its pages are."""

    html: Path
    returncode: int
    warnings: list[str]


def build(checkout: Path) -> Build:
    """Build the site of a checkout as make site does."""
    command = "-m sphinx -q -W -b html docs docs/_build/html"
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=checkout, capture_output=True, text=True
    )
    return Build(checkout / "docs/_build/html", done.returncode, done.stderr.splitlines())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the pages, built from a copy of this checkout."""
    checkout = tmp_path_factory.mktemp("site")
    for name in SOURCES:
        ignored = shutil.ignore_patterns("_build", "__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    shutil.copy(ROOT / "CONTRIBUTING.md", checkout)  # the page for authors
    built = build(checkout)
    assert (built.returncode, built.warnings) == (0, [])
    return built.html


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a site of one page and a glossary, with what the lessons may not have."""
    links = [f"[here]({link})" for link in BROKEN_LINKS]
    contents = "```{toctree}\ntutorials/glossary\n```"
    checkout = tmp_path_factory.mktemp("small-site")
    write_small_site(checkout, index="\n\n".join(["# Home", *links, *FORMULAS, contents]))
    return build(checkout)


def write_small_site(checkout: Path, *, index: str) -> None:
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "docs" / name, checkout / "docs" / name)
    shutil.copy(ROOT / "docs/conf.py", checkout / "docs")
    (checkout / "docs/index.md").write_text(index)
    (checkout / "notebooks").mkdir()
    (checkout / "tutorials").mkdir()
    (checkout / "tutorials/glossary.md").write_text("# Glossary\n\n## weight\n\nWhat counts.\n")


class Page(HTMLParser):
    """What a page links to, what it loads, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.headings: list[int] = []  # their levels, in the article
        self.in_article = False
        self.alts: list[str | None] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors.add(found.get("id") or "")
        if tag == "a":
            self.links.append(found.get("href") or "")
        elif tag == "link":
            self.loads.append(found.get("href") or "")
        if tag == "img":
            self.alts.append(found.get("alt"))
        self.in_article |= tag == "article"
        if self.in_article and re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.loads += [found[key] or "" for key in ("src", "data") if key in found]

    def handle_endtag(self, tag: str) -> None:
        self.in_article &= tag != "article"

    def target(self, link: str) -> Path:
        """Give the file that a link within the site leads to."""
        path = unquote(urlsplit(link).path)
        return (self.path.parent / path).resolve() if path else self.path

    def broken_links(self) -> Iterator[str]:
        for link in self.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = self.target(link)
            if not target.is_file():
                yield f"{self.path}: {link}: no such file"
            elif parts.fragment and unquote(parts.fragment) not in page_at(target).anchors:
                yield f"{self.path}: {link}: no such anchor"


@cache
def page_at(path: Path) -> Page:
    return Page(path)


def pages(site: Path) -> list[Page]:
    return [page_at(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def lesson_page(site: Path, lesson: str) -> Page:
    return page_at(site / "notebooks" / f"{lesson}.html")


# --- links ---


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    assert [fault for page in pages(site) for fault in page.broken_links()] == []


def test_the_search_for_broken_links_finds_them(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h2 id="there">There</h2>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html"></a><a href="b.html#there"></a><a href="https://unece.org"></a>'
        '<a href="b.html#gone"></a><a href="c.html"></a><a href="#nothing"></a>'
    )
    found = [fault.split(": ")[1] for fault in page_at(tmp_path / "a.html").broken_links()]
    assert found == ["b.html#gone", "c.html", "#nothing"]


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = {(page.path.name, load) for page in pages(site) for load in page.loads}
    assert len(loaded) > 20
    assert [load for load in loaded if re.match(r"(https?:)?//", load[1])] == []
    for sheet in site.rglob("*.css"):
        elsewhere = r"(url\(|@import)[\s\"']*(https?:)?//"
        assert re.search(elsewhere, sheet.read_text(encoding="utf-8")) is None, sheet


def test_broken_links_stop_the_build(small_site: Build) -> None:
    assert small_site.returncode == 1
    assert len(small_site.warnings) == len(BROKEN_LINKS)
    for link, warning in zip(BROKEN_LINKS, small_site.warnings, strict=True):
        assert "docs/index.md" in warning
        assert link.rpartition("#")[2].removeprefix("../") in warning


def test_links_lead_to_pages_and_not_to_their_sources(site: Path) -> None:
    targets = {page.target(link) for page in pages(site) for link in page.links}
    assert [target for target in targets if target.suffix == ".md"] == []


def test_a_faulty_master_is_named_with_its_line(tmp_path: Path) -> None:
    write_small_site(tmp_path, index="# Home\n\n<!-- tables of all lessons -->\n")
    master = tmp_path / "tutorials/start/01-faulty.md"
    master.parent.mkdir()
    master.write_text("---\nmlkit: {title: a: b}\n---\n")
    built = build(tmp_path)
    assert built.returncode == 1
    assert any(line.startswith(f"{master}:2: this is not valid YAML") for line in built.warnings)
    assert not any("Traceback" in line for line in built.warnings)


# --- lessons ---


def test_there_are_lessons() -> None:
    assert LESSONS


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_lesson_has_its_page(site: Path, lesson: str) -> None:
    page = lesson_page(site, lesson)
    for start in ("index.html", "lessons.html"):
        home = page_at(site / start)
        assert page.path in map(home.target, home.links)
    # Its notebook, byte for byte, and its master can be had from the page.
    notebook = (ROOT / "notebooks" / f"{lesson}.ipynb").read_bytes()
    targets = set(map(page.target, page.links))
    assert notebook in [path.read_bytes() for path in targets if path.suffix == ".ipynb"]
    assert site / "tutorials" / f"{lesson}.html" in targets


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_shows_what_its_notebook_holds(site: Path, lesson: str) -> None:
    notebook = json.loads((ROOT / "notebooks" / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    page = lesson_page(site, lesson)
    alts = [
        output["metadata"]["image/png"]["alt"]
        for output in outputs
        if "image/png" in output.get("data", {})
    ]
    assert page.alts == alts
    boxes = sum("application/vnd.mlkit.check+json" in output.get("data", {}) for output in outputs)
    assert page.text.count('<div role="status"') == boxes
    markdown = "".join("".join(cell["source"]) for cell in notebook["cells"])
    assert page.text.count("<summary>") >= markdown.count("<summary>") > 0


def test_the_list_of_lessons_tells_measured_times(site: Path) -> None:
    measured = json.loads((ROOT / "notebooks/measured.json").read_text(encoding="utf-8"))
    rows = re.findall(r"<tr.*?</tr>", page_at(site / "lessons.html").text, flags=re.S)
    for lesson in LESSONS:
        (row,) = [row for row in rows if f'href="notebooks/{lesson}.html"' in row]
        assert re.search(r"\d+\xa0min.*\d+\xa0min", row, flags=re.S)
        if lesson in measured:
            assert f"{measured[lesson]['seconds']}\xa0s" in row
            assert f"{measured[lesson]['megabytes']}\xa0MB" in row


# --- the library ---


def public_modules() -> list[str]:
    names = (module.name for module in pkgutil.iter_modules(mlkit.__path__))
    return [name for name in names if not name.startswith("_") and name not in NOT_FOR_PROGRAMS]


@pytest.mark.parametrize("name", public_modules())
def test_every_public_function_and_class_is_described(site: Path, name: str) -> None:
    module = importlib.import_module(f"mlkit.{name}")
    public = {name for name in module.__all__ if callable(getattr(module, name))}
    page = page_at(site / "api" / f"{name}.html")
    assert {f"mlkit.{name}.{each}" for each in public} <= page.anchors


# --- every reader ---


def test_headings_come_in_order(site: Path) -> None:
    for page in pages(site):
        if page.path.name != "search.html":  # its headings come with the results
            assert page.headings.count(1) == 1, page.path
            steps = zip(page.headings, page.headings[1:], strict=False)
            assert all(after <= before + 1 for before, after in steps), page.path


def test_every_picture_is_described(site: Path) -> None:
    assert [page.path for page in pages(site) if not all(page.alts)] == []


def test_pages_open_without_error_and_without_network(site: Path, page_offline: Tab) -> None:
    for page in pages(site):
        page_offline.goto(page.path.as_uri())


def test_no_page_is_wider_than_a_phone(site: Path, page_offline: Tab) -> None:
    page_offline.set_viewport_size(PHONE)
    for page in pages(site):
        page_offline.goto(page.path.as_uri())
        width = page_offline.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], page.path


@pytest.mark.parametrize("lesson", LESSONS)
def test_hints_and_answers_fold(site: Path, page_offline: Tab, lesson: str) -> None:
    page_offline.goto(lesson_page(site, lesson).path.as_uri())
    for fold in page_offline.locator("article details").all():
        inside = fold.locator(":scope > :not(summary)").first
        assert not inside.is_visible()
        fold.locator("summary").first.click()
        assert inside.is_visible()
        fold.locator("summary").first.click()
        assert not inside.is_visible()


@pytest.mark.parametrize("lesson", LESSONS)
def test_figures_are_seen(site: Path, page_offline: Tab, lesson: str) -> None:
    page = lesson_page(site, lesson)
    page_offline.goto(page.path.as_uri())
    for alt in page.alts:
        picture = page_offline.get_by_alt_text(alt or "", exact=True).first
        assert picture.is_visible()
        assert picture.evaluate("picture => picture.naturalWidth") > 300


def test_the_search_works_without_a_server(site: Path, page_offline: Tab) -> None:
    page_offline.goto((site / "search.html").as_uri() + "?q=gsbpm")
    found = page_offline.locator("#search-results a")
    found.filter(has_text="Glossary").first.click()
    assert page_offline.url.partition("?")[0] == (site / "tutorials/glossary.html").as_uri()


def test_formulas_are_set(small_site: Build, page_offline: Tab) -> None:
    page_offline.goto((small_site.html / "index.html").as_uri())
    page_offline.wait_for_selector("mjx-container")
    assert page_offline.locator(".math mjx-container").count() == len(FORMULAS)
    assert page_offline.locator("[data-mjx-error]").count() == 0
