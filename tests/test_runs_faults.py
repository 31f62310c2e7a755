"""Runs that end in every way there is, with real kernels and real processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mlkit.exercises import METRIC_MIME
from mlkit.paths import find_checkout
from mlkit.runs import notebook as worker
from mlkit.runs.command import run_command
from mlkit.runs.execute import run_plan
from mlkit.runs.notebook import Outcome, run_notebook, stop_notebooks
from mlkit.runs.plan import Plan, read_plan
from mlkit.runs.store import Batch, Run
from tests.sample import SAMPLE, write_sample

CHECKOUT = find_checkout(Path(__file__))

LESSON = "start/01-small"

RECORD = 'record("share", share, data="simulated", unit="share")\n'

# The parameter says how the run shall end.
ENDINGS = """import os, sys, time

if END == "error":
    {}["no such key"]
elif END == "death":
    os._exit(3)
elif END == "memory":
    os.kill(os.getpid(), 9)
elif END == "exit":
    sys.exit(0)
elif END == "hang":
    time.sleep(300)
elif END == "input":
    input("Well?")
elif END == "double":
    record("share", 1, data="real")
elif END == "noise":
    os.write(2, b"noise of the kernel")
    print("noise", file=sys.stderr)
elif END.startswith("wait while "):
    while os.path.exists(END.removeprefix("wait while ")):
        time.sleep(0.05)
elif END.startswith("remove "):
    import shutil

    shutil.rmtree(END.removeprefix("remove "))
    open(END.removeprefix("remove "), "w").close()  # a folder of that name can't be made again
"""


@pytest.fixture(autouse=True)
def _kernels_find_mlkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def write_checkout(root: Path, code: str = ENDINGS) -> Path:
    """Write a checkout whose one lesson has no figure and one more cell."""
    text = SAMPLE
    figure = text[text.index("```{code-cell} ipython3\n:alt:") :]
    text = text.replace(figure[: figure.index("+++")], "")
    line = "SHARE = 0.9  # float: true share that is coded right"
    assert line in text
    assert RECORD in text
    text = text.replace(line, line + '\nEND = "well"  # str: how the run shall end')
    text = text.replace(RECORD, RECORD + "```\n\n```{code-cell} ipython3\n" + code)
    write_sample(root, text)
    (root / "plans").mkdir(exist_ok=True)
    return root


def make_plan(root: Path, text: str, name: str = "plan") -> Plan:
    path = root / "plans" / f"{name}.yaml"
    path.write_text(text)
    return read_plan(path, root)


def plan_of(root: Path, *ends: str, name: str = "plan", limits: str = "{}") -> Plan:
    return make_plan(
        root,
        f"runs: [{{lesson: {LESSON}, parameters: {{END: {json.dumps(ends)}}}}}]\n"
        f"limits: {limits}\n",
        name=name,
    )


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def command() -> Iterator[Start]:
    """Give a function that starts what the command line calls, in a process of its own."""
    started: list[subprocess.Popen[str]] = []
    code = (
        "import sys; from pathlib import Path; from mlkit.runs.command import run_command; "
        "sys.exit(run_command(Path(sys.argv[1]), resume='--resume' in sys.argv))"
    )

    def start(root: Path, *options: str, plan: str = "plan", **popen: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, f"plans/{plan}.yaml", *options],
            cwd=root,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the record, as any other program may."""
    file = root / "runs" / "runs.sqlite"
    if not file.exists() or not file.stat().st_size:
        return []
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        return connection.execute(query).fetchall()


def wait_until(done: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def kernels_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]


def tiny(*cells: str) -> str:
    return nbformat.writes(new_notebook(cells=[new_code_cell(cell) for cell in cells]))


def run_tiny(*cells: str, cell: float = 60, run: float = 60) -> Outcome:
    return run_notebook(tiny(*cells), {}, seconds_per_cell=cell, seconds_per_run=run)


# ------------------------------------------------------------------------------------------
# One plan, every ending
# ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    root = write_checkout(tmp_path_factory.mktemp("endings"))
    ends = ("well", "error", "death", "memory", "exit", "hang", "input", "double")
    plan = plan_of(root, *ends, limits="{seconds_per_cell: 6}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(CHECKOUT))
        yield run_plan(plan, out=root / "runs")


def run_that(batch: Batch, end: str) -> Run:
    return next(run for run in batch.runs if run.parameters["END"] == end)


def test_a_run_that_goes_well_has_its_results_and_its_notebook(ended: Batch) -> None:
    run = run_that(ended, "well")
    assert run.state == "succeeded"
    assert (run.error_name, run.error_message, run.error_cell) == (None, None, None)
    assert [(m.name, m.data, m.unit) for m in run.metrics] == [("share", "simulated", "share")]
    assert 0.8 < float(run.metrics[0].value or 0) < 1
    assert run.seconds is not None
    assert run.started is not None
    assert run.finished is not None
    assert (run.versions or {}).keys() >= {"python", "mlkit", "numpy", "papermill", "ipykernel"}
    text = (ended.folder.parent / (run.output or "")).read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    assert any("injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    assert "papermill" not in notebook.metadata
    assert "did not succeed" not in text


@pytest.mark.parametrize(
    ("end", "state", "name", "words"),
    [
        ("error", "failed", "KeyError", "no such key"),
        ("death", "kernel_died", "Dead kernel", "exit code 3"),
        ("memory", "kernel_died", "Dead kernel", "ran out of memory"),
        ("exit", "failed", "SystemExit", "did not run"),
        ("hang", "timed_out", "Timeout", "longer than 6 seconds. Raise seconds_per_cell"),
        ("input", "failed", "StdinNotImplementedError", "input"),
        ("double", "failed", "Recorded twice", "'share' twice"),
    ],
)
def test_every_other_ending_is_named_and_leaves_no_results(
    ended: Batch, end: str, state: str, name: str, words: str
) -> None:
    run = run_that(ended, end)
    assert (run.state, run.error_name) == (state, name)
    assert words in (run.error_message or "")
    assert run.metrics == (), "results of a run that did not succeed are no results"
    text = (ended.folder.parent / (run.output or "")).read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    assert "did not succeed" in notebook.cells[0].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    blamed = code[(run.error_cell or 0) - 1]
    assert 'END == "error"' in blamed.source, "the cell that is named is the one that ended it"
    if blamed.execution_count is not None:
        assert blamed.execution_count == run.error_cell, "Jupyter shows the same number"


def test_no_kernel_outlives_its_run(ended: Batch) -> None:
    assert not [
        child
        for child in psutil.Process().children(recursive=True)
        if "ipykernel_launcher" in " ".join(child.cmdline())
    ]


# ------------------------------------------------------------------------------------------
# One notebook
# ------------------------------------------------------------------------------------------


def test_the_whole_run_has_a_limit_too() -> None:
    outcome = run_tiny(*["import time; time.sleep(0.7)"] * 20, run=4)
    assert outcome["state"] == "timed_out"
    assert "seconds_per_run" in (outcome["error_message"] or "")
    assert outcome["seconds"] < 12


def test_a_kernel_that_does_not_start_is_not_the_lesson_s_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "kernel_environment", lambda: {"PYTHONHOME": "/nowhere"})
    outcome = run_tiny("1")
    assert outcome["state"] == "broken"
    assert outcome["error_message"]


def test_a_notebook_can_be_stopped_before_its_kernel_has_started() -> None:
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(run_tiny, "import time; time.sleep(60)")
        wait_until(lambda: worker._Session.active)
        stop_notebooks()
        outcome = stopped.result(timeout=30)
    assert outcome["state"] == "cancelled"


def test_a_lesson_whose_extra_is_missing_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(worker.EXTRAS, "imagery", ("no_such_package",))
    root = write_checkout(tmp_path)
    master = root / "tutorials" / f"{LESSON}.md"
    master.write_text(master.read_text().replace("  gsbpm:", "  requires: [imagery]\n  gsbpm:"))
    run = run_plan(plan_of(root, "well"), out=root / "runs").runs[0]
    assert run.state == "skipped"
    assert run.good
    assert "no_such_package" in (run.error_message or "")
    assert "pip install" in (run.error_message or "")


def test_the_extras_named_here_are_those_of_the_project() -> None:
    import tomllib

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, packages in worker.EXTRAS.items():
        wanted = " ".join(project["optional-dependencies"][extra])
        assert all(package in wanted for package in packages)


def test_a_message_is_shortened_and_without_colours() -> None:
    outcome = run_tiny("raise ValueError('\\x1b[31mred\\x1b[0m' + 'x' * 5000)")
    message = outcome["error_message"] or ""
    assert message.startswith("redxxx")
    assert len(message) < 1100


def test_the_outcome_is_plain_data() -> None:
    bundle = {"schema": 1, "name": "a", "value": 1}
    outcome = run_tiny(
        f"from IPython.display import display; display({{{METRIC_MIME!r}: {bundle!r}}}, raw=True)"
    )
    assert outcome["metrics"] == [bundle]
    assert json.loads(json.dumps(outcome)) == outcome


def test_lessons_run_in_an_empty_folder_of_their_own() -> None:
    before = Path.cwd()
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(
            pool.map(run_tiny, ["import os; print(os.listdir()); open('x', 'w').close()"] * 4)
        )
    for outcome in outcomes:
        cell = nbformat.reads(outcome["notebook"], as_version=4).cells[0]
        assert cell.outputs[0].text == "[]\n"
    assert Path.cwd() == before


# ------------------------------------------------------------------------------------------
# The executor's seam
# ------------------------------------------------------------------------------------------


def test_another_executor_does_the_work(tmp_path: Path) -> None:
    root = write_checkout(tmp_path)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        batch = run_plan(plan_of(root, "well"), out=root / "runs", executor=pool)
    assert [run.state for run in batch.runs] == ["succeeded"]
    assert batch.runs[0].metrics


def test_an_executor_that_refuses_work_breaks_the_runs_and_not_the_program(tmp_path: Path) -> None:
    root = write_checkout(tmp_path)
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    batch = run_plan(plan_of(root, "well", "error"), out=root / "runs", executor=pool)
    assert [run.state for run in batch.runs] == ["broken", "broken"]
    assert "shutdown" in (batch.runs[0].error_message or "")
    assert batch.finished


def test_a_run_counts_as_done_only_when_nothing_changed(tmp_path: Path) -> None:
    root = write_checkout(tmp_path)
    pool = ThreadPoolExecutor(1)
    pool.shutdown()

    def run_id(end: str) -> str:
        return run_plan(plan_of(root, end), out=root / "runs", executor=pool).runs[0].run_id

    first = run_id("well")
    assert run_id("well") == first
    assert run_id("error") != first, "other parameters"
    master = root / "tutorials" / f"{LESSON}.md"
    master.write_text(master.read_text().replace("import numpy as np", "import numpy as np  # 2"))
    assert run_id("well") != first, "another lesson"


def test_no_more_notebooks_run_at_once_than_the_plan_allows(tmp_path: Path) -> None:
    root = write_checkout(tmp_path)
    under_way: set[int] = set()
    most = 0

    def watch(run: Run) -> None:
        nonlocal most
        (under_way.add if run.state == "running" else under_way.discard)(run.number)
        most = max(most, len(under_way))

    pool = ThreadPoolExecutor(4)
    pool.shutdown()
    plan = plan_of(root, "a", "b", "c", "d", limits="{workers: 3}")
    run_plan(plan, out=root / "runs", executor=pool, progress=watch)
    assert most == 3


# ------------------------------------------------------------------------------------------
# The whole program
# ------------------------------------------------------------------------------------------


def test_a_killed_program_leaves_no_good_looking_run_and_is_resumed(
    tmp_path: Path, command: Start
) -> None:
    root = write_checkout(tmp_path / "a path with spaces")
    flag = tmp_path / "flag"
    flag.touch()
    waiting = f"wait while {flag}"
    plan = plan_of(root, "well", waiting, "error", limits="{workers: 1}")
    process = command(root)
    wait_until(
        lambda: (
            rows(root, "SELECT state FROM runs ORDER BY id")
            == [("succeeded",), ("running",), ("not_started",)]
        )
    )
    wait_until(lambda: kernels_of(process))
    kernels = kernels_of(process)
    process.kill()
    process.communicate()

    assert rows(root, "SELECT count(*) FROM runs WHERE finished IS NOT NULL") == [(1,)]
    assert rows(root, "SELECT count(*) FROM metrics JOIN runs ON run = id WHERE state <> "
                      "'succeeded'") == [(0,)]  # fmt: skip
    assert not list(root.glob("runs/*/report.html"))
    assert len(list(root.glob("runs/*/*.ipynb"))) == 1
    _, alive = psutil.wait_procs(kernels, timeout=15)
    assert not alive, "kernels end with their program"

    flag.unlink()
    resumed = command(root, "--resume")
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 1, err
    assert rows(root, "SELECT state FROM runs ORDER BY id") == [
        ("succeeded",),
        ("interrupted",),
        ("not_started",),
        ("succeeded",),
        ("failed",),
    ], "the first run was kept, the other two ran"
    assert "2 of 3 runs succeeded; 1 failed." in out
    assert "1 of 3: " in err
    assert err.count(" kept\n") == 1
    assert Path(out.splitlines()[-1]).read_text(encoding="utf-8").count("(kept)") == 1

    again = run_plan(plan, out=root / "runs", resume=True)
    assert [run.state for run in again.runs] == ["succeeded", "succeeded", "failed"]
    assert rows(root, "SELECT count(*) FROM runs") == [(6,)], "only the failed one ran again"


def test_ctrl_c_stops_what_runs_and_says_so(tmp_path: Path, command: Start) -> None:
    root = write_checkout(tmp_path)
    plan_of(root, "hang", "error", limits="{workers: 1}")
    process = command(root)
    wait_until(lambda: rows(root, "SELECT state FROM runs WHERE id = 1") == [("running",)])
    wait_until(lambda: kernels_of(process))
    kernels = kernels_of(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert rows(root, "SELECT state FROM runs ORDER BY id") == [
        ("cancelled",),
        ("not_started",),
    ]
    assert "0 of 2 runs succeeded; 1 cancelled, 1 not started." in out
    assert Path(out.splitlines()[-1]).is_file()
    _, alive = psutil.wait_procs(kernels, timeout=15)
    assert not alive


def test_a_record_that_cannot_be_written_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_checkout(tmp_path)
    plan = plan_of(root, f"remove {root / 'runs' / 'plan-1'}", "hang")
    monkeypatch.chdir(root)
    begun = time.monotonic()
    assert run_command(plan.path) == 1
    assert time.monotonic() - begun < 60, "the other run was not waited for"
    out, err = capsys.readouterr()
    assert "could not be recorded" in err
    assert "--resume" in err
    assert out == ""


def test_two_plans_share_one_record(tmp_path: Path, command: Start) -> None:
    root = write_checkout(tmp_path)
    for name in ("one", "two"):
        plan_of(root, "well", "error", name=name)
    processes = [command(root, plan=name) for name in ("one", "two")]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [1, 1], said
    counts = rows(
        root,
        "SELECT plan, state, count(*) FROM batches JOIN batch_runs ON batch = batches.id "
        "JOIN runs ON run = runs.id GROUP BY plan, state ORDER BY plan, state",
    )
    assert counts == [
        (plan, state, 1) for plan in ("one", "two") for state in ("failed", "succeeded")
    ]
    reports = {out.splitlines()[-1] for out, _ in said}
    assert len(reports) == 2


def test_a_log_gets_plain_lines_and_the_report_s_path_comes_last(
    tmp_path: Path, command: Start
) -> None:
    root = write_checkout(tmp_path)
    plan_of(root, "noise")
    process = command(root)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Plan plan", "started", "1 of 1"], err
    assert "\x1b" not in out + err
    report = Path(out.splitlines()[-1])
    assert report.is_absolute()
    assert report.is_file()
    assert "share" in out
    assert out.splitlines()[-2].startswith("The run succeeded.")


def test_a_terminal_gets_a_progress_bar(tmp_path: Path, command: Start) -> None:
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    root = write_checkout(tmp_path)
    plan_of(root, "error")
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    process = command(root, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"0/1" in shown
    assert b"1/1" in shown
    assert b"\x1b[" in shown
    assert b"KeyError" in shown
    assert Path(out.splitlines()[-1]).is_file()
