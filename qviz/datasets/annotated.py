"""Read annotated images in any supported format, recognised by content: COCO JSON, YOLO, Pascal VOC or TFRecord.

A path names a COCO file, a TFRecord file, a YOLO data.yaml, a folder, or a zip archive of such a folder. In a folder,
the first format that exists is used: a data.yaml, COCO JSON, VOC XML files, YOLO label files without a data.yaml.

The label map of a TFRecord file is the `*label*.pbtxt` beside it or in the folder of the images, if there is exactly
one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from qviz.datasets.coco import find_coco, parse_coco, read_coco, read_coco_tree
from qviz.datasets.file_tree import Archive, FileTree, Folder
from qviz.datasets.labels import MAX_BYTES, read_labels, without_background
from qviz.datasets.tfrecord import HEADER, is_tfrecord, parse_tfrecord, read_tfrecord
from qviz.datasets.voc import looks_like_voc, read_voc
from qviz.datasets.yolo import find_config, looks_like_labels, parse_config, read_yolo
from qviz.errors import DatasetError
from qviz.structures import Dataset

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
FORMATS = (
    "COCO annotations (JSON), a YOLO data.yaml, a TFRecord file, or a folder or zip archive in COCO, YOLO or VOC layout"
)


def read_dataset(path: Path, folder: Path | None = None) -> Dataset:
    """Read a dataset.

    Args:
        path: An annotation file, a folder or a zip archive.
        folder: The folder of a COCO file's images, or the one to which the paths in a data.yaml are relative; by
            default the folder of the file.

    Raises:
        DatasetError: The dataset cannot be read.
        LabelsError: Its class names cannot be read.
    """
    if path.is_dir():
        return _whole(Folder(path), folder)
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; give {FORMATS}.")
    with path.open("rb") as stream:
        head = stream.read(HEADER)
    _check_gzip(head, path.name)
    if head.startswith(ZIP) or path.suffix.lower() == ".zip":
        return _read_archive(path, folder)
    if path.suffix.lower() in (".yaml", ".yml"):
        return _read_yaml(path, folder)
    if is_tfrecord(head):
        return read_tfrecord(path, _labels_beside(path, folder))
    return read_coco(path, folder)


def parse_dataset(data: bytes, name: str, files: Mapping[str, Path | bytes], labels: tuple[str, ...] = ()) -> Dataset:
    """The dataset in an uploaded annotation file. Raises DatasetError.

    Args:
        files: File name -> image, for a COCO file.
        labels: Class names, for a TFRecord file.
    """
    _check_gzip(data, name)
    if is_tfrecord(data):
        return parse_tfrecord(data, name, without_background(labels))
    return parse_coco(data, name, files)


def unpack_dataset(data: bytes, name: str) -> Dataset | None:
    """The dataset in a zip archive, or None if it has no annotations. Raises DatasetError, LabelsError."""
    archive = Archive(name, data)
    try:
        read = _reader(archive)
        return read() if read is not None else None
    finally:
        archive.close()


def is_annotation(data: bytes) -> bool:
    """Whether the bytes look like an annotation file (TFRecord or COCO) rather than a JSON file of class names."""
    return is_tfrecord(data) or (data.lstrip()[:1] == b"{" and b'"annotations"' in data)


def _reader(tree: FileTree) -> Callable[[], Dataset] | None:
    """A function that reads the dataset in a folder or archive, or None if no format is recognised."""
    files = tree.below("")
    config = find_config(tree, files)
    if config is not None:
        return lambda: read_yolo(tree, config, files)
    coco = find_coco(tree, files)
    if coco is not None:
        return lambda: read_coco_tree(tree, coco, files)
    if looks_like_voc(tree, files):
        return lambda: read_voc(tree, files)
    return (lambda: read_yolo(tree, None, files)) if looks_like_labels(tree, files) else None


def _whole(tree: FileTree, folder: Path | None) -> Dataset:
    if folder is not None:
        raise DatasetError(f"{tree.name} has its own images; omit --dataset-images, or give its annotation file.")
    read = _reader(tree)
    if read is None:
        raise DatasetError(f"{tree.name} has no annotations in a known format; give {FORMATS}.")
    return read()


def _read_archive(path: Path, folder: Path | None) -> Dataset:
    archive = Archive(path.name, path)
    try:
        return _whole(archive, folder)
    finally:
        archive.close()


def _read_yaml(path: Path, folder: Path | None) -> Dataset:
    with path.open("rb") as stream:
        config = parse_config(stream.read(MAX_BYTES + 1), path.name)
    if config is None:
        raise DatasetError(
            f"{path.name} is not a YOLO data.yaml: it needs `names:` and one of `val:`, `test:`, `train:`."
        )
    return read_yolo(Folder(folder if folder is not None else path.parent), config, [])


def _check_gzip(head: bytes, name: str) -> None:
    if head[:2] == GZIP:
        raise DatasetError(f"{name} is compressed with gzip; unpack it first: gunzip -S '' {name}")


def _labels_beside(path: Path, folder: Path | None) -> tuple[str, ...]:
    folders = [path.parent, *([folder] if folder is not None else [])]
    label_maps = {label_map for parent in folders for label_map in parent.glob("*label*.pbtxt")}
    return read_labels(label_maps.pop()) if len(label_maps) == 1 else ()
