"""The lessons as a learner meets them: in JupyterLab, in a real browser, with a real kernel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlkit.lessons import Master, find_masters, read_master
from mlkit.paths import find_checkout

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = find_checkout(Path(__file__).parent)
LESSONS = find_masters(ROOT)
TOKEN = "a-token-for-this-test"  # noqa: S105 - the server listens to this machine and dies with the test

# The notebook's own model: JupyterLab draws only the cells near the window.
CELLS = """() => jupyterapp.shell.currentWidget.content.model.toJSON().cells"""
BUSY = """() => {
    const panel = jupyterapp.shell.currentWidget;
    return panel.content.widgets.some(cell => cell.promptNode
        && cell.promptNode.textContent.includes('*')) ||
        panel.sessionContext.session?.kernel?.status !== 'idle';
}"""
READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    return panel?.content?.model?.cells?.length > 3
        && panel.sessionContext.session?.kernel?.status === 'idle';
}"""
GO_TO = """async (index) => {
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = index;
    await notebook.scrollToItem(index, 'center');
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a copy of the lessons, as make lab does, and give the server's address."""
    folder = tmp_path_factory.mktemp("a learner's folder")
    for name in ("notebooks", "tutorials"):
        shutil.copytree(ROOT / name, folder / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={TOKEN}"),
            f"--LabApp.app_settings_dir={ROOT / 'binder' / 'jupyterlab'}",
            f"--LabApp.workspaces_dir={folder / 'workspaces'}",
            "--LabApp.expose_app_in_browser=True",
        ],
        cwd=folder,
        env={**os.environ, "JUPYTER_PREFER_ENV_PATH": "1", "OMP_NUM_THREADS": "1"},
        stdout=(log := (folder / "lab.log").open("w")),
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api/status?token={TOKEN}", server, folder / "lab.log")
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    pytest.fail(f"JupyterLab did not answer:\n{log.read_text()}")


@pytest.fixture
def open_lesson(chromium: Browser, lab: str) -> Iterator[Any]:
    """Give a function that opens a lesson in JupyterLab and waits for its kernel."""
    context = chromium.new_context(viewport={"width": 1300, "height": 900})

    def open_(master: Master) -> Page:
        page = context.new_page()
        page.goto(f"{lab}/lab/tree/notebooks/{master.key}.ipynb?token={TOKEN}&reset")
        page.wait_for_function(READY, timeout=90_000)
        return page

    yield open_
    context.close()


def _first_of_each_theme() -> list[Any]:
    """Leave the other lessons to `make soak`: JupyterLab treats them all alike."""
    firsts = {path.parent: path for path in reversed(LESSONS)}.values()
    return [
        pytest.param(path, id=path.stem, marks=[] if path in firsts else pytest.mark.soak)
        for path in LESSONS
    ]


@pytest.mark.parametrize("path", _first_of_each_theme())
def test_runs_from_top_to_bottom_and_answers_back(path: Path, open_lesson: Any) -> None:
    master = read_master(path)
    page = open_lesson(master)
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_timeout(500)
    page.wait_for_function(f"() => !({BUSY})()", timeout=120_000)
    code = [cell for cell in page.evaluate(CELLS) if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]

    exercise = next(iter(master.exercises.values()))
    expected = exercise.wrong[0].keys.expect
    assert expected
    assert expected in _answer(page, master, exercise.wrong[0].source, "Not yet.")
    assert _answer(page, master, exercise.solution.source, "Right.")


def _answer(page: Page, master: Master, text: str, title: str) -> str:
    """Type an answer into the first blank, run it and its check, and read the message."""
    tags = [cell["metadata"].get("tags", []) for cell in page.evaluate(CELLS)]
    blank = next(i for i, found in enumerate(tags) if "exercise" in found)
    check = next(i for i, found in enumerate(tags) if "check" in found)
    page.evaluate(GO_TO, blank)
    editor = page.locator(f'.jp-Notebook [data-windowed-list-index="{blank}"] .cm-content')
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Control+Enter")
    page.evaluate(GO_TO, check)
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell')")
    box = page.locator(f'.jp-Notebook [data-windowed-list-index="{check}"] div[role=status]')
    message = box.filter(has_text=title)
    message.wait_for(timeout=60_000)
    assert message.is_visible()
    return message.inner_text()


def test_glossary_links_open_the_term(open_lesson: Any) -> None:
    master = next(m for m in map(read_master, LESSONS) if "glossary.md#" in m.text)
    page = open_lesson(master)
    # JupyterLab writes an address of its own server here: .../glossary.md?...#term.
    link = page.locator(".jp-Notebook a[href*='glossary.md'][href*='#']").first
    anchor = (link.get_attribute("href") or "").partition("#")[2]
    assert link.get_attribute("title"), "the definition shows when the pointer rests on the word"
    link.click()
    heading = page.locator(f".jp-MarkdownViewer h2:has-text('{anchor.replace('-', ' ')}')").first
    heading.wait_for(timeout=30_000)


def test_hints_are_folded_and_unfold(open_lesson: Any) -> None:
    page = open_lesson(read_master(LESSONS[-1]))
    tags = [cell["metadata"].get("tags", []) for cell in page.evaluate(CELLS)]
    page.evaluate(GO_TO, next(i for i, found in enumerate(tags) if "hint" in found))
    hint = page.locator(".jp-Notebook details").first
    words = hint.locator("p").first
    assert not words.is_visible()
    hint.locator("summary").click()
    assert words.is_visible()
