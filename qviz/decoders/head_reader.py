"""Decode detections from the tensors of a run, regardless of the runtime that ran the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qviz.decoders import choose
from qviz.decoders.head import Decoded, Head, Limits, single
from qviz.structures import Graph, Settings, Tensor
from qviz.structures.detections import CANDIDATE_FLOOR

CANDIDATES_ONLY = frozenset({"tflite_post_process"})
"""Decoders that read inner tensors only for candidates, not for detections."""


class HeadReader:
    """Decodes the head of one graph with complete settings. Boxes are xyxy in pixels of the model's input.

    Attributes:
        name: The name of the decoder.
        tensors: Indices of the tensors that the decoder reads, outputs first. A run need not provide the inner ones.
        inner: The tensors among them that are neither outputs nor constants.
    """

    def __init__(self, graph: Graph, settings: Settings, width: int, height: int) -> None:
        self.settings = settings
        self.name, self._decoder = choose(graph, settings.decoder)
        self.graph = single(graph)
        self._is_batch = self.graph is not graph
        self.tensors = tuple(dict.fromkeys((*graph.outputs, *self._decoder.reads(graph))))
        self.inner = tuple(i for i in self.tensors if i not in graph.outputs and not graph.tensors[i].constant)
        self._width, self._height = width, height

    def needs_inner(self, candidates: bool) -> bool:
        """Whether a run must give out the inner tensors as well."""
        return bool(self.inner) and (candidates or self.name not in CANDIDATES_ONLY)

    def decode(self, tensors: Mapping[int, np.ndarray], score: float, floor: float = CANDIDATE_FLOOR) -> Decoded:
        """Detections with at least `score` and candidates with at least `floor`, from tensors in the file's types."""
        return self._decoder.decode(self.head(tensors), self._limits(score, floor))

    def fit(self, tensors: Mapping[int, np.ndarray]) -> float | None:
        """How plausible these tensors are for the decoder, as `Decoder.fit` returns it."""
        return self._decoder.fit(self.head(tensors))

    def head(self, tensors: Mapping[int, np.ndarray]) -> Head:
        """The tensors as the decoder reads them: as real values without NaN, for one image of the batch."""
        real = {index: _real(tensors[index], self.graph.tensors[index]) for index in self.tensors if index in tensors}
        if self._is_batch:
            outputs = [index for index in self.graph.outputs if self.graph.tensors[index].shape[:1] == (1,)]
            real |= {index: real[index][:1] for index in outputs if index in real}
        return Head(self.graph, real, self._width, self._height)

    def _limits(self, score: float, floor: float) -> Limits:
        settings = self.settings
        assert settings.nms_iou is not None and settings.max_detections is not None, "settings are complete"
        offset, anchors = settings.class_offset or 0, settings.anchors or ()
        return Limits(score, settings.nms_iou, settings.max_detections, offset, floor, anchors)


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    if tensor.quantized and tensor.quantization is not None:
        return tensor.quantization.dequantize(values)
    real = values.astype(np.float32, copy=False)
    return real if np.isfinite(real).all() else np.nan_to_num(real, nan=0.0, posinf=1e9, neginf=-1e9)
