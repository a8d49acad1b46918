"""Annotation formats are recognized by content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qviz.datasets.annotated import is_annotation, parse_dataset, read_dataset
from qviz.datasets.tfrecord import is_tfrecord
from qviz.errors import DatasetError
from tests.datasets.tfrecords import WRITTEN_BY_TENSORFLOW, annotated, frame, png


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(png())
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [10, 0, 20, 10]}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    path = tmp_path / "annotations"  # no extension: recognized by content
    path.write_text(json.dumps(content))
    return path


def test_the_format_is_recognized_by_content(coco: Path) -> None:
    record = coco.with_name("val.record-00000-of-00001")
    record.write_bytes(frame(annotated()))
    from_json, from_record = read_dataset(coco), read_dataset(record)
    assert from_json.images[0].boxes.tolist() == from_record.images[0].boxes.tolist()
    assert from_json.categories == from_record.categories
    assert parse_dataset(record.read_bytes(), "x", {}).annotations == 1
    assert parse_dataset(coco.read_bytes(), "x", {"a.png": png()}).annotations == 1


def test_a_label_map_beside_a_tfrecord_names_its_classes(coco: Path) -> None:
    record = coco.with_name("val.record")
    record.write_bytes(frame(annotated(object__class__text=None)))
    coco.with_name("my_label_map.pbtxt").write_text('item { id: 3 name: "hound" }')
    coco.with_name("pipeline.pbtxt").write_text("model {}")
    assert [category.name for category in read_dataset(record).categories] == ["hound"]
    coco.with_name("label_map_2.pbtxt").write_text('item { id: 3 name: "which?" }')
    assert [category.name for category in read_dataset(record).categories] == ["class 2"]


KINDS = [
    (WRITTEN_BY_TENSORFLOW, True),
    (b' {"images": [], "annotations": []}', True),
    (b'{"0": "person"}', False),
    (b"person\n", False),
    (b"", False),
]


@pytest.mark.parametrize(("data", "expected"), KINDS)
def test_annotations_and_label_files_are_distinguished(data: bytes, expected: bool) -> None:
    assert is_annotation(data) is expected


def test_compressed_and_missing_files_are_refused(tmp_path: Path) -> None:
    packed = tmp_path / "x.record.gz"
    packed.write_bytes(b"\x1f\x8b\x08 and so on")
    with pytest.raises(DatasetError, match="is compressed with gzip; unpack it first"):
        read_dataset(packed)
    with pytest.raises(DatasetError, match="does not exist; give COCO annotations"):
        read_dataset(tmp_path / "nothing")
    assert not is_tfrecord(b"")
