"""The Layers page in a real browser: the picture of the network, the chart and the table choose the same layers."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit

LONG = 120_000
MIDDLE = """(root, order) => { const v = root.qviz, op = v.net.position.get(order), box = v.layout.chips[op];
  const at = v.canvas.getBoundingClientRect(), { s, x, y } = v.camera;
  return [at.x + (box.x + 33) * s + x, at.y + (box.y + 9) * s + y]; }"""
RINGED = """plot => plot.data.filter(trace => trace.marker?.color === '#0072B2' && trace.customdata)
  .flatMap(trace => trace.customdata.map(row => row[1]))"""


def picture(visit: Visit) -> Locator:
    """The picture, once it has figures."""
    root = visit.page.locator('.qviz-network[data-chosen]:not([data-chosen=""])')
    root.wait_for(timeout=LONG)
    return root


def middle(root: Locator, order: int) -> tuple[float, float]:
    x, y = root.evaluate(MIDDLE, order)
    return x, y


def detail(page: Page, order: int) -> Locator:
    panel = page.locator(".qviz-layer", has_text=re.compile(rf"Operator {order} \("))
    panel.wait_for(timeout=LONG)
    return panel


def view(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()


def test_a_click_shows_the_operator_beside_the_picture(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 1280, "height": 800})
    visit.open("/layers?variant=int8_wrong_range")
    page, root = visit.page, picture(visit)
    assert "the input quantizer" in page.locator(".qviz-verdict").first.inner_text()
    detail(page, 0)  # the one to look at first, before any click

    page.mouse.click(*middle(root, 4))
    panel = detail(page, 4).bounding_box()
    stage = root.locator("canvas").bounding_box()
    assert panel is not None and stage is not None
    assert panel["x"] > stage["x"] + stage["width"] and 0 < panel["y"] < stage["y"] + 100
    cause = page.locator(".qviz-cause").bounding_box()
    assert cause is not None and cause["y"] + cause["height"] < 800
    assert "layer=int8_wrong_range%3A4" in page.url

    page.keyboard.down("Control")
    page.mouse.click(*middle(root, 8))
    page.keyboard.up("Control")
    expect(root).to_have_attribute("data-selected", "2")
    expect(page.get_by_role("button", name="Keep 2 in float")).to_be_enabled(timeout=LONG)
    expect(page.get_by_role("button", name="Keep 2 in 16 bits")).to_be_visible()
    detail(page, 4)  # stays in view

    view(page, "Chart")
    chart = page.locator(".js-plotly-plot", has_text="in the order of")
    chart.wait_for(timeout=LONG)
    assert chart.evaluate(RINGED) == [4, 8]


def test_the_picture_zooms_pans_searches_and_collapses(visit: Visit) -> None:
    visit.open("/layers?variant=int8_wrong_range")
    page, root = visit.page, picture(visit)
    whole = root.get_attribute("data-camera")
    expect(root).to_have_attribute("data-zoom", "1.000")
    x, y = middle(root, 40)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    expect(root).not_to_have_attribute("data-zoom", "1.000")
    assert middle(root, 40) == pytest.approx((x, y), abs=1.5)  # the point under the pointer stays
    zoomed = root.get_attribute("data-camera")
    page.mouse.down()
    page.mouse.move(x - 80, y - 30, steps=3)
    page.mouse.up()
    expect(root).not_to_have_attribute("data-camera", str(zoomed))
    root.get_by_role("button", name="Whole network (0)").click()
    expect(root).to_have_attribute("data-camera", str(whole))

    box = root.get_by_role("searchbox")
    box.fill("expanded_conv_4/")
    expect(root.locator(".qviz-search span")).not_to_have_text("none")
    box.press("Enter")
    expect(root).not_to_have_attribute("data-zoom", "1.000")
    order = int(str(root.get_attribute("data-chosen")))
    assert "expanded_conv_4" in str(detail(page, order).locator("span").get_attribute("title"))
    box.fill("nothing has this name")
    expect(root.locator(".qviz-search span")).to_have_text("none")
    box.fill("")

    root.get_by_role("button", name="Collapse all").click()
    expect(root).to_have_attribute("data-open", "0")
    root.get_by_role("button", name="Expand all").click()
    root.locator("canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(root).not_to_have_attribute("data-chosen", str(order))


def test_chart_and_table_choose_layers_too(visit: Visit) -> None:
    visit.open("/layers?variant=int8,dynamic_range")
    page = visit.page
    picture(visit)
    view(page, "Chart")
    chart = page.locator(".js-plotly-plot", has_text="in the order of")
    chart.wait_for(timeout=LONG)
    expect(chart.locator(".legendtext", has_text="dynamic_range")).to_have_count(1)
    point = chart.locator(".scatterlayer path.point").nth(20).bounding_box()
    assert point is not None
    page.mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_url(re.compile(r"layer=\w+%3A\d+"), timeout=LONG)
    order = int(re.findall(r"layer=\w+%3A(\d+)", page.url)[0])
    detail(page, order)

    view(page, "Table")
    page.get_by_label("Tensor's name contains").fill("concat")
    page.get_by_label("Tensor's name contains").press("Enter")
    page.get_by_text(re.compile(r"^2 of \d+ layers")).first.wait_for(timeout=LONG)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Model Explorer node data, local SQNR").click()
    data = json.loads(saved.value.path().read_text())
    assert "0" in data["results"] and len(data["gradient"]) == 3

    view(page, "Network")
    expect(picture(visit)).to_have_attribute("data-chosen", str(order))
