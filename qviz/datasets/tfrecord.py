"""Annotated images in TFRecord files of the TensorFlow Object Detection API, read without TensorFlow.

image/encoded                            JPEG, PNG, ...
image/filename, image/source_id          name of the image
image/width, image/height                pixels without EXIF orientation, as TensorFlow's decoders give them
image/object/bbox/{xmin,ymin,xmax,ymax}  shares of width and height
image/object/class/{label,text}          ids of the classes, from 1; their names
image/object/{is_crowd,area}             optional; area in pixels

Class names are the texts, else those of a label map, else `class 17` for id 18. Broken parts are left out and counted.

A file is a sequence of records (little-endian):
    length (8 bytes)   masked crc32c of the length (4)   the record   masked crc32c of the record (4)
The checksum of the length is verified, so that a damaged file is never read from a wrong offset. The checksum of the
record is not verified, because in Python this would take longer than decoding the image. The records after a damaged
length cannot be read.

Sources: research/object_detection/data_decoders/tf_example_decoder.py of tensorflow/models;
tensorflow/core/lib/io/record_writer.h, tensorflow/core/lib/hash/crc32c.h (the mask); RFC 3720, appendix B.4.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from qviz.datasets.box_checks import MAX_SHARE, MIN_SHARE, NO_AREA, NO_SHARE, OUTSIDE
from qviz.datasets.box_layouts import TFRECORD, WrittenBoxes
from qviz.datasets.images import image_sizes
from qviz.datasets.labels import label_of
from qviz.datasets.problems import MAX_EXAMPLES, NO_CLASS, Problems
from qviz.datasets.protobuf_messages import Values, parse_example
from qviz.errors import DatasetError, ImageError
from qviz.formatting import plural
from qviz.limits import limits
from qviz.structures import Category, Dataset, DatasetImage, DatasetProblem, EncodedImage

HEADER, FOOTER = 12, 4
MAX_RECORD = 128 << 20
"""Maximum size of a record in bytes: an image and its annotations, including masks."""
MAX_LABEL = 1_000_000
_POLYNOMIAL, _MASK = 0x82F63B78, 0xA282EAD8

ENCODED, WIDTH, HEIGHT = "image/encoded", "image/width", "image/height"
NAMES = ("image/filename", "image/source_id")
SIDES = tuple(f"image/object/bbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
TEXT, LABEL, CROWD, AREA = (f"image/object/{what}" for what in ("class/text", "class/label", "is_crowd", "area"))
FEATURES = frozenset({ENCODED, WIDTH, HEIGHT, *NAMES, *SIDES, TEXT, LABEL, CROWD, AREA})


def is_tfrecord(data: bytes) -> bool:
    """Whether the bytes are a TFRecord file, i.e. the checksum of the first record's length is right."""
    return _length(data[:HEADER]) is not None


def read_tfrecord(path: Path, labels: tuple[str, ...] = ()) -> Dataset:
    """Read a TFRecord file. Raises DatasetError.

    labels: Class names in the order of ids, beginning with id 1, for records without class texts.
    """
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; give a TFRecord file.")
    with path.open("rb") as stream:
        return _dataset(stream, path.stat().st_size, path.name, labels)


def parse_tfrecord(data: bytes, name: str, labels: tuple[str, ...] = ()) -> Dataset:
    """Like `read_tfrecord`, for an uploaded file. Raises DatasetError."""
    return _dataset(io.BytesIO(data), len(data), name, labels)


Names = list[tuple[str, int]]
"""(class text, class label) of each object in an image; "" and 0 if they are missing."""


def _dataset(stream: BinaryIO, size: int, name: str, labels: tuple[str, ...]) -> Dataset:
    if size > (max_mb := limits().archive_mb) << 20:
        raise DatasetError(f"{name} is {size >> 20} MB; the limit for a TFRecord file is {max_mb} MB: split it.")
    problems, written = Problems(), WrittenBoxes.of(TFRECORD)
    records: list[tuple[DatasetImage, Names]] = []
    for data in _records(stream, size, problems):
        try:
            records.append(_record(data, len(records) + 1, problems, written))
        except ImageError as error:
            problems.leave_out("record whose image cannot be read", str(error))
        except (ValueError, OverflowError) as error:
            problems.leave_out("record without an annotated image", str(error))
    if not records:
        raise DatasetError(
            f"{name} has no annotated images ({', '.join(problems.sentences()) or 'no records'}); give a TFRecord file"
            " of the TensorFlow Object Detection API."
        )
    classes = _classes(records, labels)
    images = tuple(
        replace(image, category_ids=np.array([classes[_name(*pair, labels)] for pair in names], np.int64))
        for image, names in records
    )
    categories = tuple(Category(number, text) for text, number in classes.items())
    problems.doubt(written.problem())
    problems.doubt(_from_zero(problems[NO_CLASS], [label for _, names in records for text, label in names if not text]))
    problems.doubt(_other_texts([pair for _, names in records for pair in names]))
    listed = problems.listed(sum(len(image.category_ids) for image in images))
    return Dataset(name, images, categories, problems.sentences(), listed)


def _from_zero(unlabelled: int, labels: Sequence[int]) -> DatasetProblem | None:
    """The problem that labels are numbered from 0: some objects have label 0 and no text, others only a label."""
    if not unlabelled or not labels:
        return None
    return DatasetProblem(
        "labels_from_zero",
        f"{plural(unlabelled, 'object')} {'has' if unlabelled == 1 else 'have'} the label 0, which is the background:"
        " labels are probably numbered from 0, and every object counts as another class.",
        "Add 1 to each label, or write class texts as well.",
        unlabelled + len(labels),
        (f"labels 0 to {max(labels)}",),
        serious=True,
    )


def _other_texts(pairs: Sequence[tuple[str, int]]) -> DatasetProblem | None:
    """The problem that a label has several texts, because the records were made with different label maps; or None."""
    texts: dict[int, set[str]] = defaultdict(set)
    for text, label in pairs:
        if text and label:
            texts[label].add(text)
    several = {label: names for label, names in texts.items() if len(names) > 1}
    if not several:
        return None
    return DatasetProblem(
        "one_label_several_texts",
        f"{plural(len(several), 'label')} {'has' if len(several) == 1 else 'have'} several class texts;"
        " each text counts as a class.",
        "Write all records with one label map.",
        len(several),
        tuple(f"label {label}: {', '.join(sorted(names))}" for label, names in list(several.items())[:MAX_EXAMPLES]),
    )


def _records(stream: BinaryIO, size: int, problems: Problems) -> Iterator[bytes]:
    """The records of a stream of `size` bytes, one at a time."""
    while header := stream.read(HEADER):
        length, start = _length(header), stream.tell()
        if length is None:
            problems.leave_out("byte after a damaged record length", count=size - start + len(header))
            return
        if start + length + FOOTER > size:
            problems.leave_out("record without its end")
            return
        if length > MAX_RECORD:
            problems.leave_out(f"record of more than {MAX_RECORD >> 20} MB")
            stream.seek(length + FOOTER, 1)
            continue
        yield stream.read(length)
        stream.seek(FOOTER, 1)


def masked_crc32c(data: bytes) -> int:
    """The crc32c of the bytes, rotated right by 15 bits and increased by a constant, as TensorFlow stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def _length(header: bytes) -> int | None:
    if len(header) < HEADER:
        return None
    length, checksum = struct.unpack("<QI", header)
    return int(length) if masked_crc32c(header[:8]) == checksum else None


def _record(data: bytes, number: int, problems: Problems, written: WrittenBoxes) -> tuple[DatasetImage, Names]:
    """(the image in a record, with category ids still to be filled in; the text and label of each object).

    Raises ValueError if the record is not an annotated image, ImageError if the image cannot be read.
    """
    features = parse_example(data, FEATURES)
    name = PurePosixPath(_text(features, NAMES[0]) or _text(features, NAMES[1])).name[:200] or f"record {number}"
    encoded = EncodedImage(name, _bytes(features, ENCODED), digest="not needed")
    size = _size(encoded, (int(_numbers(features, WIDTH, 1)[0]), int(_numbers(features, HEIGHT, 1)[0])))
    count = len(features.get(SIDES[0], ()))
    shares = np.stack([_numbers(features, side, count) for side in SIDES], axis=-1).reshape(-1, 4).astype(np.float64)
    texts, labels = _texts(features, count), _numbers(features, LABEL, count)
    labels = np.where((labels > 0) & (labels < MAX_LABEL), labels, 0).astype(np.int64)
    boxes = shares * np.array(size * 2)
    box_areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    areas = _numbers(features, AREA, count).astype(np.float64)
    good = _good(shares, np.array([bool(text) for text in texts], bool) | (labels > 0), problems, name)
    for box in shares.tolist():
        written.add(box, size, name)
    image = DatasetImage(
        id=number,
        name=name,
        source=encoded.data,
        boxes=boxes[good],
        category_ids=labels[good],
        is_crowd=_numbers(features, CROWD, count)[good] > 0,
        areas=np.where(np.isfinite(areas) & (areas > 0), areas, box_areas)[good],
        size=size,
    )
    return image, [(texts[i], int(labels[i])) for i in np.flatnonzero(good)]


def _good(shares: np.ndarray, named: np.ndarray, problems: Problems, name: str) -> np.ndarray:
    """(n,) bool: which annotations of an image are usable; boxes with NaN are not, as NaN fails every comparison."""
    near = ((shares > MIN_SHARE) & (shares < MAX_SHARE)).all(axis=-1)
    wide = near & (shares[:, 2:] > shares[:, :2]).all(axis=-1)
    inside = wide & (shares[:, 2:] > 0).all(axis=-1) & (shares[:, :2] < 1).all(axis=-1)
    for reason, left_out in {
        NO_SHARE: ~near,
        NO_AREA: near & ~wide,
        OUTSIDE: wide & ~inside,
        NO_CLASS: inside & ~named,
    }.items():
        for box in shares[left_out].tolist():
            problems.leave_out(reason, f"{name}: {[round(side, 3) for side in box]}")
    return inside & named


def _size(encoded: EncodedImage, recorded: tuple[int, int]) -> tuple[int, int]:
    """The recorded (width, height) if it is that of the image, stored or upright; else that of the stored image."""
    stored, upright = image_sizes(encoded)
    return recorded if recorded in (stored, upright) else stored


def _bytes(features: dict[str, Values], name: str) -> bytes:
    values = features.get(name, [])
    if not isinstance(values, list) or len(values) != 1:
        raise ValueError(f"{name} is not one value")
    return values[0]


def _text(features: dict[str, Values], name: str) -> str:
    values = features.get(name, [])
    return values[0].decode("utf-8", "replace") if isinstance(values, list) and values else ""


def _texts(features: dict[str, Values], count: int) -> list[str]:
    values = features.get(TEXT) or [b""] * count
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{TEXT} does not have one text per box")
    return [" ".join(value.decode("utf-8", "replace").split())[:100] for value in values]


def _numbers(features: dict[str, Values], name: str, count: int) -> np.ndarray:
    """The (count,) values of a feature; zeros if it is missing, unless it is required. Raises ValueError."""
    values = features.get(name, [])
    if len(values) == 0 and (count == 0 or name not in SIDES):
        return np.zeros(count, np.int64)
    if isinstance(values, list) or len(values) != count:
        raise ValueError(f"{name} does not have one number per box")
    return values


def _name(text: str, label: int, labels: tuple[str, ...]) -> str:
    return text or label_of(labels, label - 1)


def _classes(records: list[tuple[DatasetImage, Names]], labels: tuple[str, ...]) -> dict[str, int]:
    """Class name -> category id: the label that occurs with the name, or a free number if that is missing or used."""
    ids: dict[str, int] = {}
    for text, label in (pair for _, names in records for pair in names):
        name = _name(text, label, labels)
        if name not in ids:
            used = set(ids.values())
            ids[name] = label if label > 0 and label not in used else max(used, default=0) + 1
    return dict(sorted(ids.items(), key=lambda item: item[1]))
