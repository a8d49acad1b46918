"""Recorded results on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.conftest import Sample

ROWS = [{"image_id": "hens", "category_id": 16, "bbox": [1, 2, 30, 40], "score": 0.5}]


def test_an_analysis_of_layers_is_refused(run: Run, sample: Sample, tmp_path: Path) -> None:
    results, image = tmp_path / "phone.json", sample.images / "hens.jpg"
    results.write_text(json.dumps(ROWS))
    for command in (["trace", "--image", image], ["layers", "--images", image], ["what-if", "--images", image]):
        name, *options = command
        result = run(name, sample.models["float32"], results, *options, "--workers", "1")
        assert (result.status, result.out) == (2, "")
        assert "phone.json holds recorded results, which have no network to look into" in result.err


def test_detect_shows_what_was_recorded(run: Run, sample: Sample, tmp_path: Path) -> None:
    results = tmp_path / "phone.json"
    results.write_text(json.dumps(ROWS))
    result = run("detect", results, "--images", sample.images / "hens.jpg", "--json", "--workers", "1")
    (image,) = result.json["images"]
    (detected,) = image["detections"]
    assert (detected["label"], detected["box"]) == ("bird", [1, 2, 31, 42])


def test_info_prints_the_settings_that_a_file_has(run: Run, sample: Sample, tmp_path: Path) -> None:
    results = tmp_path / "phone.json"
    results.write_text(json.dumps(ROWS))
    result = run("info", sample.models["int8"], results, "--workers", "1")
    assert result.status == 0
    model, recorded = result.out.split("phone.json  recorded")
    assert "resize stretch (sidecar)" in model and "anchors" not in model
    assert "decoder recorded (file)" in recorded and "mean" not in recorded


def test_other_json_is_refused(run: Run, sample: Sample, tmp_path: Path) -> None:
    results = tmp_path / "phone.json"
    results.write_text('[{"bbox": [1, 2, 3]}]')
    result = run("detect", results, "--images", sample.images / "hens.jpg", "--workers", "1")
    assert result.status == 2
    assert result.err.startswith("qviz: phone.json has neither file_name nor image_id in result 0; expected [{")
