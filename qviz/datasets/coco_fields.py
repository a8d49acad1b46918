"""Further fields of images and annotations in a COCO file, such as `weather` or `attributes.occluded`.

A field is read if its value is text, a number or a boolean. Annotation tools write their own fields into an object
`attributes`; each field in it is read as well. Fields that COCO itself defines are left out. Texts are put on one line
and cut to `MAX_TEXT` characters, and booleans become `true` and `false`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qviz.structures.dataset import FieldValue

MAX_FIELDS = 40
"""Maximum number of fields of an image, and of the annotations of an image."""
MAX_TEXT = 100
ATTRIBUTES = "attributes"
DEFINED = frozenset(
    {
        *("id", "file_name", "width", "height", "license", "date_captured", "image_id", "category_id"),
        *("bbox", "area", "iscrowd", "segmentation", "keypoints", "caption"),
    }
)
"""Fields that COCO defines."""


def fields_of(entry: Mapping[str, Any]) -> dict[str, FieldValue]:
    """Name -> value of each further field of an image or annotation."""
    fields: dict[str, FieldValue] = {}
    for name, value in _pairs(entry):
        plain = field_value(value)
        if plain is not None and len(fields) < MAX_FIELDS:
            fields[one_line(name)] = plain
    return fields


def object_fields_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Name -> (annotations,) object array with the values of a further field; None where it is not stated."""
    by_row = [fields_of(row) for row in rows]
    names = list(dict.fromkeys(name for fields in by_row for name in fields))[:MAX_FIELDS]
    return {name: as_objects([fields.get(name) for fields in by_row]) for name in names}


def checked_fields(document: Any) -> dict[str, FieldValue]:
    """The fields of an image in a saved project. Values that are not valid fields are left out."""
    return fields_of(document) if isinstance(document, dict) else {}


def checked_object_fields(document: Any, count: int) -> dict[str, np.ndarray]:
    """The fields of `count` annotations in a saved project. Values that do not fit are left out."""
    rows = document.items() if isinstance(document, dict) else ()
    columns = [(one_line(name), values) for name, values in rows if isinstance(values, list) and len(values) == count]
    return {name: as_objects([field_value(value) for value in values]) for name, values in columns[:MAX_FIELDS]}


def field_value(value: Any) -> FieldValue:
    """The value as text or as a finite number; None if it is neither, or empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return one_line(value) or None if isinstance(value, str) else None


def one_line(text: str) -> str:
    """The text on one line, cut to `MAX_TEXT` characters. Characters that cannot be printed are replaced."""
    line = " ".join(text[: 10 * MAX_TEXT].split())[:MAX_TEXT]
    return "".join(character if character.isprintable() else "\ufffd" for character in line)


def as_objects(values: Sequence[FieldValue]) -> np.ndarray:
    """The values as a numpy array of dtype object, (n,)."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _pairs(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in entry.items():
        if name == ATTRIBUTES and isinstance(value, dict):
            yield from ((inner, one) for inner, one in value.items() if isinstance(inner, str))
        elif isinstance(name, str) and name not in DEFINED and not name.endswith("_url"):
            yield name, value
