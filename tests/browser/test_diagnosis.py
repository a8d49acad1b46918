"""The Diagnosis page in a real browser: the answer, the objects that show it, and a cure that is built from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.conftest import Sample

LONG = 180_000
PHOTOGRAPHS = ("biplane.jpg", "dog_shepherd.jpg", "horses_nokota.jpg", "hens.jpg", "mariachi.jpg")


def test_the_first_cause_and_the_cure_that_is_built_from_it(
    browser: object, start_server: Callable[[], str], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [str(sample.models[name]) for name in ("float32", "int8_wrong_range")]
    files = {"models": models, "images": [str(sample.images / name) for name in PHOTOGRAPHS]}
    monkeypatch.setenv("QVIZ_OPEN", json.dumps(files))
    visit = Visit(browser, start_server())
    visit.open("/diagnosis")
    page = visit.page
    cause = page.locator(".qviz-causes .cause").first
    cause.wait_for(timeout=LONG)
    expect(page.locator(".qviz-verdict").first).to_contain_text("The quantizer of the input clips")
    expect(cause).to_contain_text("The range of the input is too small")
    expect(cause.locator(".back")).to_have_text(re.compile(r"^\d\d% comes back"))
    expect(page.get_by_role("img", name="operators 0-1")).to_be_visible()
    build = page.get_by_role("button", name="Build and compare", exact=True).first
    build.wait_for(timeout=LONG)
    predicted = re.compile(r"agreement 0\.\d\d → 0\.\d\d \[.*\] predicted")
    expect(page.locator(".qviz-cure").first).to_contain_text(predicted)
    expect(page.locator(".qviz-shows .frame i").first).to_be_visible(timeout=LONG)
    box = build.bounding_box()
    assert box is not None and box["y"] < 900, "the cure is on the first screen"
    build.click()
    measured = page.get_by_text(re.compile(r"^Measured: .* has an agreement of \d\.\d\d on 5 images, where "))
    measured.first.wait_for(timeout=LONG)
    text = measured.first.inner_text()  # "… has an agreement of 0.93 on 5 images, where int8_wrong_range has 0.30. …"
    after, before = map(float, re.findall(r"\d\.\d\d", text)[:2])
    assert "MB" in text, "what it costs"
    assert after > before + 0.3
    assert visit.outside == []
    visit.close()
