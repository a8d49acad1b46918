"""Find image files by the names in an annotation file, even if paths, case or suffixes differ.

Tried are, in this order: the path as written; its last part; both ignoring case; the longest trailing part of the path
with which exactly one file ends; the last part in any subfolder, if exactly one file has this name; the last part with
another suffix or without one, if exactly one file has this name. Backslashes separate folders, as on Windows. Parts
such as `C:`, a leading `/` and `..` are dropped, so that no file outside the folder is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import unquote

from qviz.datasets.files import is_image_name, parts_of


class ImageIndex:
    """An index of image paths (POSIX, relative to a folder), in which names from an annotation file are found.

    Args:
        folders: The folders in which a name is searched first, e.g. the folder of the annotations.
        split: Name of the annotation file without its suffix, e.g. `instances_val2017`. If several files have the same
            name, one in a folder whose name is the end of `split` (`val2017`) is preferred.
    """

    def __init__(self, paths: Iterable[str], folders: tuple[str, ...] = ("",), split: str = "") -> None:
        self._folders, self._split = folders, split
        self.paths = sorted(path for path in paths if is_image_name(path))
        self._exact = set(self.paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            name = PurePosixPath(path.lower())
            self._by_name[name.name].append(path)
            self._by_stem[name.stem].append(path)

    def find(self, name: str) -> str | None:
        """The path of the image for a name in the annotations; None if no file fits, or if several do."""
        return next((path for text in (name, unquote(name)) if (path := self._find(text)) is not None), None)

    def folders_with(self, name: str) -> list[str]:
        """The folders that contain a file with this name, ignoring case."""
        last = (parts_of(name) or [""])[-1].lower()
        return [str(PurePosixPath(path).parent) for path in self._by_name.get(last, [])]

    def _find(self, name: str) -> str | None:
        parts = parts_of(name)
        if not parts:
            return None
        beside = ("/".join([folder, *tail]).lstrip("/") for tail in (parts, parts[-1:]) for folder in self._folders)
        if exact := next((path for path in beside if path in self._exact), None):
            return exact
        lower = [part.lower() for part in parts]
        same_name = self._by_name.get(lower[-1], [])
        same_stem = self._by_stem.get(PurePosixPath(lower[-1]).stem, []) or self._by_stem.get(lower[-1], [])
        return self._best(same_name, lower) or (self._best(same_stem, lower) if not same_name else None)

    def _best(self, paths: list[str], parts: list[str]) -> str | None:
        """The best of several paths with the same file name, or None if several fit equally well."""
        if len(paths) <= 1:
            return paths[0] if paths else None
        depths = [_shared_folders(path.lower().split("/")[:-1], parts[:-1]) for path in paths]
        deepest = [path for path, depth in zip(paths, depths, strict=True) if depth == max(depths)]
        same_split = [path for path in deepest if self._split and self._split.endswith(PurePosixPath(path).parent.name)]
        return next((chosen[0] for chosen in (same_split, deepest) if len(chosen) == 1), None)


def _shared_folders(folders: list[str], named: list[str]) -> int:
    """How many of the innermost folders of two paths are the same."""
    pairs = zip(reversed(folders), reversed(named), strict=False)
    return next(
        (depth for depth, (first, second) in enumerate(pairs) if first != second), min(len(folders), len(named))
    )
