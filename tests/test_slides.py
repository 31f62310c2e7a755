"""Slides: the cut to the minutes there are, and the deck as a browser shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from mlkit.lessons import Master, find_masters, notebook_path, read_master
from mlkit.lessons.model import Section
from mlkit.lessons.session import PresentationError, cut
from mlkit.lessons.slides import ASSETS, CODE_STYLE, present
from tests.sample import SAMPLE, write_sample

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[1]

# What is hard to fit on slides: long prose and lists, long and wide code, tables, output and
# figures, each of which must be shown, broken or scrolled, and never cut off.
LONG = r"""
+++ {"talk": 10, "practice": 0}

## A section with *much* in it

WORDS

WORDS

### A heading that announces a list

LIST

1. One
2. Two with $\sum_{i \in s} w_i y_i$ and a [link](https://example.org/page)

$$
\hat{Y} = \sum_{i \in s} w_i y_i, \qquad \operatorname{SE} = \sqrt{\frac{p(1-p)}{n}}
$$

| code | title | share |
|------|-------|-------|
| 1    | one   | .5    |

![A grey square, drawn beside the master](square.png)

+++

This is how it is done:

```{code-cell} ipython3
import pandas as pd

# A comment that is as long as a line of code may be, to see whether it stays on one row


def long_function(argument):
LINES
    return argument


def short_function(argument):
    return argument + 1
```

```{code-cell} ipython3
pd.DataFrame({f"a column called {i}": [i, 2.5, 1000.125] for i in range(14)})
```

```{code-cell} ipython3
print("\n".join(f"row {i} of the output" for i in range(60)))
```

WORDS

A sentence that announces a figure:

```{code-cell} ipython3
:alt: One line that rises.
fig, ax = plt.subplots(figsize=(7, 4))
ax.plot([1, 2, 3])
plt.show()
```

```{code-cell} ipython3
:tags: [hide-input]
:alt: Two lines, one in each of two figures.
for _ in range(2):
    plt.figure()
    plt.plot([3, 1, 2])
    plt.show()
```

+++ {"tags": ["notes"]}

Say that the *figures* are only for show.
"""


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Master:
    """Give a lesson that is hard to fit on slides, with its notebook built."""
    return built(tmp_path_factory.mktemp("a checkout"), long_lesson())


@pytest.fixture(scope="module")
def whole(lesson: Master) -> Path:
    return present(lesson, out=lesson.root / "presentations" / "whole.html").path


@pytest.fixture(scope="module")
def short(lesson: Master) -> Path:
    """Give the slides of the shortest session: no exercise and no stretch section fits."""
    return present(lesson, out=lesson.root / "presentations" / "short.html", minutes=17).path


def built(root: Path, text: str) -> Master:
    path = write_sample(root, text)
    plt.imsave(path.parent / "square.png", np.full((300, 300, 3), 0.5))
    run_build(root)
    return read_master(path)


def run_build(root: Path) -> None:
    # In a process of its own: nbclient leaves the event loops of its threads open.
    subprocess.run([sys.executable, "-m", "mlkit.cli", "build"], cwd=root, check=True)


def long_lesson() -> str:
    words = " ".join(f"Sentence {i} of a long paragraph says something." for i in range(14))
    items = "\n".join(f"- item {i} of a long list" for i in range(30))
    lines = "\n".join(f"    argument = argument + {i}" for i in range(40))
    text = LONG.replace("WORDS", words).replace("LIST", items).replace("LINES", lines)
    before, stretch, after = SAMPLE.partition(
        '\n+++ {"talk": 2, "practice": 4, "tags": ["stretch"]}'
    )
    assert stretch
    return before + text + stretch + after


# ------------------------------------------------------------------------------------------
# The cut
# ------------------------------------------------------------------------------------------


def section(title: str, talk: int, practice: int = 0, *, stretch: bool = False) -> Section:
    return Section(title, talk, practice, stretch, cells=())


SECTIONS = [
    section("Why", 4),
    section("How", 10, 12),
    section("Aside", 3, 2, stretch=True),
    section("Check", 6, 5),
    section("More", 2, stretch=True),
    section("End", 1),
]


def minutes_of(minutes: int | None) -> dict[str, tuple[int, int]]:
    return {p.section.title: (p.talk, p.practice) for p in cut(SECTIONS, minutes).parts if p.kept}


def test_without_minutes_nothing_is_cut() -> None:
    plan = cut(SECTIONS)
    assert [(p.talk, p.practice) for p in plan.parts] == [(s.talk, s.practice) for s in SECTIONS]
    assert plan.end == sum(s.talk + s.practice for s in SECTIONS)
    assert plan.at_home == ()


def test_core_talk_stays_when_nothing_else_fits() -> None:
    assert minutes_of(21) == {"Why": (4, 0), "How": (10, 0), "Check": (6, 0), "End": (1, 0)}


@pytest.mark.parametrize(
    ("minutes", "how", "check", "others"),
    [
        (25, 0, 0, {"More"}),  # no practice fits; the stretch section of 3 + 2 does not either
        (26, 0, 5, set()),  # the first practice does not fit, the second does
        (33, 12, 0, set()),
        (38, 12, 5, set()),
        (39, 12, 5, set()),  # a stretch section comes whole or not at all
        (40, 12, 5, {"More"}),
        (43, 12, 5, {"Aside"}),  # in order: the first stretch section before the second
        (45, 12, 5, {"Aside", "More"}),
    ],
)
def test_practice_comes_before_stretch_sections(
    minutes: int, how: int, check: int, others: set[str]
) -> None:
    kept = minutes_of(minutes)
    assert (kept["How"][1], kept["Check"][1]) == (how, check)
    assert kept.keys() - {"Why", "How", "Check", "End"} == others
    assert sum(map(sum, kept.values())) <= minutes


@pytest.mark.parametrize("minutes", [20, 1, 0, -5])
def test_too_short_a_session_says_what_the_core_needs(minutes: int) -> None:
    with pytest.raises(PresentationError, match=rf"{minutes} minutes.* takes 21\b"):
        cut(SECTIONS, minutes)


def test_clock_runs_through_what_is_kept() -> None:
    parts = cut(SECTIONS, 40).parts
    assert [(p.start, p.end) for p in parts if p.kept] == [
        (0, 4),
        (4, 26),
        (26, 37),
        (37, 39),
        (39, 40),
    ]


def test_section_of_practice_alone_goes_with_its_practice() -> None:
    sections = [section("Talk", 10), section("Try", 0, 5), section("End", 0)]
    assert [p.kept for p in cut(sections, 12).parts] == [True, False, True]
    assert [p.kept for p in cut(sections, 15).parts] == [True, True, True]


def test_what_is_left_out_is_listed_with_its_exercises(lesson: Master) -> None:
    assert cut(lesson.sections, 17).at_home == (
        "Count the right ones (exercise share)",
        "A second exercise (exercise count-wrong)",
    )


def test_plan_is_printed_as_a_table() -> None:
    assert str(cut(SECTIONS, 26)).splitlines() == [
        "section          talk  practice    minutes",
        "Why                 4         0        0-4",
        "How                10   at home       4-14",
        "Aside (stretch)     -         -   left out",
        "Check               6         5      14-25",
        "More (stretch)      -         -   left out",
        "End                 1         0      25-26",
        "in all             21         5   26 of 26",
    ]


# ------------------------------------------------------------------------------------------
# Refusals
# ------------------------------------------------------------------------------------------


def refused(master: Master, message: str, *, minutes: int | None = None) -> None:
    """Check that no slides are made, and that a deck which is there stays as it was."""
    out = master.root / "presentations" / "refused.html"
    out.parent.mkdir(exist_ok=True)
    out.write_text("as before")
    with pytest.raises(PresentationError, match=message):
        present(master, out=out, minutes=minutes)
    assert out.read_text() == "as before"
    assert not list(out.parent.glob(".*"))


def test_a_lesson_that_does_not_fit_is_refused(lesson: Master) -> None:
    refused(lesson, "alone takes 17", minutes=16)


def test_a_lesson_without_notebook_is_refused(tmp_path: Path) -> None:
    refused(read_master(write_sample(tmp_path)), "small.ipynb is missing: run mlkit build")


def stored(master: Master) -> NotebookNode:
    return nbformat.read(notebook_path(master.path), as_version=4)


def changed(lesson: Master, root: Path, notebook: NotebookNode, text: str = "") -> Master:
    """Copy a lesson's checkout, with another notebook, and with another master if given."""
    shutil.copytree(lesson.root, root, dirs_exist_ok=True)
    path = root / lesson.path.relative_to(lesson.root)
    path.write_text(text or lesson.text)
    nbformat.write(notebook, notebook_path(path))
    return read_master(path)


@pytest.mark.parametrize(
    "what", ["prose of the master", "code of the notebook", "data", "never run"]
)
def test_a_notebook_that_does_not_follow_is_refused(
    lesson: Master, tmp_path: Path, what: str
) -> None:
    text, notebook = lesson.text, stored(lesson)
    assert present(changed(lesson, tmp_path, notebook, text), out=tmp_path / "sound.html")
    if what == "prose of the master":
        text = text.replace("A total counts every record.", "A total counts all records.")
    elif what == "code of the notebook":
        notebook.cells[4].source += "  # by hand"
    elif what == "data":
        notebook.metadata["mlkit"]["built_from"]["datasets"] = {"soc_index": "of last year"}
    else:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.execution_count = None
    refused(
        changed(lesson, tmp_path, notebook, text),
        "does not follow from its master: run mlkit build start/01-small",
    )


@pytest.mark.parametrize(
    "html",
    [
        "<img src='https://example.org/a.png'>",
        "<img src='square.png'>",
        "<script src='//example.org/a.js'></script>",
        "<link rel='stylesheet' href='https://example.org/a.css'>",
        "<iframe src='https://example.org'></iframe>",
        "<style>p { background: url(https://example.org/a.png) }</style>",
        "<p style='background: url(\"https://example.org/a.png\")'>text</p>",
        "<style>@import 'https://example.org/a.css';</style>",
    ],
)
def test_output_that_needs_the_network_is_refused(
    lesson: Master, tmp_path: Path, html: str
) -> None:
    notebook = stored(lesson)
    (table,) = (
        output.data
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "dataframe" in output.get("data", {}).get("text/html", "")
    )
    table["text/html"] = html
    refused(changed(lesson, tmp_path, notebook), "a cell loads ")


def test_a_formula_that_cannot_be_shown_is_refused(lesson: Master, tmp_path: Path) -> None:
    text = lesson.text.replace("$\\bar{y}$", "$\\unheardof{y}$")
    master = changed(lesson, tmp_path, stored(lesson), text)
    run_build(tmp_path)  # only words have changed, so nothing is executed
    refused(master, r"cannot show \\unheardof in the formula")


def test_slides_are_a_file_of_html(lesson: Master, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    for out in (tmp_path, tmp_path / "slides.pdf", tmp_path / "folder.html"):
        with pytest.raises(PresentationError, match=r"ends in \.html"):
            present(lesson, out=out)


# ------------------------------------------------------------------------------------------
# The file
# ------------------------------------------------------------------------------------------


def test_the_same_lesson_gives_the_same_file(lesson: Master, whole: Path, tmp_path: Path) -> None:
    again = present(lesson, out=tmp_path / "new folder" / "again.html").path
    assert again.read_bytes() == whole.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["again.html"]


def test_the_file_holds_all_it_needs(whole: Path) -> None:
    deck = BeautifulSoup(whole.read_text(encoding="utf-8"), "html.parser")
    loaded = [str(tag["src"]) for tag in deck.select("[src]")]
    assert len(loaded) > 5
    assert all(address.startswith("data:") for address in loaded)
    assert not deck.select("link, iframe, object")
    assert not re.search(
        r"url\((?!data:)|@import", "".join(style.text for style in deck.select("style"))
    )


def test_a_deck_that_is_open_stays_whole(lesson: Master, tmp_path: Path) -> None:
    out = tmp_path / "deck.html"
    out.write_text("the deck of yesterday")
    with out.open() as held:
        present(lesson, out=out)
        assert held.read() == "the deck of yesterday"


def test_outputs_are_those_of_the_notebook(lesson: Master, whole: Path) -> None:
    deck = BeautifulSoup(whole.read_text(encoding="utf-8"), "html.parser")
    pictures = {image["src"].partition(",")[2] for image in deck.select(".output_area img")}
    assert pictures == {
        output.data["image/png"].replace("\n", "")
        for cell in stored(lesson).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    }
    said = next(
        output.data["text/markdown"]
        for cell in stored(lesson).cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    )
    assert said.replace("**", "") in deck.get_text()


def test_code_reads_well_on_its_box() -> None:
    styles = HtmlFormatter(style=CODE_STYLE).get_style_defs(".code")
    box = re.search(r"--box: (#\w{6});", (ASSETS / "deck.css").read_text())
    assert box
    faint = [
        line
        for line in styles.splitlines()
        # White space is not read, and a marked error never stands in code that ran.
        if (colour := re.search(r"[^-]color: (#\w{6})", line))
        and not re.match(r"\.code \.(w|err) ", line)
        and "linenos" not in line
        and contrast(colour[1], box[1]) < 4.5
    ]
    assert not faint


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours as the Web Content Accessibility Guidelines define it."""

    def luminance(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# ------------------------------------------------------------------------------------------
# In the browser; the fixture fails a test when the page logs an error or asks for the network
# ------------------------------------------------------------------------------------------


def opened(page: Page, deck: Path) -> Page:
    page.goto(deck.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    return page


def walk(page: Page) -> Iterator[str]:
    """Go through the deck with the right arrow; give each slide's kind when it is shown."""
    while True:
        yield page.evaluate("Reveal.getCurrentSlide().className.split(' ')[0]")
        before = page.evaluate("JSON.stringify(Reveal.getIndices())")
        page.keyboard.press("ArrowRight")
        if page.evaluate("JSON.stringify(Reveal.getIndices())") == before:
            return


def go_to(page: Page, selector: str) -> Locator:
    """Show the first slide that matches, and give it."""
    page.evaluate(
        """selector => {
            const {h, v} = Reveal.getIndices(document.querySelector(selector).closest(
                '.slides > section > section'));
            Reveal.slide(h, v);
        }""",
        selector,
    )
    return page.locator(".slides > section > section.present:visible")


OPEN_HINTS = """async () => {
    for (const hint of Reveal.getCurrentSlide().querySelectorAll('details')) {
        await new Promise(done => {
            hint.addEventListener('toggle', done);
            hint.open = true;
        });
    }
}"""

# What is wrong with the slide that is shown.
LOOK = """() => {
    const faults = [], slide = Reveal.getCurrentSlide(), body = slide.querySelector('.body');
    const inside = (box, around) => box.left >= around.left - 1 && box.right <= around.right + 1
        && box.top >= around.top - 1 && box.bottom <= around.bottom + 1;
    const box = e => e.getBoundingClientRect();
    const screen = {left: 0, top: 0, right: innerWidth, bottom: innerHeight};
    if (!inside(box(slide), screen)) faults.push('the slide leaves the screen');
    if (!inside(box(body), screen) || body.clientHeight < 100) faults.push('no room for the body');
    if (box(slide.querySelector('header')).bottom > box(body).top + 1) faults.push('overlap');
    const scrolls = body.scrollHeight > body.clientHeight + 1;
    if (scrolls !== body.classList.contains('scrolls')) faults.push('scrolls unnoticed');
    if (scrolls && getComputedStyle(body).overflowY !== 'auto') faults.push('cannot scroll');
    for (const e of slide.querySelectorAll('.body *')) {
        if (e.closest('math') || !e.clientWidth || !e.checkVisibility()) continue;
        if (e.scrollWidth > e.clientWidth + 1 && !e.closest('.wide'))
            faults.push('wider than the slide: ' + e.outerHTML.slice(0, 80));
        if (e.matches('.wide') && getComputedStyle(e).overflowX !== 'auto')
            faults.push('cannot scroll sideways');
    }
    // An opened hint may push a figure down; that it then scrolls is checked above.
    for (const image of slide.querySelectorAll('.body:not(:has([open])) img')) {
        if (!inside(box(image), box(body))) faults.push('a figure is not wholly in view');
        if (image.closest('.output_area') && box(image).height < 359) faults.push('small figure');
    }
    for (const part of [slide, document.querySelector('.slide-number')]) {
        const texts = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const e = texts.currentNode.parentElement;
            if (texts.currentNode.data.trim() && e.checkVisibility() && !e.closest('math')
                && parseFloat(getComputedStyle(e).fontSize) < 24)
                faults.push('small text: ' + texts.currentNode.data);
        }
    }
    return faults;
}"""


def look_through(page: Page) -> dict[int, list[str]]:
    """Go through a whole deck; give what is wrong with each slide, hints closed and opened."""
    faults = {}
    for _ in walk(page):
        found = page.evaluate(LOOK)
        page.evaluate(OPEN_HINTS)
        faults[page.evaluate("Reveal.getSlidePastCount()")] = found + page.evaluate(LOOK)
    return faults


@pytest.mark.parametrize("deck", ["whole", "short"])
def test_every_slide_is_reached_and_nothing_is_cut_off(
    page_offline: Page, deck: str, request: pytest.FixtureRequest
) -> None:
    page = opened(page_offline, request.getfixturevalue(deck))
    faults = look_through(page)
    assert not any(faults.values()), faults
    assert list(faults) == list(range(page.evaluate("Reveal.getTotalSlides()")))
    assert len(faults) > 10


@pytest.mark.parametrize("path", find_masters(ROOT), ids=lambda path: path.stem)
def test_every_lesson_fits_its_slides_and_40_minutes(
    page_offline: Page, path: Path, tmp_path: Path
) -> None:
    master = read_master(path)
    assert cut(master.sections, 40).end <= 40
    page = opened(page_offline, present(master, out=tmp_path / "lesson.html").path)
    faults = look_through(page)
    assert not any(faults.values()), faults


def test_what_is_too_long_is_broken_at_sensible_places(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    pages = page.locator(".slides > section > section").all()
    texts = [p.locator(".body").text_content() or "" for p in pages]
    last_words = [
        p.locator(".body > :not(aside)").last.text_content() or "" for p in pages[1:] if p
    ]
    assert not [words for words in last_words if words.strip().endswith(":")]
    assert not page.locator(".body > h3:last-child").count()
    # Every item is there once, and several slides share them.
    assert [n for text in texts for n in re.findall(r"item (\d+) of", text)] == [
        str(i) for i in range(30)
    ]
    assert sum("of a long list" in text for text in texts) > 1
    (announced,) = (
        p for p, text in zip(pages, texts, strict=True) if "announces a figure:" in text
    )
    assert announced.locator("img").count() == 1
    assert "Sentence 0" not in (announced.text_content() or "")


def test_a_continued_slide_repeats_heading_and_minutes(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    stack = page.locator(".slides > section").nth(3)
    slides = stack.locator(":scope > section")
    assert slides.count() > 3
    assert set(slides.locator("h2").all_text_contents()) == {"A section with much in it"}
    clocks = {" ".join(text.split()) for text in slides.locator(".clock").all_text_contents()}
    assert clocks == {"Minute 10 to 20 of 28: talk 10, practice 0."}
    # The minutes are shared among the slides, for the clock of the speaker view.
    seconds = [int(s.get_attribute("data-timing") or 0) for s in slides.all()]
    assert abs(sum(seconds) - 600) <= len(seconds)


def test_exercise_hides_its_hints_and_its_answer_follows(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    slide = go_to(page, ".exercise")
    text = slide.inner_text()
    assert "Exercise · 5 minutes" in text
    assert "What share of the records has the right code?" in text
    assert "share = ..." in text
    assert "right.mean()" not in text
    hints = slide.locator("details")
    assert hints.locator("summary").all_text_contents() == ["Hint 1 of 2", "Hint 2 of 2"]
    hints.nth(1).locator("summary").click()
    assert "Use right.mean()." in slide.inner_text()
    page.keyboard.press("ArrowRight")
    answer = page.locator("section.answer.present")
    assert "One right answer" in answer.inner_text()
    assert "share = right.mean()" in answer.inner_text()


def test_code_that_only_checks_or_speaks_is_left_out(page_offline: Page, whole: Path) -> None:
    text = opened(page_offline, whole).locator(".slides").text_content() or ""
    for code in (".wrong_if", "say(", "record(", "for _ in range(2)"):
        assert code not in text
    assert "The share is 0.850." in text
    assert "share = 0.85 share (simulated data)" in text


def test_an_opened_hint_that_does_not_fit_says_so(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    slide = go_to(page, ".exercise")
    slide.locator("details p").first.evaluate("p => p.textContent = 'A long hint. '.repeat(200)")
    assert not slide.locator(".scrolls").count()
    slide.locator("summary").first.click()
    slide.locator(".scrolls").wait_for(timeout=2000)
    assert page.evaluate(LOOK) == []
    # Slides that are not shown keep their own marks.
    assert page.locator(".scrolls").count() > 1


def test_poll_shows_its_reasons_on_a_press(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    poll = go_to(page, ".poll")
    assert "B. The total with its error" in poll.inner_text()
    assert not poll.locator(".reasons").is_visible()
    page.keyboard.press("ArrowRight")
    poll.locator(".reasons.visible").wait_for()
    assert "B is right. It is what users read." in poll.inner_text()


def test_pictures_have_their_words_and_formulas_are_drawn(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    alts = [image.get_attribute("alt") for image in page.locator("img").all()]
    assert alts == [
        "Two bars, wrong and right; the right one is about nine times as high.",
        "A grey square, drawn beside the master",
        "One line that rises.",
        "Two lines, one in each of two figures.",
        "Two lines, one in each of two figures.",
    ]
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    slide = go_to(page, "math[display=block]")
    formula = slide.locator("math[display=block]").bounding_box()
    root = slide.locator("msqrt").bounding_box()
    assert formula
    assert root
    assert formula["height"] > 50
    assert root["height"] > 20
    assert "\\frac" not in slide.inner_text()


def test_links_lead_to_the_web_or_nowhere(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    links = {link.get_attribute("href") for link in page.locator(".body a").all()}
    assert links == {"https://example.org/page"}
    term = page.locator(".term").first
    assert term.text_content() == "accuracy"
    assert "share of records" in (term.get_attribute("title") or "")


def test_speaker_view_follows_with_notes_and_clock(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    view = popup.value
    notes = view.locator(".speaker-controls-notes .value")
    notes.get_by_text("Press S for this view").wait_for()
    page.keyboard.press("ArrowRight")
    notes.get_by_text("Ask the room how many codes they think are right.").wait_for()
    assert "Minute 0 to 2 of 28: talk 2, practice 0." in " ".join(notes.inner_text().split())
    view.locator(".pacing:visible").wait_for()
    # The view's own small screens show this slide and the next.
    for frame, text in (("#current-slide", "A coder is right"), ("#upcoming-slide", "SEED = 0")):
        view.frame_locator(f"{frame} iframe").locator("section.present").get_by_text(
            text
        ).wait_for()
    # A key pressed there moves the slides here.
    view.keyboard.press("ArrowRight")
    page.wait_for_function("Reveal.getIndices().h === 2")


def test_notes_stand_on_the_slide_they_follow(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    notes = page.locator("aside.notes", has_text="only for show")
    assert notes.count() == 1
    assert notes.locator("xpath=ancestor::section[1]").locator("img").count() == 1
    assert not page.locator("aside.notes").first.is_visible()


def test_the_cut_names_on_its_last_slide_what_is_for_home(page_offline: Page, short: Path) -> None:
    page = opened(page_offline, short)
    kinds = list(walk(page))
    assert "exercise" not in kinds
    assert "answer" not in kinds
    assert kinds[-1] == "home"
    last = page.locator("section.home").inner_text()
    assert "Count the right ones (exercise share)" in last
    assert "A second exercise (exercise count-wrong)" in last
    assert "notebooks/start/01-small.ipynb" in last
    everything = page.locator(".slides").text_content() or ""
    assert "Write a function" not in everything
    assert "What share of the records" not in everything
    assert "The share is 0.850." in everything  # what follows the exercise stays


def test_nothing_left_out_means_nothing_listed(page_offline: Page, whole: Path) -> None:
    page = opened(page_offline, whole)
    last = page.locator("section.home").text_content() or ""
    assert "Go on by yourself" in last
    assert "exercise share" not in last
