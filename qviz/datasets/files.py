"""The image files that a path, a folder or a zip archive holds."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from qviz.datasets.images import SUFFIXES
from qviz.errors import ImageError
from qviz.limits import limits
from qviz.structures import Dataset, DatasetImage, EncodedImage

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError)
"""What zipfile and its decompressors raise; RuntimeError also where it is locked or packed in an unknown way."""


def is_image_name(name: str) -> bool:
    """By its ending; dot files and the shadows that macOS leaves in archives are none."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Image files and archives: files as they are named, folders searched through, sorted by name.

    Raises ImageError where a path is not there or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if entry.is_file() and is_image_name(entry.name))
            if not inside:
                raise ImageError(f"{path} holds no image; files ending in {', '.join(SUFFIXES)} are looked for.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ImageError(f"{path} is not there; give an image, a folder of images or a zip archive of them.")
    return found


def load_images(paths: Iterable[Path]) -> Iterator[EncodedImage]:
    """The encoded images behind `find_images(paths)`, archives opened."""
    for path in find_images(paths):
        if path.suffix.lower() == ".zip":
            yield from unzip_images(path.name, path.read_bytes())
        else:
            yield EncodedImage(path.name, path.read_bytes())


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Image files and zip archives, read from disk each time they are iterated over.

    Attributes:
        paths: Files that exist; `len()` counts each archive as one.
    """

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, sources: Sequence[Path]) -> ImageFiles:
        """The files that paths, folders and archives name. Raises ImageError where none is given or one is missing."""
        if not sources:
            raise ImageError("No images are given; name an image, a folder of images or a zip archive of them.")
        return cls(tuple(find_images(sources)))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[EncodedImage]:
        return load_images(self.paths)

    def single(self) -> EncodedImage:
        """The only image. Raises ImageError where there are several."""
        if len(self.paths) != 1:
            raise ImageError(f"{len(self.paths)} images are given; a trace follows one object of one image.")
        (image,) = load_images(self.paths)
        return image

    def dataset(self) -> Dataset:
        """The images without annotations, as a dataset named after the folder of the first."""
        rows: list[DatasetImage] = []
        for path in self.paths:
            if path.suffix.lower() == ".zip":
                rows += unannotated_images(path.name, unzip_images(path.name, path.read_bytes())).images
            else:
                rows += unannotated(path.parent, [path]).images
        numbered = tuple(replace(row, id=number) for number, row in enumerate(rows, start=1))
        return Dataset(self.paths[0].parent.name, numbered, ())


def unzip_images(name: str, data: bytes) -> list[EncodedImage]:
    """The images of a zip archive. Raises ImageError where it is damaged, empty or a bomb."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if is_image_name(entry.filename)]
            _check_archive(name, entries)
            return [EncodedImage(PurePosixPath(e.filename).name, archive.read(e)) for e in entries]
    except DAMAGED as error:
        raise ImageError(f"{name} is a damaged or locked zip archive ({error}); pack it again.") from error


def _check_archive(name: str, entries: list[zipfile.ZipInfo]) -> None:
    if not entries:
        raise ImageError(f"{name} holds no image; files ending in {', '.join(SUFFIXES)} are looked for.")
    total, most = sum(entry.file_size for entry in entries), limits()
    if (
        len(entries) > most.archive_images
        or total > most.archive_mb << 20
        or any(entry.file_size > most.image_mb << 20 for entry in entries)
    ):
        raise ImageError(
            f"{name} would unpack to {len(entries)} images and {total >> 20} MB; archives of up to"
            f" {most.archive_images} images, {most.image_mb} MB an image and {most.archive_mb} MB are opened. Split it."
        )


def unannotated(folder: Path, paths: Sequence[Path]) -> Dataset:
    """Image files alone, as a dataset without categories."""
    images = (DatasetImage(number, path.name, path, None, *_nothing()) for number, path in enumerate(paths, start=1))
    return Dataset(folder.name, tuple(images), ())


def unannotated_images(name: str, images: Sequence[EncodedImage]) -> Dataset:
    """Images in memory, as a dataset without categories."""
    rows = (
        DatasetImage(number, image.name, None, image.data, *_nothing(), image.size)
        for number, image in enumerate(images, start=1)
    )
    return Dataset(name, tuple(rows), ())


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """No boxes, category ids, crowds and areas."""
    return np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0)
