"""TFRecord files of the Object Detection API: what is read, and what is skipped with a reason."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest

from qviz.datasets.protobuf_messages import MAX_VALUES, parse_example
from qviz.datasets.tfrecord import MAX_RECORD, masked_crc32c, parse_tfrecord, read_tfrecord
from qviz.errors import DatasetError
from qviz.structures import Dataset
from tests.datasets.tfrecords import WRITTEN_BY_TENSORFLOW, annotated, example, frame, message, png, varint


def read(*records: bytes, labels: tuple[str, ...] = ()) -> Dataset:
    return parse_tfrecord(b"".join(frame(record) for record in records), "x.record", labels)


def test_checksum_is_crc32c() -> None:
    crc = 0xE3069283  # of "123456789", as every table of CRCs gives it
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c(b"123456789") == masked


def test_a_file_written_by_tensorflow() -> None:
    dataset = parse_tfrecord(WRITTEN_BY_TENSORFLOW, "x.record")
    (image,) = dataset.images
    assert (image.name, image.size, dataset.skipped) == ("a.png", (4, 2), ())
    assert image.boxes.tolist() == [[1, 0, 3, 1]]
    assert [(category.id, category.name) for category in dataset.categories] == [(3, "cat")]
    assert (image.category_ids.tolist(), image.areas.tolist(), image.is_crowd.tolist()) == ([3], [2], [False])


def test_a_record_with_every_field() -> None:
    boxes = [(0.25, 0.0, 0.75, 0.5), (0.0, 0.0, 1.0, 1.0)]
    dataset = read(annotated(boxes, object__area=[55.0, -1.0], object__is_crowd=[0, 1], width=40, height=20))
    (image,) = dataset.images
    assert image.boxes.tolist() == [[10, 0, 30, 10], [0, 0, 40, 20]]
    assert (image.areas.tolist(), image.is_crowd.tolist()) == ([55, 800], [False, True])
    assert (image.name, image.read()) == ("a.png", png())


def test_an_image_without_objects_is_part_of_the_dataset() -> None:
    assert [len(image.boxes) for image in read(annotated([]), annotated()).images] == [0, 1]


def test_unpacked_number_lists_are_read() -> None:
    loose = message(1, message(1, message(1, b"x") + message(2, message(2, b"\x0d" + struct.pack("<f", 0.5)))))
    assert parse_example(loose, {"x"})["x"].tolist() == [0.5]  # type: ignore[union-attr]
    loose = message(1, message(1, message(1, b"x") + message(2, message(3, b"\x08" + varint(-7) + b"\x08\x05"))))
    assert parse_example(loose, {"x"})["x"].tolist() == [-7, 5]  # type: ignore[union-attr]


NAMED = [
    ({}, (), {"cat": 3}),
    ({"object__class__text": None}, ("a", "b", "dog"), {"dog": 3}),
    ({"object__class__text": None}, (), {"class 2": 3}),
    ({"object__class__text": None}, ("a", "b", "???"), {"class 2": 3}),
    ({"object__class__label": None}, (), {"cat": 1}),
]


@pytest.mark.parametrize(("others", "labels", "expected"), NAMED)
def test_class_names_come_from_records_or_label_map(
    others: dict[str, Any], labels: tuple[str, ...], expected: dict[str, int]
) -> None:
    dataset = read(annotated(**others), labels=labels)
    assert {category.name: category.id for category in dataset.categories} == expected


def test_a_label_with_two_names_becomes_two_categories() -> None:
    dataset = read(annotated(), annotated(object__class__text=[b"dog"]), annotated(object__class__label=[9]))
    assert {category.name: category.id for category in dataset.categories} == {"cat": 3, "dog": 4}
    assert [image.category_ids.tolist() for image in dataset.images] == [[3], [4], [3]]


SIZED = [
    (1, (40, 20), (40, 20)),
    (6, (40, 20), (40, 20)),  # TensorFlow's decoders do not rotate
    (6, (20, 40), (20, 40)),  # but this one was annotated on the rotated image
    (1, (20, 40), (40, 20)),  # the writer swapped width and height
    (1, (4000, 2000), (40, 20)),  # scaled down since
]


@pytest.mark.parametrize(("orientation", "recorded", "size"), SIZED)
def test_boxes_are_scaled_to_the_recorded_size(
    orientation: int, recorded: tuple[int, int], size: tuple[int, int]
) -> None:
    (image,) = read(annotated(encoded=png(orientation=orientation), width=recorded[0], height=recorded[1])).images
    assert (image.size, image.boxes[0].tolist()) == (size, [size[0] / 4, 0, size[0] * 3 / 4, size[1] / 2])


BROKEN_BOXES: list[tuple[tuple[float, ...], dict[str, Any], str]] = [
    ((0.5, 0, 0.5, 1), {}, "annotation whose box has no area"),
    ((0.5, 1, 0.6, 0), {}, "annotation whose box has no area"),
    ((10, 10, 30, 20), {}, "annotation whose box is not given as shares of the image (0..1)"),
    ((float("nan"), 0, 1, 1), {}, "annotation whose box is not given as shares of the image (0..1)"),
    ((0, 0, float("inf"), 1), {}, "annotation whose box is not given as shares of the image (0..1)"),
    (
        (0, 0, 1, 1),
        {"object__class__label": [0, 3], "object__class__text": [b"", b"cat"]},
        "annotation without a class",
    ),
    ((0, 0, 1, 1), {"object__class__label": [-4, 3], "object__class__text": None}, "annotation without a class"),
    ((0, 0, 1, 1), {"object__class__label": [1 << 50, 3], "object__class__text": None}, "annotation without a class"),
]


@pytest.mark.parametrize(("box", "others", "what"), BROKEN_BOXES)
def test_a_broken_annotation_is_counted_and_the_rest_is_read(
    box: tuple[float, ...], others: dict[str, Any], what: str
) -> None:
    dataset = read(annotated([box, (0, 0, 1, 1)], **others))
    assert (dataset.skipped, dataset.annotations) == ((f"1 {what}",), 1)


BROKEN_RECORDS = [
    (b"", "record without an annotated image"),
    (b"text of no kind", "record without an annotated image"),
    (example({"feature": 1}), "record without an annotated image"),
    (annotated(encoded=None), "record without an annotated image"),
    (annotated(encoded=[png(), png()]), "record without an annotated image"),
    (annotated(object__bbox__xmin=[0.0, 0.1]), "record without an annotated image"),
    (annotated(object__bbox__xmin=None), "record without an annotated image"),
    (annotated(object__class__text=[b"a", b"b"]), "record without an annotated image"),
    (annotated(object__class__label=[1, 2]), "record without an annotated image"),
    (annotated(width=b"40"), "record without an annotated image"),
    (annotated(width=[float("inf")]), "record without an annotated image"),
    (annotated(object__class__label=[1] * (MAX_VALUES + 1)), "record without an annotated image"),
    (annotated(encoded=b"no image"), "record whose image cannot be read"),
    (annotated(encoded=png()[:30]), "record whose image cannot be read"),
]


@pytest.mark.parametrize(("record", "what"), BROKEN_RECORDS, ids=range(len(BROKEN_RECORDS)))
def test_a_broken_record_is_counted_and_the_rest_is_read(record: bytes, what: str) -> None:
    dataset = read(annotated(), record, annotated())
    assert (len(dataset.images), dataset.skipped) == (2, (f"1 {what}",))


def test_a_damaged_record_length_ends_reading_and_is_reported() -> None:
    good = frame(annotated())
    bad = bytearray(good)
    bad[3] ^= 1
    dataset = parse_tfrecord(good + bytes(bad) + good, "x", ())
    assert (len(dataset.images), dataset.skipped) == (1, (f"{2 * len(good)} bytes after a damaged record length",))


def test_a_truncated_file() -> None:
    good = frame(annotated())
    assert parse_tfrecord(good + good[:-40], "x").skipped == ("1 record without its end",)
    assert parse_tfrecord(good + good[:5], "x").skipped == ("5 bytes after a damaged record length",)


def test_an_excessive_record_length_is_not_read() -> None:
    length = struct.pack("<Q", 1 << 62)
    data = frame(annotated()) + length + struct.pack("<I", masked_crc32c(length))
    assert parse_tfrecord(data, "x").skipped == ("1 record without its end",)


def test_a_huge_record_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.record"
    length = struct.pack("<Q", MAX_RECORD + 1)
    with path.open("wb") as file:
        file.write(length + struct.pack("<I", masked_crc32c(length)))
        file.seek(MAX_RECORD + 1 + 4, 1)  # a sparse file
        file.write(frame(annotated()))
    dataset = read_tfrecord(path)
    assert (len(dataset.images), dataset.skipped) == (1, ("1 record of more than 128 MB",))


REFUSED = [
    (frame(b"nothing"), "has no annotated images (1 record without an annotated image)"),
    (b"", "has no annotated images (no records)"),
    (b"\0" * 100, "has no annotated images (100 bytes after a damaged record length)"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_unusable_files_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse_tfrecord(data, "x.record")
    assert sentence in str(caught.value)


def test_a_damaged_file_is_a_dataset_or_a_dataset_error() -> None:
    whole, rng = WRITTEN_BY_TENSORFLOW, random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 4])):
            damaged[rng.randrange(12, len(damaged))] = rng.randrange(256)
        try:
            parse_tfrecord(bytes(damaged), "x")
            outcomes["read"] += 1
        except DatasetError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 300
