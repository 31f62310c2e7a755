"""Every cell of every lesson shows again what is stored, as nbval and our plugin compare it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from mlkit.lessons import find_masters

ROOT = Path(__file__).resolve().parents[1]
THEMES = sorted({path.parent.name for path in find_masters(ROOT)})


# One process for each theme: nbval has to be loaded when pytest starts, where it would slow
# down every other call, and hide from coverage what it imports.
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("theme", THEMES)
def test_every_cell_shows_again_what_is_stored(theme: str, tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    options = ["-p", "mlkit.lessons.nbval_plugin", "--nbval", "--nbval-current-env"]
    options += ["-p", "no:cacheprovider", "--color=no", f"--junit-xml={results}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"notebooks/{theme}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [
        (notebook.relative_to(ROOT).as_posix(), number)
        for notebook in sorted((ROOT / "notebooks" / theme).glob("*.ipynb"))
        for number in range(count_code(notebook))
    ]
    cases = list(ElementTree.parse(results).iter("testcase"))  # noqa: S314 - our own file
    assert len(cases) == len(cells) > 0
    assert [
        case.get("name") for case in cases if len(case)
    ] == []  # nothing failed, nothing skipped


def count_code(notebook: Path) -> int:
    cells = nbformat.read(notebook, as_version=4).cells
    return sum(cell.cell_type == "code" for cell in cells)
