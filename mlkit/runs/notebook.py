"""Run one notebook and say how it ended: the piece of work that an executor is handed.

Everything that goes in and out is plain data, so that the work can be done by a thread, by
another process, or on another machine.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import platform
import re
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.execute import remove_error_markers

import mlkit
from mlkit.exercises import METRIC_MIME
from mlkit.lessons.kernels import close_loop, kernel_environment, quiet_kernel_manager
from mlkit.runs.store import State

__all__ = ["Outcome", "run_notebook", "stop_notebooks"]

# What an extra brings, by the names under which it is imported.
EXTRAS = {"imagery": ("rasterio",), "neural": ("torch",)}

# The packages whose version can change a result.
PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "torch",
    "rasterio",
    "papermill",
    "nbclient",
    "ipykernel",
)

# A traceback can be longer than the report that quotes it; the notebook has it whole.
LONGEST_MESSAGE = 1000

# papermill and nbclient log what we say ourselves; without a handler Python prints it.
logging.getLogger("papermill").addHandler(logging.NullHandler())


class Outcome(TypedDict):
    """How a run ended.

    `state` is one of :data:`mlkit.runs.store.STATES`. `error_cell` counts the code cells
    from 1, as Jupyter numbers them. `metrics` holds what the lesson recorded, in the form of
    :func:`mlkit.exercises.record`, and is empty unless the run succeeded.
    """

    state: State
    error_name: str | None
    error_message: str | None
    error_cell: int | None
    notebook: str
    metrics: list[dict[str, Any]]
    seconds: float
    versions: dict[str, str]


class _Ended(Exception):  # noqa: N818 - how a run ended is not always an error
    """A run ended otherwise than well."""

    def __init__(self, state: State, name: str, message: str, cell: int | None = None) -> None:
        super().__init__(state, name, message, cell)
        self.state, self.name, self.message, self.cell = state, name, message, cell


def run_notebook(
    notebook: str,
    parameters: dict[str, Any],
    *,
    seconds_per_cell: float,
    seconds_per_run: float,
) -> Outcome:
    """Run a notebook from top to bottom in a kernel of its own, in an empty folder.

    It never raises because of what the notebook does: how it ended is in the outcome.

    Parameters
    ----------
    notebook : str
        The notebook as JSON, such as a lesson's solved copy.
    parameters : dict
        Values for the names in its cell tagged ``parameters``. They are not checked here.
    seconds_per_cell, seconds_per_run : float
        How long one cell, and the whole run, may take.

    Returns
    -------
    Outcome
        Plain data, which JSON and pickle can carry.

    Examples
    --------
    >>> import nbformat
    >>> lesson = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    >>> outcome = run_notebook(
    ...     nbformat.writes(lesson), {}, seconds_per_cell=30, seconds_per_run=30
    ... )
    >>> outcome["state"], outcome["error_name"], outcome["error_cell"]
    ('failed', 'ZeroDivisionError', 1)
    """
    started = time.monotonic()
    executed = nbformat.reads(notebook, as_version=4)
    session = _Session(seconds_per_cell, seconds_per_run)
    metrics: list[dict[str, Any]] = []
    ended = None
    try:
        _demand(executed.metadata.get("mlkit", {}).get("requires", []))
        executed = session.execute(executed, parameters)
        metrics = _recorded(executed)
    except _Ended as end:
        ended = end
        executed = session.notebook or executed
    return Outcome(
        state=ended.state if ended else "succeeded",
        error_name=ended.name if ended else None,
        error_message=_shorten(ended.message) if ended else None,
        error_cell=ended.cell if ended else None,
        notebook=nbformat.writes(_labelled(executed, ended)),
        metrics=metrics,
        seconds=round(time.monotonic() - started, 3),
        versions=_versions(),
    )


def stop_notebooks() -> None:
    """Stop all notebooks that run in this process; they end as cancelled within a second or two."""
    for session in list(_Session.active):
        session.stop()


class _Session:
    """One execution by papermill: its limits, and where it has got to."""

    active: set[_Session] = set()  # noqa: RUF012 - all sessions of the process, on purpose

    def __init__(self, seconds_per_cell: float, seconds_per_run: float) -> None:
        self.seconds_per_cell = seconds_per_cell
        self.seconds_per_run = seconds_per_run
        self.deadline = time.monotonic() + seconds_per_run
        self.begun = 0
        self.stopped = False
        self.notebook: NotebookNode | None = None
        self.kernel: Any = None

    def execute(self, notebook: NotebookNode, parameters: dict[str, Any]) -> NotebookNode:
        """Execute a notebook, or raise how it ended otherwise."""
        # On Windows a dying kernel may hold on to the folder for a moment.
        with tempfile.TemporaryDirectory(prefix="mlkit-run-", ignore_cleanup_errors=True) as folder:
            self.kernel = quiet_kernel_manager(Path(folder))
            work = Path(folder, "work")
            work.mkdir()
            self.active.add(self)
            try:
                executed = papermill.execute_notebook(
                    notebook,
                    None,  # the file is written by whoever keeps the record
                    parameters=parameters,
                    engine_name=_Engine.name,
                    kernel_name="python3",
                    language="python",
                    progress_bar=False,
                    session=self,
                    # Not papermill's cwd: it changes the folder of the whole process, and
                    # several threads run notebooks at once.
                    work=str(work),
                )
            except Exception as error:
                raise self._ended(error) from error
            finally:
                self.active.discard(self)
                close_loop()
        return self._all_cells_ran(executed)

    def time_left(self, cell: NotebookNode | None = None) -> float:
        """Give the seconds that a cell may take from now on."""
        left = 0 if self.stopped else self.deadline - time.monotonic()
        # 0 would mean "no limit" to nbclient.
        return max(0.001, min(self.seconds_per_cell, left))

    def begin_cell(self, cell: NotebookNode, cell_index: int) -> None:
        self.begun += 1

    def stop(self) -> None:
        self.stopped = True
        process = getattr(self.kernel.provisioner, "process", None)
        if process is not None:
            process.kill()

    def _ended(self, error: Exception) -> _Ended:
        """Name an ending by its exception; the notebook's own metadata cannot be trusted."""
        if self.stopped:
            return _Ended(
                "cancelled", "Cancelled", "somebody stopped the plan.", self.begun or None
            )
        if isinstance(error, papermill.PapermillExecutionError):
            return _Ended("failed", error.ename, error.evalue, error.exec_count)
        if isinstance(error, CellTimeoutError):
            return _Ended("timed_out", "Timeout", self._timeout(), self.begun)
        if isinstance(error, DeadKernelError):
            return _Ended("kernel_died", "Dead kernel", self._death(), self.begun)
        return _Ended("broken", type(error).__name__, str(error), self.begun or None)

    def _timeout(self) -> str:
        if time.monotonic() >= self.deadline:
            return (
                f"the run took longer than {self.seconds_per_run:g} seconds. Raise "
                "seconds_per_run under limits in the plan, or give the lesson less to do."
            )
        return (
            f"the cell took longer than {self.seconds_per_cell:g} seconds. Raise "
            "seconds_per_cell under limits in the plan, or give the lesson less to do."
        )

    def _death(self) -> str:
        process = getattr(self.kernel.provisioner, "process", None)
        code = None if process is None else process.returncode
        what = "the process that ran the lesson died"
        if code == -9:
            return (
                f"{what}: it was killed (signal 9). Most often the machine ran out of memory: "
                "use fewer workers, or give the lesson less to do."
            )
        return what + (f" (exit code {code})." if code is not None else ".")

    @staticmethod
    def _all_cells_ran(notebook: NotebookNode) -> NotebookNode:
        # papermill takes SystemExit for a good end, though the later cells never ran.
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    raise _Ended(
                        "failed",
                        output.ename,
                        "the cell left the lesson early; the cells after it did not run.",
                        cell.execution_count,
                    )
        return notebook


class _Engine(NBClientEngine):  # type: ignore[misc]
    """papermill's own way of executing, with our kernel, folder and limits."""

    name = "mlkit"

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, session: _Session, work: str, **_: Any
    ) -> None:
        session.notebook = nb_man.nb
        client = PapermillNotebookClient(
            nb_man,
            km=session.kernel,
            timeout_func=session.time_left,
            on_cell_execute=session.begin_cell,
            resources={"metadata": {"path": work}},
            log=logging.getLogger("papermill"),
        )
        client.execute(
            cleanup_kc=True,
            env=kernel_environment(),
            # What a kernel says outside its cells would break into our progress bar.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


papermill_engines.register(_Engine.name, _Engine)


def _demand(extras: list[str]) -> None:
    """Raise unless the extras that a lesson needs are installed."""
    for extra in extras:
        missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
        if missing:
            raise _Ended(
                "skipped",
                "Not installed",
                f"the lesson needs the extra {extra!r}, and {' and '.join(missing)} cannot be "
                f"imported. In the checkout: python -m pip install -c constraints.txt -e "
                f"'.[{extra}]'. On Linux read docs/install.md first.",
            )


def _recorded(notebook: NotebookNode) -> list[dict[str, Any]]:
    """Collect what the lesson recorded."""
    found: dict[str, dict[str, Any]] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            metric = output.get("data", {}).get(METRIC_MIME)
            if metric is None:
                continue
            if metric["name"] in found:
                raise _Ended(
                    "failed",
                    "Recorded twice",
                    f"the lesson records {metric['name']!r} twice. Give every figure a name of "
                    "its own.",
                    cell.execution_count,
                )
            found[metric["name"]] = json.loads(json.dumps(metric))
    return list(found.values())


def _labelled(notebook: NotebookNode, ended: _Ended | None) -> NotebookNode:
    """Say at the top how a run ended, unless it succeeded.

    papermill's own notes go: after a dead kernel or a timeout they say "completed".
    """
    notebook = remove_error_markers(notebook)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    if ended:
        where = f" in cell [{ended.cell}]" if ended.cell else ""
        text = (
            f"> **This run did not succeed: {ended.state.replace('_', ' ')}{where}.** "
            f"{ended.name}: {' '.join(_shorten(ended.message).split())}"
        )
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(text, id="how-it-ended"))
    return notebook


def _shorten(message: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", message).strip()
    return plain if len(plain) <= LONGEST_MESSAGE else plain[:LONGEST_MESSAGE] + " ..."


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "mlkit": mlkit.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
