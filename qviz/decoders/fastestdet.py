"""FastestDet: one output over cells of stride 16, one box per cell.

The output is [1, 5 + classes, h, w] or [1, h, w, 5 + classes]: objectness (after sigmoid), tx, ty, tw, th (without
activation), class scores (after softmax).
    cx = (tanh(tx) + column) / columns    cy likewise    w = sigmoid(tw)    h = sigmoid(th)      (in [0, 1])
    score = objectness ** .6 * class score ** .4
Source: dog-qiuqiu/FastestDet, module/detector.py and utils/tool.py (handle_preds).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qviz.decoders.grid import Level, Output, cells, levels_of, outputs_over
from qviz.decoders.head import UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, probabilities, sigmoid, strong_rows
from qviz.structures import Graph
from qviz.structures.boxes import from_centres

STRIDE = 16
OTHERS = 5

Parts = tuple[Output, Level]


class FastestDet(Decoder[Parts]):
    """One box per cell of stride 16."""

    expects = "[1, 5 + classes, h, w], one box per cell of stride 16"
    defaults = replace(UNIT_INPUT, channels="bgr", resize="stretch", nms_iou=0.45)

    def parts(self, graph: Graph) -> Parts | None:
        levels, tensors = levels_of(graph, (STRIDE,)), graph.output_tensors()
        if not levels or len(tensors) != 1 or len(tensors[0].shape) != 4:
            return None
        outputs = [output for output in outputs_over(tensors, levels) if output.columns > OTHERS]
        return (outputs[0], levels[0]) if outputs else None

    def classes(self, parts: Parts) -> int:
        return parts[0].columns - OTHERS

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        output, level = parts
        values, grid = output.of(head), cells((level,))
        objectness, classes = probabilities(values[:, 0]), probabilities(values[:, OTHERS:])
        scores = objectness[:, None] ** 0.6 * classes**0.4
        strong = strong_rows(scores, limits)
        values, grid = values[strong], grid[strong]
        centres = (np.tanh(values[:, 1:3]) + grid[:, :2]) / np.array([level.columns, level.rows])
        size = np.array([head.width, head.height])
        boxes = from_centres(np.concatenate([centres * size, sigmoid(values[:, 3:5]) * size], axis=1))
        return decoded(boxes.astype(np.float32), scores[strong], limits)
