"""The viewer draws keypoints and rotated boxes of dropped models, and saves them as a picture."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.decoders.heads import CELL
from tests.decoders.test_yolo_tasks import rows
from tests.features.settings.test_readings import head_file
from tests.squares.detectors import noted


def pose() -> bytes:
    """One object with two keypoints."""
    values = rows(13)
    values[:, 7:] = 0
    values[CELL, 7:] = (38, 16, 0.9, 54, 28, 0.9)
    return noted(head_file(values.T[None]), task="pose", kpt_shape=[2, 3])


def rotated() -> bytes:
    """The same object, rotated by half a radian."""
    values = rows(8)
    values[:, 7] = 0.5
    return noted(head_file(values.T[None]), task="obb")


def test_keypoints_and_rotated_boxes_are_drawn(visit: Visit) -> None:
    visit.open("/compare")
    visit.drop({"pose.tflite": pose(), "rotated.tflite": rotated()})
    visit.page.get_by_role("button", name="Back to the sample").wait_for(timeout=120_000)
    visit.painted()
    reference, variant = (visit.page.locator(f'.qviz-pane[data-role="{role}"]') for role in ("reference", "variant"))
    points = reference.locator(".qviz-points")
    expect(points).to_have_count(1, timeout=120_000)
    assert (points.get_attribute("d") or "").count("M") == 2
    expect(reference.locator("rect.qviz-line")).to_have_count(1)
    outline = variant.locator("path.qviz-line").first
    assert (outline.get_attribute("d") or "").count("L") == 3
    with visit.page.expect_download() as saved:
        visit.page.locator('[data-action="png"]').click()
    assert Path(saved.value.path()).stat().st_size > 10_000
    assert visit.outside == []
