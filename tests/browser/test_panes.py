"""A pane of Compare shows what its model detects: the variant's is empty where it detects nothing."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator

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
