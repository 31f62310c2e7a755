"""What several test modules share: a browser, and pages that reach no network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

CHROMIUM_SWITCHES = [
    "--no-sandbox",  # containers have no user namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No page reaches beyond this machine, whatever it asks for. A proxy would find the
    # names by itself, so none is used.
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for the browser, so that no test can forget to."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


# Not for the whole session: playwright keeps an event loop running in this thread for as
# long as it lives, and asyncio.run fails in every test until it is stopped.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Give the system's Chromium, which reaches loopback addresses only."""
    program = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page_offline(chromium: Browser) -> Iterator[Page]:
    """Give a page of 1280 x 720; the test fails if it logs an error or asks for the network."""
    faults: list[str] = []
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    context.on("console", lambda said: said.type == "error" and faults.append(said.text))
    context.on("weberror", lambda raised: faults.append(str(raised.error)))
    context.on(
        "request",
        lambda asked: (
            asked.url.startswith(("http:", "https:", "ws:", "wss:"))
            and faults.append(f"asked for {asked.url}")
        ),
    )
    yield context.new_page()
    context.close()
    assert not faults, faults
