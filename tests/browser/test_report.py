"""The report in a real browser, from disk and offline: charts, boxes, print, no violation of its content policy."""

from __future__ import annotations

import csv
import html
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel
from qviz.features.reporting.html import render
from tests.browser.conftest import TIMEOUT, Visit
from tests.conftest import Sample
from tests.features.reporting.study import hostile, sample_study


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample
) -> Path:
    """The report, and one in which every name contains HTML."""
    study = sample_study(engine, [loaded[name] for name in ("float32", "int8", "int8_wrong_range")], sample)
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_bytes(render(study).encode())
    (folder / "hostile.html").write_bytes(render(hostile(study)).encode())
    return folder


@pytest.mark.parametrize("name", ["report.html", "hostile.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_opens_offline(name: str, scheme: str, folder: Path, browser: object) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme, offline=True)  # type: ignore[attr-defined]
    page = context.new_page()
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((folder / name).as_uri())
    charts = page.locator(".plot").count()
    page.wait_for_function(f"document.querySelectorAll('.plot:has(.main-svg)').length === {charts}", timeout=TIMEOUT)
    assert charts >= 4
    ink = page.evaluate("getComputedStyle(document.querySelector('.plot .xtick text')).fill")
    assert ink == ("rgb(27, 34, 40)" if scheme == "light" else "rgb(230, 234, 237)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    _tables_are_saved(page)
    _a_chart_is_saved(page)
    assert messages == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def _tables_are_saved(page: Any) -> None:
    """Every table can be copied as CSV: numbers stay numbers, and no name becomes a formula."""
    assert page.get_by_role("button", name="Download CSV").count() == page.locator("table").count() > 4
    with page.expect_download() as saved:
        page.locator("#accuracy").get_by_role("button", name="Download CSV").click()
    assert saved.value.suggested_filename == "accuracy-1.csv"
    rows = list(csv.DictReader(Path(saved.value.path()).read_text("utf-8-sig").splitlines()))
    shown = page.locator("#accuracy tbody th").all_inner_texts()
    assert [row["model"].removeprefix("'") for row in rows] == shown
    assert all(0 <= float(row["AP"]) <= 100 for row in rows)
    assert rows[0]["lost"] == "" and -100 <= float(rows[-1]["lost"]) <= 100
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "@"))]


def _a_chart_is_saved(page: Any) -> None:
    page.locator(".plot").first.hover()
    with page.expect_download(timeout=TIMEOUT) as saved:
        page.locator(".plot .modebar-btn[data-title*='ownload']").first.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_boxes_are_drawn_on_screen_and_in_print(folder: Path, browser: object) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})  # type: ignore[attr-defined]
    page.goto((folder / "report.html").as_uri())
    panes = page.locator(".panes").first
    box = panes.locator(".pane").nth(1).locator(".object:not([data-pair=''])").first
    box.dispatch_event("mouseenter")
    pair = box.get_attribute("data-pair")
    assert panes.locator(".object.lit").count() == panes.locator(f".object[data-pair='{pair}']").count() > 1
    box.dispatch_event("mouseleave")
    lost = page.locator(".object.lost").count()
    assert lost > 0
    page.locator("#show-lost").uncheck()
    assert page.evaluate("[...document.querySelectorAll('.object.lost')].every(o => !o.getClientRects().length)")
    panes.locator("svg").first.click()
    assert panes.locator(".pane.large").count() == 1

    page.evaluate(
        """() => { window.widths = []; addEventListener("beforeprint", () => {
        const drawn = [...document.querySelectorAll(".plot .main-svg")];
        window.widths = drawn.map(svg => Number(svg.getAttribute("width"))); }) }"""
    )
    paper = page.pdf(format="A4", print_background=True, prefer_css_page_size=True)
    widths = page.evaluate("window.widths")
    assert paper.startswith(b"%PDF") and len(paper) > 50_000
    assert widths and all(width <= 681 for width in widths)  # A4 within its margins
    page.close()


@pytest.mark.parametrize("name", ["report.html", "hostile.html"])
def test_printed_content_fits_the_page_width(name: str, folder: Path, browser: object) -> None:
    """Anything wider makes the browser shrink the whole page."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})  # type: ignore[attr-defined]
    page.goto((folder / name).as_uri())
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 within its margins
    wide = page.evaluate(
        """[...document.querySelectorAll('main *:not(svg, svg *)')].filter(e => e.getBoundingClientRect().right > 690)
        .map(e => e.className || e.tagName)"""
    )
    assert wide == []
    page.close()


def test_the_page_makes_and_hands_out_a_report(visit: Visit) -> None:
    visit.open("/report")
    page = visit.page
    page.get_by_role("radio", name="no annotations").click()
    page.get_by_role("button", name="Layers", exact=True).click()  # omitted to save seconds
    page.get_by_label("Title").fill("Friday's <b>meeting</b>")
    page.get_by_label("Title").press("Enter")
    page.get_by_text("Notes for the meeting").click()
    page.get_by_label("Worst images", exact=True).fill("Look at the <hens>")
    page.get_by_label("Worst images", exact=True).blur()
    page.get_by_role("button", name="Make the report").click()
    text = _downloaded(page, "Download the page").decode()
    assert "<h1>Friday&#39;s &lt;b&gt;meeting&lt;/b&gt;</h1>" in text
    assert "Look at the &lt;hens&gt;" in text and "--note 'images=Look at the <hens>'" in html.unescape(text)
    assert 'id="images"' in text and 'id="layers"' not in text
    assert "qviz report sample_data/models/ssdlite_mobilenet_v2_float32.tflite" in text
    frame = page.frame_locator("iframe[title='The report']")
    expect(frame.locator("h1")).to_have_text("Friday's <b>meeting</b>")

    study = _downloaded(page, "Download the study")
    visit.drop({"friday.json": study})
    page.get_by_text("A saved study, made").first.wait_for()
    expect(page.locator(".qviz-findings li")).to_have_count(4)
    expect(frame.locator("h1")).to_have_text("Friday's <b>meeting</b>")
    visit.settle()  # the previous report's frame may still be attached
    page.get_by_role("button", name="Close this study").click()
    page.get_by_role("button", name="Make the report").wait_for()


def _downloaded(page: Any, label: str) -> bytes:
    button = page.get_by_role("button", name=label)
    button.wait_for(timeout=TIMEOUT)
    with page.expect_download() as saved:
        button.click()
    return Path(saved.value.path()).read_bytes()
