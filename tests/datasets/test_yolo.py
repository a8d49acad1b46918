"""YOLO folders: rows, layouts, and what is broken in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qviz.datasets.annotated import read_dataset
from qviz.datasets.coco import read_coco
from qviz.datasets.yolo_rows import parse_row
from qviz.errors import DatasetError, LabelsError
from qviz.structures import Dataset
from tests.conftest import Sample
from tests.datasets.layouts import put, write_yolo
from tests.datasets.tfrecords import png

NAMES = "names: [cat, dog]\n"
ROW = "1 0.5 0.5 0.5 0.5"  # of 40 x 20 pixels: 10, 5, 30, 15


def test_the_sample_as_yolo_has_the_same_boxes(sample: Sample, tmp_path: Path) -> None:
    coco = read_coco(sample.annotations, sample.images)
    config = write_yolo(tmp_path, coco)
    for path in (config, tmp_path):
        yolo = read_dataset(path)
        assert (yolo.name, yolo.skipped, yolo.annotations) == (f"{tmp_path.name} (val)", (), coco.annotations)
        assert_same_truths(yolo, coco)


def assert_same_truths(dataset: Dataset, expected: Dataset) -> None:
    names = [{category.id: category.name for category in item.categories} for item in (dataset, expected)]
    by_name = {image.name: image for image in dataset.images}
    assert by_name.keys() == {image.name for image in expected.images}
    for image in expected.images:
        other = by_name[image.name]
        np.testing.assert_allclose(other.boxes, image.boxes, atol=0.5)
        assert [names[0][c] for c in other.category_ids] == [names[1][c] for c in image.category_ids]
        assert other.size == image.size
        assert other.read() == image.read()


ROWS = [
    ("3 0.5 0.5 0.2 0.4", (3, (0.4, 0.3, 0.6, 0.7), 0.08)),
    ("3.0 0.5 0.5 0.2 0.4\r", (3, (0.4, 0.3, 0.6, 0.7), 0.08)),
    ("0 0 0 1 0 0 1", (0, (0, 0, 1, 1), 0.5)),  # a triangle
    ("0 0.1 0.1 0.9 0.1 0.9 0.5 0.1 0.5", (0, (0.1, 0.1, 0.9, 0.5), 0.32)),  # the corners of a turned box
]


@pytest.mark.parametrize(("line", "expected"), ROWS)
def test_a_row_becomes_a_box(line: str, expected: tuple[int, tuple[float, ...], float]) -> None:
    row = parse_row(line)
    assert row is not None
    assert (row.class_id, row.box, row.area) == (expected[0], pytest.approx(expected[1]), pytest.approx(expected[2]))


def test_a_segment_without_area_has_the_area_of_its_box() -> None:
    row = parse_row("0 0 0 1 1 1 0 0 1")
    assert row is not None
    assert row.area == 1


NO_ROWS = [
    "",
    "0",
    "0 1 2 3",
    "0 1 2 3 4 5",
    "0 1 2 3 4 5 6 7",
    "cat 1 1 1 1",
    "0.5 1 1 1 1",
    "0 nan 1 1 1",
    "0 1 1 1 inf",
]


@pytest.mark.parametrize("line", NO_ROWS)
def test_malformed_rows_are_rejected(line: str) -> None:
    assert parse_row(line) is None


def test_keypoints_after_a_box_are_ignored() -> None:
    row = parse_row("0 0.5 0.5 1 1 0.1 0.1 2 0.3 0.3 2", keypoints=True)
    assert row is not None
    assert row.box == (0, 0, 1, 1)


def folder(top: Path, config: str, labels: str = ROW) -> Path:
    put(top, "images/val/a.png", png())
    put(top, "labels/val/a.txt", labels)
    return put(top, "data.yaml", config)


BROKEN = [
    ("nonsense", "annotations whose row is not `class x y w h`"),
    ("1 nan 0.5 0.5 0.5", "annotations whose row is not `class x y w h`"),
    ("1 " + "9" * 5000 + " 0.5 0.5 0.5", "annotations whose row is not `class x y w h`"),
    ("2 0.5 0.5 0.5 0.5", "annotations of an unknown category"),
    ("-1 0.5 0.5 0.5 0.5", "annotations of an unknown category"),
    ("1e300 0.5 0.5 0.5 0.5", "annotations of an unknown category"),
    ("1 0.5 0.5 0 0.5", "annotations whose box has no area"),
    ("1 0.5 0.5 0.5 -0.5", "annotations whose box has no area"),
    ("1 1.3 0.5 0.2 0.2", "annotations whose box is outside of the image"),
    ("1 200 100 40 40", "annotations whose box is not given as shares of the image (0..1)"),
    ("1 1e13 0.5 0.5 0.5", "annotations whose box is not four numbers"),
    (ROW, "annotations whose row is repeated"),
]


@pytest.mark.parametrize(("broken", "what"), BROKEN)
def test_a_broken_row_is_counted_and_the_rest_is_read(tmp_path: Path, broken: str, what: str) -> None:
    dataset = read_dataset(folder(tmp_path, f"val: images/val\n{NAMES}", f"{ROW}\n{broken}\n\n{broken}\n"))
    assert dataset.skipped == (f"2 {what}",)
    assert dataset.images[0].boxes.tolist() == [[10, 5, 30, 15]]
    assert dataset.images[0].category_ids.tolist() == [1]


def test_a_box_partly_outside_is_not_clipped(tmp_path: Path) -> None:
    dataset = read_dataset(folder(tmp_path, f"val: images/val\n{NAMES}", "0 0 0 0.5 0.5"))
    assert (dataset.images[0].boxes.tolist(), dataset.skipped) == ([[-10, -5, 10, 5]], ())


def test_images_without_objects_and_unreadable_images(tmp_path: Path) -> None:
    config = folder(tmp_path, f"val: images/val\n{NAMES}")
    put(tmp_path, "images/val/empty.png", png(30))
    put(tmp_path, "labels/val/empty.txt", "")
    put(tmp_path, "images/val/unlabelled.png", png(31))
    put(tmp_path, "images/val/damaged.png", b"\x89PNG nothing")
    dataset = read_dataset(config)
    assert [(image.name, len(image.boxes)) for image in dataset.images] == [
        ("a.png", 1),
        ("empty.png", 0),
        ("unlabelled.png", 0),
    ]
    assert dataset.skipped == ("1 image whose file cannot be read",)


def test_relative_coordinates_refer_to_the_rotated_image(tmp_path: Path) -> None:
    config = folder(tmp_path, f"val: images/val\n{NAMES}")
    put(tmp_path, "images/val/a.png", png(40, 20, orientation=6))
    (image,) = read_dataset(config).images
    assert (image.size, image.boxes.tolist()) == ((20, 40), [[5, 10, 15, 30]])


CONFIGS = [
    f"val: images/val\n{NAMES}",
    f"path: .\nval: images/val  # of COCO\n{NAMES}",
    f"path: ../datasets/coco8\nval: images/val\n{NAMES}",
    f"train: ../train/images\nval: ../images/val\n{NAMES}",
    f"path: /nowhere/on/this/machine\nval: images/val\n{NAMES}",
    f"val: /nowhere/on/this/machine/images/val\n{NAMES}",
    f"val: C:\\data\\images\\val\n{NAMES}",
    f"val: [images/none, 'images/val']\n{NAMES}",
    f"val:\n  - images/val\n  - images/val\ntrain: images/train\n{NAMES}",
    f"val: &x images/val\ntest: *x\n{NAMES}",
    f"val: list.txt\n{NAMES}",
    f"test: images/val\n{NAMES}",
    f"train: images/val\nval: # none\ntest: null\n{NAMES}",
    "val: images/val\nnc: 2\n",
]


@pytest.mark.parametrize("config", CONFIGS)
def test_image_folders_of_every_layout(tmp_path: Path, config: str) -> None:
    put(tmp_path, "list.txt", "./images/val/a.png\n/nowhere/images/val/a.png\n")
    dataset = read_dataset(folder(tmp_path, config))
    assert [(image.name, image.category_ids.tolist()) for image in dataset.images] == [("a.png", [1])]
    assert dataset.skipped == ()


def test_val_comes_before_test_before_train(tmp_path: Path) -> None:
    config = folder(tmp_path, f"train: images/train\nval: images/val\ntest: images/test\n{NAMES}")
    put(tmp_path, "images/test/b.png", png(30))
    put(tmp_path, "images/train/c.png", png(31))
    assert [image.name for image in read_dataset(config).images] == ["a.png"]
    (tmp_path / "images/val/a.png").unlink()
    put(tmp_path, "labels/test/b.txt", ROW)
    assert read_dataset(config).name == f"{tmp_path.name} (test)"


def test_missing_images_of_a_list_are_counted(tmp_path: Path) -> None:
    config = folder(tmp_path, f"val: list.txt\n{NAMES}")
    put(
        tmp_path,
        "list.txt",
        "images/val/a.png\nimages/val/gone.png\n\n../../../etc/passwd\n/etc/passwd\n\0\n" + "x" * 9999,
    )
    dataset = read_dataset(config)
    assert (len(dataset.images), dataset.skipped) == (
        1,
        (f"5 images whose file is missing (first: images/val/gone.png is not in {tmp_path.name})",),
    )


@pytest.mark.parametrize("lone", ["flat", "labels", "split"])
def test_without_a_config(tmp_path: Path, lone: str) -> None:
    image, label = {
        "flat": ("a.png", "a.txt"),
        "labels": ("images/a.png", "labels/a.txt"),
        "split": ("valid/images/a.png", "valid/labels/a.txt"),
    }[lone]
    put(tmp_path, image, png())
    put(tmp_path, label, ROW)
    put(tmp_path, "train/images/other.png" if lone == "split" else "notes.md", png(30))
    put(tmp_path, "classes.txt", "cat\nhünd\n")
    dataset = read_dataset(tmp_path)
    assert [category.name for category in dataset.categories] == ["cat", "hünd"]
    assert [(image.name, image.category_ids.tolist()) for image in dataset.images] == [("a.png", [1])]


def test_text_files_beside_images_are_not_labels(tmp_path: Path) -> None:
    put(tmp_path, "a.png", png())
    put(tmp_path, "a.txt", "a photograph of a cat")
    with pytest.raises(DatasetError, match="has no annotations in a known format; give COCO annotations"):
        read_dataset(tmp_path)


def test_unicode_and_classes_without_a_name(tmp_path: Path) -> None:
    put(tmp_path, "images/val/猫 ä.png", png())
    put(tmp_path, "labels/val/猫 ä.txt", "2 .5 .5 .5 .5")
    dataset = read_dataset(folder(tmp_path, "val: images/val\nnames: {0: 猫, 2: '🐕'}\n", ""))
    assert [category.name for category in dataset.categories] == ["猫", "class 1", "🐕"]
    assert {image.name: image.category_ids.tolist() for image in dataset.images} == {"a.png": [], "猫 ä.png": [2]}


def test_dataset_images_option_replaces_the_configured_folder(tmp_path: Path) -> None:
    config = put(tmp_path / "configs", "coco8.yaml", f"path: coco8\nval: images/val\n{NAMES}")
    folder(tmp_path / "coco8", "")
    with pytest.raises(DatasetError, match=r"coco8.yaml has val: coco8/images/val, but .* with --dataset-images"):
        read_dataset(config)
    assert read_dataset(config, tmp_path / "coco8").annotations == 1


@pytest.mark.parametrize("line_template", ["val: {}", "path: {}\nval: images/val", "val: [{}]"])
def test_a_path_outside_of_the_folder_is_refused(tmp_path: Path, line_template: str) -> None:
    secret = tmp_path / "secret"
    put(secret, "images/val/a.png", png())
    put(secret, "labels/val/a.txt", ROW)
    outside = secret if line_template.startswith("path") else secret / "images/val"
    config = put(tmp_path / "set", "data.yaml", f"{line_template.format(outside)}\n{NAMES}")
    with pytest.raises(
        DatasetError, match="outside of the folder set; with --dataset-images, give the folder that it may read"
    ):
        read_dataset(config)


def test_absolute_paths_inside_the_folder_are_allowed(tmp_path: Path) -> None:
    assert read_dataset(folder(tmp_path, f"path: {tmp_path}\nval: images/val\n{NAMES}")).annotations == 1


def test_link_loops_end(tmp_path: Path) -> None:
    folder(tmp_path / "stored", "")
    top = tmp_path / "set"
    config = put(top, "data.yaml", f"val: images\n{NAMES}")
    (top / "images").symlink_to(tmp_path / "stored" / "images" / "val")
    (top / "labels").symlink_to(tmp_path / "stored" / "labels" / "val")
    (tmp_path / "stored" / "images" / "val" / "loop").symlink_to(top)
    assert read_dataset(config).annotations == 1


REFUSED = [
    (
        "names: !!python/object/apply:os.system ['touch hacked']\nval: images/val\n",
        DatasetError,
        "has the tag 'tag:yaml.org,2002:python/object",
    ),
    (f"val: !!python/name:os.system\n{NAMES}", DatasetError, "has the tag 'tag:yaml.org,2002:python/name"),
    (f"val: *x\n{NAMES}", DatasetError, "line 1: found undefined alias"),
    (f"val: [images/val\n{NAMES}", DatasetError, "line 2: did not find expected"),
    (f"val: images/none\n{NAMES}", DatasetError, "has val: images/none, but"),
    (f"val: ../../../../etc\n{NAMES}", DatasetError, "has no images there"),
    ("val: images/val\n", DatasetError, "is not a YOLO data.yaml: it needs `names:`"),
    (NAMES, DatasetError, "is not a YOLO data.yaml"),
    ("val: images/val\nnames: {99999999: cat}\n", LabelsError, "has the class id 99999999"),
]


@pytest.mark.parametrize(("config", "error", "sentence"), REFUSED)
def test_malformed_configurations_are_refused(
    tmp_path: Path, config: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        read_dataset(folder(tmp_path, config))
    assert sentence in str(caught.value)
    assert not list(tmp_path.rglob("hacked"))


def test_images_without_any_label_file_are_refused(tmp_path: Path) -> None:
    config = folder(tmp_path, f"val: images/val\n{NAMES}")
    (tmp_path / "labels/val/a.txt").unlink()
    with pytest.raises(DatasetError, match=r"has 1 image \(val\) but no label files for them"):
        read_dataset(config)
