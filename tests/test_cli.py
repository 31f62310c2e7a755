"""The command line as a user meets it: words, exit codes, and never a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import mlkit
from tests.sample import SAMPLE, spoil, write_sample

ROOT = Path(__file__).resolve().parents[1]

# What `pip install .` alone leaves out. (pydantic comes with typer.)
EXTRAS = ("jupytext", "nbclient", "nbconvert", "nbformat", "papermill")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


def run(
    *arguments: str, cwd: Path, missing: tuple[str, ...] = (), expect_traceback: bool = False
) -> Ended:
    """Run a command in a process of its own, as if some packages were not installed."""
    start = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r})); "
        "from mlkit.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ("Traceback" in done.stderr) == expect_traceback, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    write_sample(tmp_path)
    return tmp_path


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlkit.cli", "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{mlkit.__version__}\n"


def test_without_a_verb_the_verbs_are_listed(tmp_path: Path) -> None:
    ended = run(cwd=tmp_path)
    for verb in ("build", "try", "present", "run", "data"):
        assert re.search(rf"\b{verb}\b", ended.out)
    assert "Verbs marked (checkout) work inside a clone of the repository." in ended.out


# ------------------------------------------------------------------------------------------
# What a user can mend
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("build", "--stale"), ("present", "start/01-welcome")],
    ids=" ".join,
)
def test_a_verb_that_needs_a_checkout_says_so(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ended = run(*arguments, cwd=tmp_path)
    assert ended.code == 2
    assert ended.err.startswith(f"{tmp_path} is not inside a checkout of the kit")
    assert ended.err.endswith("Clone the repository and run the command there.\n")


def test_an_unknown_lesson_is_told_with_the_one_that_was_meant(checkout: Path) -> None:
    ended = run("build", "start/01-smal", cwd=checkout)
    assert (ended.code, ended.err) == (
        2,
        "No lesson 'start/01-smal'. Did you mean 'start/01-small'?\n",
    )


@pytest.mark.parametrize("arguments", [("build",), ("try",)], ids=" ".join)
def test_a_faulty_master_is_told_with_file_and_line(
    arguments: tuple[str, ...], checkout: Path
) -> None:
    path = write_sample(checkout, spoil("level: beginner", "level: begginer"))
    ended = run(*arguments, cwd=checkout)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"{path}:7: level: given 'begginer': input should be 'beginner', 'intermediate' or "
        "'advanced'.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (("build", "--stale"), "jupytext", "lessons"),
        (("try",), "pydantic", "lessons"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    arguments: tuple[str, ...], missing: str, extra: str, checkout: Path
) -> None:
    ended = run(*arguments, cwd=checkout, missing=(missing,))
    assert ended.code == 2
    assert ended.err == (
        f"This needs {missing}, which is not installed. Install the kit with its extra "
        f"{extra!r}: in a checkout, python -m pip install -c constraints.txt -e '.[{extra}]'\n"
    )


def test_an_error_that_a_user_cannot_mend_is_shown_whole(checkout: Path) -> None:
    run("build", "--stale", cwd=checkout, missing=("mlkit.lessons.scan",), expect_traceback=True)


# ------------------------------------------------------------------------------------------
# Data: works from an installation without extras
# ------------------------------------------------------------------------------------------


def test_the_data_sets_are_listed_a_line_each(tmp_path: Path) -> None:
    ended = run("data", cwd=tmp_path, missing=EXTRAS)
    assert ended.code == 0
    assert re.search(r"^soc_index +real +ONS coding index of the", ended.out, flags=re.M)


def test_one_data_set_is_described(tmp_path: Path) -> None:
    ended = run("data", "soc_index", cwd=tmp_path, missing=EXTRAS)
    assert ended.code == 0
    assert ended.out.startswith("# ONS coding index of the Standard Occupational Classification")
    assert "Licence" in ended.out


def test_an_unknown_data_set_is_told_with_those_there_are(tmp_path: Path) -> None:
    ended = run("data", "soc_indx", cwd=tmp_path, missing=EXTRAS)
    assert ended.code == 2
    assert "soc_indx" in ended.err
    assert "soc_index" in ended.err


# ------------------------------------------------------------------------------------------
# The way of an author
# ------------------------------------------------------------------------------------------


def test_a_lesson_may_be_named_by_its_key_or_by_a_file(checkout: Path) -> None:
    names = ["start/01-small", "tutorials/start/01-small.md", "notebooks/start/01-small.ipynb"]
    ended = run("build", "--solved", *names, cwd=checkout)
    place = Path("build", "solved", "start", "01-small.ipynb")
    assert ended == Ended(0, f"{place}\n" * 3, "")
    assert (checkout / place).is_file()


def test_an_author_builds_looks_for_stale_notebooks_and_checks(checkout: Path) -> None:
    stale = run("build", "--stale", cwd=checkout)
    assert (stale.code, stale.out) == (1, "")
    assert stale.err == "notebooks/start/01-small.ipynb is missing: run mlkit build\n"

    built = run("build", cwd=checkout / "tutorials" / "start")
    assert (built.code, built.err) == (0, "")
    assert re.fullmatch(
        r"start/01-small: executed in [\d.]+ s \(slowest cell [\d.]+ s, \d+ MB\)\n", built.out
    )

    assert run("build", "--stale", cwd=checkout) == Ended(
        0, "Every notebook follows from its master.\n", ""
    )
    assert run("build", "--check", cwd=checkout) == Ended(
        0, "start/01-small: same\nEvery notebook gives the same again.\n", ""
    )


def test_trying_ends_with_an_error_when_an_answer_is_not_answered(checkout: Path) -> None:
    text = SAMPLE.replace(":expect: right ones", ":expect: all the records")
    path = write_sample(checkout, text)
    ended = run("try", cwd=checkout)
    assert (ended.code, ended.out) == (1, "start/01-small: 1 faults\n")
    line = text.count("\n", 0, text.index("def count_wrong(right):\n    return right.sum()")) + 1
    assert ended.err.startswith(f"{path}:{line}: exercise 'count-wrong': this wrong answer must")
