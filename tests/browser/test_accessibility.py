"""No serious finding of axe-core on any page, in light and dark; and what a phone and a projector need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from qviz.ui.page import MENU, STYLE
from tests.browser.conftest import ROOT, Visit

AXE = Path(os.environ.get("QVIZ_AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
"""Not part of the project: `npm install --no-save axe-core` puts it there."""
PAGES = {
    "/": "over 27 images",
    "/compare?image=hens.jpg&variant=int8_wrong_range": "Objects: float32",
    "/diagnosis?variant=int8_wrong_range": "Shows it best",
    "/layers": "On the image",
    "/accuracy": "Loss by class",
    "/robustness?variant=int8&image=hens.jpg": "along the slider",
    "/robustness?tab=Sweep": "Severities",
    "/backends": "GPU delegate",
    "/video": "Drop a clip",
    "/variants": "dominated",
    "/report": "Make the report",
    "/glossary": "Glossary",
}
TEXTS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}
"""Theme -> colour of the text of a primary button."""
DISABLED = '<button data-testid="stBaseButton-primary" {}style="background: Canvas">Measure</button>'
RUN = """() => axe.run(document, {resultTypes: ["violations"]}).then(result => result.violations
  .filter(rule => ["serious", "critical"].includes(rule.impact))
  .map(rule => [rule.id, ...rule.nodes.slice(0, 3).map(node => node.html.slice(0, 160))]))"""
NOT_FADED = """() => !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]')"""
"""Streamlit fades a part of the page while it is drawn again."""
OVER_TEXT = """chart => {
  const bar = chart.querySelector(".modebar").getBoundingClientRect();
  const room = chart.closest("[data-testid=stElementContainer]").getBoundingClientRect();
  const all = [...chart.querySelectorAll("svg.main-svg text")].map(text => text.getBoundingClientRect());
  const texts = all.filter(at => at.width);
  const covers = at => at.left < bar.right && bar.left < at.right && at.top < bar.bottom && bar.top < at.bottom;
  return [bar.width, texts.length, texts.filter(covers).length, texts.filter(at => at.bottom > room.bottom + 1).length];
}"""
"""Width of the toolbar, texts of the chart, how many of them it covers, and how many are cut off below."""


def test_every_page_is_checked() -> None:
    assert {path.lstrip("/").partition("?")[0] for path in PAGES} == {
        Path(file).stem.replace("app", "") for file, _, _ in MENU
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme: str, browser: object, server: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install --no-save axe-core")
    visit = Visit(browser, server, color_scheme=scheme, bypass_csp=True)
    findings = {}
    for path, text in PAGES.items():
        visit.open(path)
        visit.page.get_by_text(text).first.wait_for()
        visit.settle()
        visit.page.wait_for_function(NOT_FADED)
        visit.page.wait_for_timeout(500)  # a part that is drawn again appears slowly
        visit.page.evaluate(f"{AXE.read_text(encoding='utf-8')};0")
        findings[path] = visit.page.evaluate(RUN)
    visit.close()
    assert {path: rules for path, rules in findings.items() if rules} == {}


def test_chart_buttons_cover_no_text_and_large_type_is_larger(visit: Visit) -> None:
    visit.open("/compare?image=mariachi.jpg&variant=int8")
    visit.painted()
    chart = visit.page.get_by_test_id("stPlotlyChart").first
    chart.locator(".legendtext").first.wait_for()
    chart.hover()
    expect(chart.locator(".modebar").first).to_be_visible()
    width, texts, covered, cut = chart.evaluate(OVER_TEXT)
    assert width > 40 and texts > 5
    assert (covered, cut) == (0, 0)
    size = "text => parseFloat(getComputedStyle(text).fontSize)"
    before = chart.locator(".legendtext").first.evaluate(size)
    visit.page.get_by_test_id("stSidebar").get_by_text("Large type").click()
    visit.page.wait_for_function("() => parseFloat(getComputedStyle(document.documentElement).fontSize) > 18")
    assert chart.locator(".legendtext").first.evaluate(size) >= 17 > before


def test_the_text_of_a_disabled_button_shows(browser: object, server: str) -> None:
    for scheme in ("light", "dark"):
        visit = Visit(browser, server, color_scheme=scheme)
        style = f"<style>:root {{ color-scheme: {scheme} }} {STYLE.read_text(encoding='utf-8')}</style>"
        visit.page.set_content(style + DISABLED.format("") + DISABLED.format("disabled "))
        enabled, disabled = (
            visit.page.locator("button").nth(i).evaluate("button => getComputedStyle(button).color") for i in (0, 1)
        )
        assert (enabled, disabled) == (TEXTS[scheme], "rgb(134, 141, 148)")
        visit.close()


def test_a_phone_shows_the_menu_button_and_scrolls_down_alone(browser: object, server: str) -> None:
    visit = Visit(browser, server)
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.open("/compare?image=hens.jpg&variant=int8_wrong_range")
    visit.painted()
    menu = visit.page.get_by_test_id("stExpandSidebarButton")
    top = menu.evaluate("button => button.getBoundingClientRect().top")
    assert top >= 0
    wide = visit.page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollWidth - innerWidth")
    assert wide <= 0
    menu.click()
    expect(visit.page.get_by_role("link", name="Layers")).to_be_visible()
    visit.close()
