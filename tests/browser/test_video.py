"""The Video page in a real browser: a clip, its timeline, the worst second, and a frame on Compare."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest

from tests.browser.conftest import Visit
from tests.conftest import Sample


@pytest.fixture
def clip(sample: Sample, tmp_path: Path) -> Path:
    """3 s at 4 frames per second; in the third second it is dark."""
    image = cv2.imread(str(sample.images / "dog_shepherd.jpg"))
    assert image is not None
    image = cv2.resize(image, (480, 360))
    writer = cv2.VideoWriter(str(tmp_path / "dusk.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 4, (480, 360))
    for number in range(12):
        writer.write(image if number < 8 else image // 12)
    writer.release()
    return tmp_path / "dusk.mp4"


def test_a_clip_leads_to_its_frames(visit: Visit, clip: Path) -> None:
    page = visit.page
    visit.open("/video?variant=int8_wrong_range")
    page.get_by_text("Drop a clip to see what flickers").wait_for()
    page.locator('[data-testid="stFileUploader"] input[type=file]').last.set_input_files(clip)
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator(".stPlotlyChart .main-svg").first.wait_for()
    page.get_by_text(re.compile("blinks .* times per minute")).first.wait_for()
    page.get_by_role("img").last.wait_for()
    page.get_by_role("button", name="Worst second").click()
    page.get_by_role("button", name="Trace its worst object").wait_for()
    assert page.locator('[data-testid="stException"]').count() == 0
    page.get_by_role("button", name="Open this frame on Compare").click()
    page.wait_for_url(re.compile(r"compare\?.*image=dusk_0000"))
    visit.painted()
    assert visit.outside == []
