"""The interface of decoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from qviz.errors import ModelError
from qviz.structures import Detections, Graph, Settings
from qviz.structures.detections import CANDIDATE_FLOOR

P = TypeVar("P")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The outputs of one run.

    Attributes:
        values: Tensor index -> real (dequantized) values.
        width, height: Size of the model's input in pixels.
    """

    graph: Graph
    values: Mapping[int, np.ndarray]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of decoding.

    Attributes:
        score: Minimum score of a detection.
        nms_iou: If two boxes of a class overlap with an IoU above this, NMS drops the one with the lower score.
        max_detections: Maximum detections per image.
        class_offset: 1 if class 0 of the head is the background, else 0.
        floor: Minimum score of a candidate.
        anchors: Widths and heights given by the user, in pixels of the input; empty where none are given.
    """

    score: float
    nms_iou: float
    max_detections: int
    class_offset: int = 0
    floor: float = CANDIDATE_FLOOR
    anchors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Results for one image; boxes are in pixels of the model's input.

    candidates: boxes before NMS; None if the head does not provide them.
    """

    detections: Detections
    candidates: Detections | None


UNIT_INPUT = Settings(
    mean=(0.0,) * 3, std=(255.0,) * 3, channels="rgb", resize="letterbox", nms_iou=0.7, max_detections=100
)
"""Settings for pixels in [0, 1], as YOLO reads them."""
SIGNED_INPUT = Settings(
    mean=(127.5,) * 3, std=(127.5,) * 3, channels="rgb", resize="stretch", nms_iou=0.6, max_detections=100
)
"""Settings for pixels in [-1, 1], as MobileNet reads them."""
IMAGENET_INPUT = replace(SIGNED_INPUT, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
"""Settings for pixels minus ImageNet's mean, divided by its standard deviation."""


def single(graph: Graph) -> Graph:
    """The graph as if its batch had one image. In a fixed batch of several, only the first image's outputs are read."""
    shape = graph.input_tensors()[0].shape if len(graph.inputs) == 1 else ()
    batch = shape[0] if len(shape) == 4 else 1
    if batch <= 1:
        return graph
    tensors = list(graph.tensors)
    for tensor in graph.output_tensors():
        if tensor.shape[:1] == (batch,):
            tensors[tensor.index] = replace(tensor, shape=(1, *tensor.shape[1:]))
    return replace(graph, tensors=tuple(tensors))


class Decoder(ABC, Generic[P]):
    """Decodes one kind of head. `parts` finds out which output of the graph has which meaning.

    Decoders do NMS, unless the head contains it.

    Attributes:
        expects: The shapes of the head's outputs, in words.
        defaults: Settings of models with this head, unless others are given.
        note: A sentence about what the boxes are, if they are not the usual ones; else empty.
        last_resort: Whether the decoder is used only if no other one matches.
        check_sizes: Whether boxes that all have the same size suggest that the outputs are misread.
        has_shapes: Whether detections may have keypoints or masks.
    """

    expects: str
    defaults: Settings
    note: str = ""
    check_sizes: bool = True
    has_shapes: bool = False
    last_resort: bool = False

    @abstractmethod
    def parts(self, graph: Graph) -> P | None:
        """The meaning of the outputs; None if the graph does not end in this head."""

    @abstractmethod
    def decode_parts(self, parts: P, head: Head, limits: Limits) -> Decoded:
        """Same as `decode`, for a graph whose parts are known. parts: the result of the method `parts`."""

    def matches(self, graph: Graph) -> bool:
        """Whether the graph ends in this head."""
        return self.parts(single(graph)) is not None

    def reads(self, graph: Graph) -> tuple[int, ...]:
        """Indices of inner tensors that the decoder reads besides the outputs; `Head.values` may lack them."""
        return ()

    def class_count(self, graph: Graph) -> int | None:
        """Number of classes; None if the graph does not determine it."""
        parts = self.parts(single(graph))
        return self.classes(parts) if parts is not None else None

    def classes(self, parts: P) -> int | None:
        """Number of classes; None if the outputs do not determine it."""
        return None

    def note_for(self, graph: Graph, settings: Settings) -> str:
        """What users must know about the boxes of this graph, as text that follows the model's name; may be empty."""
        return self.note

    def fit(self, head: Head) -> float | None:
        """How plausible the values of one run are if this decoder reads them, in [0, 1]; None if they do not show it.

        The fits of decoders that read the same outputs differently are compared. The fit does not depend on how
        confident the model is, so that a wrong normalisation of the image does not change their order.
        """
        return None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        """Detections of one image, sorted by descending score, with boxes in pixels of the model's input.

        Raises ModelError if the graph does not end in this head.
        """
        parts = self.parts(head.graph)
        if parts is None:
            raise ModelError(f"does not have the outputs of this decoder: {self.expects}.")
        return self.decode_parts(parts, head, limits)
