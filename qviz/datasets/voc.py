"""Pascal VOC: one XML an image, xmin, ymin, xmax, ymax in pixels, counted from 1 and both ends included.

    VOC2012/Annotations/a.xml   VOC2012/JPEGImages/a.jpg   VOC2012/ImageSets/Main/val.txt      or a.xml beside a.jpg

So the box is xmin - 1, ymin - 1, xmax, ymax here. ImageSets/Main's val, else test, else trainval, else train is read;
all files where there is none. The image is the one with the XML's own name, else the one that its `filename` says.

An object marked difficult counts neither as found nor as missed: it becomes a crowd, COCO's region to ignore. (The VOC
devkit ignores one detection of it that overlaps by IoU .5; COCO ignores all that lie inside, so it is a little kinder.)
Categories are the 20 of VOC where no other is seen, else those seen; their ids follow the alphabet.

Source: the VOC2012 development kit, sections 3.3 and 4.4; detectron2/data/datasets/pascal_voc.py for the first pixel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from qviz.datasets.broken import NO_IMAGE, NO_NUMBERS, UNKNOWN_CLASS, UNREADABLE, broken_box, sentences
from qviz.datasets.file_tree import FileTree
from qviz.datasets.files import is_image_name
from qviz.datasets.voc_xml import MAX_XML, parse_xml
from qviz.errors import DatasetError
from qviz.structures import Category, Dataset, DatasetImage

SPLITS = ("val", "test", "trainval", "train")
MAX_LIST = 64 << 20
MAX_SIDE = 1 << 20
FILES_TRIED = 20
NO_ANNOTATION = "annotation files that are no Pascal VOC XML"
NO_FILE = "images whose annotation file is missing"

_NAMES = """aeroplane bicycle bird boat bottle bus car cat chair cow
diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor"""
VOC_20 = tuple(_NAMES.split())


@dataclass(frozen=True, slots=True, eq=False)
class _Annotated:
    """One image, its categories by name: boxes (n, 4) in pixels from 0, difficult (n,)."""

    name: str
    source: Path | bytes
    size: tuple[int, int] | None
    names: list[str]
    boxes: np.ndarray
    difficult: list[bool]


def read_voc(tree: FileTree, files: list[str]) -> Dataset:
    """The XML files below a tree's top with their images. Raises DatasetError."""
    skipped: Counter[str] = Counter()
    split, chosen = _chosen(tree, files, skipped)
    images_by_stem = _by_stem(files)
    read = (_annotated(tree, path, images_by_stem, skipped) for path in chosen)
    found = [image for image in read if image is not None]
    if not found:
        raise DatasetError(
            f"{tree.name} holds {len(chosen)} annotation files (XML) and no image with one:"
            f" {', '.join(sentences(skipped)) or 'none is listed'}."
        )
    seen = {name for image in found for name in image.names}
    names = VOC_20 if seen <= set(VOC_20) else tuple(sorted(seen))
    ids = {name: number for number, name in enumerate(names, start=1)}
    images = tuple(_image(number, image, ids) for number, image in enumerate(found, start=1))
    categories = tuple(Category(number, name) for name, number in ids.items())
    return Dataset(f"{tree.name} ({split})" if split else tree.name, images, categories, sentences(skipped))


def looks_like_voc(tree: FileTree, files: list[str]) -> bool:
    """One of the first XML files is an annotation."""
    for path in [path for path in files if path.endswith(".xml")][:FILES_TRIED]:
        try:
            parse_xml(tree.read(path, MAX_XML))
        except (DatasetError, ValueError):
            continue
        return True
    return False


def _chosen(tree: FileTree, files: list[str], skipped: Counter[str]) -> tuple[str, list[str]]:
    """(the split, its XML files); without ImageSets all of them."""
    all_xml = [path for path in files if path.endswith(".xml")]
    for split in SPLITS:
        lists = [path for path in files if path.endswith(f"ImageSets/Main/{split}.txt")]
        if lists:
            named = [path for found in lists for path in _listed(tree, found)]
            there = [path for path in named if tree.has(path)]
            skipped[NO_FILE] += len(named) - len(there)
            return split, there
    return "", all_xml


def _listed(tree: FileTree, path: str) -> list[str]:
    """The XML files of a list of image names, one a line; what follows a name is a class's own flag."""
    top = PurePosixPath(path).parents[2]
    lines = tree.read(path, MAX_LIST).decode("utf-8", "replace").splitlines()
    return [f"{top}/Annotations/{line.split()[0]}.xml".removeprefix("./") for line in lines if line.strip()]


def _by_stem(files: list[str]) -> dict[str, list[str]]:
    """Images by their name without its ending."""
    found: dict[str, list[str]] = {}
    for path in files:
        if is_image_name(path):
            found.setdefault(PurePosixPath(path).stem, []).append(path)
    return found


def _annotated(tree: FileTree, path: str, images: dict[str, list[str]], skipped: Counter[str]) -> _Annotated | None:
    try:
        xml = parse_xml(tree.read(path, MAX_XML))
    except (DatasetError, ValueError):
        skipped[NO_ANNOTATION] += 1
        return None
    image = _image_of(path, xml.texts.get("filename", ""), images)
    if image is None:
        skipped[NO_IMAGE] += 1
        return None
    try:
        source = tree.source(image)
    except DatasetError:
        skipped[UNREADABLE] += 1
        return None
    size = _size(xml.texts)
    objects = [(_name(row), box, _is_set(row)) for row in xml.objects if (box := _box(row, size, skipped)) is not None]
    boxes = np.array([box for _, box, _ in objects], np.float64).reshape(-1, 4)
    name = PurePosixPath(image).name
    return _Annotated(name, source, size, [said for said, _, _ in objects], boxes, [flag for _, _, flag in objects])


def _image_of(path: str, filename: str, images: dict[str, list[str]]) -> str | None:
    """The image beside the XML or in its sister folder; elsewhere only where no other has that name."""
    places = PurePosixPath(path).parent, PurePosixPath(path).parent.parent
    said = PurePosixPath(filename.replace("\\", "/")).stem
    for stem in dict.fromkeys((PurePosixPath(path).stem, said)):
        found = images.get(stem, [])
        near = [name for place in places for name in found if PurePosixPath(name).is_relative_to(place)]
        if near or len(found) == 1:
            return (near or found)[0]
    return None


def _box(row: dict[str, str], size: tuple[int, int] | None, skipped: Counter[str]) -> list[float] | None:
    try:
        x1, y1, x2, y2 = (float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
    except (KeyError, ValueError):
        reason: str | None = NO_NUMBERS
    else:
        reason = broken_box((x1 - 1, y1 - 1, x2, y2), size) if _name(row) else UNKNOWN_CLASS
    if reason is not None:
        skipped[reason] += 1
        return None
    return [x1 - 1, y1 - 1, x2, y2]


def _name(row: dict[str, str]) -> str:
    return " ".join(row.get("name", "").split())[:100]


def _is_set(row: dict[str, str]) -> bool:
    return row.get("difficult", "0").lower() in ("1", "true")


def _size(texts: dict[str, str]) -> tuple[int, int] | None:
    """What the XML says, where it says so: some tools write 0."""
    try:
        width, height = (int(float(texts[side])) for side in ("width", "height"))
    except (KeyError, ValueError, OverflowError):
        return None
    return (width, height) if 0 < width < MAX_SIDE and 0 < height < MAX_SIDE else None


def _image(number: int, image: _Annotated, ids: dict[str, int]) -> DatasetImage:
    return DatasetImage(
        id=number,
        name=image.name,
        path=image.source if isinstance(image.source, Path) else None,
        data=image.source if isinstance(image.source, bytes) else None,
        boxes=image.boxes,
        category_ids=np.array([ids[name] for name in image.names], np.int64),
        is_crowd=np.array(image.difficult, bool),
        areas=np.prod(image.boxes[:, 2:] - image.boxes[:, :2], axis=1),
        size=image.size,
    )
