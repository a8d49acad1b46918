"""The extension of Model Explorer in the real viewer; skipped where `ai-edge-model-explorer` is not installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from qviz.session import Session
from tests.browser.conftest import free_port
from tests.conftest import Sample

pytest.importorskip("model_explorer", reason="ai-edge-model-explorer is not installed")
LONG = 120_000
POST_PROCESS = (239, 708)
"""Where the left pane draws the last operator; the graph is a canvas."""


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[str]:
    """Address of Model Explorer with the extension."""
    port = free_port()
    options = ["--extensions=qviz.model_explorer", "--port", str(port), "--no_open_in_browser", "--skip_health_check"]
    with (
        (tmp_path / "viewer.log").open("w") as log,
        subprocess.Popen([sys.executable, "-m", "model_explorer", *options], stdout=log, stderr=log) as process,
    ):
        try:
            address = f"http://localhost:{port}"
            _wait_for(address)
            yield address
        finally:
            process.terminate()


def _wait_for(address: str) -> None:
    end = monotonic() + 60
    while monotonic() < end:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(address, timeout=5):
            return
        sleep(0.2)
    raise AssertionError("Model Explorer has not started")


def opened(browser: Browser, viewer: str, *models: Path) -> Page:
    page = browser.new_page(viewport={"width": 1700, "height": 950})
    document = {"models": [{"url": str(path)} for path in models]}
    page.goto(f"{viewer}/?data={quote(json.dumps(document))}")
    return page


def run(page: Page, **fields: Path) -> None:
    """Fill the extension's dialog and run it."""
    dialog = page.locator(".cdk-overlay-container")
    page.get_by_text("Add per-node data").click()
    dialog.get_by_text("qviz: error of each operator").click()
    button = dialog.get_by_role("button", name="Run")
    for _ in range(20):  # the dialog may still be filling in its defaults
        page.wait_for_timeout(500)
        dialog.locator("input").first.fill("hens")  # the name of the run
        for field, value in fields.items():
            page.locator(f'[data-editor-id="{field}"] input').fill(str(value))
        if button.is_enabled():
            break
    button.click()


def test_node_data_and_mapping(browser: Browser, viewer: str, sample: Sample, tmp_path: Path) -> None:
    """The figures of the table are those of `qviz layers`; a click on an operator selects its partner."""
    reference, variant = sample.models["float32"], sample.models["int8"]
    image, mapping = sample.images / "hens.jpg", tmp_path / "sync.json"
    with Session(reference, variant, images=image) as session:
        result = session.layers()
    page = opened(browser, viewer, variant)
    page.get_by_text("160 nodes").first.wait_for(timeout=LONG)
    run(page, reference=reference, images=image, mapping=mapping)
    expect(page.get_by_text("cumulative dB").first).to_be_visible(timeout=LONG)
    second = result.layers[1]
    assert second.cumulative_sqnr_db is not None
    page.get_by_text(f"{second.cumulative_sqnr_db:.6g}", exact=True).first.wait_for(timeout=LONG)
    page.close()

    pairs = json.loads(mapping.read_text())["mapping"]
    assert pairs == {str(partner): str(order) for order, partner in result.pairs}
    page = opened(browser, viewer, reference, variant)
    page.get_by_text("127 nodes").first.click(timeout=LONG)
    page.locator(".cdk-overlay-container .action-button").last.click()  # open in a split pane
    page.locator("sync-navigation-button").click(timeout=LONG)
    with page.expect_file_chooser() as chooser:
        page.locator(".cdk-overlay-container").get_by_text("Upload", exact=True).click()
    chooser.value.set_files(mapping)
    page.locator(".cdk-overlay-container").get_by_text("sync.json").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_timeout(1000)  # the dialog fades out
    page.mouse.click(*POST_PROCESS)
    panels = page.locator("info-panel")
    expect(panels.first).to_contain_text("TFLite_Detection_PostProcess")
    expect(panels.last).to_contain_text(re.compile(rf"id\s*{pairs['124']}\b"), timeout=20_000)
    page.close()


def test_a_mistake_is_shown_in_the_viewer(browser: Browser, viewer: str, sample: Sample, tmp_path: Path) -> None:
    page = opened(browser, viewer, sample.models["int8"])
    page.get_by_text("160 nodes").first.wait_for(timeout=LONG)
    run(page, reference=tmp_path / "nowhere.tflite", images=sample.images)
    expect(page.get_by_text("nowhere.tflite").first).to_be_visible(timeout=LONG)
    page.close()
