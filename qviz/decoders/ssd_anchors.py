"""SSD with its anchors as a third output (STM32 model zoo).

The outputs, in any order, are scores [1, n, classes] with the background first, encodings [1, n, 4] and anchors
[1, n, 4]; the anchors are the output that does not depend on the image. They are corners x1, y1, x2, y2 in [0, 1], and
the encodings move each corner by a share of the anchor's size:
    x1 = anchor's x1 + t1 * width    y1 = anchor's y1 + t2 * height    x2, y2 likewise
Source: STMicroelectronics stm32ai-modelzoo, object detection, decoding of SSD predictions. The zoo's
ssd_mobilenet_v1 0.25 (192 pixels), decoded like this, has AP .136 for persons on 80 COCO images; decoded with the usual
coder of centres and sizes, it has .105.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qviz.decoders.head import SIGNED_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, strong_rows
from qviz.structures import Graph, Tensor

Parts = tuple[Tensor, Tensor, Tensor]
"""(scores, encodings, anchors)."""


class SSDAnchors(Decoder[Parts]):
    """Decoder of scores and encodings with the anchors as an output."""

    expects = "scores [1, n, 1 + classes], encodings [1, n, 4] and anchors [1, n, 4] in any order"
    defaults = replace(SIGNED_INPUT, nms_iou=0.5)

    def parts(self, graph: Graph) -> Parts | None:
        tensors = graph.output_tensors()
        if len(tensors) != 3 or any(len(t.shape) != 3 or t.shape[0] != 1 for t in tensors):
            return None
        fixed = [t for t in tensors if t.shape[-1] == 4 and not depends_on_image(graph, t)]
        moving = [t for t in tensors if t not in fixed]
        encodings = [t for t in moving if t.shape[-1] == 4]
        if len(encodings) == 2:  # three classes and a background
            encodings = [t for t in encodings if not ends_in_probabilities(graph, t)]
        if len(fixed) != 1 or len(encodings) != 1 or len({t.shape[1] for t in tensors}) != 1:
            return None
        scores = next(t for t in moving if t is not encodings[0])
        return (scores, encodings[0], fixed[0]) if scores.shape[-1] >= 2 else None

    def classes(self, parts: Parts) -> int:
        return parts[0].shape[-1] - 1

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        scores, encodings, anchors = (head.values[tensor.index][0] for tensor in parts)
        scores = np.clip(scores[:, 1:], 0, 1)
        strong = strong_rows(scores, limits)
        corners = anchors[strong]
        sides = np.tile(corners[:, 2:] - corners[:, :2], 2)
        boxes = (corners + encodings[strong] * sides) * np.array([head.width, head.height] * 2, np.float32)
        return decoded(boxes.astype(np.float32), scores[strong], replace(limits, class_offset=0))


def depends_on_image(graph: Graph, tensor: Tensor) -> bool:
    """Whether the values of a tensor depend on the input's values; dependence on the input's shape does not count."""
    makers = {output: op for op in graph.ops for output in op.outputs}
    waiting, visited = [tensor.index], {tensor.index}
    while waiting:
        index = waiting.pop()
        if index in graph.inputs:
            return True
        op = makers.get(index)
        if op is None or op.kind == "SHAPE":
            continue
        further = {i for i in op.inputs if i is not None} - visited
        visited |= further
        waiting += further
    return False
