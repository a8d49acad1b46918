"""A COCO annotation file and its images, found in a folder or an archive.

Of several files one of `val` is taken before `test` and `train`, and instances before keypoints; where that leaves
more than one, they are listed. An image is looked for by its path beside the file and in `images/` there, in a folder
that the file's name ends with (`instances_val2017.json`: `val2017/`), and at last by its bare name, where just one file
has it.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from qviz.datasets.coco import coco_dataset
from qviz.datasets.file_tree import FileTree
from qviz.datasets.files import is_image_name
from qviz.errors import DatasetError
from qviz.limits import limits
from qviz.structures import Dataset

FILES_LOOKED_AT = 100
PARTS = (b'"images"', b'"annotations"', b'"categories"')


def find_coco(tree: FileTree, files: list[str]) -> str | None:
    """The annotation file to read, or None. Raises DatasetError where that is not plain."""
    named = sorted((path for path in files if path.endswith(".json")), key=lambda path: path.count("/"))
    found = [path for path in named[:FILES_LOOKED_AT] if is_coco(tree.read(path, limits().annotations_mb << 20))]
    if not found:
        return None
    best = min(_rank(path) for path in found)
    first, *others = (path for path in found if _rank(path) == best)
    if others:
        raise DatasetError(
            f"{tree.name} holds {len(others) + 1} annotation files ({first}, {others[0]}, ...); give one of them."
        )
    return first


def is_coco(data: bytes) -> bool:
    """It looks like instances: captions, for example, have no categories."""
    return data.lstrip()[:1] == b"{" and all(part in data for part in PARTS)


def read_coco_tree(tree: FileTree, path: str, files: list[str]) -> Dataset:
    """The file with its images. Raises DatasetError."""
    finder = _Finder(path, files)

    def source(name: str) -> Path | bytes | None:
        found = finder.find(name)
        try:
            return tree.source(found) if found is not None else None
        except DatasetError:  # damaged in the archive, or too large
            return None

    return coco_dataset(tree.read(path, limits().annotations_mb << 20), f"{tree.name}: {path}", source)


def _rank(path: str) -> tuple[int, int, int]:
    said = path.lower()
    split = next((rank for rank, part in enumerate(("val", "test", "train")) if part in said), 3)
    return split, "keypoints" in said or "panoptic" in said, "instances" not in said


class _Finder:
    """Images by their path, and by the bare name."""

    def __init__(self, annotations: str, files: list[str]) -> None:
        self._beside = PurePosixPath(annotations).parent
        self._stem = PurePosixPath(annotations).stem
        self._paths = {path for path in files if is_image_name(path)}
        self._by_name: dict[str, list[str]] = {}
        for path in sorted(self._paths):
            self._by_name.setdefault(PurePosixPath(path).name, []).append(path)

    def find(self, name: str) -> str | None:
        pure = PurePosixPath(name.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts:
            return None
        beside = (str(self._beside / folder / part) for part in (pure, pure.name) for folder in ("", "images"))
        exact = next((path for path in beside if path in self._paths), None)
        return exact or self._elsewhere(pure)

    def _elsewhere(self, pure: PurePosixPath) -> str | None:
        found = self._by_name.get(pure.name, [])
        whole = [path for path in found if f"/{path}".endswith(f"/{pure}")]
        named = [path for path in whole or found if self._stem.endswith(PurePosixPath(path).parent.name)]
        for choice in (named, whole, found):
            if len(choice) == 1:
                return choice[0]
        return None
