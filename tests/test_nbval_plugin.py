"""nbval with our plugin: what it must accept, what plain nbval misses, and what it says.

Kernels are slow to start, so each session of pytest below runs many cells of few notebooks.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from mlkit.lessons.guards import cell_faults, source_faults
from mlkit.lessons.kernels import CELL_TIMEOUT
from mlkit.lessons.nbval_plugin import option_faults

PLUGIN = ("-p", "mlkit.lessons.nbval_plugin")


def code(
    source: str, *outputs: NotebookNode, count: int | None = 1, **metadata: Any
) -> NotebookNode:
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def displayed(**data: Any) -> NotebookNode:
    kinds = {"text": "text/plain", "html": "text/html", "json": "application/vnd.x+json"}
    return new_output("display_data", {kinds[kind]: content for kind, content in data.items()})


def write(path: Path, cells: Iterable[NotebookNode]) -> None:
    notebook = new_notebook(cells=list(cells))
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


@dataclass(frozen=True)
class Session:
    """One run of pytest: its exit code, its words, and what became of each cell."""

    code: int
    output: str
    outcomes: dict[str, str]
    seconds: float


def run_pytest(folder: Path, *arguments: str, **environment: str) -> Session:
    start = time.monotonic()
    options = ["--nbval", "--nbval-current-env", "--color=no", "--junit-xml=results.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    outcomes = {}
    if (results := folder / "results.xml").is_file():
        for case in ElementTree.parse(results).iter("testcase"):  # noqa: S314 - our own file
            child = next(iter(case), None)
            name = f"{case.get('classname')}::{case.get('name')}"
            outcomes[name] = "passed" if child is None else child.tag
    return Session(done.returncode, done.stdout + done.stderr, outcomes, time.monotonic() - start)


# ------------------------------------------------------------------------------------------
# A sound notebook
# ------------------------------------------------------------------------------------------

SHOW_JSON = (
    "from IPython.display import display\n"
    'display({"application/vnd.x+json": {"v": 0.903, "n": 17100}}, raw=True)'
)
REASON = {"relative": 0.1, "reason": "depends on the machine"}

SOUND = [
    code("", count=None),
    code("print('accuracy 0.903')\nprint('n = 17,100')", printed("accuracy 0.902\nn = 17,099\n")),
    code(
        "from IPython.display import HTML\nHTML('<td width=\"5\">0.903</td>')",
        new_output(
            "execute_result",
            {
                "text/plain": "<IPython.core.display.HTML object>",
                "text/html": '<td width="5">0.902</td>',
            },
            execution_count=1,
        ),
    ),
    code(SHOW_JSON, displayed(json={"v": 0.902, "n": 17099})),
    code("print('109 MB')", printed("100 MB\n"), tolerance=REASON),
    code(
        "import time\nnow = time.time()\nassert now > 0\nprint(now)",
        printed("1.5\n"),
        tags=["nbval-ignore-output"],
    ),
    code("total = (7\n    % 4)\ntotal", new_output("execute_result", {"text/plain": "3"})),
    # Warnings are shown, although the test below hides them in the environment.
    code("import sys\nprint('ignore' in sys.warnoptions)", printed("False\n")),
]

# A kernel is gone before the next notebook starts, or their memory would add up.
LEAVES_NUMBER = "import os, pathlib\n_ = pathlib.Path('pid').write_text(str(os.getpid()))"
FINDS_NO_PROCESS = (
    "import os, pathlib\npid = int(pathlib.Path('pid').read_text())\nfound = True\n"
    "try:\n    os.kill(pid, 0)\nexcept ProcessLookupError:\n    found = False\nassert not found"
)


def test_sound_notebooks_pass_without_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", [*SOUND, code(LEAVES_NUMBER)])
    write(tmp_path / "b.ipynb", [code(FINDS_NO_PROCESS)])
    session = run_pytest(tmp_path, *PLUGIN, "-W", "error", PYTHONWARNINGS="ignore")
    assert session.code == 0, session.output
    assert list(session.outcomes.values()) == ["passed"] * (len(SOUND) + 2)
    assert "warning" not in session.output.lower()


# ------------------------------------------------------------------------------------------
# Cells that differ
# ------------------------------------------------------------------------------------------

IGNORED = "import warnings\nassert True is not False\nwarnings.warn('mind the gap')"

# The source, what is stored, and what the report must say.
DIFFERING: list[tuple[NotebookNode, str]] = [
    (
        code("# Accuracy of the model\nprint('accuracy 0.897')", printed("accuracy 0.902\n")),
        "bad.ipynb::Cell 0 (# Accuracy of the model): Cell outputs differ\n"
        "stdout: stored '0.902', now '0.897' after 'accuracy': 0.005 apart, allowed is 0.001",
    ),
    (
        code(SHOW_JSON, displayed(json={"v": 0.903, "n": 17098})),
        "json: n: stored '17098', now '17100'",
    ),
    (
        code("print('120 MB')", printed("100 MB\n"), tolerance=REASON),
        "stored '100', now '120': 20 apart, allowed is 10",
    ),
    (code(IGNORED, tags=["nbval-ignore-output"]), "The cell writes to stderr.\n"),
    (
        code("import sys\nprint('careful', file=sys.stderr)"),
        "stored nothing, now stderr 'careful\\n'",
    ),
    (code("def f():\n    raise KeyError('x')\nf()"), "KeyError: 'x'"),
    (code("print('still here')", printed("still here\n")), ""),
]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Run notebooks that differ, and one whose kernel dies."""
    folder = tmp_path_factory.mktemp("failed")
    write(folder / "bad.ipynb", [cell for cell, _ in DIFFERING])
    write(folder / "dies.ipynb", [code("import os\nos._exit(1)"), code("x = 1"), code("y = 1")])
    return run_pytest(folder, *PLUGIN)


def test_a_difference_is_reported_with_notebook_cell_and_both_numbers(failed: Session) -> None:
    outcomes = [failed.outcomes[f"bad.ipynb::Cell {i}"] for i in range(len(DIFFERING))]
    assert outcomes == ["failure" if words else "passed" for _, words in DIFFERING], failed.output
    for _, words in DIFFERING:
        assert words in failed.output


# ------------------------------------------------------------------------------------------
# Kernels that die or hang
# ------------------------------------------------------------------------------------------


def test_a_dead_kernel_is_noticed_long_before_the_time_is_up(failed: Session) -> None:
    outcomes = [failed.outcomes[f"dies.ipynb::Cell {i}"] for i in range(3)]
    assert outcomes == ["failure", "skipped", "skipped"]
    assert "dies.ipynb::Cell 0 (import os): The kernel died" in failed.output
    assert failed.seconds < CELL_TIMEOUT / 2


def test_a_cell_that_swallows_the_interrupt_fails(tmp_path: Path) -> None:
    swallows = (
        "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end:\n"
        "    try:\n        time.sleep(1.5)\n    except KeyboardInterrupt:\n        pass"
    )
    write(tmp_path / "hangs.ipynb", [code(swallows), code("x = 1")])
    session = run_pytest(tmp_path, *PLUGIN, "--nbval-cell-timeout=1")
    assert list(session.outcomes.values()) == ["failure", "skipped"], session.output
    assert "hangs.ipynb::Cell 0 (import time): The cell ran out of time" in session.output


# ------------------------------------------------------------------------------------------
# What plain nbval lets pass
# ------------------------------------------------------------------------------------------

# Each cell passes plain nbval, which the first test below shows, and is refused by ours.
STDERR = "import sys\nprint('careful', file=sys.stderr)"
MAGIC = "UsageError: Line magic function `%nosuchmagic` not found.\n"
UNSEEN = [
    (code("import random\nprint(random.random())", count=None), "not executed: run mlkit build"),
    (code("%nosuchmagic\nraise ValueError", printed(MAGIC, "stderr")), "line 1 is not Python"),
    (code("!exit 3"), "line 1 is not Python: '!exit 3'"),
    (code("x = 1\nfiles = !false"), "line 2 is not Python: 'files = !false'"),
    (code("raise ValueError", tags=["nbval-skip"]), "tag nbval-skip"),
    (code("x = 1", tags=["raises-exception"]), "tag raises-exception"),
    (code("x = 1", tags=["nbval-raises-exception"]), "tag nbval-raises-exception"),
    (code("raise ValueError\n# NBVAL_SKIP"), "the comment NBVAL_SKIP"),
    (code("# NBVAL_IGNORE_OUTPUT\nprint(5)"), "the comment NBVAL_IGNORE_OUTPUT"),
    (code("print(5)", tags=["nbval-ignore-output"]), "Add an assert"),
    (code("def f():\n    assert 0", tags=["nbval-ignore-output"]), "Add an assert"),
    (code("assert True\n5", tags=["nbval-ignore-output"]), "Add an assert"),
    (code(STDERR, printed("careful\n", "stderr")), "on stderr is stored"),
]


@pytest.fixture
def unseen(tmp_path: Path) -> Path:
    write(tmp_path / "unseen.ipynb", [cell for cell, _ in UNSEEN])
    return tmp_path


def test_plain_nbval_passes_all_of_them(unseen: Path) -> None:
    session = run_pytest(unseen)
    assert session.code == 0, session.output
    assert set(session.outcomes.values()) == {"passed", "skipped"}


def test_ours_refuses_all_of_them_before_a_kernel_starts(unseen: Path) -> None:
    session = run_pytest(unseen, *PLUGIN)
    assert session.code == 2
    for number, (cell, words) in enumerate(UNSEEN):
        first = cell.source.splitlines()[0]
        assert re.search(
            rf"unseen\.ipynb::Cell {number} \({re.escape(first)}\): .*{re.escape(words)}",
            session.output,
        ), (words, session.output)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        *UNSEEN,
        (code("x = 1\nx;"), "trailing semicolon"),
        (code("x = 1\nx;  # no output"), "trailing semicolon"),
        (code("%%bash\nexit 3"), "line 1 is not Python"),
        (code("pip install x"), "line 1 is not Python"),
        (code("len?"), "line 1 is not Python"),
        (code("x = ("), "line 1 is not Python"),
        (code("x = 1", tolerance={"relative": 0.1}), "needs two keys"),
        (code("1/0", new_output("error", ename="E", evalue="why")), "an exception is stored: E"),
        (code("x = 1", tags=["pytest-validate-ignore-output"]), "Use nbval-ignore-output"),
    ],
)
def test_guards(cell: NotebookNode, words: str) -> None:
    faults = cell_faults(cell)
    assert len([fault for fault in faults if words in fault]) == 1, faults


@pytest.mark.parametrize(
    "source",
    [
        "x = 1; y = 2",
        "x = ';'",
        "x = 1  # one;",
        "total = (7\n    % 4)",
        'text = """\n%matplotlib inline\n!ls\n"""',
        "answer = ...",
        "await f()",
        "# NBVAL is a tool",
        "",
    ],
)
def test_guards_leave_plain_python_alone(source: str) -> None:
    assert cell_faults(code(source)) == []


@pytest.mark.parametrize(
    "source",
    ["assert x", "with f():\n    assert x", "if y:\n    pass\nfor x in y:\n    assert x > 0"],
)
def test_an_assert_guards_an_output_that_is_not_compared(source: str) -> None:
    assert source_faults(code(source, tags=["nbval-ignore-output"])) == []


def test_a_cell_not_yet_executed_is_sound_in_its_source() -> None:
    assert source_faults(code("x = 1", count=None)) == []
    assert cell_faults(nbformat.v4.new_markdown_cell("!exit 3")) == []


# ------------------------------------------------------------------------------------------
# Options
# ------------------------------------------------------------------------------------------

PLAIN: dict[str, Any] = {
    "nbval": True,
    "nbval_lax": False,
    "nbval_sanitize_with": None,
    "nbval_kernel_name": None,
    "dist": "no",
    "cov_source": [],
    "cov_branch": None,
    "cov_config": "pyproject.toml",
}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nbval_lax": True}, "--nbval-lax compares no output"),
        ({"nbval_lax": True, "nbval": False}, "--nbval-lax compares no output"),
        ({"nbval_sanitize_with": "x.cfg"}, "--nbval-sanitize-with has no effect"),
        ({"nbval_kernel_name": "x"}, "--nbval-kernel-name has no effect"),
        ({"dist": "load"}, "Give --dist loadfile"),
        ({"dist": "worksteal"}, "Give --dist loadfile"),
        ({"cov_source": [True]}, "Give --cov=mlkit"),
        ({"cov_source": ["mlkit", ""]}, "Give --cov=mlkit"),
        ({"cov_source": ["mlkit"], "cov_branch": True}, "Set branch = true"),
        ({"cov_source": ["mlkit"], "cov_config": ".no-such"}, "--cov-config: no file .no-such"),
    ],
)
def test_options_that_make_the_test_say_nothing_are_refused(
    options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    faults = option_faults(argparse.Namespace(**{**PLAIN, **options}))
    assert len(faults) == 1
    assert words in faults[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"dist": "loadfile"}, {"cov_source": ["mlkit"]}, {"nbval": False, "dist": "load"}],
)
def test_other_options_are_accepted(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    assert option_faults(argparse.Namespace(**{**PLAIN, **options})) == []


def test_coverage_counts_what_kernels_run(tmp_path: Path) -> None:
    package, lessons = tmp_path / "counted", tmp_path / "lessons"
    package.mkdir()
    lessons.mkdir()
    (package / "__init__.py").write_text("def f(x):\n    if x:\n        return 1\n    return 2\n")
    (tmp_path / "pyproject.toml").write_text("[tool.coverage.run]\nbranch = true\n")
    write(lessons / "a.ipynb", [code("import counted\nassert counted.f(1) == 1")])
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    refused = run_pytest(tmp_path, *PLUGIN, "--cov=counted", PYTHONPATH=path)
    assert refused.code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --cov-config: no file .coveragerc" in refused.output
    session = run_pytest(
        tmp_path, *PLUGIN, "--cov=counted", "--cov-config=pyproject.toml", PYTHONPATH=path
    )
    assert session.code == 0, session.output
    assert re.search(r"counted/__init__\.py +4 +1 +2 +1 +67%", session.output), session.output
