"""Groups of objects by a field of the object or of its image: a COCO field, or a column of a CSV file.

A numeric field with more than `MAX_VALUES` values is cut into two groups, as measured traits are. Any other field has
one group per value that occurs at least twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qviz.datasets.coco_fields import as_objects
from qviz.structures import Dataset
from qviz.structures.dataset import FieldValue

MAX_VALUES = 6
"""A numeric field with at most this many different values is grouped by value."""
MAX_COLUMNS = 80


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One field.

    Attributes:
        of_objects: Whether it is a field of the objects; otherwise it is one of the images.
        values: One value per object, or per image for a field of the images; None where it is not stated.
    """

    of_objects: bool
    values: np.ndarray

    @property
    def numbers(self) -> np.ndarray | None:
        """The values as float64, NaN where not stated; None if the field is grouped by value."""
        stated = [value for value in self.values if value is not None]
        if not all(isinstance(value, float) for value in stated) or len(set(stated)) <= MAX_VALUES:
            return None
        return np.array([np.nan if value is None else value for value in self.values], np.float64)

    @property
    def texts(self) -> np.ndarray:
        """The values as text; empty where not stated."""
        return np.array([_text(value) for value in self.values], dtype=object)


def _text(value: FieldValue) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else value


def column_names(dataset: Dataset) -> list[str]:
    """The names of all fields of a dataset's images and objects, at most `MAX_COLUMNS`."""
    rows = [names for image in dataset.images for names in (image.fields, image.object_fields)]
    return list(dict.fromkeys(name for names in rows for name in names))[:MAX_COLUMNS]


def columns_of(dataset: Dataset) -> Mapping[str, Column]:
    """Name -> field, for all objects that are not crowds. If an image and objects share a name, the objects' counts."""
    columns = {}
    for name in column_names(dataset):
        if any(name in image.object_fields for image in dataset.images):
            per_image = [_of_objects(image.object_fields.get(name), ~image.is_crowd) for image in dataset.images]
            columns[name] = Column(True, np.concatenate(per_image))
        else:
            columns[name] = Column(False, as_objects([image.fields.get(name) for image in dataset.images]))
    return columns


def _of_objects(values: np.ndarray | None, chosen: np.ndarray) -> np.ndarray:
    return as_objects([None] * int(chosen.sum())) if values is None else values[chosen]
