"""The Accuracy page in a real browser: from the headline to a class, to its objects on Compare, and to a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Locator, expect

from tests.browser.conftest import ROOT, Visit

LONG = 120_000
VISIBLE = 880
"""Pixels from the top within which the mouse can click without scrolling."""
TABS = (
    "Loss by class",
    "All variants",
    "Precision and recall",
    "Error types",
    "Operating point",
    "Thresholds",
    "Confusions",
    "Worst images",
)


@pytest.fixture
def accuracy(visit: Visit) -> Iterator[Visit]:
    """The page after the evaluation of the sample's photographs."""
    visit.open("/accuracy?variant=int8_wrong_range")
    visit.page.get_by_role("tab", name="Loss by class").wait_for(timeout=LONG)
    return visit


def choose_scenes(visit: Visit) -> None:
    visit.page.get_by_text("Composed scenes").click()


def test_verdict_and_every_tab_are_shown(accuracy: Visit) -> None:
    page = accuracy.page
    verdict = page.locator(".qviz-verdict").first.inner_text()
    assert re.match(
        r"float32 reaches \d+\.\d AP; int8_wrong_range loses \d+\.\d AP points \[.*\], significant", verdict
    )
    for name in TABS:
        page.get_by_role("tab", name=name).click()
        panel = page.locator('[role="tabpanel"]:visible')
        panel.locator('.stPlotlyChart .main-svg, [data-testid="stDataFrame"], .qviz-worst img').first.wait_for()
        assert page.locator('[data-testid="stException"]').count() == 0
    page.get_by_role("tab", name="Worst images").click()
    page.get_by_role("link", name=re.compile("^Compare ")).first.click()
    accuracy.painted()
    page.wait_for_url(re.compile(r"compare\?.*image=.*variant=int8_wrong_range"))


def _another_bar(chart: Locator, current: str) -> tuple[FloatRect, str]:
    """The box and class of a bar that can be seen and whose class the link does not name."""
    boxes = [bar.bounding_box() for bar in chart.locator(".bars .point").all()]
    for tick in chart.locator(".ytick text").all():
        row, label = tick.bounding_box(), (tick.text_content() or "").partition(" · ")[0]
        for box in boxes:
            if row is None or box is None or box["width"] < 5 or f" {label} " in current:
                continue
            if box["y"] + box["height"] > VISIBLE:
                continue
            if box["y"] <= row["y"] + row["height"] / 2 <= box["y"] + box["height"]:
                return box, label
    raise AssertionError(f"no other bar than that of {current}")


def test_a_click_on_a_class_leads_to_its_objects(accuracy: Visit) -> None:
    page = accuracy.page
    chart = page.locator('[role="tabpanel"]:visible .stPlotlyChart').first
    link = page.get_by_role("link", name=re.compile("^Show .* on Compare"))
    link.wait_for(timeout=LONG)
    chart.locator(".bars .point").first.wait_for(timeout=LONG)
    bar, label = _another_bar(chart, link.inner_text())
    page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    expect(link).to_have_text(f"Show {label} on Compare", timeout=LONG)
    link.click()
    page.wait_for_url(re.compile(r"compare\?.*class=\d+"))
    accuracy.painted()
    chosen = page.locator('.qviz-classes [aria-pressed="true"] .qviz-chip-text')
    assert chosen.all_inner_texts() == [label]


def test_detections_are_saved_as_coco_results(accuracy: Visit) -> None:
    page = accuracy.page
    page.get_by_text("Downloads", exact=True).click()
    with page.expect_download(timeout=LONG) as saved:
        page.get_by_role("button", name="int8", exact=True).locator("visible=true").last.click()
    rows = json.loads(saved.value.path().read_text())
    truths = json.loads((ROOT / "sample_data" / "annotations.json").read_text())
    assert {row["image_id"] for row in rows} <= {image["id"] for image in truths["images"]}
    assert {row["category_id"] for row in rows} <= {category["id"] for category in truths["categories"]}
    with page.expect_download(timeout=LONG) as saved:
        page.get_by_role("button", name="Markdown summary").click()
    assert saved.value.path().read_text().startswith("## qviz: annotations.json, 27 images")


def test_a_stopped_evaluation_can_be_continued(accuracy: Visit) -> None:
    page = accuracy.page
    choose_scenes(accuracy)
    page.get_by_text(re.compile(r"of 105 images · .* images/s")).first.wait_for(timeout=LONG)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text(re.compile(r"Stopped after \d+ of 105 images")).first.wait_for(timeout=LONG)
    page.get_by_role("link", name="Layers", exact=True).click()
    page.get_by_role("link", name="Accuracy", exact=True).click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_text(re.compile("scenes/annotations.json: 105 images")).first.wait_for(timeout=LONG)
    page.get_by_role("button", name=re.compile("^Show .* on Compare")).click()  # its image is not loaded yet
    accuracy.painted()
    page.get_by_text("28 images").first.wait_for(timeout=LONG)
    page.wait_for_url(re.compile(r"image=scene_\d+"))


def test_reference_as_truth_is_explained(accuracy: Visit) -> None:
    page = accuracy.page
    page.get_by_text("27 images, reference as truth").click()
    page.get_by_text(re.compile("Measured against float32's own detections, int8_wrong_range loses")).first.wait_for(
        timeout=LONG
    )
    page.get_by_text(re.compile("AP is agreement with it, not accuracy")).first.wait_for()


def test_slices_lead_to_their_images(accuracy: Visit, tmp_path: Path) -> None:
    """Slices by measured traits and by the columns of a dropped CSV file; a ticked row shows its images."""
    page = accuracy.page
    page.get_by_role("tab", name="Slices").click()
    traits = tmp_path / "traits.csv"
    document = json.loads((ROOT / "sample_data/annotations.json").read_text())
    names = [row["file_name"] for row in document["images"]]
    traits.write_text(
        "image,weather\n" + "".join(f"{name},{'rain' if n % 2 else '=1+1'}\n" for n, name in enumerate(names))
    )
    panel = page.locator('[role="tabpanel"]:visible')
    panel.get_by_role("button", name="Find slices").wait_for()
    accuracy.settle()
    panel.locator('[data-testid="stFileUploader"] input[type=file]').set_input_files(traits)
    panel.get_by_text("traits.csv").wait_for(timeout=30_000)
    accuracy.settle()
    panel.get_by_role("button", name="Find slices").click()
    panel.locator('[data-testid="stDataFrame"]').first.wait_for(timeout=LONG)
    panel.get_by_text(re.compile("loses .* points of recall more than|In none of|Every slice is")).first.wait_for()
    assert page.locator('[data-testid="stException"]').count() == 0
    panel.get_by_role("link", name=re.compile("^Compare ")).first.wait_for()
    accuracy.settle()
    with page.expect_download(timeout=LONG) as download:
        panel.get_by_role("button", name="CSV: the images of every slice").click()
    panel.get_by_role("button", name="Images to calibrate with").click()
    panel.get_by_text("Far outside the calibrated ranges of int8_wrong_range:").wait_for(timeout=LONG)
    panel.get_by_role("button", name=re.compile("^Download .* to add to the calibration")).wait_for()
    accuracy.settle()
    text = Path(download.value.path()).read_text()
    assert text.startswith("trait,group,image\n") and "weather,'=1+1," in text and "weather,rain," in text
    panel.get_by_role("link", name=re.compile("^Compare ")).first.click()
    page.wait_for_url(re.compile(r"compare\?.*image=.*variant=int8_wrong_range"))
