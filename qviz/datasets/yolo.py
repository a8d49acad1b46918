"""YOLO datasets as Ultralytics lays them out.

    data.yaml                 path: (optional)   val: images/val   names: ...      val, else test, else train is read
    images/val/a.jpg          the last `images` of the path becomes `labels`, the suffix .txt; else a .txt beside it
    labels/val/a.txt          one object per line: `class x y w h`, centre and size as shares of width and height

`val` is a folder, a .txt list of images, or a list of these. The longest trailing part of a path that exists in the
dataset is used: `../valid/images` (Roboflow) and `/home/me/coco/images/val` of another machine are found. A path that
exists on this machine, but outside of the folder, is refused. Without a data.yaml the images of a folder named val,
valid or test are read, else all images; `classes.txt` or `*.names` has the class names.

A row of three or more points (`class x1 y1 x2 y2 x3 y3 ...`) is a segment or a rotated box: its bounding box and its
own area are used. Shares are those of the image after EXIF orientation, as in Ultralytics. An image with an empty label
file, or without one, has no objects. Repeated rows are dropped, as in Ultralytics.

Source: docs.ultralytics.com/datasets/detect; check_det_dataset, img2label_paths, verify_image_label and exif_size in
ultralytics/data/utils.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from qviz.datasets.box_checks import NO_IMAGE, UNREADABLE
from qviz.datasets.file_tree import FileTree, Folder
from qviz.datasets.files import is_image_name, with_distinct_names
from qviz.datasets.image_paths import ImageIndex
from qviz.datasets.images import upright_size
from qviz.datasets.labels import (
    MAX_BYTES,
    MAX_LABELS,
    has_names,
    label_of,
    labels_by_id,
    parse_labels,
    without_background,
)
from qviz.datasets.object_shapes import ShapeReader
from qviz.datasets.yaml_file import names_of, paths_of, read_top_level
from qviz.datasets.yolo_rows import LabelRows, Row, parse_row, usable_rows
from qviz.errors import DatasetError, ImageError
from qviz.formatting import plural
from qviz.structures import Category, Dataset, DatasetImage

SPLITS = ("val", "test", "train")
SPLIT_FOLDERS = (("val", "valid", "validation", "val2017"), ("test",))
MAX_LABEL_FILE = 4 << 20
MAX_LIST = 64 << 20
MAX_PARTS = 30
MAX_CONFIGS = 50
MAX_LABELS_TRIED = 20


@dataclass(frozen=True, slots=True)
class Config:
    """A data.yaml: its name, its text, and the folder to which its paths are relative."""

    name: str
    text: str
    base: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The images of a split.

    Attributes:
        images: Paths of the images in the folder or archive.
        names: Class names.
        missing: Paths of listed images that do not exist.
        keypoints: Whether rows have keypoints after the box.
        point_size: Count of numbers per keypoint: 2 for x, y, or 3 with its visibility.
    """

    split: str
    images: tuple[str, ...]
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    keypoints: bool = False
    point_size: int = 3


def read_yolo(tree: FileTree, config: Config | None, files: list[str]) -> Dataset:
    """Read the images of `val` (else `test`, else `train`) and their labels. Raises DatasetError, LabelsError."""
    layout = _layout(tree, config) if config is not None else _layout_without_config(tree, files)
    label_rows = LabelRows(len(layout.names) or MAX_LABELS)
    for name in layout.missing:
        label_rows.problems.leave_out(NO_IMAGE, f"{name[:100]} is not in {tree.name}")
    labels = {path: label_file(tree, path) for path in layout.images}
    if without := [path for path, label in labels.items() if label is None]:
        labels |= _labels_of_any_case(files or tree.below(""), without)
    if not any(labels.values()):
        raise DatasetError(
            f"{tree.name} has {plural(len(layout.images), 'image')} ({layout.split}) but no label files for them;"
            " the labels of images/a.jpg are in labels/a.txt, or in a.txt beside it."
        )
    images: list[DatasetImage] = []
    shapes = ShapeReader()
    for path, label in labels.items():
        image = _image(tree, path, label, len(images) + 1, layout, label_rows, shapes)
        images += [image] if image is not None else []
    if not images:
        raise DatasetError(
            f"{tree.name} has {plural(len(layout.images), 'image')} ({layout.split}), none of them readable."
        )
    shapes.doubt(label_rows.problems)
    label_rows.doubt([path for path, label in labels.items() if label is None], len(labels), layout.names)
    annotations = sum(len(image.category_ids) for image in images)
    return Dataset(
        f"{tree.name} ({layout.split})",
        with_distinct_names(images),
        _categories(layout, images),
        label_rows.problems.sentences(),
        label_rows.problems.listed(annotations),
    )


def parse_config(data: bytes, name: str, base: str = "") -> Config | None:
    """The data.yaml in these bytes, or None if they are not one, i.e. lack class names or a split."""
    if len(data) > MAX_BYTES:
        return None
    text = data.decode("utf-8-sig", "replace")
    splits = any(re.search(rf"^{split}[ \t]*:", text, re.MULTILINE) for split in SPLITS)
    return Config(name, text, base) if splits and (has_names(text) or re.search(r"^nc[ \t]*:", text, re.M)) else None


def find_config(tree: FileTree, files: list[str]) -> Config | None:
    """The data.yaml of a folder or archive, the one nearest to its top; None if there is none."""
    named = sorted((path for path in files if path.endswith((".yaml", ".yml"))), key=lambda path: path.count("/"))
    for path in named[:MAX_CONFIGS]:
        config = parse_config(tree.read(path, MAX_BYTES), PurePosixPath(path).name, _parent(path))
        if config is not None:
            return config
    return None


def looks_like_labels(tree: FileTree, files: list[str]) -> bool:
    """Whether the label file of one of the first images begins with a valid row, unlike captions and lists."""
    tried = 0
    for path in files:
        label = label_file(tree, path) if path.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".webp")) else None
        if label is None or tried == MAX_LABELS_TRIED:
            continue
        tried += 1
        lines = tree.read(label, MAX_LABEL_FILE).decode("utf-8", "replace").split("\n", 1)
        if parse_row(lines[0]) is not None:
            return True
    return False


def label_file(tree: _Has, image: str) -> str | None:
    """The label file of an image, or None if it has none."""
    path = PurePosixPath(image).with_suffix(".txt")
    parts = list(path.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parallel = "/".join([*parts[:last], "labels", *parts[last + 1 :]])
        if tree.has(parallel):
            return parallel
    return str(path) if tree.has(str(path)) else None


def _labels_of_any_case(files: list[str], images: Iterable[str]) -> dict[str, str | None]:
    """Image -> its label file or None, ignoring case, e.g. Images/A.JPG -> Labels/a.TXT."""
    by_lower = {path.lower(): path for path in files if path.lower().endswith(".txt")}
    lower = _Names(set(by_lower))
    return {path: by_lower.get(label_file(lower, path.lower()) or "") for path in images}


@dataclass(frozen=True, slots=True)
class _Names:
    """A set of paths that can be queried like a `FileTree`."""

    paths: set[str]

    def has(self, path: str) -> bool:
        return path in self.paths


class _Has(Protocol):
    """A `FileTree`, or a set of paths (`_Names`)."""

    def has(self, path: str) -> bool: ...


def _layout(tree: FileTree, config: Config) -> Layout:
    """The first split of a data.yaml that has images."""
    names, paths, point_size = _parsed(config)
    for split, entries in paths.items():
        resolved = [path for entry in entries if (path := _resolved(tree, config, entry)) is not None]
        images, missing = _listed_images(tree, resolved)
        if images:
            return Layout(split, images, names, missing, "kpt_shape" in config.text, point_size)
    split, entries = next(((split, entries) for split, entries in paths.items() if entries), ("val", []))
    raise DatasetError(
        f"{config.name} has {split}: {', '.join(entries)[:100] or 'nothing'}, but {tree.name} has no images there;"
        " with --dataset-images, give the folder that its paths start from."
    )


def _parsed(config: Config) -> tuple[tuple[str, ...], dict[str, list[str]], int]:
    """(class names, the paths of each split, count of numbers per keypoint)."""
    try:
        nodes = read_top_level(config.text)
        names = names_of(nodes["names"]) if "names" in nodes else []
        root = next(iter(paths_of(nodes.get("path"))), "").replace("\\", "/")
        paths = {split: paths_of(nodes.get(split)) for split in SPLITS}
        point_size = 2 if paths_of(nodes.get("kpt_shape"))[1:] == ["2"] else 3
    except ValueError as error:
        raise DatasetError(f"{config.name} cannot be read: {error}.") from error
    joined = {
        split: [str(PurePosixPath(root, entry.replace("\\", "/"))) for entry in entries]
        for split, entries in paths.items()
    }
    return labels_by_id(names, config.name) if "names" in nodes else (), joined, point_size


def _layout_without_config(tree: FileTree, files: list[str]) -> Layout:
    images = [path for path in files if is_image_name(path)]
    named = next((path for path in files if PurePosixPath(path).name == "classes.txt" or path.endswith(".names")), None)
    names = without_background(parse_labels(tree.read(named, MAX_BYTES), named)) if named is not None else ()
    for split, folders in zip(SPLITS, SPLIT_FOLDERS, strict=False):
        chosen = tuple(path for path in images if set(PurePosixPath(path).parts[:-1]) & set(folders))
        if chosen:
            return Layout(split, chosen, names)
    return Layout("all", tuple(images), names)


def _resolved(tree: FileTree, config: Config, entry: str) -> str | None:
    """The path, in the folder or archive, of a folder or a list that data.yaml names; None if it does not exist."""
    if isinstance(tree, Folder):
        _check_inside(tree, config, entry)
    return next((path for path in _candidates(entry, config.base) if tree.has(path) or tree.below(path)), None)


def _check_inside(tree: Folder, config: Config, entry: str) -> None:
    path = Path(entry)
    try:
        outside = path.is_absolute() and path.exists() and not path.resolve().is_relative_to(tree.top.resolve())
    except (OSError, ValueError):  # not a valid path on this machine
        outside = False
    if outside:
        raise DatasetError(
            f"{config.name} refers to {entry[:200]}, which is outside of the folder {tree.name}; with"
            " --dataset-images, give the folder that it may read."
        )


def _candidates(entry: str, base: str) -> Iterator[str]:
    """Paths that an entry may mean: the whole entry, then without its first part, its first two parts, and so on.

    Each is yielded relative to `base` and then relative to the top.
    """
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")][-MAX_PARTS:]
    if not parts:
        yield base
    for start in range(len(parts)):
        yield from dict.fromkeys(("/".join([base, *parts[start:]]).lstrip("/"), "/".join(parts[start:])))


def _listed_images(tree: FileTree, paths: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the images in these folders and lists, without duplicates; the listed images that do not exist)."""
    images: dict[str, None] = {}
    missing: list[str] = []
    for path in paths:
        if not tree.has(path):
            images |= dict.fromkeys(name for name in tree.below(path) if is_image_name(name))
        elif is_image_name(path):
            images[path] = None
        else:
            lines = tree.read(path, MAX_LIST).decode("utf-8", "replace").splitlines()
            for line, image in _listed(tree, _parent(path), [line.strip() for line in lines if line.strip()]):
                missing += [line] if image is None else []
                images |= {image: None} if image is not None and is_image_name(image) else {}
    return tuple(images), tuple(missing)


def _listed(tree: FileTree, base: str, lines: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """(line, the file that it means or None) for each line; everything is searched if a file is not at its path."""
    index: ImageIndex | None = None
    for line in lines:
        image = next((name for name in _candidates(line, base) if tree.has(name)), None)
        if image is None:
            index = index or ImageIndex(tree.below(""))
            image = index.find(line)
        yield line, image


def _image(
    tree: FileTree,
    path: str,
    label: str | None,
    number: int,
    layout: Layout,
    label_rows: LabelRows,
    shapes: ShapeReader,
) -> DatasetImage | None:
    try:
        source = tree.source(path)
        size = upright_size(path, source)
        text = tree.read(label, MAX_LABEL_FILE).decode("utf-8", "replace") if label is not None else ""
    except (ImageError, DatasetError) as error:
        label_rows.problems.leave_out(UNREADABLE, str(error))
        return None
    rows = usable_rows(text, layout.keypoints, size, label_rows, path)
    boxes = np.array([row.box for row in rows], np.float64).reshape(-1, 4)
    return DatasetImage(
        id=number,
        name=path,
        source=source,
        boxes=boxes * np.array(size * 2),
        category_ids=np.array([row.class_id for row in rows], np.int64),
        is_crowd=np.zeros(len(rows), bool),
        areas=np.array([row.area * size[0] * size[1] for row in rows], np.float64),
        size=size,
        keypoints=shapes.keypoints([_coco_points(row, size, layout) for row in rows], path),
        masks=shapes.masks([_polygons(row, size) for row in rows], size, path),
    )


def _coco_points(row: Row, size: tuple[int, int], layout: Layout) -> list[float] | None:
    """The keypoints after a box, as COCO lists them. Without visibilities, a point at 0, 0 is not labelled."""
    if not row.behind:
        return None
    if len(row.behind) % layout.point_size:
        return []  # not readable
    points = np.array(row.behind).reshape(-1, layout.point_size)
    visibility = points[:, 2:] if layout.point_size == 3 else 2.0 * points.any(axis=1, keepdims=True)
    listed: list[float] = np.hstack([points[:, :2] * size, visibility]).ravel().tolist()
    return listed


def _polygons(row: Row, size: tuple[int, int]) -> list[list[float]] | None:
    if not row.outline:
        return None
    outline: list[float] = (np.array(row.outline).reshape(-1, 2) * size).ravel().tolist()
    return [outline]


def _categories(layout: Layout, images: list[DatasetImage]) -> tuple[Category, ...]:
    """The categories, with zero-based ids; if there are no class names, as many as occur in the annotations."""
    count = len(layout.names) or max((int(image.category_ids.max(initial=-1)) for image in images), default=-1) + 1
    return tuple(Category(number, label_of(layout.names, number)) for number in range(count))


def _parent(path: str) -> str:
    return "/".join(PurePosixPath(path).parts[:-1])
