from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qviz.datasets.coco import parse_coco, read_coco
from qviz.errors import DatasetError

CAT = {"id": 3, "name": "cat"}
IMAGE = {"id": 10, "file_name": "a.jpg"}
GOOD = {"image_id": 10, "category_id": 3, "bbox": [1, 2, 30, 40]}


def document(images: Any = (IMAGE,), annotations: Any = (), categories: Any = (CAT,)) -> bytes:
    return json.dumps(
        {"images": list(images), "annotations": list(annotations), "categories": list(categories)}
    ).encode()


def test_boxes_are_converted_to_corners_and_areas_are_preserved() -> None:
    rows = [GOOD, {**GOOD, "area": 500.5, "iscrowd": 1}]
    (image,) = parse_coco(document(annotations=rows), "x.json", {"a.jpg": b"pixels"}).images
    assert image.boxes.tolist() == [[1, 2, 31, 42]] * 2
    assert (image.areas.tolist(), image.is_crowd.tolist()) == ([1200, 500.5], [False, True])
    assert (image.category_ids.tolist(), image.read(), image.name) == ([3, 3], b"pixels", "a.jpg")


BROKEN: list[tuple[Any, str]] = [
    ("nonsense", "annotations without an image or a category"),
    ({"image_id": 10, "bbox": [1, 2, 3, 4]}, "annotations without an image or a category"),
    ({**GOOD, "image_id": [10]}, "annotations without an image or a category"),
    ({**GOOD, "image_id": 99}, "annotations of an unknown image"),
    ({**GOOD, "image_id": "10"}, "annotations whose image id is text where the images have numbers"),
    ({**GOOD, "category_id": 99}, "annotations of an unknown category"),
    ({**GOOD, "bbox": None}, "annotations whose box is not four numbers"),
    ({**GOOD, "bbox": [1, 2, 3]}, "annotations whose box is not four numbers"),
    ({**GOOD, "bbox": [1, 2, "3", 4]}, "annotations whose box is not four numbers"),
    ({**GOOD, "bbox": [1, 2, float("nan"), 4]}, "annotations whose box is not four numbers"),
    ({**GOOD, "bbox": [1, 2, 10**400, 4]}, "annotations whose box is not four numbers"),
    ({**GOOD, "bbox": [1, 2, 0, 4]}, "annotations whose box has no area"),
    ({**GOOD, "bbox": [1, 2, 3, -4]}, "annotations whose box has no area"),
]


@pytest.mark.parametrize(("broken", "what"), BROKEN)
def test_a_broken_annotation_is_counted_and_the_rest_is_read(broken: Any, what: str) -> None:
    dataset = parse_coco(document(annotations=[broken, GOOD, broken]), "x.json", {"a.jpg": b""})
    assert dataset.skipped == (f"2 {what}",)
    assert dataset.annotations == 1


OUTSIDE = [([-3, 2, 3, 4], 0), ([2, 20, 3, 4], 0), ([40, 2, 3, 4], 0), ([-2, 2, 3, 4], 1), ([39.5, 19.5, 300, 400], 1)]


@pytest.mark.parametrize(("box", "count"), OUTSIDE)
def test_boxes_outside_the_image_are_skipped_and_partly_outside_ones_are_used(box: list[float], count: int) -> None:
    row = {**GOOD, "bbox": box}
    dataset = parse_coco(document([{**IMAGE, "width": 40, "height": 20}], [row]), "x.json", {"a.jpg": b""})
    assert dataset.annotations == count
    assert dataset.skipped == (() if count else ("1 annotation whose box is outside of the image",))
    assert parse_coco(document(annotations=[row]), "x.json", {"a.jpg": b""}).annotations == 1  # no size is given


@pytest.mark.parametrize("entry", ["a.jpg", {"id": 11}, {"file_name": "b.jpg"}, {"id": None, "file_name": "b.jpg"}])
def test_a_broken_image_entry_is_counted(entry: Any) -> None:
    dataset = parse_coco(document(images=[entry, IMAGE]), "x.json", {"a.jpg": b"", "b.jpg": b""})
    assert (len(dataset.images), dataset.skipped) == (1, ("1 image without an id or a file name",))


@pytest.mark.parametrize("entry", ["cat", {"id": 4}, {"id": "4", "name": "dog"}, {"id": 10**30, "name": "dog"}])
def test_a_broken_category_is_counted(entry: Any) -> None:
    dataset = parse_coco(document(categories=[entry, CAT]), "x.json", {"a.jpg": b""})
    assert [category.name for category in dataset.categories] == ["cat"]
    assert dataset.skipped == ("1 row of `categories` without a number or a name",)


def test_a_missing_image_is_counted_and_its_boxes_are_dropped() -> None:
    images = [IMAGE, {"id": 11, "file_name": "gone.jpg"}]
    dataset = parse_coco(document(images, [GOOD, {**GOOD, "image_id": 11}]), "x.json", {"a.jpg": b""})
    assert (len(dataset.images), dataset.annotations) == (1, 1)
    assert dataset.skipped == ("1 image whose file is missing (first: gone.jpg is not in the 1 image that is loaded)",)


def test_ids_may_be_strings() -> None:
    images = [{"id": "night/01", "file_name": "a.jpg"}, {"id": "night/02", "file_name": "b.jpg"}]
    rows = [{**GOOD, "image_id": "night/02"}]
    dataset = parse_coco(document(images, rows), "x.json", {"a.jpg": b"", "b.jpg": b""})
    assert [image.id for image in dataset.images] == [1, 2]  # pycocotools needs integer ids
    assert [len(image.boxes) for image in dataset.images] == [0, 1]


REFUSED = [
    (b"", "is not valid JSON"),
    (b"\xff\xd8", "is not valid JSON"),
    (b"[" * 100_000, "is not valid JSON"),
    (b"[]", "it needs the lists images, annotations, categories"),
    (b'{"images": [], "annotations": {}, "categories": []}', "it needs the lists"),
    (document(images=[]), "lists 0 images, but no image file is there"),
    (document(), "lists 1 image, but no image file is there. The first, a.jpg is not in the 0 images that are"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_malformed_files_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse_coco(data, "x.json", {})
    assert str(caught.value).startswith("x.json ")
    assert sentence in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("set/beside.jpg", "set/images/inside.jpg", "set/images/val/deep.jpg", "secret.jpg", "other/far.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def read_from(folder: Path, name: object, images: Path | None = None) -> bytes:
    path = folder / "set" / "x.json"
    path.write_bytes(document(images=[{"id": 10, "file_name": name}]))
    return read_coco(path, images).images[0].read()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("beside.jpg", b"set/beside.jpg"),
        ("inside.jpg", b"set/images/inside.jpg"),
        ("val/deep.jpg", b"set/images/val/deep.jpg"),
        ("somewhere/else/inside.jpg", b"set/images/inside.jpg"),
    ],
)
def test_images_are_searched_beside_the_annotation_file(folder: Path, name: str, expected: bytes) -> None:
    assert read_from(folder, name) == expected


def test_an_explicit_image_folder_is_the_only_one_searched(folder: Path) -> None:
    assert read_from(folder, "far.jpg", folder / "other") == b"other/far.jpg"
    with pytest.raises(DatasetError, match="no image file is there"):
        read_from(folder, "beside.jpg", folder / "other")


@pytest.mark.parametrize("name", ["../secret.jpg", "images/../../secret.jpg", "a" * 400 + ".jpg", "a\0.jpg", 5])
def test_names_never_lead_outside_the_folder(folder: Path, name: object) -> None:
    with pytest.raises(DatasetError, match="no image file is there"):
        read_from(folder, name)


def test_absolute_names_are_never_read(folder: Path) -> None:
    with pytest.raises(DatasetError, match="no image file is there"):
        read_from(folder, str(folder / "secret.jpg"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        read_coco(tmp_path / "x.json")
