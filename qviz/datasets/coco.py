"""COCO instances JSON: images, annotations (bbox x, y, w, h in pixels) and categories.

Boxes are in pixels of the width and height that the file gives for an image; COCO's own were drawn without EXIF
orientation. Broken parts are left out and counted: an image without its file, an invalid box, an unknown category or
image.

Of several annotation files in a folder or an archive, `val` is preferred to `test` and `train`, and instances to
keypoints; if that leaves more than one, it is an error that lists them. An image is looked for by its path beside the
file and in `images/` there, in a folder that the file's name ends with (`instances_val2017.json`: `val2017/`), and
last by its bare name if only one file has it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from qviz.datasets.box_checks import MAX_NUMBER, NO_IMAGE, NO_NUMBERS, UNKNOWN_CLASS, counted, problem_of
from qviz.datasets.file_tree import FileTree
from qviz.datasets.files import is_image_name
from qviz.errors import DatasetError
from qviz.formatting import plural
from qviz.limits import limits
from qviz.structures import Category, Dataset, DatasetImage

MAX_SIDE = 1 << 20
MAX_FILES_TRIED = 100
PARTS = ("images", "annotations", "categories")

FindImage = Callable[[str], Path | bytes | None]
"""The image with a file name of the annotations, or None."""


def read_coco(path: Path, folder: Path | None = None) -> Dataset:
    """A COCO file with its images in `folder` (else beside it, or in `images/` beside it). Raises DatasetError."""
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; give a COCO annotation file (JSON).")
    folders = [folder] if folder is not None else [path.parent, path.parent / "images"]
    return _dataset(path.read_bytes(), path.name, lambda name: _find(folders, name))


def _find(folders: list[Path], name: str) -> Path | None:
    """The image in one of the folders by its path or by its bare name, never outside them."""
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
    return _dataset(data, name, lambda file_name: files.get(file_name, files.get(PurePosixPath(file_name).name)))


def find_coco(tree: FileTree, files: list[str]) -> str | None:
    """The annotation file to read, or None. Raises DatasetError where several are equally good."""
    named = sorted((path for path in files if path.endswith(".json")), key=lambda path: path.count("/"))
    paths = [path for path in named[:MAX_FILES_TRIED] if is_coco(tree.read(path, limits().annotations_mb << 20))]
    if not paths:
        return None
    best = min(_rank(path) for path in paths)
    first, *others = (path for path in paths if _rank(path) == best)
    if others:
        raise DatasetError(
            f"{tree.name} has {len(others) + 1} annotation files ({first}, {others[0]}, ...); give one of them."
        )
    return first


def is_coco(data: bytes) -> bool:
    """Whether it looks like instances; captions, for example, have no categories."""
    return data.lstrip()[:1] == b"{" and all(f'"{part}"'.encode() in data for part in PARTS)


def read_coco_tree(tree: FileTree, path: str, files: list[str]) -> Dataset:
    """The annotation file of a folder or archive with its images. Raises DatasetError."""
    images = _ImageIndex(path, files)

    def source(name: str) -> Path | bytes | None:
        image = images.find(name)
        try:
            return tree.source(image) if image is not None else None
        except DatasetError:  # damaged in the archive, or too large
            return None

    return _dataset(tree.read(path, limits().annotations_mb << 20), f"{tree.name}: {path}", source)


def _rank(path: str) -> tuple[int, int, int]:
    """Lower is better."""
    name = path.lower()
    split = next((rank for rank, part in enumerate(("val", "test", "train")) if part in name), 3)
    return split, "keypoints" in name or "panoptic" in name, "instances" not in name


class _ImageIndex:
    """Image paths of a tree, to be found by the path or the name in an annotation file."""

    def __init__(self, annotations: str, files: list[str]) -> None:
        self._folder = PurePosixPath(annotations).parent
        self._stem = PurePosixPath(annotations).stem
        self._paths = {path for path in files if is_image_name(path)}
        self._by_name: dict[str, list[str]] = {}
        for path in sorted(self._paths):
            self._by_name.setdefault(PurePosixPath(path).name, []).append(path)

    def find(self, name: str) -> str | None:
        pure = PurePosixPath(name.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts:
            return None
        beside = (str(self._folder / folder / part) for part in (pure, pure.name) for folder in ("", "images"))
        exact = next((path for path in beside if path in self._paths), None)
        return exact or self._elsewhere(pure)

    def _elsewhere(self, pure: PurePosixPath) -> str | None:
        same_name = self._by_name.get(pure.name, [])
        same_path = [path for path in same_name if f"/{path}".endswith(f"/{pure}")]
        same_split = [path for path in same_path or same_name if self._stem.endswith(PurePosixPath(path).parent.name)]
        return next((paths[0] for paths in (same_split, same_path, same_name) if len(paths) == 1), None)


def _dataset(data: bytes, name: str, find: FindImage) -> Dataset:
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
            f"{name} lists {plural(len(content['images']), 'image')}, but no image file is there;"
            " give their folder with --dataset-images."
        )
    return Dataset(name, tuple(images), categories, counted(skipped))


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > (max_mb := limits().annotations_mb) << 20:
        raise DatasetError(f"{name} has {len(data) >> 20} MB; annotation files of up to {max_mb} MB are read.")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{name} is not valid JSON ({error}).") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in PARTS):
        raise DatasetError(f"{name} is not a COCO annotation file: it needs the lists {', '.join(PARTS)}.")
    images = [i for i in content["images"] if _has(i, "id", "file_name")]
    categories = [c for c in content["categories"] if _has(c, "id", "name") and _is_id(c["id"])]
    return {
        "images": images,
        "categories": categories,
        "annotations": content["annotations"],
        "skipped": {
            "image without an id or a file name": len(content["images"]) - len(images),
            "row of `categories` without a number or a name": len(content["categories"]) - len(categories),
        },
    }


def _has(entry: Any, *names: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(name), (str, int)) for name in names)


def _boxes_by_image(
    content: dict[str, Any], category_ids: set[int], skipped: Counter[str]
) -> dict[Any, list[dict[str, Any]]]:
    sizes = {image["id"]: _size(image) for image in content["images"]}
    rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for entry in content["annotations"]:
        problem = _problem(entry, sizes, category_ids)
        if problem:
            skipped[problem] += 1
        else:
            rows[entry["image_id"]].append(entry)
    return rows


def _problem(entry: Any, sizes: Mapping[Any, tuple[int, int] | None], category_ids: set[int]) -> str | None:
    if not _has(entry, "image_id", "category_id"):
        return "annotation without an image or a category"
    if entry["image_id"] not in sizes:
        return "annotation of an unknown image"
    if entry["category_id"] not in category_ids:
        return UNKNOWN_CLASS
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
        return NO_NUMBERS
    x, y, width, height = box
    return problem_of((x, y, x + width, y + height), sizes[entry["image_id"]])


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and _finite(value)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and -MAX_NUMBER < value < MAX_NUMBER


def _image(number: int, entry: dict[str, Any], source: Path | bytes, rows: list[dict[str, Any]]) -> DatasetImage:
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    sizes = [row["area"] if _finite(row.get("area")) else row["bbox"][2] * row["bbox"][3] for row in rows]
    return DatasetImage(
        id=number,  # ids of files may be strings, but pycocotools needs numbers
        name=PurePosixPath(str(entry["file_name"])).name,
        source=source,
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
