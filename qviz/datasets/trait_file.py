"""Traits of images in a CSV file: one row per image, one column per trait.

    image,weather,rain_mm
    a.jpg,rain,3.2
    b.jpg,clear,0

The column that names the images is called `image`, `file_name`, `filename`, `file`, `name`, `path` or `image_id`;
otherwise it is the first one. Images are found by path or name (see `image_paths`) or by their id in the annotation
file. The separator is a comma, a semicolon or a tab, whichever occurs most often in the first line. With semicolons,
`3,2` is read as a number. A column is numeric if all its values are numbers. Empty cells, `NA`, `nan`, `null`, `none`
and `-` mean that the value is not stated.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from qviz.datasets.coco_fields import MAX_FIELDS, one_line
from qviz.datasets.image_paths import ImageIndex
from qviz.errors import DatasetError
from qviz.formatting import listed, plural
from qviz.structures import Dataset, DatasetImage
from qviz.structures.dataset import FieldValue

MAX_BYTES = 16 << 20
MAX_ROWS = 200_000
IMAGE_COLUMNS = ("image", "file_name", "filename", "file", "name", "path", "image_id")
NOT_STATED = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})


@dataclass(frozen=True, slots=True, eq=False)
class TraitFile:
    """The content of a file of traits.

    Attributes:
        images: The images as the file names them, each once.
        columns: Name of a trait -> its value for each of these images.
        repeated: Number of rows that were left out because an earlier row names the same image.
    """

    name: str
    images: tuple[str, ...]
    columns: Mapping[str, Sequence[FieldValue]]
    repeated: int = 0


def read_trait_file(path: str | PathLike[str]) -> TraitFile:
    """Read a CSV file of traits. Raises DatasetError."""
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DatasetError(_too_large(file.name))
        return parse_traits(file.read_bytes(), file.name)
    except OSError as error:
        raise DatasetError(f"{str(path)[:100]} cannot be read ({error.strerror}); give a CSV file.") from error


def parse_traits(data: bytes, name: str) -> TraitFile:
    """Parse a CSV file of traits.

    Args:
        name: Name of the file, for messages.

    Raises:
        DatasetError: The file is not text, is not a table, or is too large.

    Example:
        >>> parse_traits(b"image,weather\\na.jpg,rain", "traits.csv").columns
        {'weather': ['rain']}
    """
    if len(data) > MAX_BYTES:
        raise DatasetError(_too_large(name))
    text = _text(data, name)
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    columns, rows = _cells(text, separator, name)
    key = _key_column(columns)
    traits = [(number, column) for number, column in enumerate(columns) if number != key and column]
    if not traits:
        raise DatasetError(
            f"{name} has no column beside the one with the images ({columns[key][:60]!r}); its first line names the"
            " columns, e.g. image,weather."
        )
    if len(traits) > MAX_FIELDS:
        raise DatasetError(f"{name} has {plural(len(traits), 'column')}; the limit is {MAX_FIELDS}.")
    names = [column for _, column in traits]
    if twice := next((column for column in names if names.count(column) > 1), None):
        raise DatasetError(f"{name} has two columns {twice!r}; give each its own name.")
    first = {row[key].strip(): row for row in reversed(rows)}  # of several rows of an image, the first counts
    images = tuple(dict.fromkeys(row[key].strip() for row in rows))
    cells = {column: [first[image][k] if k < len(first[image]) else "" for image in images] for k, column in traits}
    values = {column: _values(column_cells, separator == ";") for column, column_cells in cells.items()}
    return TraitFile(name, images, values, len(rows) - len(images))


def with_traits(dataset: Dataset, file: TraitFile) -> tuple[Dataset, list[str]]:
    """(the dataset with the file's columns as fields of its images, sentences about rows that could not be used).

    A column replaces a field of the same name. Raises DatasetError if no row is about an image of the dataset.
    """
    images = {image.name: image for image in dataset.images}
    index = ImageIndex(images)
    by_id = {str(image.source_id): image.name for image in dataset.images if image.source_id is not None}
    rows: dict[str, int] = {}
    unknown = []
    for number, key in enumerate(file.images):
        name = key if key in images else by_id.get(key) or index.find(key)
        if name is None:
            unknown.append(key)
        else:
            rows.setdefault(name, number)
    if not rows:
        raise DatasetError(
            f"No row of {file.name} is about an image of {dataset.name}: the file has"
            f" {listed([repr(key[:60]) for key in file.images], 2) or 'no rows'}, the annotations"
            f" {listed([repr(name) for name in images], 2)}. Its first column names the images."
        )
    with_fields = tuple(_with(image, file, rows.get(image.name)) for image in dataset.images)
    return replace(dataset, images=with_fields), _remarks(file, unknown, len(images) - len(rows))


def _with(image: DatasetImage, file: TraitFile, row: int | None) -> DatasetImage:
    if row is None:
        return image
    return replace(image, fields={**image.fields, **{name: values[row] for name, values in file.columns.items()}})


def _remarks(file: TraitFile, unknown: Sequence[str], without: int) -> list[str]:
    remarks = []
    if unknown:
        verb = "is" if len(unknown) == 1 else "are"
        remarks.append(
            f"{plural(len(unknown), 'row')} of {file.name} {verb} about an image that is not here, e.g."
            f" {one_line(unknown[0])!r}."
        )
    if without:
        remarks.append(f"{plural(without, 'image')} {'has' if without == 1 else 'have'} no row in {file.name}.")
    if file.repeated:
        remarks.append(f"{plural(file.repeated, 'row')} of {file.name} repeat an image; the first row of each counts.")
    return remarks


def _too_large(name: str) -> str:
    return f"{name} is larger than {MAX_BYTES >> 20} MB, the limit for a file of traits."


def _text(data: bytes, name: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name} is not text in UTF-8; save it as 'CSV UTF-8'.") from error
    if "\0" in text or not text.strip():
        raise DatasetError(f"{name} {'is empty' if not text.strip() else 'is not text'}; a CSV file is expected.")
    return text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")


def _cells(text: str, separator: str, name: str) -> tuple[list[str], list[list[str]]]:
    """(names of the columns, rows without those that have no image)."""
    try:
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        columns = [one_line(cell) for cell in next(reader)]
        key = _key_column(columns)
        rows: list[list[str]] = []
        for row in reader:
            if len(row) > key and row[key].strip():
                rows.append(row[: len(columns)])
            if len(rows) > MAX_ROWS:
                raise DatasetError(f"{name} has more than {MAX_ROWS:,} rows, the limit for a file of traits.")
    except csv.Error as error:
        raise DatasetError(f"{name} is not a CSV file ({error}).") from error
    return columns, rows


def _key_column(columns: Sequence[str]) -> int:
    lower = [column.lower().replace(" ", "_") for column in columns]
    return next((lower.index(name) for name in IMAGE_COLUMNS if name in lower), 0)


def _values(cells: Sequence[str], decimal_comma: bool) -> list[FieldValue]:
    """The values of a column: numbers if it has nothing else, and otherwise text."""
    texts = [one_line(cell) for cell in cells]
    stated = [cell.lower() not in NOT_STATED for cell in texts]
    numbers = [
        _number(cell, decimal_comma) if is_stated else None for cell, is_stated in zip(texts, stated, strict=True)
    ]
    if all(number is not None for number, is_stated in zip(numbers, stated, strict=True) if is_stated):
        return list(numbers)
    return [cell if is_stated else None for cell, is_stated in zip(texts, stated, strict=True)]


def _number(cell: str, decimal_comma: bool) -> float | None:
    try:
        number = float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
