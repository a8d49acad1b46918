"""Annotated images in whatever format a file has, told by its content: COCO JSON or TFRecord.

The label map of a TFRecord file is the `*label*.pbtxt` beside it or in the images' folder, where there is just one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qviz.datasets.coco import parse_coco, read_coco
from qviz.datasets.labels import read_labels
from qviz.datasets.records import HEADER, is_tfrecord
from qviz.datasets.tfrecord import parse_tfrecord, read_tfrecord
from qviz.errors import DatasetError
from qviz.structures import Dataset

GZIP = b"\x1f\x8b"


def read_dataset(path: Path, folder: Path | None = None) -> Dataset:
    """COCO annotations with their images in `folder` (else beside them), or a TFRecord file. Raises DatasetError."""
    if not path.is_file():
        raise DatasetError(f"{path} is not there; give COCO annotations (JSON) or a TFRecord file.")
    with path.open("rb") as stream:
        head = stream.read(HEADER)
    _check_packed(head, path.name)
    if is_tfrecord(head):
        return read_tfrecord(path, _labels_beside(path, folder))
    return read_coco(path, folder)


def parse_dataset(data: bytes, name: str, files: Mapping[str, Path | bytes], labels: tuple[str, ...] = ()) -> Dataset:
    """`read_dataset` of an upload: `files` are a COCO file's images, `labels` a TFRecord's. Raises DatasetError."""
    _check_packed(data, name)
    return parse_tfrecord(data, name, labels) if is_tfrecord(data) else parse_coco(data, name, files)


def is_annotation(data: bytes) -> bool:
    """It looks like one of these formats: to tell an annotation file from a label file of JSON."""
    return is_tfrecord(data) or (data.lstrip()[:1] == b"{" and b'"annotations"' in data)


def _check_packed(head: bytes, name: str) -> None:
    if head[:2] == GZIP:
        raise DatasetError(f"{name} is packed with gzip; unpack it first: gunzip -S '' {name}")


def _labels_beside(path: Path, folder: Path | None) -> tuple[str, ...]:
    maps = {found for place in (folder, path.parent) if place is not None for found in place.glob("*label*.pbtxt")}
    return read_labels(maps.pop()) if len(maps) == 1 else ()
