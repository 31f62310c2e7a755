"""Give nbval a numeric tolerance, and close the gaps through which faults pass it.

Load it beside nbval: ``pytest -p mlkit.lessons.nbval_plugin --nbval notebooks``. Facts about
nbval are those of version 0.11.

- Outputs are compared by `mlkit.lessons.compare`, pictures too; nbval skips those.
- A notebook with a cell that nbval would pass unseen is refused when it is collected; the
  list is in `mlkit.lessons.guards`.
- A kernel that dies is noticed in a second; nbval waits for the cell's time to run out.
- A cell that swallows the interrupt at the end of its time fails all the same.
- Text on stderr fails a cell even when its output is not compared.
- Options that make the test say nothing, or stall, are refused.
- The kernel is that of this Python, in the environment in which notebooks are built. It
  starts in the notebook's folder, as nbval and JupyterLab have it. Notebooks are built
  elsewhere, so a lesson that depends on its folder is found.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from nbval.cover import setup_coverage, teardown_coverage
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel, start_new_kernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from mlkit.lessons.compare import compare_outputs
from mlkit.lessons.guards import cell_faults
from mlkit.lessons.kernels import CELL_TIMEOUT, kernel_environment

__all__ = ["LessonCell", "LessonFile", "WatchedKernel", "option_faults"]

_NBVAL_TIMEOUT = 2000  # nbval's default; a kernel that hangs would cost half an hour


@pytest.hookimpl(trylast=True)  # nbval first renames its deprecated options
def pytest_configure(config: pytest.Config) -> None:
    """Refuse options with which the test would say nothing, and limit the time of a cell."""
    faults = option_faults(config.option)
    if faults:
        raise pytest.UsageError("\n".join(faults))
    if config.option.nbval_cell_timeout == _NBVAL_TIMEOUT:
        config.option.nbval_cell_timeout = CELL_TIMEOUT


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Put our own collector in the place of nbval's."""
    collectors = yield
    return [
        LessonFile.from_parent(parent, path=file_path) if isinstance(c, IPyNbFile) else c
        for c in collectors
    ]


def option_faults(option: argparse.Namespace) -> list[str]:
    """List the options with which a test of notebooks would say nothing or stall.

    Parameters
    ----------
    option : argparse.Namespace
        The options of pytest.

    Returns
    -------
    list of str
        What was given and what to give instead; empty when no notebook is tested.
    """
    if option.nbval_lax:
        # Given both, nbval takes the lax mode without a word.
        return ["--nbval-lax compares no output. Give --nbval alone."]
    if not option.nbval:
        return []
    faults = []
    if option.nbval_sanitize_with:
        faults.append(
            "--nbval-sanitize-with has no effect here. Give a cell that differs the key tolerance "
            "or the tag nbval-ignore-output."
        )
    if option.nbval_kernel_name:
        faults.append(
            "--nbval-kernel-name has no effect here: the kernel is that of this Python. Remove it."
        )
    if getattr(option, "dist", "no") not in ("no", "loadfile"):
        faults.append(
            f"--dist {option.dist} tears the cells of a notebook apart. Give --dist loadfile."
        )
    return faults + _coverage_faults(option)


def _coverage_faults(option: argparse.Namespace) -> list[str]:
    sources = getattr(option, "cov_source", None)
    if not sources:
        return []
    faults = []
    if not all(isinstance(source, str) and source for source in sources):
        faults.append("--cov without a package stalls every notebook. Give --cov=mlkit.")
    if option.cov_branch:
        faults.append(
            "--cov-branch does not reach the kernels, and their lines are lost. Set branch = true "
            "in the configuration of coverage."
        )
    if not Path(option.cov_config).is_file():
        faults.append(
            f"--cov-config: no file {option.cov_config}. Kernels start in other folders and find "
            "no other configuration, and their lines are lost. Give --cov-config=pyproject.toml."
        )
    return faults


class DeadKernelError(Exception):
    """The kernel died while it ran a cell."""


class WatchedKernel(RunningKernel):  # type: ignore[misc] # nbval has no types
    """A kernel whose death is noticed at once.

    Parameters
    ----------
    folder : Path
        Where it starts.
    startup_timeout : float
        Seconds it may take to start.
    """

    def __init__(self, folder: Path, startup_timeout: float) -> None:
        # nbval's own leaves a file open, and cannot be given an environment.
        self.km, self.kc = start_new_kernel(
            startup_timeout=startup_timeout,
            kernel_name=CURRENT_ENV_KERNEL_NAME,
            stderr=subprocess.DEVNULL,
            cwd=str(folder),
            env=kernel_environment(),
        )
        self._ensure_iopub_up()

    def await_reply(self, msg_id: str, timeout: float) -> None:
        """Wait until a cell has run, looking after the kernel every second.

        Parameters
        ----------
        msg_id : str
            What was sent.
        timeout : float
            Seconds to wait.

        Raises
        ------
        DeadKernelError
            If the kernel dies meanwhile.
        queue.Empty
            If the time runs out.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                super().await_reply(msg_id, timeout=min(1.0, timeout))
            except Empty:
                if not self.is_alive():
                    raise DeadKernelError from None
                if time.monotonic() >= end:
                    raise
            else:
                return

    def stop(self) -> None:
        """Stop the kernel, if it was not stopped before, and free what it held."""
        if hasattr(self, "km"):  # nbval deletes it
            super().stop()


class LessonFile(IPyNbFile):  # type: ignore[misc] # nbval has no types
    """A notebook, refused when a test of it would say nothing."""

    kernel: WatchedKernel | None = None

    def collect(self) -> list[LessonCell]:
        """Give the code cells.

        Returns
        -------
        list of LessonCell
            Each is one test.

        Raises
        ------
        pytest.Collector.CollectError
            If a cell has a fault of `mlkit.lessons.guards`.
        """
        cells = [
            LessonCell.from_parent(
                self, name=c.name, cell_num=c.cell_num, cell=c.cell, options=c.options
            )
            for c in super().collect()
        ]
        faults = [f"{cell.place}: {fault}" for cell in cells for fault in cell_faults(cell.cell)]
        if faults:
            raise self.CollectError("\n".join(faults))
        return cells

    def setup(self) -> None:
        """Start the kernel."""
        option = self.config.option
        self.kernel = WatchedKernel(self.path.parent, option.nbval_kernel_startup_timeout)
        if getattr(option, "cov_source", None):
            setup_coverage(self.config, self.kernel, self.path)

    def teardown(self) -> None:
        """Stop the kernel."""
        if self.kernel is None:
            return
        if self.kernel.is_alive() and getattr(self.config.option, "cov_source", None):
            teardown_coverage(self.config, self.kernel)
        self.kernel.stop()


class LessonCell(IPyNbCell):  # type: ignore[misc] # nbval has no types
    """A code cell of a notebook."""

    @property
    def place(self) -> str:
        """The notebook, the cell's number and its first line."""
        first = next(iter(self.cell.source.strip().splitlines()), "")
        return f"{self.nodeid} ({first})"

    def setup(self) -> None:
        """Skip the rest of a notebook whose kernel is gone; the cell before has failed."""
        if self.parent.timed_out:
            pytest.skip("an earlier cell of this notebook hung, or its kernel died")

    def runtest(self) -> None:
        """Run the cell and compare what it shows.

        Raises
        ------
        nbval.plugin.NbCellError
            If the cell raises, hangs, writes to stderr, shows something else, or kills
            the kernel.
        """
        try:
            super().runtest()
        except DeadKernelError:
            self.parent.timed_out = True
            self.raise_cell_error("The kernel died. Did the memory run out?")
        if self.parent.timed_out:
            self.raise_cell_error("The cell ran out of time and swallowed the interrupt.")
        for output in self.test_outputs:
            if output.get("name") == "stderr":
                self.raise_cell_error("The cell writes to stderr.", output.text)

    def compare_outputs(self, test: Any, ref: Any, skip_compare: Any = None) -> bool:
        """Compare by the rules of `mlkit.lessons.compare` instead of nbval's.

        Parameters
        ----------
        test, ref : list of NotebookNode
            The fresh outputs and the stored ones.
        skip_compare : tuple of str, optional
            Not used.

        Returns
        -------
        bool
            Whether they count as the same.
        """
        tolerance = self.cell.metadata.get("tolerance")
        self.comparison_traceback = compare_outputs(ref, test, tolerance=tolerance)
        return not self.comparison_traceback

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
        """Name the notebook, the cell and what differs.

        Parameters
        ----------
        excinfo : pytest.ExceptionInfo
            What was raised.

        Returns
        -------
        str
            The report.
        """
        error = excinfo.value
        if not isinstance(error, NbCellError):
            return str(super().repr_failure(excinfo))
        report = "\n".join(filter(None, [f"{self.place}: {error}", error.inner_traceback]))
        return re.sub(r"\x1b\[[0-9;]*m", "", report)  # IPython colours tracebacks
