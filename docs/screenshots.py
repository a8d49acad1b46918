"""Pictures of the dashboard, taken with Chromium.

`make screenshots` takes those of the README, on the sample. `python docs/screenshots.py --all FOLDER` takes every page
in four sizes, light and dark, on the sample and, with `--files MODEL... IMAGES.zip`, on files of your own, and the
states in which a page has no data, is computing, or was given files that it cannot read; `--pages compare variants`
takes only these pages. Look at them after a change of style or layout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
PAGES = {
    # picture: address, the button that is pressed, a text that is there when the page is complete, height
    "overview": ("/", "", "over 27 images", 1000),
    "compare": ("/compare?image=dog_shepherd.jpg&variant=int8_wrong_range", "", "Confidence of this object", 900),
    "layers": ("/layers", "", "SQNR, dB", 1180),
    "accuracy": ("/accuracy", "", "Loss by class", 1000),
    "robustness": ("/robustness?variant=int8_wrong_range&image=astronaut.jpg", "", "along the slider", 900),
    "variants": ("/variants", "", "dominated", 900),
    "report": ("/report", "Make the report", "Download", 1000),
}
MENU = (
    *("", "diagnosis", "compare", "layers", "accuracy", "robustness", "backends", "video", "variants", "report"),
    *("robustness?tab=Sweep", "variants?tab=Build", "variants?tab=Calibration", "variants?tab=Rescue"),
    *("variants?tab=Train", "glossary"),
)
"""Addresses of all pages, and of the tabs that are as large as a page."""
SIZES = {"1280": (1280, 800), "1920": (1920, 1080), "3840": (3840, 2160), "390": (390, 844)}
SCHEMES = ("light", "dark")
PATIENCE = 180_000
DRAWN = 4000
"""Milliseconds in which charts and thumbnails are drawn after the script has ended."""
INPUT = '[data-testid="stFileUploaderDropzone"] input[type="file"]'
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
DRAWN_ONCE = """() => document.querySelector('[data-testid="stApp"]').dataset.testScriptState === "notRunning"
  && !document.querySelector('[data-testid="stProgress"], [data-testid="stSkeleton"], [data-stale="true"]')"""
"""No job runs, and nothing is left of an earlier run."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{address} did not come up")


def take(browser: Any, address: str, name: str) -> None:
    path, button, text, height = PAGES[name]
    page = browser.new_page(viewport={"width": 1280, "height": height})
    page.goto(address + path)
    if button:
        page.get_by_role("button", name=button, exact=True).click(timeout=PATIENCE)
    page.get_by_text(text).first.wait_for(timeout=PATIENCE, state="attached")
    idle(page)
    page.screenshot(path=DOCS / f"{name}.png")
    page.close()


def idle(page: Any) -> None:
    """Wait until the script has ended and drawn, and no job runs; at most for `PATIENCE`."""
    try:
        page.wait_for_selector(IDLE, timeout=PATIENCE)
        page.wait_for_function(DRAWN_ONCE, timeout=PATIENCE)
    except Exception as error:  # the picture shows what there is
        print(f"{page.url}: {str(error).splitlines()[0]}", flush=True)
    page.wait_for_timeout(DRAWN)


def shoot(page: Any, folder: Path, name: str, sizes: tuple[str, ...] = tuple(SIZES)) -> None:
    """Take what the page shows in these sizes, light and dark."""
    for size in sizes:
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(1200)
            page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")
    print(name, flush=True)


def dropped(page: Any, files: list[Path]) -> str:
    """Drop files on the page, and return the query of the project that they become."""
    page.locator(INPUT).first.set_input_files(files)
    page.wait_for_url("**project=*", timeout=PATIENCE)
    idle(page)
    return str(page.url.split("?")[1])


@dataclass(frozen=True)
class Order:
    """What is to be taken: into which folder, of which pages (all if none), and with which own files."""

    folder: Path
    pages: Sequence[str]
    files: list[Path]

    def menu(self) -> list[str]:
        """The addresses of the pages that are to be taken."""
        return [path for path in MENU if not self.pages or (path.split("?")[0] or "overview") in self.pages]


def shoot_pages(page: Any, address: str, order: Order, scene: str, query: str, sizes: tuple[str, ...]) -> None:
    """Take all pages of the project that the query names (of the sample if it is empty)."""
    for path in order.menu():
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(f"{address}/{path}{'&' if '?' in path and query else '?' if query else ''}{query}")
        idle(page)
        name = path.replace("?tab=", "-").lower() or "overview"
        shoot(page, order.folder, f"{scene}-{name}", sizes)


def on_sample(page: Any, address: str, order: Order) -> None:
    shoot_pages(page, address, order, "sample", "", tuple(SIZES))


def on_files(page: Any, address: str, order: Order) -> None:
    if not order.files:
        return
    page.goto(address)
    idle(page)
    shoot_pages(page, address, order, "files", dropped(page, order.files), ("1280", "1920"))


def empty(page: Any, address: str, order: Order) -> None:
    page.goto(address)
    idle(page)
    page.get_by_text("Projects", exact=True).click()
    page.get_by_role("button", name="New empty project").click()
    page.wait_for_url("**project=*", timeout=PATIENCE)
    shoot_pages(page, address, order, "empty", page.url.split("?")[1], ("1280",))


def running(page: Any, address: str, order: Order) -> None:
    """Pages with a job that has just started, and Overview with its tray."""
    for path, button in (
        ("variants?tab=Build", "Build and compare"),
        ("variants", "Measure"),
        ("report", "Make the report"),
    ):
        page.goto(f"{address}/{path}")
        idle(page)
        page.get_by_role("button", name=button, exact=True).last.click(timeout=PATIENCE)
        page.wait_for_timeout(1500)
        shoot(page, order.folder, f"running-{button.split()[0].lower()}", ("1280",))
    page.goto(address)
    shoot(page, order.folder, "running-overview", ("1280",))


def failed(page: Any, address: str, order: Order) -> None:
    """Files that cannot be read."""
    broken = {"broken.tflite": b"TFL3" * 9, "photo.jpg": b"no photo", "labels.json": b'{"a": 1}', "notes.docx": b"PK"}
    page.goto(address)
    idle(page)
    content = [{"name": name, "mimeType": "", "buffer": data} for name, data in broken.items()]
    page.locator(INPUT).first.set_input_files(content)
    page.get_by_text("photo.jpg").first.wait_for(timeout=PATIENCE)
    idle(page)
    shoot(page, order.folder, "failed-overview", ("1280", "390"))


SCENES: dict[str, Callable[[Any, str, Order], None]] = {
    "sample": on_sample,
    "files": on_files,
    "empty": empty,
    "running": running,
    "failed": failed,
}


@contextmanager
def dashboard(address: str) -> Iterator[str]:
    """The address of a server of its own, whose projects are deleted at the end, unless one that runs is given."""
    if address:
        yield address
        return
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "QVIZ_DATA": folder}
        options = ["--server.headless", "true", "--server.fileWatcherType", "none"]
        server = subprocess.Popen([*command, *options], cwd=DOCS.parent, env=environment)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of the README's pictures ({', '.join(PAGES)}), or of scenes")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help=f"take all pages; scenes: {', '.join(SCENES)}")
    parser.add_argument("--files", type=Path, nargs="+", default=[], help="models and a zip of images, dropped at once")
    parser.add_argument("--pages", nargs="+", default=[], help="of --all: only these (overview, compare, ...)")
    parser.add_argument("--address", default="", help="of a dashboard that runs already, which remembers results")
    args = parser.parse_args()
    with dashboard(args.address.rstrip("/")) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        if args.all is None:
            for name in args.names or PAGES:
                take(browser, address, name)
        else:
            args.all.mkdir(parents=True, exist_ok=True)
            order = Order(args.all, args.pages, args.files)
            for name in args.names or SCENES:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(PATIENCE)
                SCENES[name](page, address, order)
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
