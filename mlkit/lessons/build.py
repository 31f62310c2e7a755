"""Build the notebooks of a checkout from its masters, and tell which are out of date."""

from __future__ import annotations

import bisect
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nbformat
from nbformat import NotebookNode

from mlkit.lessons.compare import compare_outputs
from mlkit.lessons.derive import (
    follows,
    learner_copy,
    notebook_path,
    read_measures,
    solved_copy,
)
from mlkit.lessons.faults import Fault
from mlkit.lessons.kernels import Cost, LostKernelError, execute
from mlkit.lessons.master import Master, MasterError, find_masters, read_master
from mlkit.lessons.model import Cell
from mlkit.paths import write_whole

__all__ = ["Built", "build", "build_solved", "check", "find_stale", "format_master"]

WORKERS = 2

# Times and sizes are kept in coarse steps, so that measuring again rarely changes a page.
SECONDS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 45, 60, 120)
MEGABYTES = 100

_MEASURING = threading.Lock()  # lessons are built side by side, and share one file

ADDRESS = re.compile(r"0x[0-9a-f]{8,}")


@dataclass(frozen=True)
class Built:
    """What building did with one lesson.

    Parameters
    ----------
    master : Master
        The lesson.
    how : {"unchanged", "kept outputs", "executed"}
        "kept outputs": only words had changed, so the stored outputs still hold.
    cost : Cost or None
        What the execution took, if there was one.
    """

    master: Master
    how: Literal["unchanged", "kept outputs", "executed"]
    cost: Cost | None = None


def build(
    paths: Sequence[Path],
    *,
    everything: bool = False,
    measure: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Built]:
    """Build the notebooks that are out of date.

    Parameters
    ----------
    paths : sequence of Path
        The masters.
    everything : bool, default=False
        Whether to execute also the notebooks that are up to date.
    measure : bool, default=False
        Whether to measure time and memory anew; implies `everything`. A lesson that was
        never measured is measured in any case.
    progress : callable, optional
        Told a line when a lesson is done.

    Returns
    -------
    list of Built
        One for each master, in the same order.

    Raises
    ------
    MasterError
        If a master is faulty, or a cell raises, warns, shows a figure without alt text or
        prints what differs each time. Sound lessons are still built and written.
    """
    masters, faults = _read_all(paths)
    done: list[Built] = []
    # One lesson beside another would be measured too.
    with ThreadPoolExecutor(1 if measure else WORKERS) as pool:
        results = pool.map(
            lambda m: _build_one(_formatted(m), everything or measure, measure), masters
        )
        for master, result in zip(masters, results, strict=True):
            if isinstance(result, list):
                faults += result
                progress(f"{master.key}: {len(result)} faults")
                continue
            built, notebook = result
            if notebook is not None:
                _write(notebook, master)
            done.append(built)
            progress(f"{master.key}: {built.how}{_cost_words(built.cost)}")
    if faults:
        raise MasterError(faults)
    return done


def find_stale(root: Path) -> list[str]:
    """Tell which notebooks do not follow from their masters, without executing anything.

    Parameters
    ----------
    root : Path
        The root of the checkout.

    Returns
    -------
    list of str
        A line for each: a master without notebook, a notebook without master, two that
        differ, or a fault of a master. Empty when all is well.
    """
    paths = find_masters(root)
    masters, faults = _read_all(paths)
    lines = [str(fault) for fault in faults]
    for master in masters:
        place = notebook_path(master.path)
        name = place.relative_to(master.root)
        if not place.is_file():
            lines.append(f"{name} is missing: run mlkit build")
        elif not follows(_stored(place), learner_copy(master)):
            lines.append(f"{name} does not follow from its master: run mlkit build")
    expected = {notebook_path(path) for path in paths}
    lines += [
        f"{place.relative_to(root)} has no master: remove it or write tutorials/"
        f"{place.parent.name}/{place.stem}.md"
        for place in sorted((root / "notebooks").rglob("*.ipynb"))
        if place not in expected and ".ipynb_checkpoints" not in place.parts
    ]
    return lines


def check(
    paths: Sequence[Path], *, progress: Callable[[str], None] = lambda line: None
) -> list[str]:
    """Execute lessons anew and compare text, figures and pictures with what is stored.

    Parameters
    ----------
    paths : sequence of Path
        The masters.
    progress : callable, optional
        Told a line when a lesson is done.

    Returns
    -------
    list of str
        A line for each difference. Nothing is written.
    """
    masters = [read_master(path) for path in paths]
    differences: list[str] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for master, found in zip(masters, pool.map(_check_one, masters), strict=True):
            progress(f"{master.key}: {'same' if not found else f'{len(found)} differences'}")
            differences += found
    return differences


def build_solved(paths: Sequence[Path], out: Path) -> list[Path]:
    """Write the solved copies, not executed.

    Parameters
    ----------
    paths : sequence of Path
        The masters.
    out : Path
        The folder; it gets a folder for each theme.

    Returns
    -------
    list of Path
        The files written.
    """
    written = []
    for path in paths:
        master = read_master(path)
        place = out / f"{master.key}.ipynb"
        write_whole(nbformat.writes(solved_copy(master)) + "\n", place)
        written.append(place)
    return written


def format_master(path: Path) -> bool:
    """Format the code cells of a master in place.

    Parameters
    ----------
    path : Path
        A sound master.

    Returns
    -------
    bool
        Whether anything changed.
    """
    master = read_master(path)
    # A parameter stays on its line, however long its meaning is.
    code = [c for c in master.cells if c.cell_type == "code" and "parameters" not in c.tags]
    formatted = _ruff([cell.source for cell in code])
    lines = master.text.split("\n")
    for cell, source in sorted(zip(code, formatted, strict=True), key=lambda pair: -pair[0].line):
        start = cell.line - 1
        lines[start : start + cell.source.count("\n") + 1] = source.split("\n")
    text = "\n".join(lines)
    if text == master.text:
        return False
    write_whole(text, path)
    return True


# ------------------------------------------------------------------------------------------
# One lesson
# ------------------------------------------------------------------------------------------


def _build_one(
    master: Master, everything: bool, measure: bool
) -> tuple[Built, NotebookNode | None] | list[Fault]:
    wanted = learner_copy(master)
    place = notebook_path(master.path)
    stored = None if everything else _stored(place)
    if follows(stored, wanted):
        return Built(master, "unchanged"), None
    if stored is not None and _keep_outputs(stored, wanted):
        # A description of a figure may be gone with the words that changed.
        return _output_faults(master, wanted) or (Built(master, "kept outputs"), wanted)
    try:
        cost = execute(wanted, allow_errors=True)
    except LostKernelError as error:
        return [_lost(master, wanted, error)]
    faults = _output_faults(master, wanted)
    if faults:
        return faults
    if measure or master.key not in read_measures(master.root):
        _write_measure(master, cost)
        again = learner_copy(master)  # its header now tells the new time and memory
        _keep_outputs(wanted, again)
        wanted = again
    _describe_pictures(wanted)
    return Built(master, "executed", cost), wanted


def _check_one(master: Master) -> list[str]:
    place = notebook_path(master.path)
    if not place.is_file():
        return [f"{place}: missing. Run mlkit build."]
    stored, fresh = _stored(place), learner_copy(master)
    if stored is None or not follows(stored, fresh):
        return [f"{place}: does not follow from its master. Run mlkit build."]
    try:
        execute(fresh, allow_errors=True)
    except LostKernelError as error:
        return [str(_lost(master, fresh, error))]
    found = [str(fault) for fault in _output_faults(master, fresh)]
    for cell, old, new in zip(_shown(master), _codes(stored), _codes(fresh), strict=True):
        if "nbval-ignore-output" not in cell.tags:
            differences = compare_outputs(
                old.outputs, new.outputs, tolerance=old.metadata.get("tolerance")
            )
            found += [f"{master.path}:{cell.line}: {difference}" for difference in differences]
    return found


def _keep_outputs(old: NotebookNode, new: NotebookNode) -> bool:
    """Move the outputs over when both notebooks run the same code on the same data."""

    def runs(notebook: NotebookNode) -> list[tuple[str, bool]]:
        return [(c.source, "parameters" in c.metadata.get("tags", [])) for c in _codes(notebook)]

    def data(notebook: NotebookNode) -> object:
        return notebook.metadata.get("mlkit", {}).get("built_from", {}).get("datasets")

    executed = all(cell.execution_count for cell in _codes(old))
    if not executed or runs(old) != runs(new) or data(old) != data(new):
        return False
    for before, after in zip(_codes(old), _codes(new), strict=True):
        after.outputs = before.outputs
        after.execution_count = before.execution_count
    _describe_pictures(new)
    return True


def _describe_pictures(notebook: NotebookNode) -> None:
    """Give every picture its alt text, where nbconvert and the site read it."""
    for cell in _codes(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.metadata = {"image/png": {"alt": cell.metadata.get("alt", "")}}


def _output_faults(master: Master, notebook: NotebookNode) -> list[Fault]:
    return [
        Fault(master.path, cell.line, what)
        for cell, executed in zip(_shown(master), _codes(notebook), strict=True)
        for what in _faults_of(executed)
    ]


def _lost(master: Master, notebook: NotebookNode, error: LostKernelError) -> Fault:
    before = sum(cell.cell_type == "code" for cell in notebook.cells[: error.index])
    return Fault(master.path, _shown(master)[before].line, str(error))


def _faults_of(cell: NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "error":
            last = output.traceback[-1] if output.traceback else ""
            yield (
                f"this cell raises {output.ename}: {output.evalue or last}. If it stands after "
                "an exercise, it must run with what go_on_with hands on."
            )
        elif output.output_type == "stream" and output.name == "stderr":
            yield f"this cell writes to stderr: {output.text.strip()[:300]}. Mend the cause."
        if "image/png" in data and not cell.metadata.get("alt"):
            yield "this cell shows a figure. Describe it in words with :alt: ..."
        shown = output.get("text", "") + "".join(
            str(text) for kind, text in data.items() if not kind.startswith("image/")
        )
        if ADDRESS.search(shown):
            yield "this cell prints a memory address, which differs each time. Print a value."


def _shown(master: Master) -> list[Cell]:
    """Give the master's code cells that the learner copy holds, in order."""
    return [
        cell
        for cell in master.cells
        if cell.cell_type == "code" and not cell.tags & {"wrong", "solution"}
    ]


def _codes(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# ------------------------------------------------------------------------------------------
# Files
# ------------------------------------------------------------------------------------------


def _stored(place: Path) -> NotebookNode | None:
    """Read a built notebook; None where there is none or git left the marks of a conflict."""
    try:
        return nbformat.reads(place.read_text(encoding="utf-8"), as_version=4)
    except (FileNotFoundError, nbformat.reader.NotJSONError):
        return None


def _read_all(paths: Iterable[Path]) -> tuple[list[Master], list[Fault]]:
    masters: list[Master] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            masters.append(read_master(path))
        except MasterError as error:
            faults += error.faults
    return masters, faults


def _formatted(master: Master) -> Master:
    return read_master(master.path) if format_master(master.path) else master


def _ruff(sources: Iterable[str]) -> list[str]:
    """Format code cells as ruff formats the cells of a notebook."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=88"]
    done = subprocess.run(
        [*command, "--stdin-filename=lesson.ipynb", "-"],
        input=nbformat.writes(notebook),
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    if done.returncode:
        raise RuntimeError(f"ruff could not format the code: {done.stderr.strip()}")
    return [cell.source for cell in nbformat.reads(done.stdout, as_version=4).cells]


def _write(notebook: NotebookNode, master: Master) -> None:
    nbformat.validate(notebook)
    write_whole(nbformat.writes(notebook) + "\n", notebook_path(master.path))


def _write_measure(master: Master, cost: Cost) -> None:
    seconds = SECONDS[min(bisect.bisect_left(SECONDS, cost.seconds), len(SECONDS) - 1)]
    megabytes = int(-(-(cost.megabytes or 0) // MEGABYTES) * MEGABYTES)
    cell = SECONDS[min(bisect.bisect_left(SECONDS, cost.slowest), len(SECONDS) - 1)]
    with _MEASURING:
        measures = read_measures(master.root)
        measures[master.key] = {"seconds": seconds, "slowest_cell": cell, "megabytes": megabytes}
        text = json.dumps(dict(sorted(measures.items())), indent=2) + "\n"
        write_whole(text, master.root / "notebooks" / "measured.json")


def _cost_words(cost: Cost | None) -> str:
    if cost is None:
        return ""
    memory = f", {cost.megabytes:.0f} MB" if cost.megabytes else ""
    return f" in {cost.seconds:.1f} s (slowest cell {cost.slowest:.1f} s{memory})"
