"""Run lessons on other data than their own, as a plan would, and read what they showed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mlkit.exercises import CHECK_MIME
from mlkit.lessons import read_master
from mlkit.lessons.derive import solved_copy
from mlkit.runs.notebook import Outcome, run_notebook

ROOT = Path(__file__).resolve().parents[1]
WORKBOOK = "stats-poland-ecoicop.xlsx"
REAL = os.environ.get("MLKIT_REAL_DATA")

needs_real_copies = pytest.mark.skipif(
    not REAL, reason="MLKIT_REAL_DATA names no folder of real copies"
)


def master_of(lesson: str) -> Path:
    return ROOT / "tutorials" / f"{lesson}.md"


def run_lesson(lesson: str, **parameters: Any) -> tuple[Outcome, dict[str, Any]]:
    """Run the solved lesson; give how it ended, and its results by name."""
    notebook = nbformat.writes(solved_copy(read_master(master_of(lesson))))
    ended = run_notebook(notebook, parameters, seconds_per_cell=120, seconds_per_run=300)
    return ended, {metric["name"]: metric for metric in ended["metrics"]}


def use_real_workbook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lessons find the copy of ECOICOP, and nothing else, in their cache."""
    (folder / "ecoicop").mkdir()
    shutil.copy(Path(REAL or "") / WORKBOOK, folder / "ecoicop")
    monkeypatch.setenv("MLKIT_CACHE", str(folder))


def shown(ended: Outcome) -> str:
    """Collect what a run has shown as text."""
    return "\n".join(output.get("data", {}).get("text/plain", "") for output in _outputs(ended))


def complaints(ended: Outcome) -> str:
    """Collect what a run has written to stderr: warnings that a learner would see."""
    return "".join(o["text"] for o in _outputs(ended) if o.get("name") == "stderr")


def checked(ended: Outcome) -> dict[str, str]:
    """Give what the check of each exercise said of the solution."""
    found = [
        out["data"][CHECK_MIME] for out in _outputs(ended) if CHECK_MIME in out.get("data", {})
    ]
    return {check["exercise"]: check["outcome"] for check in found}


def _outputs(ended: Outcome) -> list[Any]:
    notebook = nbformat.reads(ended["notebook"], as_version=4)
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
