"""A built variant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from qviz.features.building.ranges import Calibration
from qviz.features.building.recipes import Builder
from qviz.result import Result
from qviz.structures import Scheme


@dataclass(frozen=True, slots=True)
class FloatTensor:
    """A tensor that stayed in float, and the reason."""

    tensor: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Built(Result):
    """A quantized variant; `save("int8.tflite")` writes the file.

    Attributes:
        recipe: The name of the recipe.
        data: The .tflite file.
        scheme: What the file really is.
        stayed_float: Tensors that are still float.
        seconds: Time of building, calibration apart.
        builder: The program that wrote the file.
        remark: Why the scheme differs from the recipe's; empty where it does not.
        ranges: What the activations were calibrated with; None where the recipe needs nothing.
    """

    recipe: str
    data: bytes = field(repr=False)
    scheme: Scheme
    stayed_float: tuple[FloatTensor, ...]
    seconds: float
    builder: Builder
    remark: str = ""
    ranges: Calibration | None = None

    ROWS: ClassVar = "stayed_float"
    JSON_NAMES: ClassVar = {"data": None, "ranges": None, "size": "bytes"}
    JSON_ALSO: ClassVar = ("size", "calibration")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    @property
    def calibration(self) -> dict[str, Any] | None:
        """Facts on the ranges where they were measured for this file; None where they were read or not needed."""
        ranges = self.ranges
        if ranges is None or ranges.seconds is None:
            return None
        return {"images": ranges.images, "method": ranges.method, "digest": ranges.digest, "seconds": ranges.seconds}
