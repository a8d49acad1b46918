"""COCO instances JSON: images, annotations (bbox x, y, w, h in pixels) and categories.

Boxes lie in the pixels that an image's width and height say: COCO's own were drawn without EXIF orientation.

What is broken is left out with a sentence, and the rest is read: an image without its file, a box that is no box or
lies outside of its image, an unknown category or image.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from qviz.datasets.broken import (
    MAX_NUMBER,
    NO_IMAGE,
    NO_NUMBERS,
    UNKNOWN_CLASS,
    broken_box,
    sentences,
)
from qviz.errors import DatasetError
from qviz.limits import limits
from qviz.structures import Category, Dataset, DatasetImage

MAX_SIDE = 1 << 20

FindImage = Callable[[str], Path | bytes | None]
"""The image of a file name in the annotations, or None."""


def read_coco(path: Path, folder: Path | None = None) -> Dataset:
    """A COCO file with its images in `folder` (else beside it, or in `images/` beside it). Raises DatasetError."""
    if not path.is_file():
        raise DatasetError(f"{path} is not there; give a COCO annotation file (JSON).")
    folders = [folder] if folder is not None else [path.parent, path.parent / "images"]
    return coco_dataset(path.read_bytes(), path.name, lambda name: _find(folders, name))


def _find(folders: list[Path], name: str) -> Path | None:
    """The image below one of the folders, by its path there or by its bare name; never outside them."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        return None
    candidates = (folder / part for folder in folders for part in (name, pure.name))
    try:
        return next((path for path in candidates if path.is_file()), None)
    except OSError:  # a name longer than the file system allows
        return None


def parse_coco(data: bytes, name: str, files: Mapping[str, Path | bytes]) -> Dataset:
    """A COCO file whose images are given by file name (the path in the file, or its last part). Raises DatasetError."""
    return coco_dataset(data, name, lambda said: files.get(said, files.get(PurePosixPath(said).name)))


def coco_dataset(data: bytes, name: str, find: FindImage) -> Dataset:
    """A COCO file whose images are looked for by their names in it. Raises DatasetError."""
    content = _parsed(data, name)
    categories = tuple(Category(int(c["id"]), str(c["name"])) for c in content["categories"])
    skipped: Counter[str] = Counter(content["skipped"])
    by_image = _boxes_by_image(content, {category.id for category in categories}, skipped)
    images: list[DatasetImage] = []
    for entry in content["images"]:
        source = find(str(entry["file_name"]))
        if source is None:
            skipped[NO_IMAGE] += 1
        else:
            images.append(_image(len(images) + 1, entry, source, by_image.get(entry["id"], [])))
    if not images:
        raise DatasetError(
            f"{name} names {len(content['images'])} images and none of them is there; give their folder with --images."
        )
    return Dataset(name, tuple(images), categories, sentences(skipped))


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > (most := limits().annotations_mb) << 20:
        raise DatasetError(f"{name} has {len(data) >> 20} MB; annotation files of up to {most} are read.")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{name} is no valid JSON ({error}).") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise DatasetError(f"{name} is no COCO annotation file: it needs lists named images, annotations, categories.")
    images = [i for i in content["images"] if _has(i, "id", "file_name")]
    categories = [c for c in content["categories"] if _has(c, "id", "name") and _is_id(c["id"])]
    skipped = {
        "images without an id or a file name": len(content["images"]) - len(images),
        "categories without a number or a name": len(content["categories"]) - len(categories),
    }
    return {
        "images": images,
        "categories": categories,
        "annotations": content["annotations"],
        "skipped": {what: count for what, count in skipped.items() if count},
    }


def _has(entry: Any, *names: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(name), (str, int)) for name in names)


def _boxes_by_image(content: dict[str, Any], known: set[int], skipped: Counter[str]) -> dict[Any, list[dict[str, Any]]]:
    images = {image["id"]: _size(image) for image in content["images"]}
    rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for entry in content["annotations"]:
        reason = _broken(entry, images, known)
        if reason:
            skipped[reason] += 1
        else:
            rows[entry["image_id"]].append(entry)
    return rows


def _broken(entry: Any, sizes: Mapping[Any, tuple[int, int] | None], known: set[int]) -> str | None:
    if not _has(entry, "image_id", "category_id"):
        return "annotations without an image or a category"
    if entry["image_id"] not in sizes:
        return "annotations of an unknown image"
    if entry["category_id"] not in known:
        return UNKNOWN_CLASS
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
        return NO_NUMBERS
    x, y, width, height = box
    return broken_box((x, y, x + width, y + height), sizes[entry["image_id"]])


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and _finite(value)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and -MAX_NUMBER < value < MAX_NUMBER


def _image(number: int, entry: dict[str, Any], source: Path | bytes, rows: list[dict[str, Any]]) -> DatasetImage:
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    sizes = [row["area"] if _finite(row.get("area")) else row["bbox"][2] * row["bbox"][3] for row in rows]
    return DatasetImage(
        id=number,  # files also number by strings, and pycocotools wants numbers
        name=PurePosixPath(str(entry["file_name"])).name,
        path=source if isinstance(source, Path) else None,
        data=source if isinstance(source, bytes) else None,
        boxes=boxes,
        category_ids=np.array([row["category_id"] for row in rows], np.int64),
        is_crowd=np.array([bool(row.get("iscrowd")) for row in rows], bool),
        areas=np.array(sizes, np.float64),
        size=_size(entry),
        source_id=entry["id"],
    )


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    if isinstance(width, int) and isinstance(height, int) and 0 < width < MAX_SIDE and 0 < height < MAX_SIDE:
        return width, height
    return None
