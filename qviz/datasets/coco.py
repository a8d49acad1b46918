"""COCO instances JSON: images, annotations (bbox x, y, w, h in pixels) and categories.

Boxes are in pixels of the width and height that the file states for an image; COCO's own annotations were drawn without
EXIF orientation. Broken entries are left out and counted: images without a file, invalid boxes, unknown categories and
images.

If a folder or an archive has several annotation files, `val` is preferred to `test` and `train`, and instances to
keypoints; if several remain, an error lists them. An image is searched by its path, beside the annotation file and in
`images/` beside it, and then as described in `image_paths`. A folder with which the file's name ends is preferred
(`val2017/` for `instances_val2017.json`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from qviz.datasets.box_checks import NO_IMAGE
from qviz.datasets.box_layouts import COCO, WrittenBoxes
from qviz.datasets.coco_entries import Entries, Id, box_of, image_key, is_number, read_entries, size_of
from qviz.datasets.coco_fields import fields_of, object_fields_of
from qviz.datasets.file_tree import FileTree, Folder
from qviz.datasets.files import parts_of, with_distinct_names
from qviz.datasets.image_paths import ImageIndex
from qviz.datasets.images import upright_size
from qviz.datasets.object_shapes import ShapeReader
from qviz.datasets.problems import Problems
from qviz.errors import DatasetError, ImageError
from qviz.formatting import listed, plural
from qviz.limits import limits
from qviz.structures import Dataset, DatasetImage
from qviz.structures.json_document import NotJson, parse_json

MAX_FILES_TRIED = 100
PARTS = ("images", "annotations", "categories")

Source = Path | bytes


class Images(Protocol):
    """Finds the images of an annotation file."""

    @property
    def where(self) -> str:
        """The places that are searched, in words."""

    @property
    def advice(self) -> str:
        """What a user can do if no image is found, as the end of a sentence."""

    @property
    def index(self) -> ImageIndex:
        """The index of all images."""

    def find(self, name: str) -> Source | None:
        """The image for a file name in the annotations, or None."""


def read_coco(path: Path, folder: Path | None = None) -> Dataset:
    """Read a COCO file. Raises DatasetError.

    folder: that of the images; if it is None, they are searched beside the file and in `images/` beside it.
    """
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; give a COCO annotation file (JSON).")
    if folder is not None:
        advice = "check the names in the file, or give another folder with --dataset-images"
        return _dataset(path.read_bytes(), path.name, FolderImages(folder, advice))
    images = FolderImages(path.parent, "give their folder with --dataset-images", ("", "images"), path.stem)
    return _dataset(path.read_bytes(), path.name, images)


@dataclass(slots=True)
class FolderImages:
    """Images in a folder and its subfolders; these are searched only if an image is not where its path says.

    folders, split: see `ImageIndex`.
    """

    top: Path
    advice: str
    folders: tuple[str, ...] = ("",)
    split: str = ""
    _index: ImageIndex | None = None

    @property
    def where(self) -> str:
        return f"the folder {self.top}"

    def find(self, name: str) -> Source | None:
        parts = parts_of(name)
        beside = (self.top.joinpath(folder, *tail) for tail in (parts, parts[-1:]) for folder in self.folders if tail)
        try:
            exact = next((path for path in beside if path.is_file()), None)
        except OSError:  # e.g. the name is too long for the file system
            return None
        if exact is not None:
            return exact
        elsewhere = self.index.find(name)
        return self.top / elsewhere if elsewhere is not None else None

    @property
    def index(self) -> ImageIndex:
        if self._index is None:
            try:
                files = Folder(self.top).below("")
            except DatasetError:  # more files than a dataset may have
                files = []
            self._index = ImageIndex(files, self.folders, self.split)
        return self._index


@dataclass(frozen=True, slots=True)
class GivenImages:
    """Uploaded images, by file name."""

    files: Mapping[str, Source]
    index: ImageIndex

    @property
    def advice(self) -> str:
        return "load the images together with the annotations"

    @property
    def where(self) -> str:
        return f"the {plural(len(self.files), 'image')} that {'is' if len(self.files) == 1 else 'are'} loaded"

    def find(self, name: str) -> Source | None:
        path = name if name in self.files else self.index.find(name)
        return self.files[path] if path is not None else None


@dataclass(frozen=True, slots=True)
class TreeImages:
    """Images in a folder or an archive that also contains the annotations."""

    tree: FileTree
    index: ImageIndex

    @property
    def advice(self) -> str:
        return f"put the images into {self.tree.name}"

    @property
    def where(self) -> str:
        return self.tree.name

    def find(self, name: str) -> Source | None:
        path = self.index.find(name)
        try:
            return self.tree.source(path) if path is not None else None
        except DatasetError:  # damaged in the archive, or too large
            return None


def parse_coco(data: bytes, name: str, files: Mapping[str, Source]) -> Dataset:
    """Parse a COCO file. Raises DatasetError.

    files: Name -> image; a name is an image's path in the COCO file, or the last part of that path.
    """
    return _dataset(data, name, GivenImages(files, ImageIndex(files)))


def find_coco(tree: FileTree, files: list[str]) -> str | None:
    """The path of the annotation file to read, or None. Raises DatasetError if several are equally suitable."""
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
    """Whether a document looks like COCO instances; captions, for example, have no categories."""
    return data.lstrip()[:1] == b"{" and all(f'"{part}"'.encode() in data for part in PARTS)


def read_coco_tree(tree: FileTree, path: str, files: list[str]) -> Dataset:
    """Read the annotation file at `path` in a folder or archive that also contains its images. Raises DatasetError."""
    folder = str(PurePosixPath(path).parent).removeprefix(".")
    index = ImageIndex(files, (folder, f"{folder}/images".lstrip("/")), PurePosixPath(path).stem)
    data = tree.read(path, limits().annotations_mb << 20)
    return _dataset(data, f"{tree.name}: {path}", TreeImages(tree, index))


def _rank(path: str) -> tuple[int, int, int]:
    """The rank of an annotation file among several; the lowest is preferred."""
    name = path.lower()
    split = next((rank for rank, part in enumerate(("val", "test", "train")) if part in name), 3)
    return split, "keypoints" in name or "panoptic" in name, "instances" not in name


def _dataset(data: bytes, name: str, files: Images) -> Dataset:
    problems = Problems()
    content = _parsed(data, name)
    entries = read_entries(content, problems)
    sources: dict[Id, Source] = {}
    missing: list[str] = []
    for key, entry in entries.images.items():
        source = files.find(str(entry["file_name"]))
        if source is None:
            missing.append(str(entry["file_name"]))
            problems.leave_out(NO_IMAGE, _absence(str(entry["file_name"]), files))
        else:
            sources[key] = source
    if not sources:
        raise DatasetError(_no_image(name, entries, missing, files))
    problems.doubt(_written(content["annotations"], entries, sources).problem())
    numbers = _numbered(sources)
    shapes = ShapeReader()
    rows = [_image(numbers[key], entries, key, source, shapes) for key, source in sources.items()]
    shapes.doubt(problems)
    images = with_distinct_names(rows)
    read = sum(len(image.category_ids) for image in images)
    return Dataset(name, images, entries.categories, problems.sentences(), problems.listed(read))


def _parsed(data: bytes, name: str) -> dict[str, list[Any]]:
    if len(data) > (max_mb := limits().annotations_mb) << 20:
        raise DatasetError(f"{name} is {len(data) >> 20} MB; the limit for an annotation file is {max_mb} MB.")
    try:
        content = parse_json(data, not_a_number=True)
    except NotJson as error:
        raise DatasetError(f"{name} is not valid JSON: {error}.") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in PARTS):
        raise DatasetError(f"{name} is not a COCO annotation file: it needs the lists {', '.join(PARTS)}.")
    return content


def _absence(name: str, files: Images) -> str:
    """A clause that says that an image is missing, or that it is in several folders of which none fits best."""
    folders = files.index.folders_with(name)
    if len(folders) > 1:
        return f"{name[:200]} is in {len(folders)} folders of {files.where}: {listed(folders, 2)}"
    return f"{name[:200]} is not in {files.where}"


def _no_image(name: str, entries: Entries, missing: list[str], files: Images) -> str:
    sentence = f"{name} lists {plural(len(entries.images), 'image')}, but no image file is there"
    if missing:
        sentence += f". The first, {_absence(missing[0], files)}"
        if paths := files.index.paths:
            sentence += f", which has {plural(len(paths), 'image')} such as {paths[0]}"
    return f"{sentence}; {files.advice}."


def _numbered(sources: Mapping[Id, Source]) -> dict[Id, int]:
    """Image id -> number from 1, in the order of the ids, in which pycocotools breaks ties between equal scores."""
    by_type = sorted(sources, key=lambda key: (isinstance(key, str), key))
    return {key: number for number, key in enumerate(by_type, start=1)}


def _written(annotations: Sequence[Any], entries: Entries, sources: Mapping[Id, Source]) -> WrittenBoxes:
    """All boxes as written in the file, including those that are left out, with the sizes of their images."""
    written = WrittenBoxes.of(COCO)
    sizes: dict[Id, tuple[int, int] | None] = {}
    for entry in annotations:
        key, box = image_key(entry), box_of(entry)
        if key is None or box is None or key not in sources:
            continue
        if key not in sizes:
            sizes[key] = size_of(entries.images[key]) or _file_size(sources[key])
        written.add(box, sizes[key], str(entries.images[key]["file_name"]))
    return written


def _file_size(source: Source) -> tuple[int, int] | None:
    try:
        return upright_size("", source)
    except ImageError:
        return None


def _image(number: int, entries: Entries, key: Id, source: Source, shapes: ShapeReader) -> DatasetImage:
    entry, rows = entries.images[key], entries.annotations.get(key, [])
    name, size = str(entry["file_name"]), size_of(entry)
    if size is None and any(row.get("segmentation") for row in rows):
        size = _file_size(source)
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    areas = [row["area"] if is_number(row.get("area")) else row["bbox"][2] * row["bbox"][3] for row in rows]
    return DatasetImage(
        id=number,  # ids in files may be strings, but pycocotools needs numbers
        name=name,
        source=source,
        boxes=boxes,
        category_ids=np.array([entries.number_of(row) for row in rows], np.int64),
        is_crowd=np.array([bool(row.get("iscrowd")) for row in rows], bool),
        areas=np.array(areas, np.float64),
        size=size,
        source_id=key,
        fields=fields_of(entry),
        object_fields=object_fields_of(rows),
        keypoints=shapes.keypoints([row.get("keypoints") for row in rows], name),
        masks=shapes.masks([row.get("segmentation") for row in rows], size, name),
    )
