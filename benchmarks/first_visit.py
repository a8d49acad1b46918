"""From opening the address to the models on the screen, and to the first damage figures, in headless Chromium.

Cold: the first visit to a fresh server, three seconds after `qviz app` has printed its address; it runs the sample.
Warm: later visits, each in a new browser context. The limit is a page of the same server framework that shows one line
of text.
"""

import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.dropped_image import FLAGS, server
from benchmarks.figures import line

RUNS = 7


def visit(browser: Any, address: str, *selectors: str) -> list[float]:
    """Milliseconds until each selector matches an element."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    durations = []
    for selector in selectors:
        page.locator(selector).first.wait_for(timeout=60_000)
        durations.append((time.perf_counter() - start) * 1e3)
    context.close()
    return durations


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium is installed (Debian: apt-get install chromium)")
        return
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with server("app.py", data=Path(folder)) as address:
            time.sleep(3)  # as somebody who opens the address that the command has printed
            cold = visit(browser, address, ".qviz-card", ".qviz-card .agreement")
            time.sleep(12)  # until the sample has been run
            warm = [visit(browser, address, ".qviz-card", ".qviz-card .agreement") for _ in range(RUNS)]
        bare = Path(folder) / "bare.py"
        bare.write_text("import streamlit as st\nst.title('one line')\n")
        with server(str(bare)) as address:
            visit(browser, address, "h1")
            limit = [visit(browser, address, "h1")[0] for _ in range(RUNS)]
        browser.close()
    print(line("cold: models on the screen", [cold[0]]))
    print(line("cold: first damage figures", [cold[1]], goal=3000))
    print(line("warm: models on the screen", [row[0] for row in warm], goal=2000))
    print(line("warm: damage figures", [row[1] for row in warm], goal=3000))
    print(line("limit: one line of text", limit))


if __name__ == "__main__":
    main()
