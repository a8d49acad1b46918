"""Pascal VOC folders: the first pixel is 1, difficult objects are ignored, and the XML is not trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qviz.datasets.annotated import read_dataset
from qviz.datasets.coco import read_coco
from qviz.datasets.voc import MAX_XML, VOC_20, parse_xml
from qviz.errors import DatasetError
from qviz.features.accuracy.ap import average_precision
from qviz.structures import Dataset, Detections
from tests.conftest import Sample
from tests.datasets.layouts import put, voc_object, voc_xml, write_voc
from tests.datasets.test_yolo import assert_same_truths
from tests.datasets.tfrecords import png


def test_the_sample_as_voc_has_the_same_boxes(sample: Sample, tmp_path: Path) -> None:
    coco = read_coco(sample.annotations, sample.images)
    write_voc(tmp_path, coco)
    voc = read_dataset(tmp_path)
    assert (voc.name, voc.skipped, voc.annotations) == (f"{tmp_path.name} (val)", (), coco.annotations)
    assert_same_truths(voc, coco)
    crowds = {image.name: image.is_crowd.tolist() for image in coco.images}  # written as difficult
    assert {image.name: image.is_crowd.tolist() for image in voc.images} == crowds
    assert any(any(flags) for flags in crowds.values())


def read(top: Path, *objects: str, size: tuple[int, int] = (40, 20)) -> Dataset:
    put(top, "a.png", png())
    put(top, "a.xml", voc_xml("".join(objects), size=size))
    return read_dataset(top)


def test_coordinates_are_one_based_and_inclusive(tmp_path: Path) -> None:
    (image,) = read(tmp_path, voc_object(1, 1, 40, 20), voc_object("5.5", 3, 5.5, 3)).images
    assert image.boxes.tolist() == [[0, 0, 40, 20], [4.5, 2, 5.5, 3]]
    assert (image.areas.tolist(), image.size) == ([800, 1], (40, 20))


def test_difficult_objects_are_ignored(tmp_path: Path) -> None:
    dataset = read(tmp_path, voc_object(1, 1, 10, 10), voc_object(21, 1, 30, 10, difficult=1))
    assert dataset.images[0].is_crowd.tolist() == [False, True]
    cat = VOC_20.index("cat") + 1
    boxes = np.array([[20, 0, 30, 10], [0, 0, 10, 10]], np.float32)
    both = Detections(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32))
    assert average_precision("m", dataset, {1: both}, {0: cat}).figures.ap == pytest.approx(1)
    assert average_precision("m", dataset, {1: both[np.array([False, True])]}, {0: cat}).figures.ap == pytest.approx(1)


BROKEN = [
    (voc_object("nan", 1, 10, 10), "annotations whose box is not four numbers"),
    (voc_object("x", 1, 10, 10), "annotations whose box is not four numbers"),
    (voc_object(1, 1, "9" * 5000, 10), "annotations whose box is not four numbers"),
    ("<object><name>cat</name></object>", "annotations whose box is not four numbers"),
    (voc_object(10, 1, 9, 10), "annotations whose box has no area"),
    (voc_object(41, 1, 50, 10), "annotations whose box is outside of the image"),
    (voc_object(-9, -9, 0, 0), "annotations whose box is outside of the image"),
    (voc_object(1, 1, 10, 10, name=" "), "annotations of an unknown category"),
]


@pytest.mark.parametrize(("broken", "what"), BROKEN)
def test_a_broken_object_is_counted_and_the_rest_is_read(tmp_path: Path, broken: str, what: str) -> None:
    dataset = read(tmp_path, broken, voc_object(1, 1, 10, 10), broken)
    assert (dataset.annotations, dataset.skipped) == (1, (f"2 {what}",))


def test_a_size_of_zero_is_ignored(tmp_path: Path) -> None:
    assert read(tmp_path, voc_object(41, 1, 50, 10), size=(0, 0)).annotations == 1


def test_broken_files_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "broken.xml", "<annotation>")
    put(tmp_path, "other.xml", "<html/>")
    put(tmp_path, "lonely.xml", voc_xml(filename="gone.jpg"))
    dataset = read(tmp_path, voc_object(1, 1, 10, 10))
    assert len(dataset.images) == 1
    assert set(dataset.skipped) == {
        "2 files without a Pascal VOC annotation",
        f"1 image whose file is missing (first: gone.jpg is not in {tmp_path.name})",
    }


def test_categories_are_the_voc_classes_or_those_in_the_files(tmp_path: Path) -> None:
    assert [c.name for c in read(tmp_path, voc_object(1, 1, 9, 9)).categories] == list(VOC_20)
    dataset = read(tmp_path, voc_object(1, 1, 9, 9, name="水 牛"), voc_object(1, 1, 9, 9, name="a\n cat"))
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "a cat"), (2, "水 牛")]
    assert dataset.images[0].category_ids.tolist() == [2, 1]


def test_an_image_set_list_selects_the_images(tmp_path: Path) -> None:
    top = tmp_path / "VOCdevkit" / "VOC2007"
    for name in ("a", "b", "c"):
        put(top, f"JPEGImages/{name}.png", png())
        put(top, f"Annotations/{name}.xml", voc_xml(filename="nothing.jpg"))
    put(top, "ImageSets/Main/train.txt", "a\nb\nc\n")
    put(top, "ImageSets/Main/cat_val.txt", "c 1\n")
    assert read_dataset(tmp_path).name == f"{tmp_path.name} (train)"
    put(top, "ImageSets/Main/val.txt", "b\ngone\n../../../../etc/passwd\n\n")
    dataset = read_dataset(tmp_path)
    assert [image.name for image in dataset.images] == ["b.png"]
    assert dataset.skipped == ("2 images whose annotation file is missing",)


def test_the_image_has_the_name_of_the_xml_file_or_the_name_written_in_it(tmp_path: Path) -> None:
    put(tmp_path, "xml/a.xml", voc_xml(filename="b.png"))
    put(tmp_path, "pictures/b.png", png())
    assert [image.name for image in read_dataset(tmp_path).images] == ["b.png"]
    put(tmp_path, "pictures/a.png", png())
    assert [image.name for image in read_dataset(tmp_path).images] == ["a.png"]


def laughs(levels: int = 12) -> bytes:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, levels))
    return f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><annotation>&e{levels - 1};</annotation>'.encode()


HOSTILE = [
    (laughs(), "a document type"),
    (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "a document type"),
    (b'<!DOCTYPE annotation SYSTEM "http://example.org/x.dtd"><annotation/>', "a document type"),
    (b"<annotation>&x;</annotation>", "not XML"),
    (b"<annotation>" * 1000, "nested too deep"),
    (b"<annotation>" + b" " * MAX_XML + b"</annotation>", "more than 4 MB"),
    (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "not XML"),
    (b'<?xml version="1.0" encoding="utf-7"?><annotation/>', "encoding"),
    (b"<x/>", "<x> instead of <annotation>"),
    (b"", "not XML"),
    (b"\0\xff", "not XML"),
]


@pytest.mark.parametrize(("data", "sentence"), HOSTILE)
def test_xml_with_entities_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_xml(data)


def test_an_xml_bomb_is_counted_as_one_broken_file(tmp_path: Path) -> None:
    put(tmp_path, "laughs.xml", laughs())
    dataset = read(tmp_path, voc_object(1, 1, 10, 10))
    assert (dataset.annotations, dataset.skipped) == (1, ("1 file without a Pascal VOC annotation",))


def test_folders_without_usable_annotations_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.xml", voc_xml())
    with pytest.raises(DatasetError, match=r"has 1 XML file but no annotated image: 1 image whose file is"):
        read_dataset(tmp_path)
