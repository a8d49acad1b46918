"""The Robustness page: time from a move of the slider until both overlays are repainted, and speed of a sweep.

ours    headless Chromium, warm, FP32 and int8; a sweep over the sample's scenes, without a store
peer    none: the slider is compared with its goal, the sweep with an evaluation of the same models and scenes
limit   for the slider, the limit of `dropped_image`; for the sweep, the evaluation, which does not change images
"""

import shutil
from dataclasses import replace
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.dropped_image import FLAGS, limit, server
from benchmarks.figures import line
from benchmarks.throughput import MODELS, SAMPLE
from qviz.context import Context
from qviz.corruptions import CORRUPTIONS
from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine, importing
from qviz.features.accuracy import evaluate
from qviz.features.corruption_sweep.sweep import sweep
from qviz.session import Session

RUNS = 12
"""Measured moves of the slider, after two to warm up; the slider has sixteen steps on either side of its middle."""
ROUNDS = 3
SCENES = 24
SHIFTS = (tuple(name for name, row in CORRUPTIONS.items() if row.family == "lighting"), (1, 3, 5))
"""All corruptions of the light. Those with sensor noise take longest (17 ms per image of 640 x 480)."""

WATCH = """() => {
  const painted = () => {
    for (const box of document.querySelectorAll('[data-testid=stBidiComponentIsolated]')) {
      const viewer = box.shadowRoot?.querySelector('.qviz-viewer[data-painted=true]');
      if (viewer) return viewer.dataset.rev;
    }
    return null;
  };
  const before = painted();
  window.taken = new Promise((done, fail) => document.addEventListener('keyup', () => {
    const start = performance.now();
    const look = () => {
      const now = painted();
      if (now && now !== before) done(performance.now() - start); else requestAnimationFrame(look);
    };
    look();
    setTimeout(() => fail(new Error('nothing was repainted for 30 s')), 30000);
  }, {once: true, capture: true}));
}"""
SLIDER = ".stSlider input[type=range]"


def moves(browser: Any) -> list[float]:
    """Milliseconds from each move of the slider to the repainted overlays, without the first two moves."""
    with server("app.py") as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address + "/robustness?variant=int8&image=dog_shepherd.jpg")
        page.locator('.qviz-viewer[data-painted="true"]').first.wait_for(timeout=60_000)
        page.wait_for_timeout(15_000)  # until the sample has been run
        durations = []
        for _ in range(RUNS + 2):
            page.locator(SLIDER).first.focus()
            page.evaluate(WATCH)
            page.keyboard.press("ArrowLeft")
            durations.append(page.evaluate("() => window.taken"))
            page.wait_for_timeout(900)
        page.close()
    return durations[2:]


def rates() -> None:
    """Print images per second of the sweep and of the evaluation, which are run in turns."""
    scenes = read_coco(SAMPLE / "scenes" / "annotations.json", SAMPLE / "scenes")
    data = replace(scenes, images=scenes.images[:SCENES])
    with LocalEngine(warm_up=importing("qviz.detector")) as engine:
        models = Session(*MODELS, engine=engine, cache=False).models
        evaluate(Context(engine), models, data)  # warms the workers
        for _ in range(ROUNDS):
            clean = evaluate(Context(engine), models, data).images_per_second
            shifted = sweep(Context(engine), models, data, *SHIFTS).images_per_second
            print(f"sweep {shifted:5.1f}, evaluation {clean:5.1f} images/s; ratio {shifted / clean:.2f}   goal 0.8")


def main() -> None:
    rates()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium is installed (Debian: apt-get install chromium)")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        print(line("qviz: slider let go -> both overlays repainted", moves(browser), goal=250))
        browser.close()
    print(line("limit: decode once, both models once, no page", limit()))


if __name__ == "__main__":
    main()
