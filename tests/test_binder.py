"""Binder and conda: what can be proved without Docker and without the network."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from http.client import HTTPConnection
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rattler import MatchSpec

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / "binder"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))

# What conda-forge calls by another name, or offers in a smaller cut.
CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "jupyter-core": "jupyter_core",
    "nbconvert": "nbconvert-core",
    "torch": "pytorch-cpu",
}
EXTRAS_IN_THE_IMAGE = ("lessons", "runs", "lab", "imagery", "neural")
BESIDE_THE_PACKAGES = {"python", "pip"}


def bounds(specifier: str) -> frozenset[str]:
    """Bounds in any order: ``">=2,<3"`` and ``"<3,>=2"`` are the same."""
    return frozenset(part.strip() for part in specifier.split(",") if part.strip())


def wanted_by_pyproject() -> dict[str, frozenset[str]]:
    project = PYPROJECT["project"]
    lines = [*PYPROJECT["build-system"]["requires"], *project["dependencies"]]
    for extra in EXTRAS_IN_THE_IMAGE:
        lines += project["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in lines]
    return {
        CONDA_NAMES.get(wanted.name, wanted.name): bounds(str(wanted.specifier))
        for wanted in requirements
        if wanted.name != project["name"]  # an extra that takes in another extra
    }


def offered_by_conda() -> dict[str, frozenset[str]]:
    specs = [MatchSpec(spec, strict=True) for spec in ENVIRONMENT["dependencies"]]
    return {spec.name.normalized: bounds(str(spec.version or "")) for spec in specs}


def pinned_python() -> str:
    (python,) = offered_by_conda()["python"]
    return python.removesuffix(".*")


@pytest.fixture(scope="module")
def clean_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what git has or would take, to a path with a space: Binder gets nothing else."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone, so nothing tells the repository's files from others")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = tmp_path_factory.mktemp("binder") / "clean copy"
    for name in listed.stdout.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():  # git still lists a file that was just deleted
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


# --- the two environment files ---


def test_binder_reads_a_real_file_equal_to_the_one_for_conda_users() -> None:
    copy = BINDER / "environment.yml"
    assert not copy.is_symlink()
    assert copy.read_bytes() == (ROOT / "environment.yml").read_bytes()


def test_the_shape_is_what_conda_reads() -> None:
    # repo2docker itself exits 0 when the dependencies are missing or a single string.
    assert set(ENVIRONMENT) == {"name", "channels", "dependencies"}
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    dependencies = ENVIRONMENT["dependencies"]
    assert isinstance(dependencies, list)
    # A mapping would be a "pip:" list, a second installer with its own opinions.
    assert [entry for entry in dependencies if not isinstance(entry, str)] == []


@pytest.mark.parametrize("spec", ENVIRONMENT["dependencies"])
def test_every_spec_parses_strictly(spec: str) -> None:
    assert MatchSpec(spec, strict=True).name.normalized == re.split("[<>=]", spec)[0]


def test_no_package_is_named_twice() -> None:
    assert len(offered_by_conda()) == len(ENVIRONMENT["dependencies"])


def test_names_and_bounds_are_those_of_pyproject() -> None:
    offered = offered_by_conda()
    for name in BESIDE_THE_PACKAGES:
        del offered[name]
    assert offered == wanted_by_pyproject()


def test_the_python_is_one_that_the_kit_runs_on() -> None:
    assert pinned_python() in SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_what_binder_brings_itself_fits_our_bounds() -> None:
    # Otherwise the image would hold JupyterLab twice, and be slower to build.
    lock = f"repo2docker/buildpacks/conda/environment.py-{pinned_python()}-linux-64.lock"
    # Read, not imported: repo2docker's own imports warn.
    text = Path(str(distribution("jupyter-repo2docker").locate_file(lock))).read_text("utf-8")
    brought = dict(re.findall(r"/([^/]+)-([^-/]+)-[^-/]+\.conda", text))
    assert "jupyterlab" in brought
    misfits = [
        f"{name} {brought[name]}"
        for name, wanted in wanted_by_pyproject().items()
        if name in brought and brought[name] not in SpecifierSet(",".join(wanted))
    ]
    assert misfits == []


# --- what repo2docker makes of them ---


def test_repo2docker_takes_our_environment_and_our_scripts(clean_copy: Path) -> None:
    command = [sys.executable, "-m", "repo2docker", "--debug", "--no-build"]
    # As root, which CI may be, it asks for the user inside the image.
    command += ["--user-id", "1000", "--user-name", "jovyan", "."]
    made = subprocess.run(command, cwd=clean_copy, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert f"conda environment for python={pinned_python()}\n" in made.stderr
    steps = [
        # The environment is made before the repository is copied: a change of a lesson does
        # not make Binder solve it again.
        "COPY --chown=1000:1000 src/binder/environment.yml",
        'env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"',
        "COPY --chown=1000:1000 src/ ${REPO_DIR}/",
        "RUN ./binder/postBuild",
        'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ]
    lines = made.stdout.splitlines()
    assert [step for line in lines for step in steps if step in line] == steps


# --- the scripts, run for real ---


def run_post_build(copy: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (copy / "binder" / "postBuild").chmod(0o755)  # as repo2docker does
    return subprocess.run(
        ["./binder/postBuild"], cwd=copy, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def built(clean_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run postBuild in a new environment that sees the packages of this one, offline.

    The environment variables returned are those under which the image's programs run.
    """
    folder = tmp_path_factory.mktemp("image")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    # A plain line, not site.addsitedir: the .pth files of this environment, and with them an
    # editable mlkit, stay out.
    paths = sysconfig.get_paths("venv", {"base": str(venv), "platbase": str(venv)})
    borrowed = Path(paths["purelib"]) / "zz_borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    environment = {
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "PIP_NO_INDEX": "1",  # a download would fail
        "PIP_CONFIG_FILE": os.devnull,
    }
    done = run_post_build(clean_copy, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


@pytest.mark.install
@pytest.mark.skipif(os.name == "nt", reason="Binder's scripts are for bash on Linux")
class TestTheScripts:
    def test_the_kit_is_imported_from_the_copy(
        self, built: dict[str, str], clean_copy: Path, tmp_path: Path
    ) -> None:
        code = "import mlkit; print(mlkit.__file__)"
        found = subprocess.run(
            ["python", "-c", code], cwd=tmp_path, env=built, capture_output=True, text=True
        )
        assert found.stdout.strip() == str(clean_copy / "mlkit" / "__init__.py"), found.stderr

    def test_jupyterlab_gets_our_defaults(self, built: dict[str, str]) -> None:
        settings = Path(built["HOME"]) / "venv/share/jupyter/lab/settings/overrides.json"
        assert settings.read_bytes() == (BINDER / "jupyterlab/overrides.json").read_bytes()

    def test_start_becomes_the_server_in_our_environment(
        self, built: dict[str, str], clean_copy: Path, tmp_path: Path
    ) -> None:
        start = clean_copy / "binder" / "start"
        start.chmod(0o755)
        code = (
            "import json, mlkit, os, sys; "
            "print(json.dumps([os.getpid(), dict(os.environ), sys.argv[1:]])); sys.exit(7)"
        )
        with subprocess.Popen(
            [start, "python", "-c", code, "two words"],
            cwd=tmp_path,
            env=built,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            out, _ = server.communicate()
        pid, environment, arguments = json.loads(out)
        # The same process: a signal to stop reaches the server, not a waiting shell.
        assert pid == server.pid
        assert server.returncode == 7
        assert arguments == ["two words"]
        assert environment["JUPYTER_PREFER_ENV_PATH"] == "1"
        assert environment["OMP_NUM_THREADS"] == "1"

    @pytest.mark.parametrize(
        ("pyproject", "succeeds"),
        [
            # conda brought the dependencies; pip must not look for them, least of all online.
            ('dependencies = [\n  "nowhere-to-be-found",', True),
            ("not TOML", False),
        ],
        ids=["dependencies", "error"],
    )
    def test_post_build_leaves_dependencies_to_conda_and_stops_at_an_error(
        self,
        built: dict[str, str],
        clean_copy: Path,
        tmp_path: Path,
        pyproject: str,
        succeeds: bool,
    ) -> None:
        changed = tmp_path / "changed"
        shutil.copytree(clean_copy, changed)
        text = (changed / "pyproject.toml").read_text(encoding="utf-8")
        assert "\ndependencies = [\n" in text
        text = text.replace("dependencies = [", pyproject, 1)
        (changed / "pyproject.toml").write_text(text, encoding="utf-8")
        done = run_post_build(changed, built)
        assert (done.returncode == 0) == succeeds, done.stdout + done.stderr


# --- JupyterLab's defaults ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get_json(port: int, path: str) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200, f"{path}: {answer.status}"
        return json.load(answer)
    finally:
        connection.close()


@pytest.fixture
def lab_port(tmp_path: Path) -> Iterator[int]:
    """Start JupyterLab with our settings, as ``make lab`` does, and an empty home."""
    port = free_port()
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={tmp_path}",
        "--IdentityProvider.token=",
        f"--LabApp.app_settings_dir={BINDER / 'jupyterlab'}",
    ]
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=os.environ | home,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(port, server, tmp_path / "log")
            yield port
        finally:
            server.terminate()
            server.wait()


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            get_json(port, "/api")
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


def test_jupyterlab_knows_and_takes_every_default(lab_port: int) -> None:
    ours = json.loads((BINDER / "jupyterlab/overrides.json").read_text(encoding="utf-8"))
    for plugin, wanted in ours.items():
        properties = get_json(lab_port, f"/lab/api/settings/{plugin}")["schema"]["properties"]
        # A name that JupyterLab does not know is taken in silence, with nothing but our default.
        assert [name for name in wanted if set(properties[name]) == {"default"}] == []
        assert {name: properties[name]["default"] for name in wanted} == wanted
