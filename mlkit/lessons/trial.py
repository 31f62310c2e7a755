"""Try every exercise of a lesson: blank, wrong in each foreseen way, and solved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode

from mlkit.exercises import CHECK_MIME
from mlkit.lessons.derive import trial_copy
from mlkit.lessons.faults import Fault
from mlkit.lessons.kernels import LostKernelError, execute
from mlkit.lessons.master import Master

__all__ = ["try_exercises"]

WANTED = {"blank": "not attempted", "wrong": "wrong", "solution": "right"}


def try_exercises(master: Master) -> list[Fault]:
    """Run a lesson in one kernel, trying every exercise in every way.

    A blank must be called not attempted; each wrong answer must get exactly its own
    message; the solution must be right; and every other cell must run.

    Parameters
    ----------
    master : Master
        The lesson.

    Returns
    -------
    list of Fault
        What went otherwise, with the line of the answer in the master. Empty when all is well.
    """
    notebook = trial_copy(master)
    try:
        execute(notebook, allow_errors=True)
    except LostKernelError as error:
        lost = notebook.cells[error.index]
        return [Fault(master.path, _line_of(lost, master), str(error))]
    return [fault for cell in notebook.cells for fault in _faults_of(cell, master)]


def _faults_of(cell: NotebookNode, master: Master) -> Iterator[Fault]:
    trial = cell.metadata.get("trial")
    line = _line_of(cell, master)
    for output in cell.outputs:
        if output.output_type == "error":
            yield Fault(master.path, line, f"raises {output.ename}: {output.evalue}.")
            return
    if trial:
        what = _disagreement(trial, _check_outputs(cell))
        if what:
            yield Fault(master.path, line, f"exercise {trial['exercise']!r}: {what}")


def _disagreement(trial: dict[str, Any], checks: list[dict[str, Any]]) -> str | None:
    attempt, wanted = trial["attempt"], WANTED[trial["attempt"]]
    if len(checks) != 1:
        return f"the check shows {len(checks)} messages for the {attempt}; it must show one."
    outcome, message = checks[0]["outcome"], checks[0]["message"]
    if outcome != wanted:
        return f"the {attempt} is called {outcome!r}, not {wanted!r}: {message}"
    if trial["expect"] and trial["expect"] not in message:
        return f"this wrong answer must be told {trial['expect']!r}; it is told: {message}"
    return None


def _check_outputs(cell: NotebookNode) -> list[dict[str, Any]]:
    return [o.data[CHECK_MIME] for o in cell.outputs if CHECK_MIME in o.get("data", {})]


def _line_of(cell: NotebookNode, master: Master) -> int:
    if "trial" in cell.metadata:
        return int(cell.metadata["trial"]["line"])
    return next((c.line for c in master.cells if c.source == cell.source), 1)
