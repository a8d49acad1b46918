"""Layers in a real browser: a device's recording is dropped, and its figures stand beside those of the operators."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import expect

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.features.backends.device import device_pack, device_read, device_run
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from tests.browser.conftest import Visit
from tests.browser.test_layers import LONG, detail, picture, view
from tests.conftest import Sample


def test_a_recording_is_shown_beside_the_errors(
    visit: Visit, sample: Sample, loaded: dict[str, LoadedModel], engine: LocalEngine, tmp_path: Path
) -> None:
    image = EncodedImage("hens.jpg", (sample.images / "hens.jpg").read_bytes())
    context, folder, file = Context(engine), tmp_path / "folder", tmp_path / "phone.zip"
    device_pack(context, loaded["int8"], [image], folder, inner="0-12")
    device_run(context, folder)
    device_read(context, folder, tensors=file)

    page = visit.page
    visit.open("/layers?variant=int8&layer=int8:4")
    picture(visit)
    page.get_by_role("button", name="Device and NPU").click()
    page.locator(".st-key-recording-drop input[type=file]").set_input_files(file)
    sentence = page.locator(".qviz-note", has_text="covers 13 of 157 operators of int8 on 1 image.")
    expect(sentence).to_be_visible(timeout=LONG)
    expect(sentence).to_contain_text("Every recorded tensor is bit for bit equal to that of the kernels here.")
    page.keyboard.press("Escape")
    detail(page, 4)
    expect(page.locator(".qviz-figures th", has_text="device to here dB")).to_be_visible(timeout=LONG)
    expect(page.locator(".qviz-figures tr", has_text="device to here dB").locator("td")).to_have_text("equal")
    shot = os.environ.get("QVIZ_SHOT")
    if shot:
        page.screenshot(path=f"{shot}-network.png")
    view(page, "Table")
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    if shot:
        page.set_viewport_size({"width": 1600, "height": 1000})
        page.wait_for_timeout(1500)
        page.screenshot(path=f"{shot}-table.png")
    page.get_by_role("button", name="Device and NPU").click()
    file.write_bytes(file.read_bytes()[:-60])
    page.locator(".st-key-recording-drop input[type=file]").set_input_files(file)
    page.get_by_text("phone.zip is not a complete archive of recorded tensors; copy it again.").wait_for(timeout=LONG)
