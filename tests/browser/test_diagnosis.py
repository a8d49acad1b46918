"""The Diagnosis page in a real browser: the answer, and a cure that is built from it and measured."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit

LONG = 180_000


def test_the_first_cause_and_the_cure_that_is_built_from_it(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 1280, "height": 900})
    visit.open("/diagnosis?variant=int8_wrong_range")
    page = visit.page
    cause = page.locator(".qviz-causes .cause").first
    cause.wait_for(timeout=LONG)
    expect(page.locator(".qviz-verdict").first).to_contain_text("The quantizer of the input clips")
    expect(cause).to_contain_text("The range of the input is too small")
    expect(cause.locator(".back")).to_have_text(re.compile(r"^[5-9]\d% comes back"))
    build = page.get_by_role("button", name="Build and compare", exact=True).first
    build.wait_for(timeout=LONG)
    expect(page.locator(".qviz-shows .frame i").first).to_be_visible(timeout=LONG)
    box = build.bounding_box()
    assert box is not None and box["y"] < 900, "the way out is on the first screen"
    build.click()
    measured = page.get_by_text(re.compile(r"^Measured: .* has an agreement of \d\.\d\d on 27 images, where "))
    measured.first.wait_for(timeout=LONG)
    after, before = map(float, re.findall(r"\d\.\d\d", measured.first.inner_text()))
    assert after > before + 0.3
