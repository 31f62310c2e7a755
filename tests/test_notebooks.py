"""The lessons of this checkout: built from their masters, within budget.

Everything here is about every lesson there is; how the pipeline works is tested elsewhere. What
executes every lesson has files of its own, test_lessons_answer.py and test_lessons_again.py, so
that they run beside each other.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from mlkit.lessons import find_masters, notebook_path, read_master
from mlkit.lessons.build import build, find_stale
from mlkit.lessons.links import glossary_terms
from mlkit.lessons.trial import try_exercises

ROOT = Path(__file__).resolve().parents[1]
MASTERS = find_masters(ROOT)
KEYS = [f"{path.parent.name}/{path.stem}" for path in MASTERS]

every_lesson = pytest.mark.parametrize("path", MASTERS, ids=KEYS)


def test_there_are_lessons() -> None:
    """Without a lesson, the tests of every lesson would pass."""
    assert len(MASTERS) >= 2
    assert "start/01-welcome" in KEYS


# ------------------------------------------------------------------------------------------
# Masters and notebooks
# ------------------------------------------------------------------------------------------


def test_every_notebook_follows_from_its_master() -> None:
    assert find_stale(ROOT) == []


@every_lesson
def test_every_link_of_a_notebook_leads_to_a_file(path: Path) -> None:
    place = notebook_path(path)
    words = "\n".join(
        cell.source
        for cell in nbformat.read(place, as_version=4).cells
        if cell.cell_type == "markdown"
    )
    terms = glossary_terms(ROOT / "tutorials" / "glossary.md")
    for target in re.findall(r"\]\(([^)\s]+)", re.sub(r"`[^`]*`", "", words)):
        file, _, part = target.partition("#")
        if not file or re.match(r"https?:|mailto:", file):
            continue
        linked = (place.parent / file).resolve()
        assert linked.is_file(), target
        if linked.name == "glossary.md" and part:
            assert part in terms


def test_the_template_is_a_lesson_that_goes_through_the_pipeline(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tutorials", tmp_path / "tutorials")
    path = tmp_path / "tutorials" / "start" / "99-my-lesson.md"
    shutil.copy(ROOT / "tutorials" / "template.md", path)
    (done,) = build([path])
    assert done.how == "executed"
    assert list(map(str, try_exercises(done.master))) == []


# ------------------------------------------------------------------------------------------
# Budget
# ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, int]]:
    file = ROOT / "notebooks" / "measured.json"
    measured: dict[str, dict[str, int]] = json.loads(file.read_text(encoding="utf-8"))
    return measured


def test_every_lesson_was_measured_and_nothing_else(measured: dict[str, dict[str, int]]) -> None:
    assert sorted(measured) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_lesson_stays_within_time_and_memory(
    key: str, measured: dict[str, dict[str, int]]
) -> None:
    assert measured[key]["seconds"] <= 30
    assert measured[key]["slowest_cell"] <= 10
    assert measured[key]["megabytes"] <= 1000


def test_lessons_take_ten_seconds_on_average(measured: dict[str, dict[str, int]]) -> None:
    assert sum(lesson["seconds"] for lesson in measured.values()) / len(measured) <= 10


@every_lesson
def test_the_core_of_a_lesson_fits_a_session_of_forty_minutes(path: Path) -> None:
    sections = read_master(path).sections
    assert 0 < sum(section.talk for section in sections if not section.stretch) <= 40
