"""A raw SSD head: box encodings (1, n, 4) and class scores (1, n, classes), with anchors.

The anchors are a third output or a constant (n, 4) of the file. Otherwise they are those of the Object Detection API's
`ssd_anchor_generator` for MobileNet, if there are n of these. Scores are probabilities if the head ends in a LOGISTIC
or SOFTMAX, else logits.

Source of the box coder: FasterRcnnBoxCoder (object_detection/box_coders/faster_rcnn_box_coder.py) and the kernel of
TFLite_Detection_PostProcess.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from qviz.decoders.head import SIGNED_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, sigmoid
from qviz.structures import Graph, Tensor
from qviz.structures.boxes import from_centres

WITH_BACKGROUND = frozenset({91, 81, 21})
"""Numbers of columns for COCO's 90, COCO's 80 and VOC's 20 classes with a background column first."""
SCALES = (10.0, 10.0, 5.0, 5.0)
"""Scales of y, x, h, w in the box coder of every SSD of the Object Detection API."""


class RawSSD(Decoder[tuple[Tensor, Tensor]]):
    """Decoder of SSD without post-processing. The parts are (encodings, scores)."""

    expects = "encodings [1, n, 4] and class scores [1, n, classes], with anchors [n, 4] as an output or a constant"
    defaults = SIGNED_INPUT

    def parts(self, graph: Graph) -> tuple[Tensor, Tensor] | None:
        pair = _pair(graph)
        count = pair[0].shape[1] if pair is not None else 0
        has_anchors = _anchors_tensor(graph, count) is not None or count == len(mobilenet_anchors())
        return pair if has_anchors else None

    def reads(self, graph: Graph) -> tuple[int, ...]:
        pair = _pair(graph)
        anchors = _anchors_tensor(graph, pair[0].shape[1]) if pair else None
        return (anchors.index,) if anchors is not None else ()

    def classes(self, parts: tuple[Tensor, Tensor]) -> int:
        return _classes(parts[1].shape[-1])

    def decode_parts(self, parts: tuple[Tensor, Tensor], head: Head, limits: Limits) -> Decoded:
        encodings, scores = (head.values[tensor.index][0] for tensor in parts)
        if not ends_in_probabilities(head.graph, parts[1]):
            scores = sigmoid(scores)
        background = max(limits.class_offset, scores.shape[-1] - _classes(scores.shape[-1]))
        boxes = decode_boxes(encodings, _anchors(head, parts[0]), (head.width, head.height))
        return decoded(boxes, scores[:, background:], replace(limits, class_offset=0))


def _classes(columns: int) -> int:
    return columns - 1 if columns in WITH_BACKGROUND else columns


def _pair(graph: Graph) -> tuple[Tensor, Tensor] | None:
    """(encodings, scores), or None. If both outputs have four columns, only their names distinguish them."""
    outputs = [t for t in graph.output_tensors() if len(t.shape) == 3 and t.shape[0] == 1]
    fours = [t for t in outputs if t.shape[-1] == 4]
    if len(fours) == 2:
        fours = [t for t in fours if re.search(r"box|loc|encod|regress", t.name.lower())]
    if len(outputs) != 2 or len(fours) != 1:
        return None
    scores = next(t for t in outputs if t is not fours[0])
    same = scores.shape[1] == fours[0].shape[1] and scores.shape[-1] >= 2
    return (fours[0], scores) if same else None


def _anchors_tensor(graph: Graph, count: int) -> Tensor | None:
    """The tensor of anchors, (n, 4) or (1, n, 4): an output, else the only constant of that shape; None without one."""
    shapes = ((count, 4), (1, count, 4))
    outputs = [t for t in graph.output_tensors() if t.shape == (count, 4)]
    constants = [t for t in graph.tensors if t.constant and t.shape in shapes and t.dtype == "float32"]
    return outputs[0] if outputs else constants[0] if len(constants) == 1 else None


def _anchors(head: Head, encodings: Tensor) -> np.ndarray:
    tensor = _anchors_tensor(head.graph, encodings.shape[1])
    if tensor is not None and tensor.index in head.values:
        return head.values[tensor.index].reshape(-1, 4)
    return mobilenet_anchors()


def mobilenet_anchors() -> np.ndarray:
    """Anchors (1917, 4) of the Object Detection API's SSD MobileNet at 300 x 300, as cy, cx, h, w in [0, 1].

    Source: object_detection/anchor_generators/multiple_grid_anchor_generator.py with 6 layers, scales .2 to .95,
    reduce_boxes_in_lowest_layer and the interpolated scale; the zoo's pipelines write the last ratio as 0.3333.
    """
    scales = [0.2 + 0.15 * layer for layer in range(6)] + [1.0]
    layers = [_layer(grid, scales[i], scales[i + 1], lowest=i == 0) for i, grid in enumerate((19, 10, 5, 3, 2, 1))]
    return np.concatenate(layers).astype(np.float32)


def _layer(grid: int, scale: float, following: float, lowest: bool) -> np.ndarray:
    """Anchors of one square feature map, (cells * shapes, 4) as cy, cx, h, w, cell by cell in row order."""
    if lowest:
        shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
    else:
        shapes = [(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)] + [((scale * following) ** 0.5, 1.0)]
    sides = np.array([(size / ratio**0.5, size * ratio**0.5) for size, ratio in shapes])  # [shapes, (h, w)]
    centres = (np.arange(grid) + 0.5) / grid
    cy, cx = np.meshgrid(centres, centres, indexing="ij")
    cells = np.stack([cy, cx], axis=-1).reshape(-1, 1, 2).repeat(len(shapes), axis=1)
    return np.concatenate([cells, np.broadcast_to(sides, (*cells.shape[:2], 2))], axis=-1).reshape(-1, 4)


def decode_boxes(
    encodings: np.ndarray, anchors: np.ndarray, size: tuple[int, int], scales: tuple[float, ...] = SCALES
) -> np.ndarray:
    """Boxes (n, 4) as xyxy in pixels of an input of `size` = (width, height).

    encodings (n, 4): ty, tx, th, tw; anchors (n, 4): cy, cx, h, w normalised to [0, 1]; scales: of y, x, h, w.
    """
    ty, tx, th, tw = (encodings / np.array(scales, np.float32)).T
    cy, cx, h, w = anchors.T
    # exp would overflow for a broken head; its boxes are as wide as the image
    centres = [tx * w + cx, ty * h + cy, np.exp(np.minimum(tw, 10)) * w, np.exp(np.minimum(th, 10)) * h]
    pixels = np.stack(centres, axis=1) * np.array([*size, *size], np.float32)
    return from_centres(pixels).astype(np.float32)
