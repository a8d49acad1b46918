"""One image of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from qviz.features.comparison import ComparedObject


@dataclass(frozen=True, slots=True, eq=False)
class ExportedImage:
    """One image.

    Attributes:
        image: Its name.
        file: Name of the file that is written, unique and safe.
        width, height: In pixels.
        objects: Its objects, as `qviz compare` lists them.
        data: The bytes that are written: the image file, or the picture.
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
