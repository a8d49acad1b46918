"""The waits of a user in this version and in another one, side by side in one run, in headless Chromium.

    python -m benchmarks.versions FOLDER

FOLDER is a clone in which another commit is checked out. Its pages are opened with the packages of this environment.
Both versions get fresh servers. The models and images of the last two waits are the NanoDet pair and the 80 validation
images in ../shared, if they are there.
"""

import base64
import io
import json
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.dropped_image import FLAGS, ROOT, server
from benchmarks.figures import line

ROUNDS = 3
TIMEOUT = 300_000
SHARED = ROOT.parent / "shared"
PAIR = ("nanodet_m_320_float32.tflite", "nanodet_m_320_int8_floatio.tflite")
DEEP = """const deep = (selector, from = document) => [...from.querySelectorAll(selector),
  ...[...from.querySelectorAll('*')].flatMap(el => el.shadowRoot ? deep(selector, el.shadowRoot) : [])];"""
CARDS = f"""([count, name]) => {{ {DEEP}
  const cards = deep('.qviz-card').map(card => card.innerText);
  const measured = cards.filter(text => /agreement/.test(text) && /[01]\\.\\d/.test(text)).length;
  return measured >= count && document.body.innerText.includes(name); }}"""
PICTURE = (
    f"""() => {{ {DEEP} return deep('.qviz-viewer[data-painted=true] .qviz-pane img').map(img => img.src).join(); }}"""
)
HOLD = """rows => { window.held = new DataTransfer();
  for (const [name, text] of rows)
    window.held.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name)); }"""
DROP = """zone => { for (const kind of ['dragenter', 'dragover', 'drop'])
    zone.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: window.held})); }"""
MIDDLE = """(root, order) => { const v = root.qviz, box = v.layout.chips[v.net.position.get(order)];
  const at = v.canvas.getBoundingClientRect(), { s, x, y } = v.camera;
  return [at.x + (box.x + 33) * s + x, at.y + (box.y + 9) * s + y]; }"""


def waited(page: Page, act: Callable[[], object], script: str, argument: object = None) -> float:
    """Milliseconds from `act` until the script returns true in the page."""
    start = time.perf_counter()
    act()
    page.wait_for_function(script, arg=argument, timeout=TIMEOUT)
    return (time.perf_counter() - start) * 1e3


def next_images(page: Page, address: str) -> list[float]:
    """Milliseconds from the arrow key to the next painted image, for each of five images."""
    page.goto(f"{address}/compare?variant=int8&image=hens.jpg")
    page.wait_for_function(f"() => ({PICTURE})() !== ''", timeout=TIMEOUT)
    time.sleep(5)
    rows = []
    for _ in range(5):
        shown = page.evaluate(PICTURE)
        changed = f"shown => {{ const now = ({PICTURE})(); return now !== '' && now !== shown; }}"
        rows.append(waited(page, lambda: page.keyboard.press("ArrowRight"), changed, shown))
        time.sleep(1)
    return rows


def layer_clicks(page: Page, address: str) -> list[float]:
    """Milliseconds from a click on a layer to its detail, for each of five layers."""
    page.goto(f"{address}/layers?variant=int8_wrong_range")
    page.get_by_text(re.compile(r"Operator 0 \(")).first.wait_for(timeout=TIMEOUT)
    time.sleep(5)
    picture, rows = page.locator(".qviz-network"), []
    shown = r"() => document.body.innerText.match(/Operator \d+ \(/)?.[0] ?? ''"
    for order in (20, 40, 60, 80, 100):
        if picture.count():
            x, y = picture.evaluate(MIDDLE, order)
        else:
            points = page.locator(".stPlotlyChart:visible").first.locator(".scatterlayer path.point")
            point: Any = points.nth(order).bounding_box()
            x, y = point["x"] + point["width"] / 2, point["y"] + point["height"] / 2
        before, click = page.evaluate(shown), lambda x=x, y=y: page.mouse.click(x, y)
        changed = f"before => {{ const now = ({shown})(); return now !== '' && now !== before; }}"
        rows.append(waited(page, click, changed, before))
        time.sleep(2)
    return rows


def dropped(page: Page, files: dict[str, bytes], script: str, argument: object = None) -> float:
    """Milliseconds from the drop of these files until the script returns true. The browser holds the files before."""
    page.evaluate(HOLD, [[name, base64.b64encode(data).decode()] for name, data in files.items()])
    zone = page.locator('[data-testid="stFileUploaderDropzone"]').first.element_handle()
    return waited(page, lambda: page.evaluate(DROP, zone), script, argument)


def archive(count: int | None, annotations: bool) -> bytes:
    """A zip of validation images: the first `count`, or all of them, with their annotations if asked for."""
    text = (SHARED / "coco" / "instances_val2017.json").read_text()
    names = [row["file_name"] for row in json.loads(text)["images"]][:count]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as writer:
        for name in names:
            writer.write(SHARED / "coco" / "images" / name, f"images/{name}")
        if annotations:
            writer.writestr("annotations/instances_val2017.json", text)
    return buffer.getvalue()


def own_files(page: Page, address: str) -> tuple[float, float]:
    """Milliseconds from the drop of a pair with 16 photos to its agreement, and of 80 annotated images to AP."""
    page.goto(f"{address}/")
    page.wait_for_function(CARDS, arg=[4, "int8_wrong_range"], timeout=TIMEOUT)
    time.sleep(5)
    pair = {name: (SHARED / "models" / name).read_bytes() for name in PAIR} | {"photos.zip": archive(16, False)}
    agreement = dropped(page, pair, CARDS, [1, "int8_floatio"])
    time.sleep(5)
    page.get_by_role("link", name="Accuracy", exact=True).first.click()
    page.get_by_text("reference as truth").first.wait_for(timeout=TIMEOUT)
    time.sleep(10)
    return agreement, dropped(page, {"val.zip": archive(None, True)}, AP)


AP = f"""() => {{ {DEEP} return deep('.qviz-verdict').some(e => /\\bAP\\b/.test(e.innerText))
  && deep('.qviz-note').some(e => /: 80 images, \\d+ objects/.test(e.innerText)); }}"""


def waits(browser: Any, folder: Path) -> dict[str, list[float]]:
    """Name of each wait -> its milliseconds in the version in `folder`, on one fresh server."""
    with TemporaryDirectory() as data, server("app.py", folder, Path(data)) as address:
        time.sleep(3)  # as somebody who opens the address that the command has printed
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        cold = waited(page, lambda: page.goto(address, wait_until="commit"), CARDS, [4, "int8_wrong_range"])
        time.sleep(10)
        rows = {"first verdict, cold": [cold], "next image": next_images(page, address)}
        rows["layer click to detail"] = layer_clicks(page, address)
        if (SHARED / "models" / PAIR[0]).exists():
            agreement, ap = own_files(page, address)
            rows["pair and 16 photos to verdict"], rows["80 annotated images to AP"] = [agreement], [ap]
        context.close()
    return rows


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if chromium is None or folder is None or not (folder / "app.py").exists():
        print("not run: needs Chromium (Debian: apt-get install chromium) and the folder of a clone of another commit")
        return
    versions = {"other": folder.resolve(), "this": ROOT}
    measured: dict[str, dict[str, list[float]]] = {name: {} for name in versions}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(ROUNDS):
            for name, path in versions.items():
                for wait, durations in waits(browser, path).items():
                    measured[name].setdefault(wait, []).extend(durations)
        browser.close()
    for wait in measured["this"]:
        for name in versions:
            print(line(f"{wait}: {name} version", measured[name][wait]))


if __name__ == "__main__":
    main()
