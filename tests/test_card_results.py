"""The tables of results in the data cards: made by a run plan, and in no other way."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mlkit.paths import find_checkout
from tests.sample import SAMPLE, write_sample

ROOT = find_checkout(Path(__file__))

PARAMETERS = """
DATASET = "responses"  # str: which data
LANGUAGE = "english"  # str: which language"""

PLAN = """
runs:
  - lesson: start/01-small
  - lesson: start/01-small
    parameters: {DATASET: ecoicop, LANGUAGE: [english, french]}
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "write_card_results", ROOT / "tools" / "write_card_results.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    line = "SHARE = 0.9  # float: true share that is coded right"
    assert line in SAMPLE
    text = SAMPLE.replace(line, line + PARAMETERS)
    recorded = 'record("share", share, data="simulated", unit="share")'
    assert recorded in text
    real = 'if DATASET == "ecoicop":\n    record("real_share", share, data="real", unit="share")'
    write_sample(tmp_path, text.replace(recorded, f"{recorded}\n{real}"))
    (tmp_path / "plans").mkdir()
    return tmp_path


def test_a_plan_fills_the_cards_of_its_data_sets(tool: ModuleType, checkout: Path) -> None:
    (checkout / "plans" / "card-results.yaml").write_text(PLAN)
    places = tool.write_card_results(checkout, checkout / "runs")
    tables = {}
    for place in places:
        with place.open(newline="") as file:
            tables[place.parent.name] = list(csv.DictReader(file))
    assert {name: [row["parameters"] for row in rows] for name, rows in tables.items()} == {
        "occupation_responses": [""],
        "ecoicop": ["LANGUAGE=english", "LANGUAGE=french"],
    }
    # Simulated figures have no place in the card of real data.
    assert {row["name"] for row in tables["ecoicop"]} == {"real_share"}
    row = tables["occupation_responses"][0]
    assert (row["lesson"], row["name"], row["unit"]) == ("start/01-small", "share", "share")
    assert 0.8 < float(row["value"]) < 1
    assert row["standard_error"] == row["low"] == ""


def test_a_failed_run_leaves_the_cards_as_they_were(tool: ModuleType, checkout: Path) -> None:
    (checkout / "plans" / "card-results.yaml").write_text(
        PLAN + "  - lesson: start/01-small\n    parameters: {N: -1}\n"
    )
    old = checkout / "datasets" / "ecoicop" / "results.csv"
    old.parent.mkdir(parents=True)
    old.write_text("as it was")
    with pytest.raises(tool.CardResultsError, match=r"1 of 4 runs did not succeed.*'N': -1"):
        tool.write_card_results(checkout, checkout / "runs")
    assert old.read_text() == "as it was"
    assert not (checkout / "datasets" / "occupation_responses").exists()
