"""Which images a YOLO dataset is measured on and where their label files are, as Ultralytics lays it out.

    data.yaml                 path: (optional)   val: images/val   names: ...      val, else test, else train is read
    images/val/a.jpg          the last `images` of the path becomes `labels`, the ending .txt; else a .txt beside it
    labels/val/a.txt

`val` is a folder, a .txt list of images, or a list of these. A path in a file holds from where its longest trailing
part is in the dataset: `../valid/images` (Roboflow) and `/home/me/coco/images/val` of another machine are found; one
that is on this machine, but outside of the folder, is refused. Without a data.yaml the images of a folder named val,
valid or test are read where there is one, else all, and `classes.txt` or `*.names` names the classes.

Source: docs.ultralytics.com/datasets/detect; check_det_dataset and img2label_paths in ultralytics/data/utils.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from qviz.datasets.broken import NO_IMAGE
from qviz.datasets.file_tree import FileTree, Folder
from qviz.datasets.files import is_image_name
from qviz.datasets.label_yaml import has_names, parse_paths
from qviz.datasets.labels import MAX_BYTES, parse_labels
from qviz.errors import DatasetError

SPLITS = ("val", "test", "train")
SPLIT_FOLDERS = (("val", "valid", "validation", "val2017"), ("test",))
MAX_LIST = 64 << 20
MAX_PARTS = 30
CONFIGS_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Config:
    """A data.yaml: its name, text, and the folder of the tree that its paths begin at."""

    name: str
    text: str
    base: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """images: paths in the tree. missing: how many a list names that are not there. keypoints: rows carry them."""

    split: str
    images: tuple[str, ...]
    names: tuple[str, ...]
    missing: int = 0
    keypoints: bool = False

    @property
    def skipped(self) -> dict[str, int]:
        return {NO_IMAGE: self.missing}


def parse_config(data: bytes, name: str, base: str = "") -> Config | None:
    """A data.yaml, or None where the bytes are none: it names classes and a split."""
    if len(data) > MAX_BYTES:
        return None
    text = data.decode("utf-8-sig", "replace")
    splits = any(re.search(rf"^{split}[ \t]*:", text, re.MULTILINE) for split in SPLITS)
    return Config(name, text, base) if splits and (has_names(text) or re.search(r"^nc[ \t]*:", text, re.M)) else None


def find_config(tree: FileTree, files: list[str]) -> Config | None:
    """The data.yaml of a tree, the one nearest to its top."""
    named = sorted((path for path in files if path.endswith((".yaml", ".yml"))), key=lambda path: path.count("/"))
    for path in named[:CONFIGS_LOOKED_AT]:
        config = parse_config(tree.read(path, MAX_BYTES), PurePosixPath(path).name, _parent(path))
        if config is not None:
            return config
    return None


def layout_of(tree: FileTree, config: Config) -> Layout:
    """What a data.yaml says. Raises DatasetError, LabelsError."""
    names = parse_labels(config.text.encode(), config.name) if has_names(config.text) else ()
    said = {split: _said(config, split) for split in SPLITS}
    for split, entries in said.items():
        found = [path for entry in entries if (path := _resolved(tree, config, entry)) is not None]
        images, missing = _images(tree, found)
        if images:
            return Layout(split, images, names, missing, "kpt_shape" in config.text)
    split, entries = next(((split, entries) for split, entries in said.items() if entries), ("val", []))
    raise DatasetError(
        f"{config.name} says {split}: {', '.join(entries)[:100] or 'nothing'}, and no image is there in {tree.name};"
        " give the folder that its paths begin at with --images."
    )


def layout_without_config(tree: FileTree, files: list[str]) -> Layout:
    """Images and labels alone."""
    images = [path for path in files if is_image_name(path)]
    named = next((path for path in files if PurePosixPath(path).name == "classes.txt" or path.endswith(".names")), None)
    names = parse_labels(tree.read(named, MAX_BYTES), named) if named is not None else ()
    for split, folders in zip(SPLITS, SPLIT_FOLDERS, strict=False):
        chosen = tuple(path for path in images if set(PurePosixPath(path).parts[:-1]) & set(folders))
        if chosen:
            return Layout(split, chosen, names)
    return Layout("all", tuple(images), names)


def label_file(tree: FileTree, image: str) -> str | None:
    """The label file of an image, or None: it shows no object."""
    path = PurePosixPath(image).with_suffix(".txt")
    parts = list(path.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        there = "/".join([*parts[:last], "labels", *parts[last + 1 :]])
        if tree.has(there):
            return there
    return str(path) if tree.has(str(path)) else None


def _said(config: Config, split: str) -> list[str]:
    try:
        root = next(iter(parse_paths(config.text, "path")), "")
        entries = parse_paths(config.text, split)
    except ValueError as error:
        raise DatasetError(f"{config.name} cannot be read: {error}.") from error
    return [str(PurePosixPath(root.replace("\\", "/"), entry.replace("\\", "/"))) for entry in entries]


def _resolved(tree: FileTree, config: Config, said: str) -> str | None:
    """Where a folder or a list is in the tree."""
    if isinstance(tree, Folder):
        _check_inside(tree, config, said)
    return next((path for path in _trailing(said, config.base) if tree.has(path) or tree.below(path)), None)


def _check_inside(tree: Folder, config: Config, said: str) -> None:
    path = Path(said)
    try:
        outside = path.is_absolute() and path.exists() and not path.resolve().is_relative_to(tree.top.resolve())
    except (OSError, ValueError):  # no path of this machine at all
        outside = False
    if outside:
        raise DatasetError(
            f"{config.name} points at {said[:200]}, outside of the folder {tree.name}; give the folder that it may read"
            " with --images."
        )


def _trailing(said: str, base: str) -> Iterator[str]:
    """A path below `base`, then below the top, without its first part, its first two, and so on."""
    parts = [part for part in said.replace("\\", "/").split("/") if part not in ("", ".", "..")][-MAX_PARTS:]
    if not parts:
        yield base
    for start in range(len(parts)):
        yield from dict.fromkeys(("/".join([base, *parts[start:]]).lstrip("/"), "/".join(parts[start:])))


def _images(tree: FileTree, found: list[str]) -> tuple[tuple[str, ...], int]:
    """The images of folders and lists, each once, and how many more the lists name."""
    images: dict[str, None] = {}
    missing = 0
    for path in found:
        if not tree.has(path):
            images |= dict.fromkeys(name for name in tree.below(path) if is_image_name(name))
        elif is_image_name(path):
            images[path] = None
        else:
            for line in tree.read(path, MAX_LIST).decode("utf-8", "replace").splitlines():
                image = next((name for name in _trailing(line.strip(), _parent(path)) if tree.has(name)), None)
                missing += image is None and bool(line.strip())
                images |= {image: None} if image is not None and is_image_name(image) else {}
    return tuple(images), missing


def _parent(path: str) -> str:
    return "/".join(PurePosixPath(path).parts[:-1])
