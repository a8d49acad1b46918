"""The end of one network read as detections, from whichever run its tensors come."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qviz.decoders import choose
from qviz.decoders.head import Decoded, Head, Limits
from qviz.structures import Graph, Settings, Tensor
from qviz.structures.detections import CANDIDATE_FLOOR

CANDIDATES_ALONE = frozenset({"tflite_post_process"})
"""Decoders that read inner tensors for candidates and not for detections."""


class HeadReader:
    """One graph's head under complete settings. Boxes are xyxy in pixels of the model's input, width x height.

    wanted: the tensors it reads, outputs first; those behind the outputs may be missing where a run does not keep them.
    inner: those of them that only a run that keeps every tensor gives away.
    """

    def __init__(self, graph: Graph, settings: Settings, width: int, height: int) -> None:
        self.graph, self.settings = graph, settings
        self.name, self._decoder = choose(graph, settings.decoder)
        self.wanted = tuple(dict.fromkeys((*graph.outputs, *self._decoder.reads(graph))))
        self.inner = tuple(i for i in self.wanted if i not in graph.outputs and not graph.tensors[i].constant)
        self._width, self._height = width, height

    def needs_inner(self, candidates: bool) -> bool:
        """Whether a run has to keep every tensor, which costs a tenth of its time."""
        return bool(self.inner) and (candidates or self.name not in CANDIDATES_ALONE)

    def decode(self, tensors: Mapping[int, np.ndarray], score: float, floor: float = CANDIDATE_FLOOR) -> Decoded:
        """Detections of at least `score`, candidates of at least `floor`, from tensors as the file types them."""
        return self._decoder.decode(self.head(tensors), self._limits(score, floor))

    def head(self, tensors: Mapping[int, np.ndarray]) -> Head:
        """What the decoder is given: real numbers."""
        real = {index: _real(tensors[index], self.graph.tensors[index]) for index in self.wanted if index in tensors}
        return Head(self.graph, real, self._width, self._height)

    def _limits(self, score: float, floor: float) -> Limits:
        said = self.settings
        assert said.nms_iou is not None and said.max_detections is not None, "settings are complete"
        return Limits(score, said.nms_iou, said.max_detections, said.class_offset or 0, floor)


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    if tensor.quantized and tensor.quantization is not None:
        return tensor.quantization.dequantize(values)
    real = values.astype(np.float32, copy=False)
    return real if np.isfinite(real).all() else np.nan_to_num(real, nan=0.0, posinf=1e9, neginf=-1e9)
