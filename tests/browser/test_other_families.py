"""Uploaded models of other families give plausible boxes without any setting changed."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, Visit

MODELS = ROOT.parent / "shared" / "models"
PAIRS = {
    "yolox": ("yolox_nano_float32.tflite", "yolox_nano_dynamic_range_quant.tflite"),
    "nanodet": ("nanodet_m_320_float32.tflite", "nanodet_m_320_int8_full.tflite"),
}


@pytest.mark.skipif(not MODELS.is_dir(), reason="models of other families are not at hand")
@pytest.mark.parametrize("names", PAIRS.values(), ids=PAIRS)
def test_a_dropped_pair_finds_the_same_animals(visit: Visit, names: tuple[str, ...]) -> None:
    visit.open()
    visit.page.locator(".qviz-card").first.wait_for(timeout=120_000)
    visit.drop({name: (MODELS / name).read_bytes() for name in names})
    visit.page.get_by_role("button", name="Back to the sample").wait_for(timeout=120_000)
    visit.page.get_by_text(re.compile("over 27 images")).first.wait_for(timeout=120_000)
    expect(visit.page.locator(".qviz-card")).to_have_count(1, timeout=120_000)
    agreement = float(visit.page.locator(".qviz-card .agreement").first.inner_text())
    assert agreement > 0.7  # NanoDet loses a fifth of its objects at .25, and no AP: its scores are low
    visit.page.get_by_role("link", name="Compare", exact=True).first.click()
    visit.painted()
    assert visit.page.locator('.qviz-pane[data-id="reference"] g.qviz-box').count() > 0


def test_a_dropped_saved_model_is_converted_and_compared(visit: Visit) -> None:
    folder = ROOT / "sample_data" / "saved_model"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    variant = ROOT / "sample_data" / "models" / "ssdlite_mobilenet_v2_int8.tflite"
    visit.open()
    visit.page.locator(".qviz-card").first.wait_for(timeout=120_000)
    visit.drop({"detector.zip": packed.getvalue(), variant.name: variant.read_bytes()})
    visit.page.get_by_text("was converted to an FP32 .tflite file").first.wait_for(timeout=120_000)
    visit.page.locator(".qviz-reference", has_text="detector").first.wait_for(timeout=120_000)
    visit.page.get_by_text(re.compile("over 27 images")).first.wait_for(timeout=120_000)
    expect(visit.page.locator(".qviz-card")).to_have_count(1, timeout=120_000)
