"""Execute a notebook in a fresh kernel, the same way for building and for trying."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

__all__ = [
    "CELL_TIMEOUT",
    "Cost",
    "LostKernelError",
    "close_loop",
    "execute",
    "kernel_environment",
    "quiet_kernel_manager",
]

CELL_TIMEOUT = 120
"""Seconds after which a cell counts as hung. The budget of a cell is 10 s."""

# The system takes 104 bytes or more; jupyter_client appends "-ipc-5".
LONGEST_SOCKET = 95

# Asked of the kernel after the last cell: the most memory it ever held, in kibibytes on
# Linux, in bytes on macOS. Windows has no such module and is not measured. On Linux ru_maxrss
# begins with what the process that started the kernel held, so the kernel's own mark is read.
_PEAK = (
    "__import__('pathlib').Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]"
    if sys.platform == "linux"
    else "__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss"
)


class LostKernelError(Exception):
    """A cell hung or killed its kernel, so that the cells after it cannot run.

    Parameters
    ----------
    index : int
        The cell's place in the notebook.
    what : str
        What happened.
    """

    def __init__(self, index: int, what: str) -> None:
        super().__init__(what)
        self.index = index


@dataclass(frozen=True)
class Cost:
    """What an execution took.

    Parameters
    ----------
    seconds : float
        From the first cell to the last, without the start of the kernel.
    slowest : float
        Seconds of the slowest cell.
    slowest_cell : int
        Its place in the notebook.
    megabytes : float or None
        Peak memory of the kernel; None where it cannot be measured.
    """

    seconds: float
    slowest: float
    slowest_cell: int
    megabytes: float | None


# OpenBLAS chooses its routines by the processor, and they round differently: the training of a
# network magnifies that until a printed digit changes. These run on all since 2013.
_SAME_ROUTINES = (
    {"OPENBLAS_CORETYPE": "Haswell"} if platform.machine() in ("x86_64", "AMD64") else {}
)


def kernel_environment() -> dict[str, str]:
    """Give the environment in which lessons run.

    Returns
    -------
    dict
        This process's environment, with the kernel of this very installation, one thread
        for linear algebra (the number of threads changes fitted models in their last
        digits, and more threads are slower on small matrices), and warnings shown.
    """
    # MPLBACKEND goes: a backend without a notebook's display would make figures vanish.
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    return {
        **inherited,
        "JUPYTER_PREFER_ENV_PATH": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        **_SAME_ROUTINES,
        # The collector reports what was not closed at moments of its own choosing. Pending
        # deprecations are for the authors of libraries: rasterio 1.4 has one, and no reader
        # sees it.
        "PYTHONWARNINGS": "default,ignore::ResourceWarning,ignore::PendingDeprecationWarning",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def quiet_kernel_manager(folder: Path) -> Any:
    """Make a manager whose kernel talks over a socket in a folder, not over the network.

    Over TCP, ipykernel prints a warning for every kernel, and two kernels that start at
    once may take the same port.

    Parameters
    ----------
    folder : Path
        Where the socket stands; its path must be short, as that of a temporary folder is.

    Returns
    -------
    jupyter_client.AsyncKernelManager
        Not started. On Windows, which has no such sockets, and where the folder's path is too
        long for one, it uses TCP.
    """
    from jupyter_client.manager import AsyncKernelManager

    socket = folder / "kernel.json"
    if sys.platform == "win32" or len(str(socket)) > LONGEST_SOCKET:
        return AsyncKernelManager(kernel_name="python3")
    return AsyncKernelManager(kernel_name="python3", transport="ipc", connection_file=str(socket))


def execute(notebook: NotebookNode, *, allow_errors: bool = False) -> Cost:
    """Run every cell of a notebook in a fresh kernel, in an empty folder.

    Parameters
    ----------
    notebook : NotebookNode
        Gets its outputs in place.
    allow_errors : bool, default=False
        Whether to go on after a cell that raises.

    Returns
    -------
    Cost
        Time and memory.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises and `allow_errors` is false.
    LostKernelError
        If a cell runs for more than `CELL_TIMEOUT` seconds, or the kernel dies.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    times: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mlkit-lesson-") as folder:
        work = Path(folder) / "work"
        work.mkdir()
        client = NotebookClient(
            notebook,
            km=quiet_kernel_manager(Path(folder)),
            timeout=CELL_TIMEOUT,
            allow_errors=allow_errors,
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": str(work)}},
        )
        try:
            # What a kernel says outside its cells, as when it is stopped, is no news.
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            with client.setup_kernel(cleanup_kc=True, env=kernel_environment(), **quiet):
                for index, cell in enumerate(notebook.cells):
                    before = time.monotonic()
                    try:
                        client.execute_cell(cell, index, execution_count=None)
                    except CellTimeoutError:
                        what = f"this cell ran for more than {CELL_TIMEOUT} s. Make it faster."
                        raise LostKernelError(index, what) from None
                    except DeadKernelError:
                        what = "this cell killed its kernel. Did the memory run out?"
                        raise LostKernelError(index, what) from None
                    times.append(time.monotonic() - before)
                megabytes = _peak_megabytes(client)
        finally:
            close_loop()
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        _tidy(cell, number)
    slowest = max(times, default=0.0)
    return Cost(sum(times), slowest, times.index(slowest) if times else 0, megabytes)


def close_loop() -> None:
    """Close the event loop that nbclient made for this thread and would leave open.

    The main thread's stays: whoever called us there may use it too.
    """
    from jupyter_core.utils import ensure_event_loop

    if threading.current_thread() is not threading.main_thread():
        ensure_event_loop().close()
        asyncio.set_event_loop(None)


def _peak_megabytes(client: Any) -> float | None:
    request = client.kc.execute("", silent=True, user_expressions={"peak": _PEAK})
    answer = client.wait_for_reply(request)
    peak = answer["content"]["user_expressions"]["peak"]
    if peak.get("status") != "ok":
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return int(peak["data"]["text/plain"].strip("'")) / unit


def _tidy(cell: NotebookNode, number: int) -> None:
    """Give what does not depend on the kernel's timing: numbers from 1, merged streams."""
    cell.execution_count = number
    merged: list[NotebookNode] = []
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = number
        last = merged[-1] if merged else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            merged.append(output)
    cell.outputs = merged
    cell.metadata.pop("execution", None)
