"""Time from the drop of a photo on the page until both overlays are painted, in headless Chromium, warm.

Ours: the page Compare with FP32 and int8. Peer: the page of a tutorial (tutorial_app.py), until both pictures are
decoded. Limit: one process without a page decodes the same photo once and runs both models once.
"""

import base64
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.figures import line

ROOT = Path(__file__).resolve().parents[1]
RUNS = 15
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

DROP = """([name, text]) => new Promise(done => {
  const file = new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name);
  const transfer = new DataTransfer(); transfer.items.add(file);
  const zone = document.querySelector('[data-testid=stFileUploaderDropzone]');
  const painted = () => { %s };
  const start = performance.now();
  for (const kind of ['dragenter', 'dragover', 'drop'])
    zone.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
  const look = () => painted() ? done(performance.now() - start) : requestAnimationFrame(look);
  look();
})"""
OURS = """for (const box of document.querySelectorAll('[data-testid=stBidiComponentIsolated]')) {
    const viewer = box.shadowRoot?.querySelector('.qviz-viewer[data-painted=true]');
    if (viewer && viewer.innerText.includes(name) && viewer.querySelectorAll('.qviz-pane').length === 2) return true; }
  return false;"""
PEER = """const pictures = [...document.querySelectorAll('[data-testid=stImage] img')];
  const texts = [...document.querySelectorAll('[data-testid=stImageCaption]')].filter(c => c.innerText.includes(name));
  return texts.length === 2 && pictures.length === 2 && pictures.every(p => p.complete && p.naturalWidth > 0);"""


def photo(number: int) -> bytes:
    """A photograph that is in no cache: one of the sample's, with one pixel changed."""
    with Image.open(ROOT / "sample_data" / "images" / "dog_shepherd.jpg") as opened:
        pixels = np.array(opened.convert("RGB"))
    pixels[:8, :8] = number * 7 % 256
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


@contextmanager
def server(script: str, folder: Path = ROOT, data: Path | None = None) -> Iterator[str]:
    """The address of a server that shows this script; `app.py` is started as users do, with `qviz app`.

    Args:
        folder: The clone whose script it is.
        data: Where qviz keeps its data and cache, if not in the usual folders.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = ["qviz", "app", "--port"] if script == "app.py" else ["streamlit", "run", script, "--server.port"]
    folders = {name: str(data) for name in ("QVIZ_CACHE", "QVIZ_DATA", "XDG_CACHE_HOME") if data is not None}
    process = subprocess.Popen(
        [sys.executable, "-m", *start, str(port)],
        cwd=folder,
        env={**os.environ, "STREAMLIT_SERVER_HEADLESS": "true", **folders},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def drops(page: Page, painted: str) -> list[float]:
    durations = []
    for number in range(RUNS + 2):
        text = base64.b64encode(photo(number)).decode()
        durations.append(page.evaluate(DROP % painted, [f"drop-{number}.jpg", text]))
        page.wait_for_timeout(900)
    return durations[2:]  # warm


def measured(browser: Any, script: str, path: str, painted: str, ready: str) -> list[float]:
    with server(script) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address + path)
        page.locator(ready).first.wait_for(timeout=60_000)
        page.wait_for_timeout(12_000)  # until the sample has been run: the drop is measured, not the queue
        durations = drops(page, painted)
        page.close()
    return durations


def limit() -> list[float]:
    warnings.simplefilter("ignore")
    models = []
    for name in ("float32", "int8"):
        model = Interpreter(str(ROOT / "sample_data" / "models" / f"ssdlite_mobilenet_v2_{name}.tflite"), num_threads=1)
        model.allocate_tensors()
        models.append(model)
    durations = []
    for number in range(RUNS + 2):
        data = np.frombuffer(photo(number), np.uint8)
        start = time.perf_counter()
        image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        values = (cv2.resize(image, (300, 300)).astype(np.float32) / 127.5 - 1)[None]
        for model in models:
            model.set_tensor(model.get_input_details()[0]["index"], values)
            model.invoke()
        durations.append((time.perf_counter() - start) * 1e3)
    return durations[2:]


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium is installed (Debian: apt-get install chromium)")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        ours = measured(browser, "app.py", "/compare?variant=int8", OURS, '.qviz-viewer[data-painted="true"]')
        print(line("qviz: dropped image -> both overlays painted", ours, goal=400))
        peer = measured(browser, "benchmarks/tutorial_app.py", "/", PEER, '[data-testid="stFileUploaderDropzone"]')
        print(line("peer: tutorial page, both pictures painted", peer))
        browser.close()
    print(line("limit: decode once, both models once, no page", limit()))


if __name__ == "__main__":
    main()
