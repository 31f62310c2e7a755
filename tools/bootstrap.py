#!/usr/bin/env python3
"""Make this checkout's environment, then run one command in it.

``make VERB`` calls this file. On Windows call it directly: ``python tools/bootstrap.py VERB``.

It needs the standard library alone. It keeps to the syntax of Python 3.6 (so annotations with
newer words stand in quotes): an old Python then says that it is too old, instead of stopping
at a word it does not know.

The environment, ``.venv``, is built in a folder beside and renamed when it is complete. A
stamp inside it says what it was made from. Without a stamp that fits it is made again.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

OLDEST = (3, 11)
PREFERRED = ["3.11", "3.12", "3.13"]  # PyTorch and rasterio are late to follow a new Python
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = "mlkit-stamp.json"


class SetupError(Exception):
    """The environment cannot be made. The text says why and what to do."""


# ------------------------------------------------------------------------------------ verbs

# Ruff refuses a folder that is not there.
PYTHON_FOLDERS = [
    name for name in ("mlkit", "tests", "tools", "benchmarks", "docs") if (ROOT / name).is_dir()
]
# One file at a time on each core: what a file's tests share is built once.
ALL_CORES = ["--numprocesses=logical", "--dist=loadfile"]
LAB_OPTIONS = [
    "--ip=127.0.0.1",
    # In a container everybody is root. The server listens to this machine alone and asks for
    # its token, so that is safe.
    "--allow-root",
    # As the default address it is also in the link that is printed where no browser opens.
    "--LabApp.default_url=/lab/tree/notebooks/start/01-welcome.ipynb",
    # Our defaults: no question about news, Markdown files open as pages.
    "--LabApp.app_settings_dir=binder/jupyterlab",
]


class Verb(NamedTuple):
    """What a verb needs and does."""

    summary: str
    extras: "list[str]"
    commands: "list[list[str]]"  # as typed in the activated environment, in the checkout
    last_line: str = ""


VERBS = {
    "run": Verb(
        "run the first lessons and write a report of their results",
        ["imagery", "runs"],
        [["python", "-m", "mlkit.cli", "run", "plans/first-run.yaml"]],
    ),
    "test": Verb(
        "run every test (installs everything, PyTorch too)",
        ["all"],
        [["python", "-m", "pytest", *ALL_CORES, "--cov=mlkit", "-m", "not soak"]],
    ),
    "lab": Verb(
        "open JupyterLab on the welcome notebook",
        ["imagery", "lab"],
        [["python", "-m", "jupyterlab", *LAB_OPTIONS]],
    ),
    "notebooks": Verb(
        "build the notebooks whose lesson has changed",
        ["lessons"],
        [["python", "-m", "mlkit.cli", "build"]],
    ),
    "lint": Verb(
        "check style, types and imports",
        ["all"],
        [
            ["ruff", "check", *PYTHON_FOLDERS, "notebooks"],
            ["ruff", "format", "--check", *PYTHON_FOLDERS],
            ["mypy"],
            ["lint-imports"],
        ],
    ),
    "bench": Verb(
        "run every benchmark",
        ["all"],
        [["python", str(script)] for script in sorted(ROOT.glob("benchmarks/bench_*.py"))],
    ),
    "site": Verb(
        "build the web site",
        ["site"],
        [["python", "-m", "sphinx", "-W", "-b", "html", "docs", "docs/_build/html"]],
        last_line=str(ROOT / "docs" / "_build" / "html" / "index.html"),
    ),
    "soak": Verb(
        "run the long fault tests",
        ["all"],
        [["python", "-m", "pytest", *ALL_CORES, "-m", "soak"]],
    ),
}


def usage() -> str:
    """Return the list of verbs, one a line."""
    summaries = {name: verb.summary for name, verb in VERBS.items()}
    summaries["help"] = "show this list"
    lines = [f"  {name:<10}{summary}" for name, summary in summaries.items()]
    return "\n".join(["make VERB, or without make: python tools/bootstrap.py VERB", *lines])


def again(verb: str) -> str:
    """Return the command that repeats a verb, through the door that was used."""
    return f"make {verb}" if "MAKELEVEL" in os.environ else f"python tools/bootstrap.py {verb}"


def say(text: str) -> None:
    """Tell the person something. Standard output belongs to the verb's own command."""
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------ interpreter

PROBE = """
import sys
print("%d.%d" % sys.version_info[:2])
print(sys.executable)
import venv, ensurepip
"""


def candidates() -> "list[list[str]]":
    """List the commands that may start a Python, the preferred ones first."""

    def on_path(name: str) -> "list[list[str]]":
        # Every folder of PATH: the first match may be a shim that fails.
        folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
        matches = (shutil.which(name, path=folder) for folder in folders)
        return [[match] for match in matches if match]

    commands = [command for version in PREFERRED for command in on_path(f"python{version}")]
    if os.name == "nt":
        commands += [["py", f"-{version}"] for version in PREFERRED]
    return [*commands, [sys.executable], *on_path("python3"), *on_path("python")]


def probe(command: "list[str]") -> "tuple[str, str]":
    """Run a Python. Return its own path and what is wrong with it, "" when nothing is."""
    try:
        done = subprocess.run(
            [*command, "-c", PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return "", "does not run"
    answer = done.stdout.decode(errors="replace").splitlines()
    if len(answer) != 2 or not re.match(r"\d+\.\d+$", answer[0]):
        return "", "does not run"
    version, executable = answer
    if tuple(int(part) for part in version.split(".")) < OLDEST:
        return executable, f"is Python {version}, too old"
    if done.returncode != 0:
        return executable, (
            f"is Python {version} but lacks venv or ensurepip "
            f"(Debian and Ubuntu: sudo apt-get install python{version}-venv)"
        )
    return executable, ""


def find_interpreter() -> str:
    """Return the path of the first Python that can make an environment."""
    complaints = []
    for command in candidates():
        executable, complaint = probe(command)
        if not complaint:
            return executable
        complaints.append(f"  {' '.join(command)} {complaint}")
    raise SetupError(
        "This needs Python 3.11 or newer, with its venv module. Found here:\n"
        + "\n".join(dict.fromkeys(complaints))
        + "\nInstall one that fits. Debian and Ubuntu: sudo apt-get install python3.11 "
        "python3.11-venv.\nmacOS with Homebrew: brew install python@3.11. "
        "Windows: python.org. More in docs/install.md."
    )


# ------------------------------------------------------------------------------------ stamp


def read_project() -> "dict[str, Any]":
    """Return pyproject.toml."""
    import tomllib  # only here, since an old Python must get as far as find_interpreter

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def expand(extras: "Iterable[str]", project: "dict[str, Any]") -> "set[str]":
    """Return the extras and those that they bring with them, as "all" brings "lab"."""
    table = project["project"].get("optional-dependencies", {})
    own_name = re.escape(project["project"]["name"])
    expanded: set[str] = set()
    waiting = list(extras)
    while waiting:
        extra = waiting.pop()
        if extra not in expanded:
            expanded.add(extra)
            for requirement in table.get(extra, []):
                brought = re.match(own_name + r"\[(.*)\]", requirement)
                waiting += re.split(r"\s*,\s*", brought.group(1)) if brought else []
    return expanded


def python_in(folder: Path) -> str:
    """Return the path of the Python of an environment."""
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def fingerprint(folder: Path, project: "dict[str, Any]") -> str:
    """Return a hash of all that an environment is made from, "" when its Python does not run.

    The version of Python is cut to two numbers: a new patch release serves the same packages.
    The checkout's place counts, because an environment finds its scripts and the kit by their
    full paths.
    """
    question = "import sys; print(sys.version_info[:2], sys.platform, sys.base_prefix)"
    try:
        interpreter = subprocess.run(
            [python_in(folder), "-I", "-S", "-c", question],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return ""
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    tables = [project["project"], project["build-system"], project.get("tool", {}).get("hatch")]
    made_from = json.dumps([constraints, tables, interpreter, str(ROOT)], sort_keys=True)
    return hashlib.sha256(made_from.encode()).hexdigest()


def read_stamp() -> "tuple[str, set[str]]":
    """Return the fingerprint and the extras in the stamp, empty without a sound stamp."""
    try:
        stamp = json.loads((VENV / STAMP).read_text(encoding="utf-8"))
        return str(stamp["fingerprint"]), set(stamp["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", set()


def what_is_missing(extras: "set[str]", project: "dict[str, Any]") -> "tuple[str, set[str]]":
    """Return why the environment must be made, "" when it serves as it is, and with what."""
    if not VENV.is_dir():
        return "There is no environment yet: making .venv.", extras
    stamped, installed = read_stamp()
    if not stamped:
        return ".venv is incomplete or was not made by this tool: making it again.", extras
    found = fingerprint(VENV, project)
    if not found:
        return "The Python that .venv was made with has gone: making it again.", extras
    if found != stamped:
        return (
            "constraints.txt, pyproject.toml, the Python or the place of this folder has changed "
            "since .venv was made: making it again.",
            extras,
        )
    if not extras <= installed:
        lacking = ", ".join(sorted(extras - installed))
        return f".venv lacks {lacking}: making it again, with them.", extras | installed
    return "", extras


# ----------------------------------------------------------------------------------- set-up


def take(lock: "IO[str]") -> bool:
    """Take a lock that the system gives back when the process ends, however it ends."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    else:
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # some network drives have no locks: better to go on without one
    return True


@contextlib.contextmanager
def only_one() -> "Iterator[None]":
    """Let one process at a time make the environment."""
    with (ROOT / ".venv.lock").open("a") as lock:
        if not take(lock):
            say("Another set-up is at work in this folder: waiting for it. Ctrl-C gives up.")
            while not take(lock):
                time.sleep(0.2)
        yield


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, as far as the system allows."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path), ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def leftovers() -> "list[Path]":
    """List the folders of a set-up that is at work or was killed."""
    return [*ROOT.glob(".venv.building-*"), *ROOT.glob(".venv.old-*")]


def clean_environment() -> "dict[str, str]":
    """Return the environment variables without those that bring foreign modules."""
    unwanted = ("PYTHONPATH", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def watch(command: "list[str]", environment: "dict[str, str]") -> "tuple[int, list[str]]":
    """Run a command and show its last line as it goes. Return its code and all its lines."""
    child = subprocess.Popen(
        command,
        cwd=str(ROOT),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines: list[str] = []

    def read(stream: "IO[bytes]") -> None:
        with stream:
            for line in stream:
                lines.append(line.decode(errors="replace").rstrip())  # noqa: PERF401 - seen at once

    # A thread, since pip is silent for minutes while it fetches a large file.
    reader = threading.Thread(target=read, args=[child.stdout], daemon=True)
    reader.start()
    terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns - 1
    started = time.monotonic()
    try:
        while reader.is_alive():
            reader.join(1 if terminal else 20)
            seconds = time.monotonic() - started
            progress = f"      {seconds:.0f} s  {lines[-1].strip() if lines else ''}"
            if terminal:
                print("\r" + progress[:width].ljust(width), end="", file=sys.stderr, flush=True)
            elif reader.is_alive():
                say(progress[:100])
        return child.wait(), lines
    except BaseException:
        child.terminate()
        child.wait()
        raise
    finally:
        if terminal:
            print("\r" + " " * width, end="\r", file=sys.stderr, flush=True)


DISK_FULL = "the disk is full"
CAUSES = {
    r"No space left on device|Errno 28\b|not enough space on the disk": DISK_FULL,
    r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError": (
        "the certificate that the network shows is not trusted. Many offices have one of their "
        "own: set PIP_CERT to its file (docs/install.md)"
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProtocolError|ProxyError|"
        r"Read timed out|Network is unreachable|name resolution|Connection refused"
    ): "no network, or a proxy that is not set (docs/install.md)",
    r"No matching distribution|Could not find a version|ResolutionImpossible": (
        "the place where pip looks for packages has no version that fits this Python and "
        "constraints.txt"
    ),
}


def guess_cause(output: str) -> str:
    """Guess from pip's words why it failed."""
    causes = (cause for pattern, cause in CAUSES.items() if re.search(pattern, output))
    return next(causes, "unknown, see above")


def free_space() -> str:
    """Say how much room there is and how much an environment takes."""
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    return (
        f"There are {free:.1f} GB free in {ROOT}. An environment takes about 1 GB, with PyTorch "
        "2 GB (on Linux up to 8 GB: docs/install.md), and twice that while it is made again."
    )


def step(command: "list[str]", environment: "dict[str, str]", *, tries: int = 1) -> None:
    """Run one command of the set-up, or say why it failed."""
    for left in reversed(range(tries)):
        code, lines = watch(command, environment)
        if code == 0:
            return
        cause = guess_cause("\n".join(lines))
        if left and cause != DISK_FULL:
            say("      That failed. Trying once more.")
            continue
        words = "\n".join(f"    {line}" for line in lines[-15:])
        advice = f". {free_space()}" if cause == DISK_FULL else ""
        raise SetupError(
            f"The set-up failed. Its last words:\n{words}\nLikely cause: {cause}{advice}"
        )


def settle(building: Path) -> None:
    """Write the environment's final place into its scripts, which know the one they have now.

    The name of the folder is like no other text, so it can be replaced wherever it stands: in
    the first lines of scripts, the activate files, the programs that Windows has for scripts.
    """
    scripts = Path(python_in(building)).parent
    final = os.fsencode(python_in(VENV))
    for path in [building / "pyvenv.cfg", *scripts.iterdir()]:
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if building.name.encode() in content:
            content = content.replace(building.name.encode(), VENV.name.encode())
            first, _, rest = content.partition(b"\n")
            if first == b"#!" + final and (b" " in first or len(first) > 127):
                # Such a first line does not work. pip writes its own scripts as below, but
                # copies those of a package as they are.
                first = b"#!/bin/sh\n'''exec' \"" + final + b'" "$0" "$@"\n\' \'\'\''
            path.write_bytes(first + b"\n" + rest)


def put_in_place(building: Path) -> None:
    """Rename the finished environment, keeping the old one when that fails."""
    old = ROOT / f".venv.old-{os.getpid()}"
    try:
        if os.path.lexists(str(VENV)):
            VENV.rename(old)
        building.rename(VENV)
    except OSError as error:
        if old.exists() and not VENV.exists():
            old.rename(VENV)
        raise SetupError(
            f".venv cannot be replaced: {error}.\nClose the programs that use it, JupyterLab "
            "for example."
        ) from error
    remove(old)


def build(extras: "set[str]", project: "dict[str, Any]") -> None:
    """Make the environment beside and put it in place."""
    started = time.monotonic()
    python = find_interpreter()
    building = ROOT / f".venv.building-{os.getpid()}"
    scratch = building / "tmp"
    environment = {
        **clean_environment(),
        "PIP_USER": "0",  # whatever the person's pip settings say
        # Temporary files go with the folder when a set-up is killed. A small /tmp is no matter.
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),
    }
    heavy = "neural" in extras
    try:
        scratch.mkdir(parents=True)
        say(f"[1/3] An empty environment, with {python}: some seconds.")
        # pip on its own, since venv hides why its installation failed.
        step([python, "-m", "venv", "--without-pip", str(building)], environment)
        step([python_in(building), "-I", "-m", "ensurepip", "--default-pip"], environment)
        say(
            f"[2/3] The packages ({', '.join(sorted(extras))}): "
            + ("2 to 10 minutes, 2 GB or more." if heavy else "1 to 5 minutes, about 1 GB.")
        )
        install = [python_in(building), "-m", "pip", "install", "--no-input"]
        install += ["--disable-pip-version-check", "--progress-bar=off", "-c", "constraints.txt"]
        install += ["-e", f".[{','.join(sorted(extras))}]"]
        step(install, environment, tries=2)
        say("[3/3] Putting it in place.")
        remove(scratch)
        settle(building)
        stamp = {"fingerprint": fingerprint(building, project), "extras": sorted(extras)}
        (building / STAMP).write_text(json.dumps(stamp, indent=2), encoding="utf-8")
        put_in_place(building)
    finally:
        remove(building)
    say(f"The environment is ready: {time.monotonic() - started:.0f} s.")


def ensure(extras: "Iterable[str]") -> None:
    """Make the environment unless there is one that serves."""
    project = read_project()
    wanted = expand(extras, project)
    # While another makes it again, wait: what is in use would be taken away.
    if leftovers() or what_is_missing(wanted, project)[0]:
        with only_one():
            for folder in leftovers():
                say(f"Removing {folder.name}, which an interrupted set-up left.")
                remove(folder)
            reason, extras = what_is_missing(wanted, project)  # another may just have made it
            if reason:
                say(reason)
                build(extras, project)


# --------------------------------------------------------------------------------- commands


@contextlib.contextmanager
def command_environment() -> "Iterator[dict[str, str]]":
    """Give the environment variables of a verb's command: those of an activated .venv.

    Jupyter and matplotlib need a home folder that can be written. Where there is none, as in a
    container with a user of no name, they get one for the time of the command.
    """
    # What make tells a make inside it would add lines to that one's output. MPLBACKEND would
    # keep figures out of notebooks.
    unwanted = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MPLBACKEND")
    environment = {k: v for k, v in clean_environment().items() if k not in unwanted}
    scripts = str(Path(python_in(VENV)).parent)
    environment["PATH"] = scripts + os.pathsep + environment.get("PATH", os.defpath)
    environment["VIRTUAL_ENV"] = str(VENV)
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"  # else a kernel in the home folder comes first
    with contextlib.ExitStack() as until_done:
        try:
            tempfile.TemporaryFile(dir=str(Path.home())).close()
        except (OSError, RuntimeError):
            say("The home folder cannot be written: settings of this session will be lost.")
            spare = tempfile.TemporaryDirectory(prefix="mlkit-home-")
            environment["HOME"] = until_done.enter_context(spare)
        yield environment


def follow(command: "list[str]", environment: "dict[str, str]") -> int:
    """Run a command to its end and return its exit code."""
    program = shutil.which(command[0], path=environment.get("PATH")) or command[0]
    child = subprocess.Popen([program, *command[1:]], cwd=str(ROOT), env=environment)
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    code = None
    while code is None:
        # Ctrl-C reaches the child too. Let it clean up, or ask its question.
        with contextlib.suppress(KeyboardInterrupt):
            code = child.wait()
    signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code


def carry_out(verb: Verb) -> int:
    """Run all commands of a verb, also after one that failed. Return the exit code."""
    codes = []
    with command_environment() as environment:
        for command in verb.commands:
            if len(verb.commands) > 1:
                say("$ " + " ".join(command))
            codes.append(follow(command, environment))
    if not any(codes) and verb.last_line:
        print(verb.last_line)
    return max(codes)


def main(words: "list[str]") -> int:
    """Run the verb that was asked for and return the exit code."""
    if words in ([], ["help"]):
        print(usage())
        return 0
    if len(words) != 1 or words[0] not in VERBS:
        say(f"{' '.join(words)!r} is not one of the commands.\n{usage()}")
        return 2
    verb = VERBS[words[0]]
    if not verb.commands:
        print(f"{words[0]}: there is nothing to run yet.")
        return 0
    # A stop from outside cleans up like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if sys.version_info < OLDEST:
            return follow([find_interpreter(), __file__, *words], dict(os.environ))
        ensure(verb.extras)
        return carry_out(verb)
    except SetupError as error:
        say(f"{error}\nTo try again: {again(words[0])}")
    except OSError as error:
        advice = f"\n{free_space()}" if "No space left" in str(error) else ""
        say(f"The set-up failed: {error}.{advice}\nTo try again: {again(words[0])}")
    except KeyboardInterrupt:
        say(f"\nStopped. Nothing was changed. To try again: {again(words[0])}")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
