"""What a decoder is given and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qviz.structures import Detections, Graph, Settings
from qviz.structures.detections import CANDIDATE_FLOOR


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The outputs of one run: values by tensor index, real numbers (dequantized); the input's size in pixels."""

    graph: Graph
    values: Mapping[int, np.ndarray]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Detections below `score` are left out; NMS is class by class at `nms_iou`; at most `max_detections` stay.

    floor: candidates below it are left out.
    """

    score: float
    nms_iou: float
    max_detections: int
    class_offset: int = 0
    floor: float = CANDIDATE_FLOOR


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Boxes in pixels of the model's input. candidates: before NMS, or None where the head hides them."""

    detections: Detections
    candidates: Detections | None


class Decoder(Protocol):
    """One kind of head.

    expects: the shapes it knows, in words. defaults: the settings of models with this head where nothing else is said.
    """

    expects: str
    defaults: Settings

    def matches(self, graph: Graph) -> bool:
        """Whether the graph ends in this head."""
        ...

    def reads(self, graph: Graph) -> tuple[int, ...]:
        """Inner tensors it wants beside the outputs; those that cannot be had are missing from the head's values."""
        ...

    def class_count(self, graph: Graph) -> int | None:
        """How many classes the head tells apart, where it can be known."""
        ...

    def decode(self, head: Head, limits: Limits) -> Decoded:
        """Detections of one image, sorted by falling score."""
        ...
