"""Find and read image files, given as paths, folders or zip archives."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from qviz.datasets.images import SUFFIXES
from qviz.errors import ImageError, reason
from qviz.limits import limits
from qviz.structures import Dataset, DatasetImage, EncodedImage
from qviz.structures.archive import open_zip

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError)
"""Errors that zipfile and its decompressors raise; RuntimeError is raised for encrypted archives, among others."""


MAX_PARTS = 30
"""Maximum number of parts of a path that are considered, counted from its end."""


def is_image_name(name: str) -> bool:
    """Whether a name has an image suffix; False for dot files and for macOS's `__MACOSX` entries."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def parts_of(name: str) -> list[str]:
    """The folders and the file name of a path from any operating system; empty if it is not a valid path."""
    if "\0" in name:
        return []
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return [part for part in parts if not part.endswith(":")][-MAX_PARTS:]


def distinct_names(paths: Iterable[str]) -> list[str]:
    """The name of each file, preceded by as many of its folders as are needed to make it unique."""
    split = [parts_of(path) or [path] for path in paths]
    depths = [1] * len(split)
    while True:
        names = ["/".join(parts[-depth:]) for parts, depth in zip(split, depths, strict=True)]
        counts = Counter(names)
        longer = [
            depth + (counts[name] > 1 and depth < len(parts))
            for name, parts, depth in zip(names, split, depths, strict=True)
        ]
        if longer == depths:
            return names
        depths = longer


def with_distinct_names(images: Iterable[DatasetImage]) -> tuple[DatasetImage, ...]:
    """The images, with their names (which are paths) replaced by `distinct_names`."""
    rows = list(images)
    names = distinct_names(row.name for row in rows)
    return tuple(replace(row, name=name) for row, name in zip(rows, names, strict=True))


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The given files and archives, with each folder replaced by the images in it, sorted by name.

    Raises:
        ImageError: A path does not exist, or a folder has no images.
    """
    images: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if entry.is_file() and is_image_name(entry.name))
            if not inside:
                raise ImageError(f"{path} has no images; their names end in {', '.join(SUFFIXES)}.")
            images += inside
        elif path.is_file():
            images.append(path)
        else:
            raise ImageError(f"{path} does not exist; give an image, a folder of images or a zip archive of them.")
    return images


def load_images(paths: Iterable[Path]) -> Iterator[EncodedImage]:
    """The encoded images of `find_images(paths)`, including those in archives."""
    files = find_images(paths)
    for path, name in zip(files, distinct_names(map(Path.as_posix, files)), strict=True):
        if path.suffix.lower() == ".zip":
            yield from unzip_images(path.name, path.read_bytes())
        else:
            yield EncodedImage(name, path.read_bytes())


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Image files and zip archives, read from disk each time they are iterated over.

    Attributes:
        paths: Existing files; `len()` counts an archive as one file.
    """

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, sources: Sequence[Path]) -> ImageFiles:
        """The images in files, folders and archives. Raises ImageError if none are given or a path does not exist."""
        if not sources:
            raise ImageError("No images are given; give an image, a folder of images or a zip archive of them.")
        return cls(tuple(find_images(sources)))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[EncodedImage]:
        return load_images(self.paths)

    def single(self) -> EncodedImage:
        """The only image. Raises ImageError unless there is exactly one file."""
        if len(self.paths) != 1:
            raise ImageError(f"{len(self.paths)} images are given; give one: a trace follows one object.")
        (image,) = load_images(self.paths)
        return image

    def dataset(self) -> Dataset:
        """The images as a dataset without annotations, named after the folder of the first file."""
        rows: list[DatasetImage] = []
        for path, name in zip(self.paths, distinct_names(map(Path.as_posix, self.paths)), strict=True):
            if path.suffix.lower() == ".zip":
                rows += unannotated_images(path.name, unzip_images(path.name, path.read_bytes())).images
            else:
                rows += [replace(row, name=name) for row in unannotated(path.parent, [path]).images]
        numbered = tuple(replace(row, id=number) for number, row in enumerate(rows, start=1))
        return Dataset(self.paths[0].parent.name, numbered, ())


def unzip_images(name: str, data: bytes) -> list[EncodedImage]:
    """The images of a zip archive. Raises ImageError if it is damaged, empty or too large."""
    try:
        with open_zip(data) as archive:
            entries = [entry for entry in archive.infolist() if is_image_name(entry.filename)]
            _check_archive(name, entries)
            names = distinct_names(entry.filename for entry in entries)
            return [EncodedImage(name, archive.read(entry)) for name, entry in zip(names, entries, strict=True)]
    except DAMAGED as error:
        raise ImageError(
            f"{name} is a damaged or password-protected zip archive{reason(error)}; zip it again."
        ) from error


def _check_archive(name: str, entries: list[zipfile.ZipInfo]) -> None:
    if not entries:
        raise ImageError(f"{name} has no images; their names end in {', '.join(SUFFIXES)}.")
    total, bounds = sum(entry.file_size for entry in entries), limits()
    if (
        len(entries) > bounds.archive_images
        or total > bounds.archive_mb << 20
        or any(entry.file_size > bounds.image_mb << 20 for entry in entries)
    ):
        raise ImageError(
            f"{name} would unpack to {len(entries)} images and {total >> 20} MB; archives of up to"
            f" {bounds.archive_images} images, {bounds.image_mb} MB per image and {bounds.archive_mb} MB are read."
        )


def unannotated(folder: Path, paths: Sequence[Path]) -> Dataset:
    """Image files as a dataset without annotations."""
    images = (DatasetImage(number, path.name, path, *_no_annotations()) for number, path in enumerate(paths, start=1))
    return Dataset(folder.name, tuple(images), ())


def unannotated_images(name: str, images: Sequence[EncodedImage]) -> Dataset:
    """Images in memory as a dataset without annotations."""
    rows = (
        DatasetImage(number, image.name, image.data, *_no_annotations(), image.size)
        for number, image in enumerate(images, start=1)
    )
    return Dataset(name, tuple(rows), ())


def _no_annotations() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Empty boxes, category ids, crowd flags and areas."""
    return np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0)
