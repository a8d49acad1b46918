"""Annotations with a mistake are dropped on the Accuracy page: the mistake is the headline, not a perfect loss."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.squares import datasets, scenes

LONG = 120_000


def test_the_mistake_stands_above_the_ap(visit: Visit, tmp_path: Path) -> None:
    scenes.write_images(tmp_path)
    coco = datasets.corner_boxes(scenes.coco())
    coco["categories"] = [
        {**row, "name": name} for row, name in zip(coco["categories"], ("person", "cat", "dog"), strict=True)
    ]
    files = {path.name: path.read_bytes() for path in sorted(tmp_path.iterdir())}
    visit.open("/accuracy")
    visit.drop({**files, "corners.json": json.dumps(coco).encode()})
    page = visit.page
    alert = page.locator('[data-testid="stAlert"]').first
    expect(alert).to_contain_text("19 of 32 boxes reach beyond the image", timeout=LONG)
    expect(alert).to_contain_text("these are probably corners x1, y1, x2, y2 in pixels")
    verdict = page.locator(".qviz-verdict").first.inner_text()
    assert "of the annotated objects" in verdict
    assert "loses" not in verdict
