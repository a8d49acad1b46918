"""The Backends page in a real browser: a run of two sets of kernels is counted, and fills chart and table."""

from __future__ import annotations

import os
import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit


def test_two_sets_of_kernels_are_compared(visit: Visit) -> None:
    page = visit.page
    visit.open("/backends")
    expect(page.locator(".qviz-verdict").first).to_contain_text("The same file can answer differently on other kernels")
    page.get_by_text("Where do the kernels first differ?").click()
    visit.settle()
    page.get_by_role("button", name="Run", exact=True).click()
    verdict = page.locator(".qviz-verdict").filter(has_text=re.compile(r"on 12 images"))
    verdict.wait_for(timeout=120_000)
    expect(verdict).to_contain_text(
        re.compile(r"loses \d+ objects? of the reference on .*: \d+ because of the file, \d+ because of the kernels")
    )
    expect(page.locator(".js-plotly-plot")).to_be_visible()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    expect(page.get_by_text("int8: xnnpack and builtin first differ in operator 1 (CONV_2D)").first).to_be_visible()
    shown = verdict.inner_text()
    lost = re.search(r"\S+ loses .*? because of the kernels\.", shown)
    assert lost is not None
    page.get_by_role("link", name="Overview").first.click()
    expect(page.locator(".qviz").filter(has_text=f"{lost[0]} Measured on 12 images.").first).to_be_visible()
    page.reload()  # the address has the project: the stored result is found again
    expect(page.locator(".qviz").filter(has_text=f"{lost[0]} Measured on 12 images.").first).to_be_visible()
    if path := os.environ.get("QVIZ_SHOT"):
        page.set_viewport_size({"width": 1280, "height": 1100})
        page.wait_for_timeout(1500)
        page.screenshot(path=path)
