"""Inferences in memory and in a temporary file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from qviz.features.detection.cache import to_bytes
from qviz.features.detection.inferences import Inferences, Key, ModelDetections
from qviz.structures import Detections, Inference


def inferences(count: int) -> Mapping[Key, Inference]:
    rng = np.random.default_rng(4)
    rows = {}
    for number in range(count):
        objects = Detections.of(rng.random((number, 4)), rng.random(number), np.arange(number))
        masks = Detections(objects.boxes, objects.scores, objects.class_ids, masks=np.ones((number, 64, 8), np.uint8))
        rows["model", str(number)] = Inference(objects, masks if number % 2 else None, 640, 480 + number, 1.5)
    return rows


def in_bytes(rows: Mapping[Key, Inference]) -> dict[Key, bytes]:
    return {key: to_bytes(inference) for key, inference in rows.items()}


@pytest.mark.parametrize("bytes_in_memory", [0, 5_000, 1 << 20])
def test_what_is_read_equals_what_was_added(bytes_in_memory: int) -> None:
    rows = inferences(12)
    stored = Inferences(bytes_in_memory)
    stored.update(rows)
    assert (len(stored), list(stored)) == (12, list(rows))
    assert in_bytes(stored) == in_bytes(rows)
    assert sum(stored[key] is row for key, row in rows.items()) == {0: 0, 5_000: 4, 1 << 20: 12}[bytes_in_memory]
    assert ("model", "12") not in stored and stored.get(("model", "12")) is None
    stored["model", "3"] = rows["model", "4"]
    del stored["model", "5"]
    assert to_bytes(stored["model", "3"]) == to_bytes(rows["model", "4"]) and len(stored) == 11


def test_without_room_for_a_file_inferences_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    stored = Inferences(0)
    stored.update(inferences(3))
    assert in_bytes(stored) == in_bytes(inferences(3))


def test_detections_of_one_model_by_image() -> None:
    stored = Inferences(0)
    stored.update(inferences(3))
    detections = ModelDetections(stored, "model", {7: "2", 9: "1"})
    assert [(number, len(one)) for number, one in detections.items()] == [(7, 2), (9, 1)]
    assert 8 not in detections and detections.get(8) is None
