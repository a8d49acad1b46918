"""Fixtures: a fresh server, and a headless Chromium that cannot reach the network."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
TIMEOUT = 120_000
"""Milliseconds to wait for a page; long, because the machine may be busy."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

DROP = """([rows, zone]) => { const transfer = new DataTransfer();
  for (const [name, text] of rows)
    transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
  const target = document.querySelectorAll('[data-testid="stFileUploaderDropzone"]')[zone];
  for (const kind of ['dragenter', 'dragover', 'drop'])
    target.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer})); }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium, started anew for each file: after many pages, one of a long-lived browser stopped answering."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI has no Chromium: .ci/run installs it")
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium fonts-liberation)")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=TIMEOUT)

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[Callable[[], str]]:
    """A function that starts a server and returns its address. All servers and their workers are stopped at the end."""
    servers: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        port = free_port()
        log = (folder / f"{port}.log").open("wb")
        command = [sys.executable, "-m", "qviz.ui", "app.py", "--server.port", str(port)]
        servers.append(subprocess.Popen([*command, "--server.headless", "true"], cwd=ROOT, stdout=log, stderr=log))
        address = f"http://127.0.0.1:{port}"
        _wait_until_healthy(address)
        return address

    try:
        yield start
    finally:
        for server in servers:
            server.terminate()
            server.wait(timeout=20)


def _wait_until_healthy(address: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{address} did not come up")


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """A function that starts a server for one test and returns its address."""
    with _servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that all tests share."""
    with _servers(tmp_path_factory.mktemp("server")) as start:
        yield start()


class Visit:
    """One page in one browser context that records every request to other servers."""

    def __init__(self, browser: object, address: str, **context: object) -> None:
        self._context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)  # type: ignore[attr-defined]
        self._context.set_default_timeout(TIMEOUT)
        self.page = self._context.new_page()
        self.address = address
        self.outside: list[str] = []
        self.dialogs: list[str] = []
        self.messages: list[str] = []
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text[:500]}"))
        self.page.on("pageerror", lambda error: self.messages.append(f"error: {str(error)[:1000]}"))
        self.page.on("crash", lambda _: self.messages.append("the page has crashed"))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:", self.address.replace("http", "ws"))):
            self.outside.append(url)

    def open(self, path: str = "/") -> None:
        self.page.goto(self.address + path)
        self.settle()

    def settle(self) -> None:
        """Wait until the script has run."""
        self.page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=TIMEOUT)

    def painted(self, name: str | None = None) -> object:
        """Wait until the viewer has painted an image and its boxes, and return the viewer. name: of that image."""
        viewer = self.page.locator('.qviz-viewer[data-painted="true"]')
        viewer.wait_for(timeout=TIMEOUT)
        if name is not None:
            self.page.get_by_text(f"{name} · ", exact=False).first.wait_for(timeout=TIMEOUT)
        return viewer

    def drop(self, files: dict[str, bytes], zone: int = 0) -> None:
        """Drag files over a drop zone and drop them, with a DataTransfer that is made in the page."""
        rows = [[name, base64.b64encode(data).decode()] for name, data in files.items()]
        zones = self.page.locator('[data-testid="stFileUploaderDropzone"]')
        zones.nth(zone).wait_for()
        self.page.evaluate(DROP, [rows, zone])  # in one go: between two calls, the zone could be drawn anew

    def describe_page(self) -> str:
        """A text with the page's address, the browser's console, the state of the script, and the visible text."""
        lines = [self.page.url, *self.messages[-20:]]
        for name, read in (
            ("script", "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState ?? 'no app'"),
            ("text", "() => document.body.innerText"),
        ):
            try:
                lines.append(f"{name}: {self._within_seconds(read)}")
            except Exception as error:  # any browser error: it must not hide the failure of the test itself
                lines.append(f"{name} cannot be read: {error}")
        return "\n".join(lines)

    def _within_seconds(self, script: str) -> str:
        """The result of a JavaScript function in the page. Raises if the page does not answer within 10 s."""
        self.page.wait_for_function("() => true", timeout=10_000, polling=100)
        return str(self.page.evaluate(script))

    def close(self) -> None:
        self._context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the text of the page to the report of a failed test, because a timeout does not show its cause."""
    report = yield
    visit = getattr(item, "funcargs", {}).get("visit")
    if report.when == "call" and report.failed and isinstance(visit, Visit):
        report.sections.append(("the page", visit.describe_page()))
    return report


@pytest.fixture
def visit(browser: object, server: str) -> Iterator[Visit]:
    page = Visit(browser, server)
    yield page
    page.close()
    assert page.outside == [], "the page asked somebody outside"
    assert page.dialogs == [], "a script from a file ran"
