"""Faults of the set-up, each made to happen for real.

The tests work on a tiny checkout: this one's Makefile and tools/bootstrap.py around a package of
two lines with a build backend of its own, so that nothing is fetched and a set-up takes seconds.
"""

import ast
import contextlib
import http.server
import importlib.util
import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
BOOTSTRAP = REPOSITORY / "tools" / "bootstrap.py"
# The interpreter below any environment that runs these tests.
PYTHON = sys._base_executable  # type: ignore[attr-defined]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell and signals")
pytestmark = [POSIX]

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "mlkit-official-statistics"
version = "0.1"
dependencies = ["tinydep"]

[project.optional-dependencies]
lessons = []
engine = []
imagery = []
runs = ["mlkit-official-statistics[engine]"]
lab = ["mlkit-official-statistics[lessons]"]
all = ["mlkit-official-statistics[lab, lessons,runs]", "no-such-package"]
"""

METADATA = """Metadata-Version: 2.1
Name: mlkit-official-statistics
Version: 0.1
Requires-Dist: tinydep
Provides-Extra: lessons
Provides-Extra: engine
Provides-Extra: imagery
Provides-Extra: runs
Provides-Extra: lab
Provides-Extra: all
Requires-Dist: no-such-package; extra == "all"
"""

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

# Writes down that it was called and waits while there is a file named "wait".
BACKEND = f"""
import os, pathlib, time, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with open("installs.log", "a") as log:
        log.write("install\\n")
    while os.path.exists("wait"):
        time.sleep(0.05)
    name = "mlkit_official_statistics-0.1"
    with zipfile.ZipFile(os.path.join(folder, name + "-py3-none-any.whl"), "w") as wheel:
        info = name + ".dist-info/"
        wheel.writestr("mlkit.pth", os.getcwd())
        wheel.writestr(info + "METADATA", {METADATA!r})
        wheel.writestr(info + "WHEEL", {WHEEL!r})
        wheel.writestr(info + "entry_points.txt", "[console_scripts]\\nmlkit = mlkit.cli:main\\n")
        wheel.writestr(info + "RECORD", "")
    return name + "-py3-none-any.whl"
"""

# Says what it was given, so that a test can look at it.
CLI = """
import json, os, sys

def main():
    print(json.dumps({"words": sys.argv[1:], "prefix": sys.prefix, "env": dict(os.environ)}))
    print("the last line")
    sys.exit(int(os.environ.get("TINY_CODE", 0)))

if __name__ == "__main__":
    main()
"""

# A Python that passes for another one, or that lacks a module.
FAKE = """
import runpy, sys
version, lacking, executable, *words = sys.argv[1:]
sys.version_info = (*map(int, version.split(".")), 0, "final", 0)
sys.executable = executable
if lacking:
    sys.modules[lacking] = None
if words[0] == "-c":
    exec(words[1])
else:
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
"""


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def tinydep(folder: Path, version: str) -> None:
    """Write a wheel with a script of each of the two kinds."""
    name = f"tinydep-{version}"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        info = f"{name}.dist-info/"
        say = f"def main():\n    print('tinydep {version}')\n"
        wheel.writestr("tinydep.py", say)
        copied = zipfile.ZipInfo(f"{name}.data/scripts/tinycopied")
        copied.external_attr = 0o100755 << 16  # a plain file that may be run
        wheel.writestr(copied, "#!python\n" + say + "main()\n")
        wheel.writestr(
            info + "METADATA", f"Metadata-Version: 2.1\nName: tinydep\nVersion: {version}"
        )
        wheel.writestr(info + "WHEEL", WHEEL)
        wheel.writestr(info + "entry_points.txt", "[console_scripts]\ntinymade = tinydep:main\n")
        wheel.writestr(info + "RECORD", "")


class Checkout:
    """A tiny checkout, and the variables its commands are run with."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check-out, with spaces"
        self.venv = self.root / ".venv"
        (self.root / "tools").mkdir(parents=True)
        (self.root / "mlkit").mkdir()
        shutil.copy(BOOTSTRAP, self.root / "tools")
        shutil.copy(REPOSITORY / "Makefile", self.root)
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        (self.root / "constraints.txt").write_text("tinydep==1.0\n")
        (self.root / "backend.py").write_text(BACKEND)
        (self.root / "mlkit" / "__init__.py").write_text("")
        (self.root / "mlkit" / "cli.py").write_text(CLI)
        wheels = folder / "wheels"
        wheels.mkdir()
        tinydep(wheels, "1.0")
        tinydep(wheels, "2.0")
        self.bin = folder / "bin"
        script(self.bin / "python3.11", f'exec "{PYTHON}" "$@"')
        (folder / "home").mkdir()
        self.env = {
            "PATH": f"{self.bin}{os.pathsep}{os.defpath}",
            "HOME": str(folder / "home"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": str(wheels),
            "PIP_NO_INDEX": "1",
        }

    def start(self, *words: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [PYTHON, "tools/bootstrap.py", *words],
            cwd=self.root,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*words, **env) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def make(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        make = shutil.which("make")
        if not make:
            pytest.skip("make is not installed")
        return subprocess.run(
            [make, *words],
            cwd=self.root,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def installs(self) -> int:
        log = self.root / "installs.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def wait_for_install(self, count: int = 1) -> None:
        """Wait until pip has come to the checkout's own package."""
        deadline = time.monotonic() + 60
        while self.installs() < count:
            assert time.monotonic() < deadline, "no install was begun"
            time.sleep(0.05)

    def leftovers(self) -> list[str]:
        return [path.name for path in self.root.glob(".venv.*") if path.name != ".venv.lock"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a checkout whose environment is made. Tests leave it as they found it."""
    checkout = Checkout(tmp_path_factory.mktemp("built"))
    # The first match on PATH is a shim that fails, as pyenv's do for a version not chosen.
    script(checkout.bin.parent / "shims" / "python3.11", "echo not here >&2; exit 127")
    checkout.env["PATH"] = f"{checkout.bin.parent / 'shims'}{os.pathsep}{checkout.env['PATH']}"
    done = checkout.run("notebooks")
    assert done.returncode == 0, done.stderr
    assert "[2/3] The packages (lessons): " in done.stderr
    done = checkout.run("run")
    assert done.returncode == 0, done.stderr
    assert ".venv lacks engine, imagery, runs: making it again, with them." in done.stderr
    assert "[2/3] The packages (engine, imagery, lessons, runs): " in done.stderr
    assert checkout.installs() == 2
    return checkout


def load(checkout: Checkout) -> Any:
    """Import the checkout's copy, which then works on that checkout."""
    spec = importlib.util.spec_from_file_location(
        "tiny_bootstrap", checkout.root / "tools" / "bootstrap.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------ interpreter


def fake_python(path: Path, version: str, lacking: str = "") -> None:
    (path.parent / "fake.py").write_text(FAKE)
    script(path, f'exec "{PYTHON}" "{path.parent}/fake.py" {version} "{lacking}" "$0" "$@"')


def test_an_old_python_can_read_the_file() -> None:
    ast.parse(BOOTSTRAP.read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize(
    ("version", "lacking", "complaint"),
    [
        ("3.9", "", "python3 is Python 3.9, too old"),
        ("3.11", "ensurepip", "sudo apt-get install python3.11-venv"),
        ("3.12", "venv", "sudo apt-get install python3.12-venv"),
    ],
)
def test_a_python_that_does_not_fit_is_named(
    checkout: Checkout, version: str, lacking: str, complaint: str
) -> None:
    (checkout.bin / "python3.11").unlink()
    fake_python(checkout.bin / "python3", version, lacking)
    done = checkout.make("run", PATH=str(checkout.bin))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "needs Python 3.11 or newer" in done.stderr
    assert "To try again: make run" in done.stderr
    assert "Traceback" not in done.stderr
    assert not checkout.venv.exists()


def test_an_old_python_hands_over_to_a_newer_one(built: Checkout, tmp_path: Path) -> None:
    fake_python(tmp_path / "python3", "3.9")
    done = built.make("run", PATH=f"{tmp_path}{os.pathsep}{built.env['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "the last line"


def test_without_any_python_make_says_so(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.make("run", PATH=str(tmp_path))
    assert done.returncode == 2
    assert "No Python was found. Install Python 3.11 or newer" in done.stderr


# ------------------------------------------------------------------------------------ verbs


def test_make_alone_lists_every_verb(checkout: Checkout) -> None:
    done = checkout.make()
    assert done.returncode == 0
    verbs = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert verbs == [*load(checkout).VERBS, "help"]
    assert not checkout.venv.exists()


def test_every_verb_has_its_rule_in_the_makefile(checkout: Checkout) -> None:
    for verb in load(checkout).VERBS:
        done = checkout.make("--dry-run", verb)
        assert done.stdout.strip().endswith(f"tools/bootstrap.py {verb}"), done.stderr


def test_an_unknown_verb_is_refused(checkout: Checkout) -> None:
    done = checkout.run("rum")
    assert done.returncode == 2
    assert "'rum' is not one of the commands" in done.stderr
    assert "  run  " in done.stderr


def test_no_benchmark_is_no_failure(checkout: Checkout) -> None:
    done = checkout.run("bench")
    assert (done.returncode, done.stdout) == (0, "bench: there is nothing to run yet.\n")
    assert not checkout.venv.exists()


@pytest.mark.install
def test_the_command_gets_the_environment_and_nothing_foreign(built: Checkout) -> None:
    foreign = {"PYTHONPATH": "/nowhere", "MPLBACKEND": "agg", "VIRTUAL_ENV": "/nowhere"}
    done = built.make("run", **foreign)
    seen = json.loads(done.stdout.splitlines()[0])
    assert seen["words"] == ["run", "plans/first-run.yaml"]
    assert seen["prefix"] == seen["env"]["VIRTUAL_ENV"] == str(built.venv)
    assert seen["env"]["PATH"].startswith(f"{built.venv}/bin{os.pathsep}")
    assert seen["env"]["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert seen["env"]["HOME"] == built.env["HOME"]
    assert not {"PYTHONPATH", "MPLBACKEND", "MAKELEVEL"} & set(seen["env"])


@pytest.mark.install
def test_the_commands_exit_code_is_passed_on(built: Checkout) -> None:
    assert built.run("run", TINY_CODE="7").returncode == 7


@pytest.mark.install
def test_all_commands_run_though_one_fails(
    built: Checkout, capfd: pytest.CaptureFixture[str]
) -> None:
    bootstrap = load(built)
    commands = [["python", "-c", f"print({n}); raise SystemExit({n})"] for n in (0, 1, 0)]
    verb = bootstrap.Verb("", [], commands, last_line="all is well")
    assert bootstrap.carry_out(verb) == 1
    assert capfd.readouterr().out.split() == ["0", "1", "0"]
    assert bootstrap.carry_out(verb._replace(commands=commands[:1])) == 0
    assert capfd.readouterr().out == "0\nall is well\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.install
def test_a_home_that_cannot_be_written_is_replaced(built: Checkout) -> None:
    done = built.run("run", HOME="/nowhere")
    assert done.returncode == 0
    assert "home folder cannot be written" in done.stderr
    home = json.loads(done.stdout.splitlines()[0])["env"]["HOME"]
    assert "mlkit-home-" in home
    assert not Path(home).exists()


@pytest.mark.install
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_reaches_the_command_which_ends_in_its_own_way(built: Checkout, name: str) -> None:
    cli = built.root / "mlkit" / "cli.py"
    patient = (
        "import atexit, signal, sys, time\n"
        "atexit.register(lambda: (time.sleep(0.5), print('tidied')))\n"
        f"signal.signal(signal.{name}, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    cli.write_text(patient)
    try:
        with built.start("run") as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            if name == "SIGTERM":
                process.terminate()  # to the set-up alone, as make and a scheduler do
            else:
                os.killpg(process.pid, signal.SIGINT)  # to all, as a terminal does
            out, _ = process.communicate(timeout=30)
    finally:
        cli.write_text(CLI)
    assert (out, process.returncode) == ("tidied\n", 5)


# ---------------------------------------------------------------------------------- install


@pytest.mark.install
def test_a_second_run_installs_nothing(built: Checkout) -> None:
    before = built.installs(), built.venv.stat().st_ino
    # Without the wheels nothing could be installed, and fewer extras are no reason to.
    for verb in ("run", "notebooks"):
        done = built.run(verb, PIP_FIND_LINKS="")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == "the last line"
    assert (built.installs(), built.venv.stat().st_ino) == before


@pytest.mark.install
def test_leftovers_go_though_nothing_is_to_be_made(built: Checkout) -> None:
    (built.root / ".venv.old-123" / "bin").mkdir(parents=True)
    (built.root / ".venv.building-123").symlink_to(built.root / "mlkit")
    assert built.run("run").returncode == 0
    assert built.leftovers() == []
    assert (built.root / "mlkit").is_dir()


@pytest.mark.install
def test_scripts_work_from_the_final_place(built: Checkout) -> None:
    def run(*words: str) -> str:
        done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    scripts = built.venv / "bin"
    # 1.0, though there is a 2.0: constraints.txt says so
    assert run(str(scripts / "tinymade")) == run(str(scripts / "tinycopied")) == "tinydep 1.0\n"
    assert "the last line" in run(str(scripts / "mlkit"))
    assert str(built.venv) in run(str(scripts / "pip"), "--version")
    activated = run("/bin/sh", "-c", f'. "{scripts}/activate" && command -v mlkit')
    assert activated == f"{scripts}/mlkit\n"
    for path in [built.venv / "pyvenv.cfg", *scripts.iterdir()]:
        assert b".venv.building" not in path.read_bytes(), path
    assert built.leftovers() == []


@pytest.mark.install
def test_what_changed_decides_whether_it_is_made_again(built: Checkout) -> None:
    bootstrap = load(built)

    def reason(*extras: str) -> str:
        project = bootstrap.read_project()
        text = bootstrap.what_is_missing(bootstrap.expand(extras, project), project)[0]
        return str(text).rpartition(": making")[0]

    def with_content(path: Path, text: str | bytes) -> str:
        before = path.read_bytes()
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        try:
            return reason("runs")
        finally:
            path.write_bytes(before)

    changed = "constraints.txt, pyproject.toml, the Python or the place of this folder has changed "
    changed += "since .venv was made"
    incomplete = ".venv is incomplete or was not made by this tool"
    stamp = built.venv / bootstrap.STAMP
    assert reason("runs") == reason("lessons") == ""
    assert reason("lab") == ".venv lacks lab"
    assert reason("all") == ".venv lacks all, lab"
    assert with_content(built.root / "constraints.txt", "tinydep==2.0\n") == changed
    assert with_content(built.root / "pyproject.toml", PYPROJECT.replace("0.1", "0.2")) == changed
    assert with_content(built.root / "pyproject.toml", PYPROJECT + "[tool.ruff]\n") == ""
    assert with_content(stamp, stamp.read_bytes()[:-10]) == incomplete
    assert with_content(stamp, "[]") == incomplete

    python = built.venv / "bin" / "python"
    target = python.readlink()
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert reason("runs") == "The Python that .venv was made with has gone"
    python.unlink()
    python.symlink_to(target)

    moved = built.root.with_name("moved")
    built.root.rename(moved)
    try:
        bootstrap.ROOT, bootstrap.VENV = moved, moved / ".venv"
        assert reason("runs") == changed
    finally:
        moved.rename(built.root)
    bootstrap.ROOT, bootstrap.VENV = built.root, built.venv
    assert reason("runs") == ""


@pytest.mark.install
def test_a_failed_install_leaves_the_old_environment(built: Checkout) -> None:
    before = built.venv.stat().st_ino
    done = built.run("test")
    assert done.returncode == 1
    assert "Trying once more" in done.stderr
    assert "No matching distribution found for no-such-package" in done.stderr
    assert "Likely cause: the place where pip looks for packages has no version" in done.stderr
    assert done.stderr.endswith("To try again: python tools/bootstrap.py test\n")
    assert built.venv.stat().st_ino == before
    assert built.leftovers() == []
    assert built.run("run").returncode == 0


@pytest.mark.install
def test_a_killed_install_does_no_harm(checkout: Checkout) -> None:
    wait = checkout.root / "wait"
    wait.touch()
    with checkout.start("run") as process:
        checkout.wait_for_install()
        process.kill()
        wait.unlink()  # lets the orphaned build end
        process.communicate()
    assert len(checkout.leftovers()) == 1
    assert not checkout.venv.exists()
    (checkout.venv / "bin").mkdir(parents=True)  # as other tools leave it when they are killed
    done = checkout.run("run")
    assert done.returncode == 0
    assert "which an interrupted set-up left" in done.stderr
    assert ".venv is incomplete" in done.stderr
    assert done.stdout.endswith("the last line\n")
    assert checkout.leftovers() == []


@pytest.mark.install
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stopped_install_leaves_nothing(checkout: Checkout, name: str) -> None:
    wait = checkout.root / "wait"
    wait.touch()
    with checkout.start("run") as process:
        if name == "SIGTERM":  # at the first step
            while not checkout.leftovers():
                time.sleep(0.01)
            process.terminate()
        else:  # while pip is at work
            checkout.wait_for_install()
            os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        wait.unlink()
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.endswith(
        "Stopped. Nothing was changed. To try again: python tools/bootstrap.py run\n"
    )
    assert "Traceback" not in err
    assert not checkout.venv.exists()
    assert checkout.leftovers() == []


@pytest.mark.install
def test_of_two_at_once_one_waits(checkout: Checkout) -> None:
    wait = checkout.root / "wait"
    wait.touch()
    with checkout.start("run") as first:
        checkout.wait_for_install()
        with checkout.start("run") as second:
            assert second.stderr
            assert "Another set-up is at work in this folder" in second.stderr.readline()
            wait.unlink()
            outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [out.splitlines()[-1] for out, _ in outputs] == ["the last line"] * 2
    assert outputs[1][1] == ""
    assert checkout.installs() == 1


# ----------------------------------------------------------------------------------- causes


def failure(checkout: Checkout, folder: Path, **env: str) -> str:
    """Let the real pip fail to fetch a package; return what the person is told."""
    bootstrap = load(checkout)
    command = [sys.executable, "-m", "pip", "download", "--retries=1", "-d", str(folder), "tinydep"]
    with pytest.raises(bootstrap.SetupError) as caught:
        bootstrap.step(command, {**checkout.env, **env})
    return str(caught.value)


ONLINE = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""}


def test_no_network_is_recognised(checkout: Checkout, tmp_path: Path) -> None:
    said = failure(checkout, tmp_path, PIP_INDEX_URL="http://127.0.0.1:9/simple", **ONLINE)
    assert "Likely cause: no network, or a proxy" in said


def test_a_dead_proxy_is_recognised(checkout: Checkout, tmp_path: Path) -> None:
    proxy = {"PIP_INDEX_URL": "http://localhost/simple", "PIP_PROXY": "http://127.0.0.1:9"}
    assert "or a proxy that is not set" in failure(checkout, tmp_path, **proxy, **ONLINE)


def test_an_untrusted_certificate_is_recognised(checkout: Checkout, tmp_path: Path) -> None:
    with untrusted_server(tmp_path) as address:
        said = failure(checkout, tmp_path, PIP_INDEX_URL=f"{address}/simple", **ONLINE)
    assert "certificate that the network shows is not trusted" in said
    assert "PIP_CERT" in said


def test_a_full_disk_is_recognised(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a small disk can be made by root on Linux only")
    try:
        checkout = Checkout(small)
        done = checkout.make("run")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.returncode == 2
    assert "Likely cause: the disk is full. There are 0.0 GB free" in done.stderr
    assert "To try again: make run" in done.stderr
    assert checkout.leftovers() == []


@contextlib.contextmanager
def untrusted_server(folder: Path) -> Iterator[str]:
    """Serve https with a certificate that nobody but itself has signed."""
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    # The handshake is done where its failure is expected: in the thread of the request.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --------------------------------------------------------------------------------------- ci


@pytest.mark.parametrize("apt_code", [0, 100])
def test_ci_gets_chromium_where_it_can_and_then_calls_make_test(
    tmp_path: Path, apt_code: int
) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    calls = tmp_path / "calls"
    script(tmp_path / "id", "echo 0")
    script(tmp_path / "apt-get", f'echo "apt-get $*" >>"{calls}"; exit {apt_code}')
    script(tmp_path / "make", f'echo "make $* in $PWD" >>"{calls}"; exit 3')

    def run() -> list[str]:
        calls.write_text("")
        done = subprocess.run([REPOSITORY / ".ci/run"], env={"PATH": str(tmp_path)}, check=False)
        assert done.returncode == 3
        return calls.read_text().splitlines()

    install = "apt-get install -y -qq --no-install-recommends chromium"
    make = f"make test in {REPOSITORY}"
    without = (
        ["apt-get update -qq", install, make] if apt_code == 0 else ["apt-get update -qq", make]
    )
    assert run() == without
    script(tmp_path / "chromium", "")
    assert run() == [make]


# ------------------------------------------------------------------------------------- soak


@pytest.mark.soak
def test_killed_at_any_moment_it_recovers(checkout: Checkout) -> None:
    pause = random.Random(0)  # noqa: S311
    for _ in range(15):
        with checkout.start("run") as process:
            time.sleep(pause.uniform(0, 6))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        (checkout.root / "constraints.txt").write_text(f"tinydep=={pause.choice(['1.0', '2.0'])}\n")
    done = checkout.run("run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the last line\n")
    assert checkout.leftovers() == []
