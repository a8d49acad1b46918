"""Compare, in a real browser: one click from a lost object to the operator that lost it."""

from __future__ import annotations

import re

from tests.browser.conftest import Visit


def test_the_object_with_the_largest_score_loss_is_traced(visit: Visit) -> None:
    visit.open("/compare?image=biplane.jpg&variant=int8_wrong_range")
    visit.painted("biplane.jpg")
    button = visit.page.get_by_role("button", name="Trace this object")
    button.wait_for(timeout=120_000)
    visit.page.get_by_text("the one that fell most").first.wait_for(timeout=30_000)
    button.click()
    sentence = visit.page.locator(".qviz-verdict", has_text=re.compile("falls from .* at operator 0"))
    sentence.wait_for(timeout=120_000)
    assert "The input quantizer covers [0, 1]" in sentence.inner_text()
    visit.page.locator(".js-plotly-plot", has_text="QUANTIZE: input range").wait_for(timeout=60_000)
    visit.page.get_by_text("every operator follows").wait_for(state="detached", timeout=120_000)
    visit.page.locator(".js-plotly-plot", has_text="float32 alone: 0.87").wait_for(timeout=60_000)
    assert visit.page.get_by_text("Traceback").count() == 0


def test_the_trace_disappears_when_the_image_changes(visit: Visit) -> None:
    """The curve of the previous image must not remain visible."""
    visit.open("/compare?image=dog_shepherd.jpg&variant=int8_wrong_range")
    visit.painted("dog_shepherd.jpg")
    visit.page.get_by_role("button", name="Trace this object").click(timeout=120_000)
    visit.page.locator(".qviz-verdict", has_text="dog falls from").wait_for(timeout=120_000)
    visit.page.get_by_text("every operator follows").wait_for(state="detached", timeout=120_000)
    visit.page.locator(".qviz-pane").first.click(position={"x": 200, "y": 200})
    visit.page.keyboard.press("ArrowRight")
    visit.page.locator(".qviz-verdict", has_text="dog falls from").wait_for(state="detached", timeout=60_000)
    visit.page.get_by_role("button", name="Trace this object").wait_for(timeout=60_000)
