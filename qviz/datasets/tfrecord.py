"""Annotated images in TFRecord files of the TensorFlow Object Detection API, read without TensorFlow.

image/encoded                            JPEG, PNG, ...
image/filename, image/source_id          its name
image/width, image/height                pixels without EXIF orientation, as TensorFlow's decoders give them
image/object/bbox/{xmin,ymin,xmax,ymax}  shares of width and height
image/object/class/{label,text}          ids from 1; names
image/object/{is_crowd,area}             where given; area in pixels

Names come from the texts, else from a label map, else id 18 is `class 17`, as a model's class without a name is. What
is broken is left out with a sentence, and the rest is read.

Source: research/object_detection/data_decoders/tf_example_decoder.py of tensorflow/models.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from qviz.datasets.broken import NO_AREA, NO_SHARE, OUTSIDE, SHARES
from qviz.datasets.example import Values, parse_example
from qviz.datasets.images import image_sizes
from qviz.datasets.labels import label_of
from qviz.datasets.records import read_records
from qviz.errors import DatasetError, ImageError
from qviz.limits import limits
from qviz.structures import Category, Dataset, DatasetImage, EncodedImage

"""Of a file: its images are held in memory."""
MAX_LABEL = 1_000_000

ENCODED, WIDTH, HEIGHT = "image/encoded", "image/width", "image/height"
NAMES = ("image/filename", "image/source_id")
SIDES = tuple(f"image/object/bbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
TEXT, LABEL, CROWD, AREA = (f"image/object/{what}" for what in ("class/text", "class/label", "is_crowd", "area"))
WANTED = frozenset({ENCODED, WIDTH, HEIGHT, *NAMES, *SIDES, TEXT, LABEL, CROWD, AREA})


def read_tfrecord(path: Path, labels: tuple[str, ...] = ()) -> Dataset:
    """A TFRecord file; `labels` name the ids (id 1 first) where its records do not. Raises DatasetError."""
    if not path.is_file():
        raise DatasetError(f"{path} is not there; give a TFRecord file.")
    with path.open("rb") as stream:
        return _dataset(stream, path.stat().st_size, path.name, labels)


def parse_tfrecord(data: bytes, name: str, labels: tuple[str, ...] = ()) -> Dataset:
    """`read_tfrecord` of an upload. Raises DatasetError."""
    return _dataset(io.BytesIO(data), len(data), name, labels)


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """One image: boxes (n, 4) in pixels, names (n) with "" where none is said, labels (n,) with 0 where none is."""

    name: str
    data: bytes
    size: tuple[int, int]
    boxes: np.ndarray
    names: list[str]
    labels: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray


def _dataset(stream: BinaryIO, size: int, name: str, labels: tuple[str, ...]) -> Dataset:
    if size > (most := limits().archive_mb) << 20:
        raise DatasetError(f"{name} has {size >> 20} MB; TFRecord files of up to {most} are read: split it.")
    skipped: Counter[str] = Counter()
    records: list[_Record] = []
    for data in read_records(stream, size, skipped):
        try:
            records.append(_record(data, len(records) + 1, skipped))
        except ImageError:
            skipped["records whose image cannot be read"] += 1
        except (ValueError, OverflowError):
            skipped["records that are no annotated image"] += 1
    if not records:
        raise DatasetError(
            f"{name} holds no annotated image ({', '.join(_sentences(skipped)) or 'no record'}); give a TFRecord file"
            " of the TensorFlow Object Detection API."
        )
    classes = _classes(records, labels)
    images = tuple(_image(number, record, classes, labels) for number, record in enumerate(records, start=1))
    categories = tuple(Category(number, said) for said, number in classes.items())
    return Dataset(name, images, categories, _sentences(skipped))


def _sentences(skipped: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{count} {what}" for what, count in skipped.items())


def _record(data: bytes, number: int, skipped: Counter[str]) -> _Record:
    """Raises ValueError where it is no annotated image, ImageError where its image cannot be read."""
    found = parse_example(data, WANTED)
    name = PurePosixPath(_text(found, NAMES[0]) or _text(found, NAMES[1])).name[:200] or f"record {number}"
    encoded = EncodedImage(name, _bytes(found, ENCODED), digest="not needed")
    size = _size(encoded, (int(_numbers(found, WIDTH, 1)[0]), int(_numbers(found, HEIGHT, 1)[0])))
    count = len(found.get(SIDES[0], ()))
    shares = np.stack([_numbers(found, side, count) for side in SIDES], axis=-1).reshape(-1, 4).astype(np.float64)
    texts, labels = _texts(found, count), _numbers(found, LABEL, count)
    labels = np.where((labels > 0) & (labels < MAX_LABEL), labels, 0).astype(np.int64)
    boxes = shares * np.array(size * 2)
    own = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    areas = _numbers(found, AREA, count).astype(np.float64)
    good = _good(shares, np.array([bool(text) for text in texts], bool) | (labels > 0), skipped)
    return _Record(
        name=name,
        data=encoded.data,
        size=size,
        boxes=boxes[good],
        names=[text for text, keep in zip(texts, good, strict=True) if keep],
        labels=labels[good],
        is_crowd=_numbers(found, CROWD, count)[good] > 0,
        areas=np.where(np.isfinite(areas) & (areas > 0), areas, own)[good],
    )


def _good(shares: np.ndarray, named: np.ndarray, skipped: Counter[str]) -> np.ndarray:
    """(n,) the annotations that can be used; NaN is within no limits."""
    near = ((shares > SHARES[0]) & (shares < SHARES[1])).all(axis=-1)
    wide = near & (shares[:, 2:] > shares[:, :2]).all(axis=-1)
    inside = wide & (shares[:, 2:] > 0).all(axis=-1) & (shares[:, :2] < 1).all(axis=-1)
    for what, count in {
        NO_SHARE: int((~near).sum()),
        NO_AREA: int((near & ~wide).sum()),
        OUTSIDE: int((wide & ~inside).sum()),
        "annotations without a class": int((inside & ~named).sum()),
    }.items():
        if count:
            skipped[what] += count
    return inside & named


def _size(encoded: EncodedImage, said: tuple[int, int]) -> tuple[int, int]:
    """What the record says where that fits the image, turned or not; else the image as it is stored."""
    stored, upright = image_sizes(encoded)
    return said if said in (stored, upright) else stored


def _bytes(found: dict[str, Values], name: str) -> bytes:
    values = found.get(name, [])
    if not isinstance(values, list) or len(values) != 1:
        raise ValueError(f"{name} is not one value")
    return values[0]


def _text(found: dict[str, Values], name: str) -> str:
    values = found.get(name, [])
    return values[0].decode("utf-8", "replace") if isinstance(values, list) and values else ""


def _texts(found: dict[str, Values], count: int) -> list[str]:
    values = found.get(TEXT) or [b""] * count
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{TEXT} is not a text a box")
    return [" ".join(value.decode("utf-8", "replace").split())[:100] for value in values]


def _numbers(found: dict[str, Values], name: str, count: int) -> np.ndarray:
    """(count,) zeros where the feature is not there."""
    values = found.get(name, [])
    if len(values) == 0 and (count == 0 or name not in SIDES):
        return np.zeros(count, np.int64)
    if isinstance(values, list) or len(values) != count:
        raise ValueError(f"{name} is not a number a box")
    return values


def _name(text: str, label: int, labels: tuple[str, ...]) -> str:
    return text or label_of(labels, label - 1)


def _classes(records: list[_Record], labels: tuple[str, ...]) -> dict[str, int]:
    """name -> category id: the label that comes with it, or a free number where that is taken or missing."""
    ids: dict[str, int] = {}
    for record in records:
        for text, label in zip(record.names, record.labels.tolist(), strict=True):
            name = _name(text, label, labels)
            if name not in ids:
                taken = set(ids.values())
                ids[name] = label if label > 0 and label not in taken else max(taken, default=0) + 1
    return dict(sorted(ids.items(), key=lambda item: item[1]))


def _image(number: int, record: _Record, classes: dict[str, int], labels: tuple[str, ...]) -> DatasetImage:
    named = zip(record.names, record.labels.tolist(), strict=True)
    return DatasetImage(
        id=number,
        name=record.name,
        path=None,
        data=record.data,
        boxes=record.boxes,
        category_ids=np.array([classes[_name(text, label, labels)] for text, label in named], np.int64),
        is_crowd=record.is_crowd,
        areas=record.areas,
        size=record.size,
    )
