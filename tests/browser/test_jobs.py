"""A job stays in sight and in reach on every page and after a reload, and its form is as it was."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.test_address import menu

OUTSIDE_OF_ROW = """tray => {
  const link = tray.querySelector('[data-testid="stPageLink"]');
  link.querySelector("p").textContent = "a long title ".repeat(6);
  const row = link.closest('[data-testid="stHorizontalBlock"]').getBoundingClientRect();
  return link.getBoundingClientRect().bottom - row.bottom;
}"""
"""How far a title of several lines reaches below its row, in pixels."""


def test_a_job_is_cancelled_from_another_page_and_after_a_reload_and_its_form_is_as_it_was(visit: Visit) -> None:
    visit.open("/variants?tab=Calibration")
    page = visit.page
    draws = page.get_by_label("Draws per image count")
    draws.fill("2")
    draws.press("Enter")
    page.get_by_role("button", name="Run the lab").click()
    page.get_by_text("Trying calibrations of").wait_for()
    menu(visit, "Glossary")
    tray = page.locator(".st-key-qviz-tray")
    tray.get_by_role("link", name="Calibration lab: int8").wait_for()
    assert tray.evaluate(OUTSIDE_OF_ROW) <= 0, "a title of several lines lies over the next row"
    tray.get_by_role("button", name="✕").first.click()
    expect(tray).to_have_count(0)
    menu(visit, "Variants")
    page.get_by_text("Stopped. What was computed so far is kept").first.wait_for()
    expect(page.get_by_role("tab", name="Calibration")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("Draws per image count")).to_have_value("2")
    page.get_by_role("button", name="Continue").click()
    progress = page.get_by_test_id("stMain").get_by_test_id("stProgress")
    progress.wait_for()
    page.reload()
    progress.wait_for()
    tray.get_by_role("link", name="Calibration lab: int8").wait_for()
    tray.get_by_role("button", name="✕").first.click()
    page.get_by_text("Stopped. What was computed so far is kept").first.wait_for()
