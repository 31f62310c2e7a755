"""Run the plan of the data cards, and write what it found into them.

    python tools/write_card_results.py

Every run of the plan names its data set by the parameter DATASET. Its figures go to
``datasets/<name>/results.csv``, and the card shows them. Nothing is written unless every run
succeeded: a table with gaps would look like a finding.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from mlkit.datasets import CardResult, dataset_card
from mlkit.lessons import find_masters, read_master
from mlkit.paths import KitError, find_checkout, write_whole
from mlkit.runs import Run, read_plan, run_plan

DATASETS = {"responses": "occupation_responses", "ecoicop": "ecoicop"}
NAN = float("nan")


class CardResultsError(KitError):
    """The plan did not give what the cards need."""


def write_card_results(root: Path, out: Path) -> list[Path]:
    """Run the plan, write a file for each of its data sets, and give their places."""
    batch = run_plan(read_plan(root / "plans" / "card-results.yaml", root), out=out)
    bad = [run for run in batch.runs if run.state != "succeeded"]
    if bad:
        raise CardResultsError(
            f"Nothing was written: {len(bad)} of {len(batch.runs)} runs did not succeed, first "
            f"{bad[0].lesson} with {dict(bad[0].parameters)}: {bad[0].error_message}. "
            f"The notebooks are in {batch.folder}."
        )
    found: dict[str, list[CardResult]] = {}
    for run in batch.runs:
        found.setdefault(DATASETS[run.parameters["DATASET"]], []).extend(card_results(run, root))
    places = [root / "datasets" / dataset / "results.csv" for dataset in found]
    for place, results in zip(places, found.values(), strict=True):
        write_whole(as_csv(results), place)
    return places


def card_results(run: Run, root: Path) -> list[CardResult]:
    """Turn the figures of a run into rows of a card; text and missing figures have no place.

    Nor have simulated figures in the card of real data: a lesson may show both.
    """
    named = _name(run, root)
    kind = dataset_card(DATASETS[run.parameters["DATASET"]]).kind
    return [
        CardResult(
            lesson=run.lesson,
            parameters=named,
            name=metric.name,
            unit=metric.unit,
            value=float(metric.value),
            standard_error=NAN if metric.standard_error is None else metric.standard_error,
            low=metric.interval[0] if metric.interval else NAN,
            high=metric.interval[1] if metric.interval else NAN,
        )
        for metric in run.metrics
        if isinstance(metric.value, (int, float)) and metric.data == kind
    ]


def as_csv(results: Iterable[CardResult]) -> str:
    """Write rows with six digits: more would change with the processor."""
    names = [field.name for field in fields(CardResult)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for result in results:
        writer.writerow([_cell(getattr(result, name)) for name in names])
    return out.getvalue()


def _name(run: Run, root: Path) -> str:
    """Name a run by the parameters that are not the lesson's own."""
    (path,) = (p for p in find_masters(root) if run.lesson == f"{p.parent.name}/{p.stem}")
    own = {parameter.name: parameter.default for parameter in read_master(path).parameters}
    changed = {name: value for name, value in run.parameters.items() if value != own[name]}
    # The language is told even where it is the lesson's own: it is what tells the runs apart.
    if changed.pop("DATASET", None) == "ecoicop":
        changed = {"LANGUAGE": run.parameters["LANGUAGE"]} | changed
    return ", ".join(f"{name}={value}" for name, value in changed.items())


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if value != value else f"{value:.6g}"


if __name__ == "__main__":
    root = find_checkout()
    try:
        for place in write_card_results(root, root / "runs"):
            print(place)
    except KitError as error:
        sys.exit(str(error))
