"""A pane of Compare shows what its model detects: the variant's is empty where it detects nothing."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visit

BOXES = "g.qviz-box:visible"


def pixels(stage: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"), int)


def hide(visit: Visit, selector: str) -> None:
    visit.page.locator(selector).evaluate_all("parts => parts.forEach(part => part.style.visibility = 'hidden')")


@pytest.fixture
def compare(visit: Visit) -> Visit:
    """An image on which int8_wrong_range detects nothing at this confidence."""
    visit.open("/compare?image=swans.jpg&variant=int8_wrong_range&score=0.50")
    visit.painted("swans.jpg")
    return visit


def pane(visit: Visit, role: str) -> Locator:
    return visit.page.locator(f'.qviz-pane[data-role="{role}"]')


def test_the_variants_pane_is_the_picture_where_it_detects_nothing(compare: Visit) -> None:
    reference, variant = pane(compare, "reference"), pane(compare, "variant")
    assert reference.locator(BOXES).count() > 0
    assert variant.locator(BOXES).count() == 0
    variant.get_by_text("no object above").wait_for()
    compare.page.mouse.move(5, 5)
    hide(compare, ".qviz-empty")  # the note that nothing was detected
    stages = [part.locator(".qviz-stage") for part in (variant, reference)]
    shown = [pixels(stage) for stage in stages]
    hide(compare, ".qviz-overlay, .qviz-tags")
    plain = [pixels(stage) for stage in stages]
    assert np.array_equal(shown[0], plain[0])
    assert not np.array_equal(shown[1], plain[1])


def test_outlines_of_lost_objects_are_thin_and_have_no_label(compare: Visit) -> None:
    variant = pane(compare, "variant")
    lost = pane(compare, "reference").locator(BOXES).count()
    compare.page.get_by_role("button", name="Lost outlines").click()
    assert variant.locator("g.qviz-box.is-outline:visible").count() == lost
    assert variant.locator(".qviz-tag:visible").count() == 0
    width = variant.locator("g.qviz-box.is-outline .qviz-line").first.evaluate(
        "line => getComputedStyle(line).strokeWidth"
    )
    assert float(re.sub("[a-z]", "", width)) <= 1.5
    compare.page.keyboard.press("o")
    assert variant.locator(BOXES).count() == 0


def test_the_reference_pane_has_its_own_colour_alone(compare: Visit) -> None:
    """Also for objects that the variant loses: no dashes, no label about the variant."""
    reference = pane(compare, "reference")
    lines = reference.locator(f"{BOXES} .qviz-line")
    styles = lines.evaluate_all(
        "lines => lines.map(l => [getComputedStyle(l).stroke, getComputedStyle(l).strokeDasharray])"
    )
    assert len({tuple(style) for style in styles}) == 1 and styles[0][1] == "none"
    assert "lost" not in reference.locator(".qviz-tags").inner_text()


def test_swiping_over_a_lost_object_makes_it_vanish(compare: Visit) -> None:
    compare.page.keyboard.press("s")
    compare.page.locator('.qviz-viewer[data-mode="swipe"]').wait_for()
    assert pane(compare, "variant").locator(BOXES).count() == 0
    assert pane(compare, "reference").locator(BOXES).count() > 0


HEADS = """stage => {
  const seen = node => node.getBoundingClientRect();
  const [frame, tags] = [seen(stage), [...stage.querySelectorAll(".qviz-tag:not([hidden])")].map(seen)];
  const boxes = [...stage.querySelectorAll("g.qviz-box .qviz-line")].map(seen).filter(b => b.width > 0);
  const heads = boxes.filter(b => b.width * b.height < 0.25 * frame.width * frame.height).map(b => (
    {left: b.left + 0.2 * b.width, right: b.right - 0.2 * b.width, top: b.top, bottom: b.top + 0.4 * b.height}));
  const over = (a, b) => a.left < b.right - 3 && b.left < a.right - 3 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  const pairs = tags.flatMap((tag, i) => tags.slice(i + 1).map(other => [tag, other]));
  return [tags.length, heads.length, tags.filter(tag => heads.some(head => over(tag, head))).length,
    pairs.filter(([a, b]) => over(a, b)).length];
}"""
"""Labels, heads (the upper middle of each box), labels on a head, and pairs of labels on each other."""


def test_labels_in_a_crowd_cover_no_face(visit: Visit) -> None:
    visit.open("/compare?image=mariachi.jpg&variant=int8")
    visit.painted("mariachi.jpg")
    stage = pane(visit, "reference").locator(".qviz-stage")
    labels, heads, on_head, on_label = stage.evaluate(HEADS)
    assert labels >= 5 and heads >= 5
    assert (on_head, on_label) == (0, 0)
    # three variants more: the panes are so small that labels would cover the picture
    visit.open("/compare?image=mariachi.jpg&variant=int8,int8_wrong_range,dynamic_range,float16&present=1")
    visit.painted("mariachi.jpg")
    stage = pane(visit, "reference").locator(".qviz-stage")
    assert stage.evaluate(HEADS)[0] == 0
    stage.locator("g.qviz-box:visible .qviz-case").last.hover(force=True)
    assert stage.evaluate(HEADS)[0] == 1  # what the pointer is on has its label
    widths = visit.page.locator(".qviz-pane").evaluate_all("panes => panes.map(p => p.getBoundingClientRect().width)")
    assert len(widths) == 5 and max(widths) - min(widths) < 1


def test_badges_order_and_headline_follow_the_score(visit: Visit) -> None:
    visit.open("/compare?image=mariachi.jpg&variant=int8_wrong_range")
    visit.painted("mariachi.jpg")
    current = visit.page.locator('.qviz-strip button[aria-current="true"] .badge')
    expect(current).to_have_text("9 lost")
    visit.page.locator("input.qviz-threshold").evaluate(
        """slider => { slider.value = 0.6;
        for (const kind of ["input", "change"]) slider.dispatchEvent(new Event(kind, {bubbles: true})); }"""
    )
    visit.page.wait_for_url(re.compile(r"score=0\.60"))
    lost = re.compile("of .* objects?, ([0-9]+) lost")
    expect(visit.page.locator(".qviz-verdict").first).to_have_text(re.compile("mariachi.jpg.* 3 lost"))
    expect(current).to_have_text("3 lost")
    assert lost.search(visit.page.locator(".qviz-verdict").first.inner_text())
    badges = visit.page.locator(".qviz-strip button .badge").all_inner_texts()
    counts = [int(text.split()[0]) if text.endswith("lost") else 0 for text in badges]
    assert counts == sorted(counts, reverse=True) and counts[0] >= 3


def test_a_clicked_box_marks_its_row(visit: Visit) -> None:
    visit.open("/compare?image=mariachi.jpg&variant=int8")
    visit.painted("mariachi.jpg")
    rows = visit.page.locator('[data-testid="stDataFrame"] [role="row"][aria-selected="true"]')
    expect(rows).to_have_count(0)
    box = pane(visit, "reference").locator("g.qviz-box:visible").last
    box.locator(".qviz-case").dispatch_event("pointerdown", {"button": 0, "pointerId": 1, "bubbles": True})
    box.locator(".qviz-case").dispatch_event("pointerup", {"button": 0, "pointerId": 1, "bubbles": True})
    visit.page.get_by_text(re.compile("^Selected: ")).first.wait_for()
    expect(rows).to_have_count(1)
    confidence = re.search("confidence ([0-9.]+)", visit.page.get_by_text(re.compile("^Selected: ")).inner_text())
    assert confidence and confidence[1] in rows.inner_text()
