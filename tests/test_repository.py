"""Facts about the repository that must stay true."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

LARGEST_FILE = 5_000_000  # bytes; a clone carries every version of every file for ever
README_SCREEN = 60  # lines

# Written so that this file does not hold what it forbids.
REGISTRY_HOSTS = (
    "pypi[.]org|python[h]osted[.]|registry[.]npm[j]s|npm[j]s[.]org|"
    "deb[.]debian[.]org|security[.]debian[.]org|repo[.]anaconda[.]com"
)
MACHINE_PATHS = "(^|[^A-Za-z0-9._-])/(work|farm|opt|root)/"

# The legal text as Creative Commons publishes it, from its first line to its last.
CC_BY_SHA256 = "fd3a263fe19ed8faa9068b43abaebafc02c77897b0c6fc09abc04bb592e5f16e"


def git(*arguments: str) -> str:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone, so nothing tells the repository's files from others")
    done = run(["git", *arguments], cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr  # 1: git grep found nothing
    return done.stdout


def run(command: list[str], **keywords: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **keywords
    )


# --- files ---


def test_no_file_is_too_large() -> None:
    # Files that git does not ignore count too: they are what the next commit takes.
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths = [ROOT / name for name in names.rstrip("\0").split("\0")]
    sizes = {str(path): path.stat().st_size for path in paths if path.is_file()}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE} == {}


@pytest.mark.parametrize("pattern", [REGISTRY_HOSTS, MACHINE_PATHS], ids=["host", "path"])
def test_no_file_names_a_registry_host_or_a_machine_path(pattern: str) -> None:
    assert git("grep", "--untracked", "-nIE", pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRY_HOSTS, "https://" + "pypi" + ".org/simple"),
        (REGISTRY_HOSTS, "https://files." + "python" + "hosted.org/packages"),
        (MACHINE_PATHS, '"' + "/" + 'work/main/mlkit"'),
        (MACHINE_PATHS, "/" + "opt/wheels"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: str, text: str) -> None:
    assert re.search(pattern, text)


# --- licences and citation ---


def test_code_has_the_mit_licence() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n")
    assert 'THE SOFTWARE IS PROVIDED "AS IS"' in text


def test_lessons_have_the_whole_unaltered_text_of_cc_by() -> None:
    text = (ROOT / "LICENSE-lessons").read_text(encoding="utf-8")
    notice, separator, rest = text.partition("Attribution 4.0 International\n\n====")
    legal_text = separator + rest
    assert hashlib.sha256(legal_text.encode()).hexdigest() == CC_BY_SHA256
    # What the notice names is there.
    for folder in ("tutorials", "notebooks", "docs"):
        assert folder in notice
        assert (ROOT / folder).is_dir()


def test_the_wheel_takes_every_licence_along() -> None:
    patterns = PROJECT["license-files"]
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []


def test_the_citation_is_complete() -> None:
    # The keys that the Citation File Format 1.2.0 requires, and their types.
    assert CITATION["cff-version"] == "1.2.0"
    assert isinstance(CITATION["title"], str)
    assert isinstance(CITATION["message"], str)
    assert CITATION["authors"]
    for author in CITATION["authors"]:
        # Either an entity or a person.
        assert "name" in author or {"family-names", "given-names"} & set(author)
        assert all(isinstance(value, str) for value in author.values())
    assert CITATION["type"] in {"software", "dataset"}
    assert all(isinstance(keyword, str) for keyword in CITATION["keywords"])
    assert len(set(CITATION["keywords"])) == len(CITATION["keywords"])


def test_the_citation_agrees_with_pyproject() -> None:
    assert CITATION["version"] == PROJECT["version"]
    assert [author["name"] for author in CITATION["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]
    assert set(CITATION["license"]) <= set(PROJECT["license"].split(" AND "))


# --- README ---


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_the_readme_opens_with_the_two_commands(command: str) -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert any(command in line for line in lines[:README_SCREEN])


# --- pre-commit ---


def test_pre_commit_reads_its_settings() -> None:
    done = run([sys.executable, "-m", "pre_commit", "validate-config"], cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_hook_is_local_and_needs_no_download() -> None:
    assert [repository["repo"] for repository in HOOKS] == ["local"]
    assert {hook["language"] for hook in HOOKS[0]["hooks"]} == {"system"}


@pytest.mark.parametrize("hook", HOOKS[0]["hooks"], ids=lambda hook: hook["id"])
def test_every_hook_runs_a_program_that_exists(hook: dict[str, Any]) -> None:
    program, *arguments = shlex.split(hook["entry"])
    beside_python = str(Path(sys.executable).parent)
    found = sys.executable if program == "python" else shutil.which(program, path=beside_python)
    assert found is not None
    plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    done = run([found, *arguments, "--help"], cwd=ROOT, env=os.environ | plain)
    assert done.returncode == 0, done.stderr
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in done.stdout
        if argument.endswith(".py"):
            assert (ROOT / argument).is_file()


@pytest.mark.install
def test_a_commit_with_a_large_file_is_stopped(tmp_path: Path) -> None:
    for name in (".pre-commit-config.yaml", "pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tests").mkdir()
    shutil.copy(Path(__file__), tmp_path / "tests")
    (tmp_path / "survey.csv").write_bytes(b"0" * (LARGEST_FILE + 1))
    run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    run(["git", "add", "."], cwd=tmp_path, check=True)
    home = {"PRE_COMMIT_HOME": str(tmp_path / ".git/pre-commit")}
    activated = {"PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}
    done = run(
        [sys.executable, "-m", "pre_commit", "run", "repository"],
        cwd=tmp_path,
        env=os.environ | home | activated,
    )
    assert done.returncode == 1
    assert re.search(r"survey\.csv.*5000001", done.stdout), done.stdout
