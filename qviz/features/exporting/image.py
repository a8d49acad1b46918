"""One image of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from qviz.features.comparison import ComparedObject


@dataclass(frozen=True, slots=True, eq=False)
class ExportedImage:
    """One image of an export.

    Attributes:
        image: Name of the image.
        file: Name of the file that is written; unique in the export, without a folder.
        width, height: Size of the original image in pixels.
        objects: Objects of both models, as `qviz compare` lists them.
        data: Content of that file: the image file, or the picture of both models' boxes.
    """

    JSON_NAMES: ClassVar[Mapping[str, str | None]] = {"data": None, "objects": None}
    JSON_ALSO: ClassVar[tuple[str, ...]] = ("lost", "spurious", "shifted", "relabelled")

    image: str
    file: str
    width: int
    height: int
    objects: tuple[ComparedObject, ...]
    data: bytes

    def count(self, change: str) -> int:
        """Number of objects with this change."""
        return sum(row.change == change for row in self.objects)

    @property
    def lost(self) -> int:
        """Number of objects that the variant lost."""
        return self.count("lost")

    @property
    def spurious(self) -> int:
        """Number of objects that only the variant has."""
        return self.count("spurious")

    @property
    def shifted(self) -> int:
        """Number of objects whose box moved."""
        return self.count("shifted")

    @property
    def relabelled(self) -> int:
        """Number of objects with another class."""
        return self.count("relabelled")
