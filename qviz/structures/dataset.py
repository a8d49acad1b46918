"""Images with annotated objects, independent of their file format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from qviz.errors import ImageError
from qviz.structures.image import EncodedImage

T = TypeVar("T")
FieldValue = str | float | None
"""The value of a further field of an image or object; None if it is not stated."""


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, evenly spaced and in their original order."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


@dataclass(frozen=True, slots=True)
class Category:
    """A category of the annotations: its id in the dataset, and its name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class DatasetImage:
    """An image and its annotated objects.

    Attributes:
        id: Number of the image in the dataset, from 1.
        source: The path of the image file, or its bytes.
        boxes: (n, 4) xyxy pixels.
        category_ids: (n,) ids of the dataset's categories.
        is_crowd: (n,) bool, whether an annotation is a crowd region.
        areas: (n,) areas in square pixels as annotated, for COCO's size classes; a segmentation is smaller than its
            box.
        size: (width, height) that the boxes refer to, or None if the annotations do not state it.
        source_id: The id in the annotation file, or None.
        fields: Name -> value of each further field of the image in the annotation file, e.g. `weather`.
        object_fields: Name -> (n,) object array with the values of a further field of the annotations.
        keypoints: (n,) object array. An element is (k, 3) float64 x, y in pixels and visibility (0 not labelled,
            1 hidden, 2 visible), or None for an object without keypoints. None if no object has keypoints.
        masks: (n,) object array. An element is COCO's compressed run lengths for `size`, as bytes, or None for an
            object without a mask. None if no object has a mask.
    """

    id: int
    name: str
    source: Path | bytes = field(repr=False)
    boxes: np.ndarray
    category_ids: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray
    size: tuple[int, int] | None = None
    source_id: int | str | None = None
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    object_fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    keypoints: np.ndarray | None = None
    masks: np.ndarray | None = None

    def read(self) -> bytes:
        """The bytes of the image file. Raises ImageError."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            return self.source.read_bytes()
        except OSError as error:
            raise ImageError(f"{self.name} cannot be read ({error.strerror}).") from error

    def with_objects(self, chosen: np.ndarray) -> DatasetImage:
        """The image with only these objects. `chosen` is (n,) bool."""
        return replace(
            self,
            boxes=self.boxes[chosen],
            category_ids=self.category_ids[chosen],
            is_crowd=self.is_crowd[chosen],
            areas=self.areas[chosen],
            object_fields={name: values[chosen] for name, values in self.object_fields.items()},
            keypoints=None if self.keypoints is None else self.keypoints[chosen],
            masks=None if self.masks is None else self.masks[chosen],
        )

    def without_bytes(self) -> DatasetImage:
        """The image with the boxes of its objects alone, without its file's bytes and all that is optional."""
        return replace(self, source=b"", fields={}, object_fields={}, keypoints=None, masks=None)

    def encoded(self) -> EncodedImage:
        """The image in the form that workers receive. Raises ImageError."""
        return EncodedImage(self.name, self.read(), size=self.size)


@dataclass(frozen=True, slots=True)
class DatasetProblem:
    """A problem of the annotations.

    Attributes:
        code: Identifies the kind of problem.
        message: What is wrong, with the count.
        fix: What to do about it.
        count: Number of affected boxes, images or categories.
        examples: Up to five affected boxes, images or categories.
        serious: Whether the problem makes AP meaningless.
        advice: Whether it may be intended, so that nothing needs to be done, e.g. images that show only background.
    """

    code: str
    message: str
    fix: str
    count: int
    examples: tuple[str, ...] = ()
    serious: bool = False
    advice: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Annotated images.

    Attributes:
        skipped: One sentence for each reason for which something was left out.
        problems: Problems that the reader of the format found: what it left out, and what it read but is doubtful.
    """

    name: str
    images: tuple[DatasetImage, ...]
    categories: tuple[Category, ...]
    skipped: tuple[str, ...] = ()
    problems: tuple[DatasetProblem, ...] = ()

    @property
    def annotations(self) -> int:
        return sum(len(image.category_ids) for image in self.images)

    def spread(self, count: int) -> Dataset:
        """The same dataset with at most `count` of its images, evenly spaced."""
        return replace(self, images=tuple(spread(self.images, count)))
