"""What is shipped: wheel, sdist and editable install, built and installed without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.install

ROOT = Path(__file__).resolve().parents[1]


class Built(NamedTuple):
    """The files that were built."""

    wheel: Path
    sdist: Path
    wheel_from_sdist: Path


def run(*words: str | Path, cwd: Path) -> str:
    # PYTHONPATH would let the checkout be found where it must not be.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    direct, through_sdist = tmp_path_factory.mktemp("direct"), tmp_path_factory.mktemp("sdist")
    build = (sys.executable, "-m", "build", "--no-isolation", ROOT)
    run(*build, "--wheel", "--outdir", direct, cwd=direct)
    run(*build, "--outdir", through_sdist, cwd=through_sdist)  # the sdist, and a wheel from it
    return Built(
        next(direct.glob("*.whl")),
        next(through_sdist.glob("*.tar.gz")),
        next(through_sdist.glob("*.whl")),
    )


def shipped(folder: str) -> set[Path]:
    """List the files of a folder of the checkout, without caches and hidden files."""
    return {
        path.relative_to(ROOT)
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    }


def wheel_content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel: Path) -> dict[str, list[str]]:
    content = wheel_content(wheel)
    text = next(content[name] for name in content if name.endswith(".dist-info/METADATA"))
    message = Parser().parsestr(text.decode())
    return {key: message.get_all(key) or [] for key in message}


def test_the_wheel_holds_library_data_and_licences_and_nothing_else(built: Built) -> None:
    content = wheel_content(built.wheel)
    library = {path.as_posix(): path for path in shipped("mlkit")}
    data = {
        f"mlkit/_data/{path.relative_to('datasets').as_posix()}": path
        for path in shipped("datasets")
    }
    assert "mlkit/_data/soc_index/ons_soc2010_index.csv.gz" in data
    assert {name for name in content if ".dist-info/" not in name} == {*library, *data}
    for name, path in {**library, **data}.items():
        assert content[name] == (ROOT / path).read_bytes(), name
    licences = {name.partition("/licenses/")[2] for name in content if "/licenses/" in name}
    assert licences == {
        "LICENSE",
        "LICENSE-lessons",
        *(path.as_posix() for path in shipped("datasets") if path.name == "LICENSE"),
    }


def test_the_core_is_light(built: Built) -> None:
    requirements = [Requirement(line) for line in metadata(built.wheel)["Requires-Dist"]]
    core = {r.name for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})}
    assert {"numpy", "pandas", "scikit-learn"} <= core
    assert not core & {"torch", "rasterio", "papermill", "nbformat", "nbclient", "nbconvert"}
    assert not {name for name in core if name.startswith(("jupyter", "ipy"))}


def test_the_sdist_builds_the_same_wheel(built: Built) -> None:
    assert wheel_content(built.wheel_from_sdist) == wheel_content(built.wheel)


def test_the_sdist_holds_lessons_and_tests_and_no_caches(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = shipped("mlkit") | shipped("datasets") | shipped("tests") | shipped("tutorials")
    assert {path.as_posix() for path in expected} <= names
    parts = {part for name in names for part in name.split("/")}
    assert not parts & {"__pycache__", ".pytest_cache", ".mypy_cache", ".venv", ".git"}


# --- installed -------------------------------------------------------------------------------

LOAD = """
import json, mlkit
from mlkit.datasets import dataset_names, load_soc_index
soc = load_soc_index()
print(json.dumps([mlkit.__file__, dataset_names(), len(soc.frame), len(soc.classification)]))
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Make an environment that sees the packages of this one, but not the checkout."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", where, cwd=tmp_path).strip())
    # A folder named in a .pth file is searched, but the .pth files inside it are not read:
    # an editable install of the kit in this environment stays out.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    return python


def install(python: Path, *words: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(
        *pip,
        "install",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        *words,
        cwd=python.parent,
    )


def load(python: Path, elsewhere: Path) -> Path:
    """Load data with the kit installed there; return the folder of the library."""
    file, names, entries, codes = json.loads(run(python, "-I", "-c", LOAD, cwd=elsewhere))
    assert "soc_index" in names
    assert (entries, codes) == (28_521, 493)
    return Path(file).parent


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_installed_from_a_file(
    built: Built, kind: str, python: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    install(python, getattr(built, kind))
    library = load(python, tmp_path_factory.mktemp("elsewhere"))
    assert library.is_relative_to(python.parents[1])

    damaged = library / "_data" / "soc_index" / "ons_soc2010_index.csv.gz"
    damaged.write_bytes(b"")
    with pytest.raises(AssertionError, match=r"is damaged: it has 0 bytes") as error:
        load(python, tmp_path_factory.mktemp("elsewhere"))
    assert str(damaged) in str(error.value)
    assert "Install the kit again, with pip's option --force-reinstall." in str(error.value)


def test_installed_editable(python: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    install(python, "--editable", ROOT)
    assert load(python, tmp_path_factory.mktemp("elsewhere")) == ROOT / "mlkit"
