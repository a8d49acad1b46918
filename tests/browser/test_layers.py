"""The Layers page in a real browser: chart, graph and table choose the layer that the panel below shows."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit

LONG = 120_000


def panel(visit: Visit, text: str) -> None:
    """The panel of the layer in view names it."""
    visit.page.locator(".qviz-note", has_text=re.compile(text)).wait_for(timeout=LONG)


def test_chart_graph_and_table_choose_a_layer(visit: Visit) -> None:
    visit.open("/layers?variant=int8_wrong_range")
    page = visit.page
    chart = page.locator(".stPlotlyChart:visible").first
    chart.get_by_text("SQNR, dB (higher is better)").first.wait_for(timeout=LONG)
    assert "the input quantizer" in page.locator(".qviz-verdict").first.inner_text()
    panel(visit, r"Operator 0 \(QUANTIZE\)")  # the one to look at first, before any click

    point = chart.locator(".scatterlayer path.point").nth(20).bounding_box()
    assert point is not None
    page.mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    panel(visit, r"Operator [1-9]\d* \(")

    page.get_by_role("tab", name="As a graph").click()
    label = page.get_by_text(re.compile("expanded_conv_4"), exact=False).locator("visible=true").first
    label.wait_for(timeout=LONG)
    box = label.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] - 10, box["y"] + box["height"] / 2)
    page.get_by_role("button", name="Fold all").wait_for(timeout=LONG)
    panel(visit, r"Operator (19|2[0-6]) \(")  # the worst layer of the block

    page.get_by_role("tab", name="As a table").click()
    page.get_by_label("Tensor's name contains").fill("concat")
    page.get_by_label("Tensor's name contains").press("Enter")
    page.get_by_text(re.compile(r"^2 of \d+ layers")).first.wait_for(timeout=LONG)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Model Explorer node data, local SQNR").click()
    data = json.loads(saved.value.path().read_text())
    assert "0" in data["results"] and len(data["gradient"]) == 3


def test_variants_are_overlaid_in_one_chart(visit: Visit) -> None:
    visit.open("/layers?variant=int8,dynamic_range")
    chart = visit.page.locator(".stPlotlyChart:visible").first
    chart.get_by_text("operator, in the order of the reference's file").first.wait_for(timeout=LONG)
    expect(chart.locator(".legendtext", has_text="dynamic_range")).to_have_count(1)
    expect(visit.page.get_by_text("Variant in view")).to_be_visible()
