"""A model file and what it really is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Scheme(StrEnum):
    """How a file is quantized, read from its tensors, not from its name."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_RANGE = "dynamic_range"
    WEIGHT_ONLY = "weight_only"
    INT8 = "int8"
    INT16X8 = "int16x8"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Model:
    """A .tflite file: data are its bytes, digest their sha256."""

    name: str
    data: bytes = field(repr=False)
    digest: str
    scheme: Scheme
