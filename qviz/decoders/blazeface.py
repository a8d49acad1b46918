"""BlazeFace and other detectors of MediaPipe (palm, pose): boxes relative to anchors without a size, one class.

Regressors [1, n, 4 + 2 * keypoints] hold x, y of the centre relative to the anchor, w and h, in pixels of the input,
then the keypoints, which are not read. Scores [1, n, 1] are logits. Both may be split by stride. An anchor is the
centre of its cell; `LAYERS` has the number of anchors per cell:
    cx = x + anchor's    cy = y + anchor's    w, h as they are      (pixels)    score = sigmoid(logit)
Source: mediapipe/calculators/tflite/ssd_anchors_calculator.cc (fixed_anchor_size) and
tflite_tensors_to_detections_calculator.cc. NMS is the plain one; MediaPipe blends overlapping boxes instead.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qviz.decoders.grid import Levels, cell_count, cells, levels_of
from qviz.decoders.head import SIGNED_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, probabilities, strong_rows
from qviz.errors import ModelError
from qviz.structures import Graph, Tensor
from qviz.structures.boxes import from_centres

LAYERS: tuple[dict[int, int], ...] = (
    {8: 2, 16: 6},  # front and short range (128), palm (192)
    {16: 2, 32: 6},  # back (256)
    {4: 1},  # full range (192)
    {8: 2, 16: 2, 32: 6},  # pose (224), the first palm (256)
)
"""Stride -> anchors per cell, one dictionary for each kind of network."""

Parts = tuple[list[Tensor], list[Tensor]]
"""(regressors, scores), each in the order of strides, the finest first."""


class BlazeFace(Decoder[Parts]):
    """Regressors and scores with the anchors of MediaPipe."""

    expects = "regressors [1, n, 4 + 2 * keypoints] and scores [1, n, 1] with the anchors of MediaPipe's detectors"
    defaults = replace(SIGNED_INPUT, resize="letterbox", nms_iou=0.3)

    def parts(self, graph: Graph) -> Parts | None:
        tensors = graph.output_tensors()
        if len(tensors) % 2 or any(len(t.shape) != 3 or t.shape[0] not in (1, -1) for t in tensors):
            return None
        scores = [t for t in tensors if t.shape[-1] == 1]
        regressors = [t for t in tensors if t.shape[-1] >= 6 and t.shape[-1] % 2 == 0]
        if not scores or len(scores) + len(regressors) != len(tensors) or len({t.shape[-1] for t in regressors}) != 1:
            return None
        scores, regressors = (sorted(part, key=lambda t: -t.shape[1]) for part in (scores, regressors))
        counts = [t.shape[1] for t in scores]
        if counts != [t.shape[1] for t in regressors] or counts not in _counts(graph):
            return None
        return regressors, scores

    def classes(self, parts: Parts) -> int:
        return 1

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        regressors, score_tensors = parts
        certain = all(ends_in_probabilities(head.graph, tensor) for tensor in score_tensors)
        scores = probabilities(_rows(head, score_tensors), certain)
        strong = strong_rows(scores, limits)
        centres = _rows(head, regressors)[strong, :4]
        centres[:, :2] += anchors(head.graph, len(scores))[strong]
        return decoded(from_centres(centres), scores[strong], limits)


def _rows(head: Head, tensors: list[Tensor]) -> np.ndarray:
    """The values of these tensors as rows, (n, columns), one tensor after the other; a copy."""
    return np.concatenate([head.values[tensor.index].reshape(-1, tensor.shape[-1]) for tensor in tensors])


def _counts(graph: Graph) -> list[list[int]]:
    """Numbers of anchors in each output of MediaPipe's detectors, for a single tensor and for one tensor per stride."""
    counts = []
    for layers in LAYERS:
        split = [cell_count(levels) * layers[levels[0].stride] for levels in _single_levels(graph, layers)]
        counts += [[sum(split)], split]
    return counts


def _single_levels(graph: Graph, layers: dict[int, int]) -> list[Levels]:
    return [levels for stride in layers if (levels := levels_of(graph, (stride,)))]


def anchors(graph: Graph, count: int) -> np.ndarray:
    """(count, 2) centres of all anchors as x, y in pixels of the input.

    count: number of anchors, which shows which of MediaPipe's detectors this is.
    """
    for layers in LAYERS:
        blocks = [
            ((cells(levels)[:, :2] + np.float32(0.5)) * cells(levels)[:, 2:]).repeat(layers[levels[0].stride], axis=0)
            for levels in _single_levels(graph, layers)
        ]
        if blocks and sum(map(len, blocks)) == count:
            return np.concatenate(blocks)
    raise ModelError(f"has {count} anchors, unlike any detector of MediaPipe at this input size.")
