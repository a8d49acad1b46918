from __future__ import annotations

from pathlib import Path

import pytest

from qviz.datasets.labels import (
    COCO_80,
    MAX_LABELS,
    background_offset,
    coco_90,
    label_of,
    labels_by_count,
    parse_labels,
    read_labels,
    without_background,
)
from qviz.errors import LabelsError

READ = [
    (b"person\nbicycle\n", ("person", "bicycle")),
    (b"person\r\nbicycle", ("person", "bicycle")),
    (b"\xef\xbb\xbfperson\nbicycle", ("person", "bicycle")),  # a byte order mark, as Windows writes it
    (b"  person \n\n bicycle\n\n\n", ("person", "???", "bicycle")),  # an empty line still counts a class
    (b"???\nperson\n???\nbicycle", ("???", "person", "???", "bicycle")),
    (b"Background\nperson", ("???", "person")),
    (b"__background__\nperson", ("???", "person")),
    (b"background radiation\nperson", ("background radiation", "person")),
    ("Füße\n人".encode(), ("Füße", "人")),
    (b"a" * 300, ("a" * 100,)),
]


READ += [
    (b"0 red\n1 green\n2 blue\n", ("red", "green", "blue")),  # Teachable Machine's
    (b"0  person\n1  bicycle\n4  car\n", ("person", "bicycle", "???", "???", "car")),  # Coral's, with gaps
    (b"0: red\r\n1: green", ("red", "green")),
    (b"0,red\n1,traffic light", ("red", "traffic light")),
    (b"0\tred\n2\tblue", ("red", "???", "blue")),
    (b"1: red\n2: green", ("???", "red", "green")),
    (b"15 bird\n16 cat", ("???",) * 15 + ("bird", "cat")),
    (b"1 euro\n2 euro\n5 euro", ("1 euro", "2 euro", "5 euro")),  # distinct only with their numbers
    (b"2 blue\n0 red\n1 green", ("red", "green", "blue")),  # in any order if none is missing
    (b"7 up\n3 musketeers", ("7 up", "3 musketeers")),  # neither rising nor complete: names
    (b"red,green,blue\n", ("red", "green", "blue")),
    (b"cat, sitting", ("cat, sitting",)),  # one comma may belong to a name
    (b"3 series\n1 series b", ("3 series", "1 series b")),
    (b"0 red\ngreen", ("0 red", "green")),
]


@pytest.mark.parametrize(("data", "expected"), READ)
def test_labels_of_every_file_type(data: bytes, expected: tuple[str, ...]) -> None:
    assert parse_labels(data, "labels.txt") == expected


REFUSED = [
    (b"", "has 0 lines"),
    (b"\n\n \n", "has 0 lines"),
    (b"\xff\xd8\xff\xe0JFIF", "is not UTF-8 text"),
    (b"TFL3\0\0\0\0", "a label file has one name per line"),
    (b"x\n" * (MAX_LABELS + 1), f"has {MAX_LABELS + 1} lines"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_malformed_labels_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(LabelsError) as caught:
        parse_labels(data, "labels.txt")
    assert str(caught.value).startswith("labels.txt ")
    assert sentence in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="does not exist"):
        read_labels(tmp_path / "labels.txt")


def test_coco_names_match_their_category_ids() -> None:
    names = coco_90()
    assert (len(names), names.count("???")) == (90, 10)
    # category ids by the dataset's own list, one from each stretch between unused ids
    ids = {1: "person", 13: "stop sign", 27: "backpack", 31: "handbag", 46: "wine glass", 67: "dining table"}
    ids |= {70: "toilet", 72: "tv", 84: "book", 90: "toothbrush"}
    assert {number: names[number - 1] for number in ids} == ids


@pytest.mark.parametrize(
    ("classes", "expected"), [(80, COCO_80), (90, coco_90()), (91, coco_90()), (20, ()), (None, ())]
)
def test_default_names_depend_on_the_number_of_classes(classes: int | None, expected: tuple[str, ...]) -> None:
    assert labels_by_count(classes) == expected


@pytest.mark.parametrize(("class_id", "expected"), [(0, "a"), (1, "class 1"), (2, "class 2"), (-1, "class -1")])
def test_a_class_without_a_name_is_shown_with_its_number(class_id: int, expected: str) -> None:
    assert label_of(("a", "???"), class_id) == expected


BACKGROUNDS = [
    (("???", "red", "green"), 3, ("red", "green"), 1),
    (("???", "red", "green"), 2, ("red", "green"), 0),
    (("???", "red", "green"), None, ("red", "green"), 0),
    (("red", "???", "green"), 3, ("red", "???", "green"), 0),
    (("???", "???", "red"), 3, ("???", "???", "red"), 0),  # ids that begin with 2
    (("???",), 1, ("???",), 0),
    ((), 0, (), 0),
]


@pytest.mark.parametrize(("labels", "classes", "names", "offset"), BACKGROUNDS)
def test_a_background_line_is_dropped_and_counted_where_the_outputs_count_it(
    labels: tuple[str, ...], classes: int | None, names: tuple[str, ...], offset: int
) -> None:
    assert (without_background(labels), background_offset(labels, classes)) == (names, offset)
