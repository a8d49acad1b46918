"""Pascal VOC: one XML file per image, with xmin, ymin, xmax, ymax in pixels, counted from 1 and both ends included.

    VOC2012/Annotations/a.xml   VOC2012/JPEGImages/a.jpg   VOC2012/ImageSets/Main/val.txt      or a.xml beside a.jpg

In qviz, such a box becomes xmin - 1, ymin - 1, xmax, ymax. Of the lists in ImageSets/Main, the first of val, test,
trainval and train is read; without a list, all XML files are read. The image of an XML file is the one with the same
name, else the one named in `filename`.

An object marked difficult counts neither as detected nor as missed: it becomes a crowd region, which COCO ignores. (The
VOC devkit ignores one detection that overlaps it with an IoU of 0.5; COCO ignores all detections inside it, which is a
little more lenient.) The categories are VOC's 20 if no others occur, else those that occur; their ids are in
alphabetical order.

The XML is untrusted: document types, in which entities could be declared, are refused, as are files of more than 4 MB
and deeply nested elements.

Sources: the VOC2012 development kit, sections 3.3 and 4.4; detectron2/data/datasets/pascal_voc.py for the first pixel.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from qviz.datasets.box_checks import NO_IMAGE, NO_NUMBERS, UNKNOWN_CLASS, UNREADABLE, problem_of
from qviz.datasets.box_layouts import VOC, WrittenBoxes
from qviz.datasets.file_tree import FileTree
from qviz.datasets.files import is_image_name, with_distinct_names
from qviz.datasets.images import upright_size
from qviz.datasets.problems import NO_ANNOTATION, NO_FILE, Problems
from qviz.errors import DatasetError, ImageError
from qviz.formatting import plural
from qviz.structures import Category, Dataset, DatasetImage

SPLITS = ("val", "test", "trainval", "train")
MAX_LIST = 64 << 20
MAX_SIDE = 1 << 20
MAX_FILES_TRIED = 20
MAX_XML = 4 << 20
MAX_DEPTH = 20
Size = tuple[int, int]
"""(width, height) in pixels."""

_NAMES = """aeroplane bicycle bird boat bottle bus car cat chair cow
diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor"""
VOC_20 = tuple(_NAMES.split())


def read_voc(tree: FileTree, files: list[str]) -> Dataset:
    """Read the dataset of all XML files in a folder or archive, with their images. Raises DatasetError."""
    problems, written = Problems(), WrittenBoxes.of(VOC)
    split, chosen = _chosen(tree, files, problems)
    images_by_stem = _by_stem(files)
    read: list[tuple[DatasetImage, list[str]]] = []
    for path in chosen:
        image = _image(tree, path, images_by_stem, len(read) + 1, problems, written)
        read += [image] if image is not None else []
    if not read:
        raise DatasetError(
            f"{tree.name} has {plural(len(chosen), 'XML file')} but no annotated image:"
            f" {', '.join(problems.sentences()) or 'none is listed'}."
        )
    names_used = {name for _, image_names in read for name in image_names}
    names = VOC_20 if names_used <= set(VOC_20) else tuple(sorted(names_used))
    ids = {name: number for number, name in enumerate(names, start=1)}
    images = with_distinct_names(
        replace(image, category_ids=np.array([ids[name] for name in image_names], np.int64))
        for image, image_names in read
    )
    categories = tuple(Category(number, name) for name, number in ids.items())
    problems.doubt(written.problem())
    listed = problems.listed(sum(len(image.category_ids) for image in images))
    return Dataset(f"{tree.name} ({split})" if split else tree.name, images, categories, problems.sentences(), listed)


def looks_like_voc(tree: FileTree, files: list[str]) -> bool:
    """Whether one of the first XML files is a Pascal VOC annotation."""
    for path in [path for path in files if path.lower().endswith(".xml")][:MAX_FILES_TRIED]:
        try:
            parse_xml(tree.read(path, MAX_XML))
        except (DatasetError, ValueError):
            continue
        return True
    return False


def _chosen(tree: FileTree, files: list[str], problems: Problems) -> tuple[str, list[str]]:
    """(name of the split, its XML files); if there are no ImageSets, ("", all XML files)."""
    all_xml = [path for path in files if path.lower().endswith(".xml")]
    for split in SPLITS:
        lists = [path for path in files if path.endswith(f"ImageSets/Main/{split}.txt")]
        if lists:
            named = dict.fromkeys(path for split_list in lists for path in _listed(tree, split_list))
            existing = {path: tree.has(path) for path in named}
            for path in (path for path, exists in existing.items() if not exists):
                problems.leave_out(NO_FILE, path[-200:])
            return split, [path for path, exists in existing.items() if exists]
    return "", all_xml


def _listed(tree: FileTree, path: str) -> list[str]:
    """The XML files for a list of image names, which has one name per line, possibly followed by a flag."""
    top = PurePosixPath(path).parents[2]
    lines = tree.read(path, MAX_LIST).decode("utf-8", "replace").splitlines()
    return [f"{top}/Annotations/{line.split()[0]}.xml".removeprefix("./") for line in lines if line.strip()]


def _by_stem(files: list[str]) -> dict[str, list[str]]:
    """File name without suffix, in lower case -> paths of the images with that name."""
    images: dict[str, list[str]] = {}
    for path in files:
        if is_image_name(path):
            images.setdefault(PurePosixPath(path).stem.lower(), []).append(path)
    return images


def _image(
    tree: FileTree,
    path: str,
    images: dict[str, list[str]],
    number: int,
    problems: Problems,
    written: WrittenBoxes,
) -> tuple[DatasetImage, list[str]] | None:
    """(image of an XML file, with category ids still to be filled in; category name of each object), or None."""
    try:
        xml = parse_xml(tree.read(path, MAX_XML))
    except (DatasetError, ValueError) as error:
        problems.leave_out(NO_ANNOTATION, f"{path}: {error}")
        return None
    image = _image_of(path, _text(xml, "filename"), images)
    if image is None:
        problems.leave_out(NO_IMAGE, f"{_text(xml, 'filename') or PurePosixPath(path).stem} is not in {tree.name}")
        return None
    try:
        source = tree.source(image)
    except DatasetError as error:
        problems.leave_out(UNREADABLE, str(error))
        return None
    size = _size(xml)
    boxes = _boxes(xml, size, size or _file_size(source), path, problems, written)
    sides = np.array(list(boxes.values()), np.float64).reshape(-1, 4)
    annotated = DatasetImage(
        id=number,
        name=image,
        source=source,
        boxes=sides,
        category_ids=np.zeros(len(sides), np.int64),
        is_crowd=np.array([_text(row, "difficult").lower() in ("1", "true") for row in boxes], bool),
        areas=np.prod(sides[:, 2:] - sides[:, :2], axis=1),
        size=size,
    )
    return annotated, [_name(row) for row in boxes]


def _boxes(
    xml: Element, size: Size | None, actual: Size | None, path: str, problems: Problems, written: WrittenBoxes
) -> dict[Element, list[float]]:
    """Usable object -> its corners. size: as stated in the XML; actual: that of the image file, if the XML has none."""
    boxes: dict[Element, list[float]] = {}
    for row in xml.findall("object"):
        corners = _corners(row)
        if corners is not None:
            written.add([corners[0] + 1, corners[1] + 1, *corners[2:]], actual, path)
        reason = _reason(row, corners, size)
        if reason is None and corners is not None:
            boxes[row] = corners
        elif reason is not None:
            problems.leave_out(reason, f"{path}: {_name(row) or 'no name'} {corners or ''}")
    return boxes


def _image_of(path: str, filename: str, images: dict[str, list[str]]) -> str | None:
    """The image of an XML file: beside it, in a neighbouring folder, or elsewhere if only one image has its name.

    Names that differ only in case are the second choice. None if there is no such image.
    """
    folders = PurePosixPath(path).parent, PurePosixPath(path).parent.parent
    named = PurePosixPath(filename.replace("\\", "/")).stem
    for stem in dict.fromkeys((PurePosixPath(path).stem, named)):
        same_name = sorted(images.get(stem.lower(), []), key=lambda name: PurePosixPath(name).stem != stem)
        near = [name for folder in folders for name in same_name if PurePosixPath(name).is_relative_to(folder)]
        if near or len(same_name) == 1:
            return (near or same_name)[0]
    return None


def _corners(row: Element) -> list[float] | None:
    """x1, y1, x2, y2 of an object in pixels counted from 0, or None if they are not four numbers."""
    try:
        x1, y1, x2, y2 = (float(_text(row, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        return None
    return [x1 - 1, y1 - 1, x2, y2]


def _reason(row: Element, corners: list[float] | None, size: Size | None) -> str | None:
    """Why an object cannot be used, or None."""
    if corners is None:
        return NO_NUMBERS
    return problem_of(corners, size) if _name(row) else UNKNOWN_CLASS


def _file_size(source: Path | bytes) -> Size | None:
    try:
        return upright_size("", source)
    except ImageError:
        return None


def _text(element: Element, path: str) -> str:
    """The text of the element at a path below this one; "" if there is none."""
    return element.findtext(path, "").strip()


def _name(row: Element) -> str:
    return " ".join(_text(row, "name").split())[:100]


def _size(xml: Element) -> Size | None:
    """(width, height) stated in the XML; None if it is missing or 0, which some tools write."""
    try:
        width, height = (int(float(_text(xml, f"size/{side}"))) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if 0 < width < MAX_SIDE and 0 < height < MAX_SIDE else None


def parse_xml(data: bytes) -> Element:
    """Parse an annotation file. Raises ValueError, which says what is wrong."""
    if len(data) > MAX_XML:
        raise ValueError(f"more than {MAX_XML >> 20} MB")
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Guarded()))
    except (ElementTree.ParseError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(f"not XML ({error})") from error
    if root.tag != "annotation":
        raise ValueError(f"<{root.tag[:30]}> instead of <annotation>")
    return root


class _Guarded(ElementTree.TreeBuilder):
    """Refuses document types and deeply nested elements as soon as they begin; annotations need neither."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def doctype(self, *_: object) -> None:
        raise ValueError("a document type (DOCTYPE), which annotations do not need")

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError("elements nested too deep")
        return super().start(tag, attributes)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag)
