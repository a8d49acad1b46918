"""Names in annotation files and the files they mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qviz.datasets.annotated import read_dataset
from qviz.datasets.coco import read_coco
from qviz.datasets.files import distinct_names, load_images, parts_of
from qviz.datasets.image_paths import ImageIndex
from qviz.errors import DatasetError
from tests.datasets.layouts import put, voc_object, voc_xml
from tests.datasets.tfrecords import png

FILES = ("images/a.jpg", "images/B.JPG", "images/night/c d.png", "x/s.png", "y/s.png", "train/t.png", "val2017/t.png")

NAMES_AND_FILES = [
    ("images/a.jpg", "images/a.jpg"),
    ("a.jpg", "images/a.jpg"),
    ("images\\a.jpg", "images/a.jpg"),
    ("C:\\data\\train\\a.jpg", "images/a.jpg"),
    ("/home/me/images/a.jpg", "images/a.jpg"),
    ("../images/a.jpg", "images/a.jpg"),
    ("./a.jpg", "images/a.jpg"),
    ("A.JPG", "images/a.jpg"),
    ("b.jpg", "images/B.JPG"),
    ("a.png", "images/a.jpg"),
    ("a", "images/a.jpg"),
    ("c%20d.png", "images/night/c d.png"),
    ("https://example.com/pictures/a.jpg", "images/a.jpg"),
    ("y/s.png", "y/s.png"),
    ("D:\\Y\\S.PNG", "y/s.png"),
    ("s.png", None),
    ("z/s.png", None),
    ("gone.jpg", None),
    ("", None),
    ("..", None),
    ("a.jpg\0", None),
]


@pytest.mark.parametrize(("name", "expected"), NAMES_AND_FILES)
def test_a_name_means_one_file(name: str, expected: str | None) -> None:
    assert ImageIndex(FILES).find(name) == expected


def test_the_folder_of_the_split_is_preferred() -> None:
    assert ImageIndex(FILES, split="instances_val2017").find("t.png") == "val2017/t.png"
    assert ImageIndex(FILES).find("t.png") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a\\b/c.png", ["a", "b", "c.png"]), ("C:\\x.png", ["x.png"]), ("/etc/../x", ["etc", "x"]), ("\0", [])],
)
def test_parts_never_lead_outside(name: str, expected: list[str]) -> None:
    assert parts_of(name) == expected


DISTINCT = [
    (["a/1.png", "a/2.png"], ["1.png", "2.png"]),
    (["camA/1.png", "camB/1.png", "camB/2.png"], ["camA/1.png", "camB/1.png", "2.png"]),
    (["x/a/1.png", "y/a/1.png"], ["x/a/1.png", "y/a/1.png"]),
    (["1.png", "1.png"], ["1.png", "1.png"]),
    (["1.png", "a/1.png"], ["1.png", "a/1.png"]),
    ([], []),
]


@pytest.mark.parametrize(("paths", "expected"), DISTINCT)
def test_names_get_the_folders_that_distinguish_them(paths: list[str], expected: list[str]) -> None:
    assert distinct_names(paths) == expected


def test_images_of_one_name_show_their_folder(tmp_path: Path) -> None:
    for path in ("camA/s.png", "camB/s.png", "camB/t.png"):
        put(tmp_path, path, png())
    assert [image.name for image in load_images([tmp_path])] == ["camA/s.png", "camB/s.png", "t.png"]


def coco(folder: Path, *names: str) -> Path:
    document = {"images": [{"id": i, "file_name": name} for i, name in enumerate(names, start=1)]}
    path = folder / "x.json"
    path.write_text(json.dumps({**document, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}))
    return path


@pytest.mark.parametrize("folder", ["pictures", "."])
@pytest.mark.parametrize(
    "name", ["C:\\train\\s00.png", "pictures\\s00.png", "S00.PNG", "s00.jpg", "s00", "a/b/s00.png"]
)
def test_a_folder_is_searched_with_its_subfolders(tmp_path: Path, folder: str, name: str) -> None:
    put(tmp_path, "pictures/s00.png", png())
    (image,) = read_coco(coco(tmp_path, name), tmp_path / folder).images
    assert (image.name, image.source) == (parts_of(name)[-1], tmp_path / "pictures" / "s00.png")


def test_the_first_missing_file_is_named_with_the_folder_that_was_searched(tmp_path: Path) -> None:
    put(tmp_path, "pictures/a.png", png())
    dataset = read_coco(coco(tmp_path, "a.png", "gone/b.png", "c.png"), tmp_path / "pictures")
    first = f"gone/b.png is not in the folder {tmp_path / 'pictures'}"
    assert dataset.skipped == (f"2 images whose file is missing (first: {first})",)
    with pytest.raises(DatasetError) as caught:
        read_coco(coco(tmp_path, "gone/b.png", "c.png"), tmp_path / "pictures")
    assert str(caught.value) == (
        f"x.json lists 2 images, but no image file is there. The first, {first}, which has 1 image such as a.png; check"
        " the names in the file, or give another folder with --dataset-images."
    )


def test_a_name_in_several_folders_is_not_guessed(tmp_path: Path) -> None:
    for path in ("a/s.png", "b/s.png", "t.png"):
        put(tmp_path, path, png())
    (problem,) = read_coco(coco(tmp_path, "s.png", "t.png"), tmp_path).problems
    assert problem.examples == (f"s.png is in 2 folders of the folder {tmp_path}: a and b",)


def test_a_yolo_list_and_a_voc_name_are_read_in_another_case(tmp_path: Path) -> None:
    put(tmp_path, "yolo/data.yaml", "val: list.txt\nnames: [cat]\n")
    put(tmp_path, "yolo/list.txt", "D:\\data\\IMAGES\\A.JPG\n")
    put(tmp_path, "yolo/Images/a.png", png())
    put(tmp_path, "yolo/Labels/a.TXT", "0 0.5 0.5 0.5 0.5")
    (image,) = read_dataset(tmp_path / "yolo").images
    assert (image.name, len(image.boxes)) == ("a.png", 1)
    put(tmp_path, "voc/Annotations/B.XML", voc_xml(voc_object(1, 1, 9, 9), "b.png"))
    put(tmp_path, "voc/JPEGImages/b.PNG", png())
    (image,) = read_dataset(tmp_path / "voc").images
    assert (image.name, len(image.boxes)) == ("b.PNG", 1)


def test_without_a_folder_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is not in the folder .*; give their folder with --dataset-images\.$"):
        read_coco(coco(tmp_path, "gone/b.png"))
