"""Recorded results dropped beside a model are a variant of it."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from tests.browser.conftest import ROOT, Visit

SAMPLE = ROOT / "sample_data"


def test_dropped_results_are_a_variant(visit: Visit) -> None:
    model = SAMPLE / "models" / "ssdlite_mobilenet_v2_float32.tflite"
    rows = [
        {"file_name": path.name, "label": "bird", "bbox": [10, 10, 100, 100], "score": 0.9}
        for path in sorted((SAMPLE / "images").glob("*.jpg"))
    ]
    visit.open()
    visit.page.locator(".qviz-card").first.wait_for(timeout=120_000)
    visit.drop({model.name: model.read_bytes(), "phone.json": json.dumps(rows).encode()})
    card = visit.page.locator(".qviz-card", has_text="phone")
    card.get_by_text("recorded").first.wait_for(timeout=120_000)
    visit.page.get_by_text(re.compile("over 27 images")).first.wait_for(timeout=120_000)
    expect(visit.page.locator(".qviz-card")).to_have_count(1, timeout=120_000)
    visit.page.get_by_role("link", name="Layers", exact=True).first.click()
    visit.page.get_by_text("holds recorded results, which have no network to look into").first.wait_for(timeout=60_000)
