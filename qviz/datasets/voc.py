"""Pascal VOC: one XML file per image, with xmin, ymin, xmax, ymax in pixels, counted from 1 and both ends included.

    VOC2012/Annotations/a.xml   VOC2012/JPEGImages/a.jpg   VOC2012/ImageSets/Main/val.txt      or a.xml beside a.jpg

So the box is xmin - 1, ymin - 1, xmax, ymax here. ImageSets/Main's val, else test, else trainval, else train is read,
or all XML files if there is none. The image is the one with the XML's own name, else the one named in `filename`.

An object marked difficult counts neither as detected nor as missed: it becomes a crowd, COCO's region to ignore. (The
VOC devkit ignores one detection that overlaps it by IoU 0.5; COCO ignores all that lie inside, which is a little more
lenient.) Categories are the 20 of VOC if no other occurs, else those that occur; their ids follow the alphabet.

The XML is untrusted: a document type, the place where entities are declared, is refused, as are files of more than
4 MB and deeply nested elements.

Sources: the VOC2012 development kit, sections 3.3 and 4.4; detectron2/data/datasets/pascal_voc.py for the first pixel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.parsers import expat

import numpy as np

from qviz.datasets.box_checks import NO_IMAGE, NO_NUMBERS, UNKNOWN_CLASS, UNREADABLE, counted, problem_of
from qviz.datasets.file_tree import FileTree
from qviz.datasets.files import is_image_name
from qviz.errors import DatasetError
from qviz.formatting import plural
from qviz.structures import Category, Dataset, DatasetImage

SPLITS = ("val", "test", "trainval", "train")
MAX_LIST = 64 << 20
MAX_SIDE = 1 << 20
MAX_FILES_TRIED = 20
MAX_XML = 4 << 20
MAX_DEPTH = 20
NO_ANNOTATION = "file without a Pascal VOC annotation"
NO_FILE = "image whose annotation file is missing"

_NAMES = """aeroplane bicycle bird boat bottle bus car cat chair cow
diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor"""
VOC_20 = tuple(_NAMES.split())

OBJECT = ("annotation", "object")
IMAGE_TEXTS = {("annotation", "filename"), ("annotation", "size", "width"), ("annotation", "size", "height")}
OBJECT_TEXTS = {
    (*OBJECT, "name"),
    (*OBJECT, "difficult"),
    *((*OBJECT, "bndbox", side) for side in ("xmin", "ymin", "xmax", "ymax")),
}
"""Only those of the object itself: its parts (head, hand) have names and boxes one level deeper."""


@dataclass(frozen=True, slots=True, eq=False)
class _Annotated:
    """One image: boxes (n, 4) in pixels from 0, category names (n), difficult (n)."""

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
    annotated = (_annotated(tree, path, images_by_stem, skipped) for path in chosen)
    read = [image for image in annotated if image is not None]
    if not read:
        raise DatasetError(
            f"{tree.name} has {plural(len(chosen), 'XML file')} but no annotated image:"
            f" {', '.join(counted(skipped)) or 'none is listed'}."
        )
    names_used = {name for image in read for name in image.names}
    names = VOC_20 if names_used <= set(VOC_20) else tuple(sorted(names_used))
    ids = {name: number for number, name in enumerate(names, start=1)}
    images = tuple(_image(number, image, ids) for number, image in enumerate(read, start=1))
    categories = tuple(Category(number, name) for name, number in ids.items())
    return Dataset(f"{tree.name} ({split})" if split else tree.name, images, categories, counted(skipped))


def looks_like_voc(tree: FileTree, files: list[str]) -> bool:
    """Whether one of the first XML files is an annotation."""
    for path in [path for path in files if path.endswith(".xml")][:MAX_FILES_TRIED]:
        try:
            parse_xml(tree.read(path, MAX_XML))
        except (DatasetError, ValueError):
            continue
        return True
    return False


def _chosen(tree: FileTree, files: list[str], skipped: Counter[str]) -> tuple[str, list[str]]:
    """(split, its XML files); without ImageSets ("", all XML files)."""
    all_xml = [path for path in files if path.endswith(".xml")]
    for split in SPLITS:
        lists = [path for path in files if path.endswith(f"ImageSets/Main/{split}.txt")]
        if lists:
            named = [path for split_list in lists for path in _listed(tree, split_list)]
            existing = [path for path in named if tree.has(path)]
            skipped[NO_FILE] += len(named) - len(existing)
            return split, existing
    return "", all_xml


def _listed(tree: FileTree, path: str) -> list[str]:
    """The XML files of a list of image names, one per line; a flag may follow a name."""
    top = PurePosixPath(path).parents[2]
    lines = tree.read(path, MAX_LIST).decode("utf-8", "replace").splitlines()
    return [f"{top}/Annotations/{line.split()[0]}.xml".removeprefix("./") for line in lines if line.strip()]


def _by_stem(files: list[str]) -> dict[str, list[str]]:
    """Image paths by their name without its suffix."""
    images: dict[str, list[str]] = {}
    for path in files:
        if is_image_name(path):
            images.setdefault(PurePosixPath(path).stem, []).append(path)
    return images


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
    boxes = [_box(row, size, skipped) for row in xml.objects]
    usable = [row for row, box in zip(xml.objects, boxes, strict=True) if box is not None]
    return _Annotated(
        name=PurePosixPath(image).name,
        source=source,
        size=size,
        names=[_name(row) for row in usable],
        boxes=np.array([box for box in boxes if box is not None], np.float64).reshape(-1, 4),
        difficult=[_is_difficult(row) for row in usable],
    )


def _image_of(path: str, filename: str, images: dict[str, list[str]]) -> str | None:
    """The image beside the XML file or in a neighbouring folder; elsewhere only if no other has that name."""
    folders = PurePosixPath(path).parent, PurePosixPath(path).parent.parent
    named = PurePosixPath(filename.replace("\\", "/")).stem
    for stem in dict.fromkeys((PurePosixPath(path).stem, named)):
        same_name = images.get(stem, [])
        near = [name for folder in folders for name in same_name if PurePosixPath(name).is_relative_to(folder)]
        if near or len(same_name) == 1:
            return (near or same_name)[0]
    return None


def _box(row: dict[str, str], size: tuple[int, int] | None, skipped: Counter[str]) -> list[float] | None:
    try:
        x1, y1, x2, y2 = (float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
    except (KeyError, ValueError):
        problem: str | None = NO_NUMBERS
    else:
        problem = problem_of((x1 - 1, y1 - 1, x2, y2), size) if _name(row) else UNKNOWN_CLASS
    if problem is not None:
        skipped[problem] += 1
        return None
    return [x1 - 1, y1 - 1, x2, y2]


def _name(row: dict[str, str]) -> str:
    return " ".join(row.get("name", "").split())[:100]


def _is_difficult(row: dict[str, str]) -> bool:
    return row.get("difficult", "0").lower() in ("1", "true")


def _size(texts: dict[str, str]) -> tuple[int, int] | None:
    """(width, height) in the XML; None if missing or 0, as some tools write."""
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


@dataclass(slots=True)
class _Xml:
    """Texts by the name of their element: of the image, and of each object."""

    texts: dict[str, str] = field(default_factory=dict)
    objects: list[dict[str, str]] = field(default_factory=list)


def parse_xml(data: bytes) -> _Xml:
    """Read one annotation file. Raises ValueError with what is wrong."""
    if len(data) > MAX_XML:
        raise ValueError(f"more than {MAX_XML >> 20} MB")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(f"not XML ({error})") from error
    if reader.root != OBJECT[0]:
        raise ValueError(f"<{str(reader.root)[:30]}> instead of <annotation>")
    return reader.xml


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a document type, which no annotation needs")


class _Reader:
    """Handlers that expat calls, element by element."""

    def __init__(self) -> None:
        self.xml = _Xml()
        self.root: str | None = None
        self._path: tuple[str, ...] = ()
        self._texts: list[str] = []

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self.root = self.root or name
        self._path = (*self._path, name)
        self._texts = []
        if len(self._path) > MAX_DEPTH:
            raise ValueError("elements nested too deep")
        if self._path == OBJECT:
            self.xml.objects.append({})

    def text(self, text: str) -> None:
        self._texts.append(text)

    def end(self, name: str) -> None:
        text = "".join(self._texts).strip()
        self._texts = []
        if self._path in IMAGE_TEXTS:
            self.xml.texts.setdefault(name, text)
        elif self._path in OBJECT_TEXTS:
            self.xml.objects[-1].setdefault(name, text)
        self._path = self._path[:-1]
