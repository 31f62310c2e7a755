"""Every exercise of every lesson answers: blank, each wrong way, and solved."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.lessons import find_masters, read_master
from mlkit.lessons.trial import try_exercises

MASTERS = find_masters(Path(__file__).resolve().parents[1])


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_exercise_answers_when_it_is_blank_wrong_and_solved(path: Path) -> None:
    assert list(map(str, try_exercises(read_master(path)))) == []
