"""YOLO label files: a line an object, `class x y w h`, centre and size as shares of the image's width and height.

A row of three or more points (`class x1 y1 x2 y2 x3 y3 ...`) is a segment or a turned box: its bounding box is taken,
and its own area. Shares are those of the image as EXIF turns it, as Ultralytics reads it. An empty label file, or none,
is an image without objects. Rows that repeat another are left out, as Ultralytics does. Where the folders are is in
`qviz.datasets.yolo_layout`.

Source: verify_image_label and exif_size in ultralytics/data/utils.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from qviz.datasets.broken import NO_SHARE, OUTSIDE, SHARES, UNKNOWN_CLASS, UNREADABLE, broken_box, sentences
from qviz.datasets.file_tree import FileTree
from qviz.datasets.image_headers import upright_size
from qviz.datasets.labels import MAX_LABELS, label_of
from qviz.datasets.yolo_layout import Config, Layout, label_file, layout_of, layout_without_config
from qviz.errors import DatasetError, ImageError
from qviz.structures import Category, Dataset, DatasetImage

MAX_LABEL_FILE = 4 << 20
MALFORMED = "annotations that are no `class x y w h`"
REPEATED = "annotations that repeat another"
LABELS_TRIED = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One object: (x1, y1, x2, y2) and the area as shares of the image."""

    class_id: int
    box: tuple[float, float, float, float]
    area: float


def read_yolo(tree: FileTree, config: Config | None, files: list[str]) -> Dataset:
    """The images of `val` (else `test`, else `train`) with their labels. Raises DatasetError, LabelsError."""
    layout = layout_of(tree, config) if config is not None else layout_without_config(tree, files)
    skipped: Counter[str] = Counter(layout.skipped)
    images: list[DatasetImage] = []
    labelled = 0
    for path in layout.images:
        label = label_file(tree, path)
        labelled += label is not None
        image = _image(tree, path, label, len(images) + 1, layout, skipped)
        images += [image] if image is not None else []
    if not labelled:
        raise DatasetError(
            f"{tree.name} holds {len(layout.images)} images ({layout.split}) and none of their label files;"
            " images/a.jpg has its labels in labels/a.txt, or a.txt beside it."
        )
    if not images:
        raise DatasetError(f"None of the {len(layout.images)} images ({layout.split}) in {tree.name} can be read.")
    return Dataset(f"{tree.name} ({layout.split})", tuple(images), _categories(layout, images), sentences(skipped))


def parse_row(line: str, keypoints: bool = False) -> Row | None:
    """One line of a label file, or None where it is no such thing; `keypoints` follow a box where rows have them."""
    try:
        class_id, *values = (float(word) for word in line.split())
    except ValueError:
        return None
    if not np.isfinite([class_id, *values]).all() or class_id != int(class_id):
        return None
    if len(values) == 4 or (keypoints and len(values) > 4):
        x, y, width, height = values[:4]
        return Row(int(class_id), (x - width / 2, y - height / 2, x + width / 2, y + height / 2), width * height)
    return _polygon(int(class_id), values) if len(values) >= 6 and len(values) % 2 == 0 else None


def looks_like_labels(tree: FileTree, files: list[str]) -> bool:
    """Some image has a text beside it, or in `labels`, whose first line is a row: no caption, no list."""
    tried = 0
    for path in files:
        label = label_file(tree, path) if path.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".webp")) else None
        if label is None or tried == LABELS_TRIED:
            continue
        tried += 1
        lines = tree.read(label, MAX_LABEL_FILE).decode("utf-8", "replace").split("\n", 1)
        if parse_row(lines[0]) is not None:
            return True
    return False


def _polygon(class_id: int, values: list[float]) -> Row:
    x, y = np.array(values).reshape(-1, 2).T
    box = float(x.min()), float(y.min()), float(x.max()), float(y.max())
    own = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2  # the shoelace formula
    return Row(class_id, box, own or (box[2] - box[0]) * (box[3] - box[1]))


def _image(
    tree: FileTree, path: str, label: str | None, number: int, layout: Layout, skipped: Counter[str]
) -> DatasetImage | None:
    name = PurePosixPath(path).name
    try:
        source = tree.source(path)
        size = upright_size(name, source)
        text = tree.read(label, MAX_LABEL_FILE).decode("utf-8", "replace") if label is not None else ""
    except (ImageError, DatasetError):
        skipped[UNREADABLE] += 1
        return None
    rows = _rows(text, layout, size, skipped)
    boxes = np.array([row.box for row in rows], np.float64).reshape(-1, 4)
    return DatasetImage(
        id=number,
        name=name,
        path=source if isinstance(source, Path) else None,
        data=source if isinstance(source, bytes) else None,
        boxes=boxes * np.array(size * 2),
        category_ids=np.array([row.class_id for row in rows], np.int64),
        is_crowd=np.zeros(len(rows), bool),
        areas=np.array([row.area * size[0] * size[1] for row in rows], np.float64),
        size=size,
    )


def _rows(text: str, layout: Layout, size: tuple[int, int], skipped: Counter[str]) -> list[Row]:
    classes = len(layout.names) or MAX_LABELS
    rows: dict[Row, None] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        row = parse_row(line, layout.keypoints)
        reason = MALFORMED if row is None else _broken(row, classes, size)
        if row is not None and reason is None and row in rows:
            reason = REPEATED
        if reason is not None:
            skipped[reason] += 1
        elif row is not None:
            rows[row] = None
    return list(rows)


def _broken(row: Row, classes: int, size: tuple[int, int]) -> str | None:
    if not 0 <= row.class_id < classes:
        return UNKNOWN_CLASS
    reason = broken_box([share * side for share, side in zip(row.box, size * 2, strict=True)], size)
    if reason in (None, OUTSIDE) and not all(SHARES[0] < share < SHARES[1] for share in row.box):
        return NO_SHARE
    return reason


def _categories(layout: Layout, images: list[DatasetImage]) -> tuple[Category, ...]:
    """The classes by their zero-based ids; without names as many as are seen."""
    seen = max((int(image.category_ids.max(initial=-1)) for image in images), default=-1) + 1
    return tuple(Category(number, label_of(layout.names, number)) for number in range(len(layout.names) or seen))
