"""Overview leads: the verdict and the drop zone above the fold, equal cards, the worst images with their boxes."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit

GALLERY = ".qviz-gallery button"
TOPS = "parts => parts.map(part => part.getBoundingClientRect()).map(at => [at.top, at.height])"


def test_the_verdict_cards_and_zone_come_first(visit: Visit) -> None:
    visit.open()
    cards = visit.page.locator(".qviz-card")
    expect(cards).to_have_count(4)
    visit.page.locator(".qviz-card .level", has_text="broken").wait_for()
    visit.page.get_by_text(re.compile("over 27 images")).first.wait_for()  # cards are redrawn until then
    expect(cards.nth(1)).to_contain_text("Wrong input range")
    boxes = cards.evaluate_all(TOPS)
    assert len({round(height) for _, height in boxes}) == 1, boxes
    zone = visit.page.locator('[data-testid="stFileUploaderDropzone"]').first
    zone.wait_for()
    assert zone.evaluate_all(TOPS)[0][0] < min(top for top, _ in boxes)
    text = cards.nth(1).inner_text()
    assert "ssdlite_mobilenet_v2_int8_wrong_range.tflite" in text and "Wrong input range" in text
    title = cards.nth(1).locator(".level").get_attribute("title") or ""
    assert "unchanged from 0.98" in title and "damaged from 0.60, broken below" in title
    keys = visit.page.locator(".qviz-key span")
    expect(keys).to_have_text(["kept", "shifted", "relabelled", "lost", "spurious"])
    assert "another class" in (keys.nth(2).get_attribute("title") or "")
    assert "RGB" in visit.page.locator(".qviz-reference").inner_text()
    visit.page.get_by_text("50% of that span is clipped").wait_for()  # why, below the cards


def test_worst_images_show_boxes_and_open_on_compare(visit: Visit) -> None:
    visit.open()
    visit.page.get_by_text(re.compile("over 27 images")).first.wait_for()
    expect(visit.page.locator(f"{GALLERY} image")).to_have_count(8)
    first = visit.page.locator(GALLERY).first
    lost = first.locator('[data-change="lost"]').count()
    assert f"{lost} lost" in first.inner_text() and lost > 0
    assert visit.page.locator(f'{GALLERY} [data-change="shifted"]').count() > 0
    visit.page.get_by_test_id("stButtonGroup").get_by_text("int8", exact=True).click()
    expect(first).to_contain_text("3 lost")  # int8 loses fewer
    name = first.get_attribute("data-name")
    first.click()
    visit.painted(name)
    visit.page.wait_for_url(re.compile(rf"compare\?.*image={name}"))
    panes = visit.page.locator(".qviz-pane").evaluate_all("panes => panes.map(pane => pane.dataset.id)")
    assert panes == ["reference", "v0"]
