"""Datasets in zip archives equal their folders; paths outside and excessive sizes are refused."""

from __future__ import annotations

import io
import json
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qviz.datasets.annotated import read_dataset, unpack_dataset
from qviz.datasets.coco import read_coco
from qviz.datasets.file_tree import Archive
from qviz.errors import DatasetError, QvizError
from tests.conftest import Sample
from tests.datasets.layouts import packed, put, voc_object, voc_xml, write_voc, write_yolo, zipped
from tests.datasets.test_yolo import NAMES, ROW, assert_same_truths
from tests.datasets.tfrecords import png

YOLO: dict[str, str | bytes] = {
    "data.yaml": f"val: images/val\n{NAMES}",
    "images/val/a.png": png(),
    "labels/val/a.txt": ROW,
}


def coco(*names: str) -> str:
    images = [{"id": i, "file_name": name, "width": 40, "height": 20} for i, name in enumerate(names)]
    rows = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4]} for i in range(len(names))]
    return json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]})


@pytest.mark.parametrize("below", ["", "some/folder/"])
@pytest.mark.parametrize("layout", ["yolo", "voc"])
def test_the_sample_in_an_archive_is_the_sample(sample: Sample, tmp_path: Path, layout: str, below: str) -> None:
    expected = read_coco(sample.annotations, sample.images)
    write_yolo(tmp_path, expected) if layout == "yolo" else write_voc(tmp_path, expected)
    dataset = unpack_dataset(zipped(tmp_path, below), "x.zip")
    assert dataset is not None
    assert (dataset.name, dataset.skipped) == ("x.zip (val)", ())
    assert_same_truths(dataset, expected)


def test_the_sample_as_coco_in_an_archive(sample: Sample, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"sample/images/{path.name}": path.read_bytes() for path in sample.images.iterdir()
    }
    archive = put(tmp_path, "x.zip", packed({**files, "sample/annotations.json": sample.annotations.read_bytes()}))
    dataset = read_dataset(archive)
    assert dataset.name == "x.zip: sample/annotations.json"
    assert_same_truths(dataset, read_coco(sample.annotations, sample.images))
    assert all(isinstance(image.source, bytes) for image in dataset.images)


PLACES = [
    ("annotations.json", "a.png", "a.png"),
    ("annotations.json", "a.png", "images/a.png"),
    ("valid/_annotations.coco.json", "a.png", "valid/a.png"),
    ("annotations/instances_val2017.json", "a.png", "val2017/a.png"),
    ("annotations/instances_val2017.json", "a.png", "images/val2017/a.png"),
    ("annotations/x.json", "val2017/a.png", "coco/val2017/a.png"),
    ("annotations/x.json", "a.png", "pictures/of/cats/a.png"),
]


@pytest.mark.parametrize(("annotations", "file_name", "image_path"), PLACES)
def test_images_of_a_coco_file_in_any_folder(annotations: str, file_name: str, image_path: str) -> None:
    dataset = unpack_dataset(packed({annotations: coco(file_name), image_path: b"right", "notes.txt": b""}), "x.zip")
    assert dataset is not None
    assert [image.read() for image in dataset.images] == [b"right"]


def test_an_ambiguous_image_name_counts_as_missing() -> None:
    files = {"annotations/x.json": coco("a.png", "b.png"), "1/a.png": b"1", "2/a.png": b"2", "2/b.png": b"3"}
    dataset = unpack_dataset(packed(files), "x.zip")
    assert dataset is not None
    assert [image.name for image in dataset.images] == ["b.png"]
    assert dataset.skipped == ("1 image whose file is missing (first: a.png is in 2 folders of x.zip: 1 and 2)",)


def test_the_validation_annotations_are_read_if_there_are_several_files() -> None:
    files = {
        f"annotations/{name}.json": coco(f"{name}.png")
        for name in ("instances_train", "instances_val", "person_keypoints_val")
    }
    files |= {f"{name}.png": b"" for name in ("instances_train", "instances_val")}
    files["annotations/captions_val.json"] = '{"images": [], "annotations": []}'
    dataset = unpack_dataset(packed(files), "x.zip")
    assert dataset is not None
    assert dataset.name == "x.zip: annotations/instances_val.json"
    two = packed({"a.json": coco("a.png"), "b.json": coco("a.png"), "a.png": b""})
    with pytest.raises(DatasetError, match=r"x.zip has 2 annotation files \(a.json, b.json, ...\); give one of them"):
        unpack_dataset(two, "x.zip")


def test_a_folder_with_a_coco_file(tmp_path: Path) -> None:
    put(tmp_path, "annotations/instances_val2017.json", coco("a.png"))
    put(tmp_path, "val2017/a.png", png())
    assert read_dataset(tmp_path).images[0].source == tmp_path / "val2017/a.png"


NO_DATASETS: list[dict[str, str | bytes]] = [
    {"a.png": png(), "b.jpg": b""},
    {"a.png": png(), "a.txt": "a caption", "labels.txt": "cat\ndog"},
    {"a.png": png(), "settings.json": "{}", "labels.json": '["cat"]', "page.xml": "<html/>", "x.yaml": "a: 1"},
]


@pytest.mark.parametrize("files", NO_DATASETS)
def test_an_archive_of_images_only_is_not_a_dataset(files: dict[str, str | bytes], tmp_path: Path) -> None:
    assert unpack_dataset(packed(files), "x.zip") is None
    with pytest.raises(DatasetError, match=r"x.zip has no annotations in a known format; give COCO annotations"):
        read_dataset(put(tmp_path, "x.zip", packed(files)))


def test_a_folder_of_images_beside_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has its own images; omit --dataset-images"):
        read_dataset(put(tmp_path, "x.zip", packed(YOLO)), tmp_path)


OUTSIDE = [
    "../images/val/b.png",
    "/images/val/b.png",
    "images/../../val/b.png",
    "C:/images/val/b.png",
    "..\\images\\b.png",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_entries_outside_the_archive_are_ignored(name: str) -> None:
    archive = Archive("x.zip", packed({**YOLO, name: png()}))
    assert archive.below("") == sorted(YOLO)
    assert not archive.has(name)


def test_paths_in_an_archive_never_read_local_files(tmp_path: Path) -> None:
    secret = put(tmp_path, "secret.png", png())
    listed = {**YOLO, "data.yaml": f"val: list.txt\n{NAMES}", "list.txt": f"{secret}\nimages/val/a.png\n"}
    dataset = unpack_dataset(packed(listed), "x.zip")
    assert dataset is not None
    assert dataset.skipped == (f"1 image whose file is missing (first: {str(secret)[:100]} is not in x.zip)",)
    with pytest.raises(DatasetError, match=r"but x\.zip"):
        unpack_dataset(packed({**YOLO, "data.yaml": f"val: {tmp_path}\n{NAMES}"}), "x.zip")
    with pytest.raises(DatasetError, match="no image file is there"):
        unpack_dataset(packed({"a.json": coco(str(secret), "../secret.png")}), "x.zip")


def test_symbolic_links_are_ignored() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in YOLO.items():
            archive.writestr(name, content)
        link = zipfile.ZipInfo("images/val/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    dataset = unpack_dataset(buffer.getvalue(), "x.zip")
    assert dataset is not None
    assert [image.name for image in dataset.images] == ["a.png"]


def test_windows_separators_and_unicode_names() -> None:
    files: dict[str, str | bytes] = {
        "data.yaml": "val: images\nnames: [猫]\n",
        "images\\ä 猫.png": png(),
        "labels\\ä 猫.txt": "0 .5 .5 1 1",
    }
    dataset = unpack_dataset(packed({**files, "__MACOSX/images/._x.png": b"", "images/.hidden.png": b""}), "x.zip")
    assert dataset is not None
    assert [(image.name, len(image.boxes)) for image in dataset.images] == [("ä 猫.png", 1)]


def archive_claiming_size(size: int) -> bytes:
    """An archive whose first file claims another size."""
    data = bytearray(packed(YOLO))
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = size.to_bytes(4, "little")
    return bytes(data)


BOMBS = [
    (archive_claiming_size(0xFFFFFFF0), "would unpack to 3 files and 4096 MB"),
    (packed({**YOLO, "images/val/b.bmp": bytes(80 << 20)}), "times its size, which no real dataset does"),
    (packed(YOLO)[:-30], "is a damaged or password-protected zip archive"),
    (b"PK\x03\x04 and nothing", "is a damaged or password-protected zip archive"),
    (b"", "is a damaged or password-protected zip archive"),
]


@pytest.mark.parametrize(("data", "sentence"), BOMBS)
def test_zip_bombs_and_damaged_archives_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        unpack_dataset(data, "x.zip")


def test_an_archive_of_too_many_files(limited: Callable[[str], None]) -> None:
    limited("archive_files = 2")
    with pytest.raises(DatasetError, match=r"would unpack to 3 files and 0 MB; the limit is 2 files"):
        unpack_dataset(packed(YOLO), "x.zip")


def test_extremely_deep_folders_are_ignored() -> None:
    archive = Archive("x.zip", packed({**YOLO, "a/" * 20_000 + "b.png": png()}))
    assert archive.below("") == sorted(YOLO)


def test_a_flipped_bit_gives_a_dataset_or_a_short_error() -> None:
    voc: dict[str, str | bytes] = {"b/b.xml": voc_xml(voc_object(1, 1, 9, 9)), "b/b.png": png()}
    rng = random.Random(0)
    for whole in (packed(YOLO), packed(voc), packed({"x.json": coco("a.png"), "a.png": png()})):
        for _ in range(150):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
            try:
                unpack_dataset(bytes(damaged), "x.zip")
            except QvizError as error:
                assert len(str(error)) < 400
