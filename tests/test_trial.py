"""Trying every exercise blank, wrong and solved: what a trial finds, and on which line.

Kernels are slow to start, so faults that do not disturb one another share a lesson.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.lessons import read_master
from mlkit.lessons.trial import try_exercises
from tests.sample import SAMPLE, spoil, write_sample


def try_text(folder: Path, text: str) -> list[str]:
    """Try a lesson, and give its faults as 'line: what'."""
    path = write_sample(folder, text)
    return [str(fault).removeprefix(f"{path}:") for fault in try_exercises(read_master(path))]


def expected(text: str, piece: str, what: str) -> str:
    return f"{text.count(chr(10), 0, text.index(piece)) + 1}: {what}"


def test_a_sound_lesson_has_no_fault(tmp_path: Path) -> None:
    assert try_text(tmp_path, SAMPLE) == []


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """Try a lesson whose checks answer wrongly."""
    text = (
        spoil(".wrong_if(lambda s: s > 1,", ".right_if(lambda s: s > 1,")
        .replace("lambda f: f(right) == N - right.sum(),", "lambda f: f(right) == -1,")
        .replace(":expect: right ones", ":expect: all the records")
        .replace("plt.show()", "plt.show()\nfig.no_such_thing()")
    )
    return text, try_text(tmp_path_factory.mktemp("answered"), text)


def test_a_wrong_answer_called_right_is_found(answered: tuple[str, list[str]]) -> None:
    text, faults = answered
    what = "exercise 'share': the wrong is called 'right', not 'wrong': That is a count. Divide"
    wanted = expected(text, "share = right.sum()", what)
    assert [fault for fault in faults if fault.startswith(wanted)]


def test_another_message_than_expected_is_found(answered: tuple[str, list[str]]) -> None:
    text, faults = answered
    what = (
        "exercise 'count-wrong': this wrong answer must be told 'all the records'; it is told: "
        "These are the right ones."
    )
    assert expected(text, "def count_wrong(right):\n    return right.sum()", what) in faults


def test_a_solution_that_is_not_right_is_found(answered: tuple[str, list[str]]) -> None:
    text, faults = answered
    what = "exercise 'count-wrong': the solution is called 'wrong', not 'right': This is not the"
    wanted = expected(text, "def count_wrong(right):\n    return (~right)", what)
    assert [fault for fault in faults if fault.startswith(wanted)]


def test_a_cell_beside_the_exercises_that_raises_is_found(answered: tuple[str, list[str]]) -> None:
    text, faults = answered
    what = "raises AttributeError: 'Figure' object has no attribute 'no_such_thing'."
    assert expected(text, "import matplotlib", what) in faults


def test_nothing_else_is_found(answered: tuple[str, list[str]]) -> None:
    assert len(answered[1]) == 4


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """Try a lesson whose answers and checks do not work at all."""
    text = (
        spoil("share = ...", "share = [0, {1, ...}]")
        .replace("\nshare = right.sum()", "\nshare = right.sums()")
        .replace("count_wrong = (\n", "count_wrong = lambda right: (\n")
    )
    return text, try_text(tmp_path_factory.mktemp("broken"), text)


def test_a_blank_that_is_not_seen_as_one_is_found(broken: tuple[str, list[str]]) -> None:
    text, faults = broken
    what = "exercise 'share': the blank is called 'wrong', not 'not attempted': Your answer is a"
    wanted = expected(text, "share = [0, {1, ...}]", what)
    assert [fault for fault in faults if fault.startswith(wanted)]


def test_a_wrong_answer_that_raises_by_itself_is_found(broken: tuple[str, list[str]]) -> None:
    text, faults = broken
    what = "raises AttributeError: 'numpy.ndarray' object has no attribute 'sums'."
    assert [
        fault for fault in faults if fault.startswith(expected(text, "share = right.sums()", what))
    ]


def test_a_check_that_shows_nothing_is_found_for_every_answer(
    broken: tuple[str, list[str]],
) -> None:
    _, faults = broken
    said = "exercise 'count-wrong': the check shows 0 messages for the "
    assert [fault.partition(said)[2] for fault in faults if said in fault] == [
        f"{attempt}; it must show one." for attempt in ("blank", "wrong", "solution")
    ]


def test_a_lesson_that_kills_its_kernel_is_told_with_the_line(tmp_path: Path) -> None:
    text = spoil("rng = np", "__import__('os')._exit(1)\nrng = np")
    what = "this cell killed its kernel. Did the memory run out?"
    assert try_text(tmp_path, text) == [expected(text, "import numpy", what)]
