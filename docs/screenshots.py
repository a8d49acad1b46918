"""The pictures of the README, taken of the dashboard on its sample: `make screenshots` (needs Chromium)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
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
    "variants": ("/variants", "Measure", "Where the time goes", 900),
    "report": ("/report", "Make the report", "Download", 1000),
}
PATIENCE = 180_000


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
    page.wait_for_timeout(6000)  # charts and thumbnails are drawn after the text
    page.screenshot(path=DOCS / f"{name}.png")
    page.close()


def main() -> None:
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen([*command, "--server.headless", "true"], cwd=DOCS.parent)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for name in sys.argv[1:] or PAGES:
                take(browser, address, name)
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=30)


if __name__ == "__main__":
    main()
