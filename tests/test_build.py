"""Building notebooks: what is executed, what is kept, what is refused, what is found stale.

Kernels are slow to start, so few lessons are built, and most tests work on a copy of them.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from PIL import Image, ImageOps

from mlkit.lessons import MasterError, notebook_path, read_master
from mlkit.lessons.build import (
    MEGABYTES,
    SECONDS,
    build,
    build_solved,
    check,
    find_stale,
    format_master,
)
from tests.sample import SAMPLE, spoil, write_sample

ROOT = Path(__file__).resolve().parents[1]

CODE = "```{code-cell} ipython3\n"

# The lesson leaves a trace outside whenever it runs, and tells where it runs.
TRACED = spoil(
    "rng = np.random.default_rng(SEED)",
    """with open(os.environ["MLKIT_TEST_RUNS"], "a") as runs:
    runs.write("x")
print(os.listdir(), os.environ["OMP_NUM_THREADS"], os.environ["PYTHONWARNINGS"])
rng = np.random.default_rng(SEED)""",
).replace("import numpy as np", "import os\n\nimport numpy as np")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the file that gets a letter whenever the traced lesson runs."""
    with pytest.MonkeyPatch.context() as patch:
        trace = tmp_path_factory.mktemp("trace") / "runs"
        trace.touch()
        patch.setenv("MLKIT_TEST_RUNS", str(trace))
        yield trace


@pytest.fixture(scope="module")
def built(trace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build one lesson; no test changes this checkout."""
    root = tmp_path_factory.mktemp("built")
    said: list[str] = []
    (done,) = build([write_sample(root, TRACED)], progress=said.append)
    assert done.how == "executed"
    assert done.cost is not None
    assert done.cost.slowest <= done.cost.seconds
    assert said[0].startswith("start/01-small: executed in ")
    return root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """Give a copy of the built checkout, to be changed."""
    shutil.copytree(built, tmp_path / "checkout")
    return tmp_path / "checkout"


def master_of(root: Path) -> Path:
    return root / "tutorials" / "start" / "01-small.md"


def notebook_of(root: Path) -> NotebookNode:
    return nbformat.read(notebook_path(master_of(root)), as_version=4)


def change_master(root: Path, old: str, new: str) -> None:
    text = master_of(root).read_text(encoding="utf-8")
    assert text.count(old) == 1
    master_of(root).write_text(text.replace(old, new), encoding="utf-8")


def change_notebook(root: Path, change: Callable[[NotebookNode], object]) -> None:
    notebook = notebook_of(root)
    change(notebook)
    nbformat.write(notebook, notebook_path(master_of(root)))


def cell_with(notebook: NotebookNode, source: str) -> NotebookNode:
    (cell,) = (c for c in notebook.cells if c.cell_type == "code" and source in c.source)
    return cell


# ------------------------------------------------------------------------------------------
# What a build stores
# ------------------------------------------------------------------------------------------


def test_a_built_notebook_is_executed_from_top_to_bottom(built: Path) -> None:
    notebook = notebook_of(built)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all("execution" not in cell.metadata for cell in code)  # times would churn in diffs
    assert (
        cell_with(notebook, 'exercise("share"')
        .outputs[0]
        .data["text/plain"]
        .startswith("Not attemp")
    )
    said = cell_with(notebook, "say(").outputs[0].data["text/markdown"]
    assert said == "The share is **0.850**."


def test_a_lesson_runs_in_an_empty_folder_with_one_thread_and_all_warnings(built: Path) -> None:
    (output,) = cell_with(notebook_of(built), "listdir").outputs
    assert output.text.startswith("[] 1 default")


def test_a_picture_carries_its_description(built: Path) -> None:
    (output,) = cell_with(notebook_of(built), "plt.show").outputs
    assert output.metadata["image/png"]["alt"].startswith("Two bars, wrong and right;")


def test_time_and_memory_are_kept_in_coarse_steps(built: Path) -> None:
    text = (built / "notebooks" / "measured.json").read_text()
    measured = json.loads(text)["start/01-small"]
    assert measured["seconds"] in SECONDS
    assert measured["slowest_cell"] in SECONDS
    assert 0 < measured["megabytes"] < 1000
    assert measured["megabytes"] % MEGABYTES == 0
    wanted = f"the computer needs up to {measured['seconds']} s and {measured['megabytes']} MB"
    assert wanted in notebook_of(built).cells[0].source


def test_memory_is_that_of_the_lesson_alone(root: Path) -> None:
    """The system counts what the process that starts a kernel holds as the kernel's own."""
    ours = bytearray(b"x" * 1_000_000_000)
    (done,) = build([master_of(root)], measure=True)
    assert len(ours) > 900_000_000
    assert done.cost is not None
    assert done.cost.megabytes is not None
    assert 10 < done.cost.megabytes < 900


def test_a_build_leaves_nothing_else(built: Path) -> None:
    files = [path for path in (built / "notebooks").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["01-small.ipynb", "measured.json"]


# ------------------------------------------------------------------------------------------
# What is executed again
# ------------------------------------------------------------------------------------------


def test_a_second_build_does_nothing(root: Path, trace: Path) -> None:
    place, runs = notebook_path(master_of(root)), trace.read_text()
    before = place.read_bytes(), place.stat().st_mtime_ns
    (done,) = build([master_of(root)])
    assert (done.how, done.cost) == ("unchanged", None)
    assert (place.read_bytes(), place.stat().st_mtime_ns) == before
    assert trace.read_text() == runs
    assert find_stale(root) == []


def test_new_words_keep_the_outputs(root: Path, trace: Path) -> None:
    before, runs = notebook_of(root), trace.read_text()
    change_master(root, "\nCount.\n", "\nCount twice.\n")
    change_master(root, ":alt: Two bars", ":alt: A pair of bars")
    change_master(root, "Use `right.mean()`.", "Use the mean.")
    assert find_stale(root) != []
    (done,) = build([master_of(root)])
    assert done.how == "kept outputs"
    assert trace.read_text() == runs
    after = notebook_of(root)
    assert cell_with(after, "say(").outputs == cell_with(before, "say(").outputs
    (picture,) = cell_with(after, "plt.show").outputs
    assert picture.metadata["image/png"]["alt"].startswith("A pair of bars")
    assert find_stale(root) == []


def test_new_code_is_executed_and_keeps_its_measures(root: Path, trace: Path) -> None:
    runs = len(trace.read_text())
    measures = root / "notebooks" / "measured.json"
    measures.write_text(measures.read_text().replace('"seconds": ', '"seconds": 10'))
    kept = measures.read_bytes()
    change_master(root, "SHARE = 0.9 ", "SHARE = 0.55 ")
    (done,) = build([master_of(root)])
    assert done.how == "executed"
    assert len(trace.read_text()) == runs + 1
    said = cell_with(notebook_of(root), "say(").outputs[0].data["text/markdown"]
    assert said != "The share is **0.850**."
    assert measures.read_bytes() == kept
    assert find_stale(root) == []


def test_measuring_executes_what_is_up_to_date(root: Path, trace: Path) -> None:
    runs = len(trace.read_text())
    measures = root / "notebooks" / "measured.json"
    measures.write_text(
        '{"start/01-small": {"seconds": 120, "slowest_cell": 120, "megabytes": 9900}}'
    )
    (done,) = build([master_of(root)], measure=True)
    assert done.how == "executed"
    assert len(trace.read_text()) == runs + 1
    assert json.loads(measures.read_text())["start/01-small"]["megabytes"] < 1000
    assert find_stale(root) == []


# ------------------------------------------------------------------------------------------
# What is stale
# ------------------------------------------------------------------------------------------


def drop_outputs(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


HAND_EDITS: dict[str, Callable[[NotebookNode], object]] = {
    "words": lambda n: n.cells[1].update(source="## Why"),
    "code": lambda n: cell_with(n, "say(").update(source="x = 1"),
    "tags": lambda n: cell_with(n, "say(").metadata.update(tags=["nbval-ignore-output"]),
    "ids": lambda n: n.cells[1].update(id="abc"),
    "a cell more": lambda n: n.cells.append(nbformat.v4.new_markdown_cell("More.")),
    "a cell less": lambda n: n.cells.pop(),
    "outputs cleared": drop_outputs,
    "metadata lost": lambda n: n.metadata.pop("mlkit"),
    "other data": lambda n: n.metadata["mlkit"]["built_from"]["datasets"].update(soc_index="0"),
}


@pytest.mark.parametrize("edit", HAND_EDITS.values(), ids=HAND_EDITS)
def test_a_notebook_changed_by_hand_is_stale(
    edit: Callable[[NotebookNode], object], root: Path
) -> None:
    change_notebook(root, edit)
    assert find_stale(root) == [
        "notebooks/start/01-small.ipynb does not follow from its master: run mlkit build"
    ]


def test_the_outputs_of_other_data_are_not_kept(root: Path, trace: Path) -> None:
    runs = len(trace.read_text())
    change_notebook(root, HAND_EDITS["other data"])
    (done,) = build([master_of(root)])
    assert done.how == "executed"
    assert len(trace.read_text()) == runs + 1


def test_a_notebook_with_the_marks_of_a_conflict_is_stale_and_built_again(root: Path) -> None:
    place = notebook_path(master_of(root))
    place.write_text("<<<<<<< HEAD\n" + place.read_text())
    assert len(find_stale(root)) == 1
    assert len(check([master_of(root)])) == 1
    build([master_of(root)])
    assert find_stale(root) == []


def test_missing_and_orphaned_notebooks_are_found(root: Path) -> None:
    folder = root / "notebooks" / "start"
    (folder / "01-small.ipynb").rename(folder / "02-other.ipynb")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "03-checkpoint.ipynb").touch()
    assert find_stale(root) == [
        "notebooks/start/01-small.ipynb is missing: run mlkit build",
        "notebooks/start/02-other.ipynb has no master: remove it or write "
        "tutorials/start/02-other.md",
    ]


def test_a_faulty_master_is_told_among_what_is_stale(root: Path) -> None:
    change_master(root, "level: beginner", "level: begginer")
    (line,) = find_stale(root)
    assert line.startswith(f"{master_of(root)}:7: level: given 'begginer'")


# ------------------------------------------------------------------------------------------
# What is refused
# ------------------------------------------------------------------------------------------

RAISES = 'raise ValueError("no such code")'
FAULTY_CELLS = {
    RAISES: "this cell raises ValueError: no such code. If it stands after an exercise",
    'import warnings\n\nwarnings.warn("mind the gap")': "this cell writes to stderr:",
    "fig": "this cell shows a figure. Describe it",
    "object()": "this cell prints a memory address, which differs each time. Print a value.",
}


def with_cells(*cells: str) -> str:
    blocks = "\n".join(f"{CODE}{cell}\n```\n" for cell in cells)
    return spoil("\nCount.\n", f"\nCount.\n\n{blocks}")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Build faulty lessons and a sound one at once; give the checkout and the faults."""
    root = tmp_path_factory.mktemp("refused")
    lessons = {
        "01-unreadable": spoil("level: beginner", "level: begginer"),
        "02-fails": with_cells(*FAULTY_CELLS),
        "03-dies": with_cells("import os\n\nos._exit(1)", "x = 1"),
        "04-sound": SAMPLE,
    }
    paths = [write_sample(root, text, name=f"start/{name}") for name, text in lessons.items()]
    said: list[str] = []
    with pytest.raises(MasterError) as error:
        build(paths, progress=said.append)
    assert [line.partition(" ")[0] for line in said] == [
        "start/02-fails:",
        "start/03-dies:",
        "start/04-sound:",
    ]
    return root, str(error.value).replace(f"{root}/tutorials/start/", "").splitlines()


@pytest.mark.parametrize(("source", "words"), FAULTY_CELLS.items())
def test_what_a_cell_does_wrong_is_told_with_its_line(
    source: str, words: str, refused: tuple[Path, list[str]]
) -> None:
    root, faults = refused
    text = (root / "tutorials" / "start" / "02-fails.md").read_text()
    line = text.count("\n", 0, text.index(f"{CODE}{source}")) + 2
    assert [fault for fault in faults if fault.startswith(f"02-fails.md:{line}: {words}")]


def test_every_faulty_cell_is_told_once(refused: tuple[Path, list[str]]) -> None:
    _, faults = refused
    assert len([fault for fault in faults if fault.startswith("02-")]) == len(FAULTY_CELLS)


def test_a_cell_that_kills_its_kernel_is_told_with_its_line(
    refused: tuple[Path, list[str]],
) -> None:
    root, faults = refused
    text = (root / "tutorials" / "start" / "03-dies.md").read_text()
    line = text.count("\n", 0, text.index("import os")) + 1
    (fault,) = (fault for fault in faults if fault.startswith("03-"))
    assert fault == (f"03-dies.md:{line}: this cell killed its kernel. Did the memory run out?")


def test_sound_lessons_are_built_beside_faulty_ones(refused: tuple[Path, list[str]]) -> None:
    root, faults = refused
    assert [fault for fault in faults if fault.startswith("01-unreadable.md:7: level")]
    assert not [fault for fault in faults if fault.startswith("04-")]
    assert [p.name for p in (root / "notebooks" / "start").iterdir()] == ["04-sound.ipynb"]
    measured = json.loads((root / "notebooks" / "measured.json").read_text())
    assert list(measured) == ["start/04-sound"]


def test_a_cell_that_hangs_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.lessons.kernels.CELL_TIMEOUT", 2)
    path = write_sample(tmp_path, spoil("rng = np", "while True:\n    pass\nrng = np"))
    start = time.monotonic()
    with pytest.raises(MasterError) as refused:
        build([path])
    assert time.monotonic() - start < 30
    text = path.read_text()
    line = text.count("\n", 0, text.index("import numpy")) + 1
    assert str(refused.value) == f"{path}:{line}: this cell ran for more than 2 s. Make it faster."


def test_a_description_lost_with_new_words_is_missed_without_running(
    root: Path, trace: Path
) -> None:
    """The rule for masters sees plt.show; other ways to show a figure need the outputs."""
    change_notebook(root, lambda n: cell_with(n, "plt.show").update(source="fig"))
    text = master_of(root).read_text()
    begin = text.index("import matplotlib")
    text = text[:begin] + "fig" + text[text.index("plt.show()") + len("plt.show()") :]
    alt = text[text.index(":alt:") : text.index("fig\n")]
    master_of(root).write_text(text.replace(alt, ""))
    runs = trace.read_text()
    with pytest.raises(MasterError, match="this cell shows a figure"):
        build([master_of(root)])
    assert trace.read_text() == runs


# ------------------------------------------------------------------------------------------
# Comparing
# ------------------------------------------------------------------------------------------


def change_output(root: Path, source: str, old: str, new: str) -> None:
    def change(notebook: NotebookNode) -> None:
        data = cell_with(notebook, source).outputs[0].data
        for kind, text in data.items():
            assert old in text
            data[kind] = text.replace(old, new)

    change_notebook(root, change)


def change_picture(root: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    def recode(notebook: NotebookNode) -> None:
        (output,) = cell_with(notebook, "plt.show").outputs
        picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        buffer = io.BytesIO()
        change(picture).save(buffer, "PNG")
        output.data["image/png"] = base64.b64encode(buffer.getvalue()).decode()

    change_notebook(root, recode)


PRINTS = TRACED.replace(
    f"{CODE}:alt:", f'{CODE}say(f"{{right.mean():.2f}} of all")\n```\n\n{CODE}:alt:'
)


@pytest.fixture(scope="module")
def compared(trace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Check a notebook of which a picture and a number have changed, and one of which nothing."""
    root = tmp_path_factory.mktemp("compared")
    path, same = write_sample(root, PRINTS), write_sample(root, name="start/02-same")
    build([path, same])
    change_output(root, 'say(f"The', "0.850", "0.855")
    change_output(root, "of all", "0.85 ", "0.86 ")
    change_picture(root, ImageOps.mirror)
    before = {p: p.read_bytes() for p in (root / "notebooks").rglob("*.*")}
    said: list[str] = []
    differences = check([path, same], progress=said.append)
    assert {p: p.read_bytes() for p in (root / "notebooks").rglob("*.*")} == before
    assert said == ["start/01-small: 2 differences", "start/02-same: same"]
    return path, differences


def test_a_changed_number_is_found(compared: tuple[Path, list[str]]) -> None:
    path, differences = compared
    line = PRINTS.count("\n", 0, PRINTS.index('say(f"The')) + 1
    (found,) = (d for d in differences if d.startswith(f"{path}:{line}: "))
    assert "stored '0.855', now '0.850'" in found


def test_a_changed_picture_is_found(compared: tuple[Path, list[str]]) -> None:
    path, differences = compared
    line = PRINTS.count("\n", 0, PRINTS.index("import matplotlib")) + 1
    (found,) = (d for d in differences if d.startswith(f"{path}:{line}: "))
    assert "image/png" in found


def test_one_unit_in_the_last_digit_is_no_difference(compared: tuple[Path, list[str]]) -> None:
    path, differences = compared
    line = PRINTS.count("\n", 0, PRINTS.index('say(f"{right')) + 1
    assert not [d for d in differences if d.startswith(f"{path}:{line}: ")]


def test_what_is_stale_is_not_compared(root: Path, trace: Path) -> None:
    runs = trace.read_text()
    change_master(root, "\nCount.\n", "\nCount twice.\n")
    (line,) = check([master_of(root)])
    assert line.endswith("01-small.ipynb: does not follow from its master. Run mlkit build.")
    notebook_path(master_of(root)).unlink()
    (line,) = check([master_of(root)])
    assert line.endswith("01-small.ipynb: missing. Run mlkit build.")
    assert trace.read_text() == runs


# ------------------------------------------------------------------------------------------
# Formatting
# ------------------------------------------------------------------------------------------

UNTIDY = (
    spoil("rng = np.random.default_rng(SEED)", "rng=np.random.default_rng( SEED )")
    .replace("share = right.sum()", "share=right.sum( )")
    .replace("SHARE = 0.9  #", "SHARE = 0.9 #")
    .replace("coded right\n", "coded right, of all records and for every kind of job\n")
    .replace("\nCount.\n", "\nCount  .\n\n```python\nx=1\n```\n\n|a|b|\n|-|-|\n")
    .replace("    ...\n", "    x=1\n    ...\n")
)


def test_the_code_of_a_master_is_formatted_and_its_words_are_left_alone(tmp_path: Path) -> None:
    path = write_sample(tmp_path, UNTIDY)
    cells = read_master(path).cells
    assert format_master(path)
    text = path.read_text(encoding="utf-8")
    assert "rng = np.random.default_rng(SEED)" in text
    assert "share = right.sum()" in text
    assert "SHARE = 0.9 # float: true share that is coded right, of all records and for" in text
    assert "\nCount  .\n\n```python\nx=1\n```\n\n|a|b|\n|-|-|\n" in text
    after = read_master(path).cells
    assert [c.source for c in after if c.cell_type == "markdown"] == [
        c.source for c in cells if c.cell_type == "markdown"
    ]
    assert [(c.tags, c.keys) for c in after] == [(c.tags, c.keys) for c in cells]


def test_formatting_twice_changes_nothing(tmp_path: Path) -> None:
    path = write_sample(tmp_path, UNTIDY)
    format_master(path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert not format_master(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_code_that_grows_when_formatted_moves_no_other_cell(tmp_path: Path) -> None:
    long = "x = dict(" + ", ".join(f"argument_{i}={i}" for i in range(12)) + ")"
    path = write_sample(tmp_path, with_cells(long, "y=1", long))
    assert format_master(path)
    sources = [cell.source for cell in read_master(path).cells]
    assert sources.count("y = 1") == 1
    assert max(source.count("\n") for source in sources if source.startswith("x = dict(")) == 13


# ------------------------------------------------------------------------------------------
# Copies and accidents
# ------------------------------------------------------------------------------------------


def test_solved_copies_are_written_and_not_executed(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    (place,) = build_solved([path], tmp_path / "out")
    assert place == tmp_path / "out" / "start" / "01-small.ipynb"
    notebook = nbformat.read(place, as_version=4)
    assert cell_with(notebook, "share = right.mean()").outputs == []


def test_a_full_disk_leaves_the_old_notebook(root: Path) -> None:
    place = notebook_path(master_of(root))
    before = place.read_bytes()
    change_master(root, "\nCount.\n", "\nCount twice.\n")
    # No file may grow beyond 4 kB, so that writing fails on the way.
    start = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "from mlkit.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", start, "build"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "[Errno 27] File too large\n")
    assert place.read_bytes() == before
    assert [p.name for p in place.parent.iterdir()] == ["01-small.ipynb"]


def test_a_killed_build_leaves_the_old_notebook_and_no_kernel(root: Path, trace: Path) -> None:
    place = notebook_path(master_of(root))
    before = place.read_bytes()
    pid = root / "pid"
    change_master(
        root,
        "right = rng.random(N) < SHARE\n",
        f'import time\nopen("{pid}", "w").write(str(os.getpid()) + "\\n")\ntime.sleep(60)\n'
        "right = rng.random(N) < SHARE\n",
    )
    command = [sys.executable, "-m", "mlkit.cli", "build"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=root, env=environment) as process:
        wait_until(lambda: pid.is_file() and pid.read_text().endswith("\n"))
        process.send_signal(signal.SIGKILL)
    assert place.read_bytes() == before
    assert sorted(p.name for p in place.parent.iterdir()) == ["01-small.ipynb"]
    kernel = int(pid.read_text())
    wait_until(lambda: not is_running(kernel))


def is_running(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
