"""What importing the kit brings along. Nothing is timed: a busy machine would decide."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROBE = """
import sys
before = set(sys.modules)
{code}
import json
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""


def packages_brought_by(code: str) -> set[str]:
    """List the packages, other than the standard library, that code brings to a fresh process."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)],
        cwd=ROOT,  # where this checkout's mlkit is found
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(run.stdout)) - sys.stdlib_module_names


@pytest.mark.parametrize("room", ["mlkit", "mlkit.exercises", "mlkit.paths", "mlkit.datasets"])
def test_import_brings_the_standard_library_only(room: str) -> None:
    assert packages_brought_by(f"import {room}") == {"mlkit"}


def test_a_card_is_read_without_heavy_packages() -> None:
    code = "from mlkit.datasets import dataset_card; dataset_card('soc_index')"
    assert packages_brought_by(code) == {"mlkit"}


def test_data_are_loaded_without_the_packages_of_models_and_figures() -> None:
    brought = packages_brought_by("from mlkit.datasets import load_soc_index; load_soc_index()")
    assert "pandas" in brought
    assert not brought & {"sklearn", "scipy", "matplotlib", "torch", "IPython", "yaml", "pydantic"}


def test_the_probe_sees_what_is_imported() -> None:
    assert "numpy" in packages_brought_by("import mlkit, numpy")
