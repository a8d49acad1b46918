"""EfficientDet and RetinaNet before their post-processing: anchors on five levels, strides 8 to 128.

The outputs are class scores (logits or probabilities) and box encodings ty, tx, th, tw, in any order: either one output
of each for all levels, [1, n, classes] and [1, n, 4], or one pair per level, [1, h, w, a * classes] and [1, h, w,
a * 4]. Scores of four classes have four columns like the encodings; names or operators tell them apart. Each cell has
`a` anchors of height `size * 2^octave * sqrt(1/ratio)` and width `size * 2^octave * sqrt(ratio)`, where size =
anchor_scale * stride:
    cy = ty * height + anchor's cy    cx likewise    h = exp(th) * height    w = exp(tw) * width      (pixels)

EfficientDet      9 anchors per cell, ordered by octave, then ratio; stride = input / cells; encodings not scaled
EfficientDet-Lite the same, with an anchor_scale of 3 instead of 4 (lite0 to lite2: inputs of 320, 384, 448)
RetinaNet         6 anchors per cell, ordered by ratio, then octave; encodings scaled by 10, 10, 5, 5; if a level's
                  stride does not divide the input, its anchors are on the cells' corners (TensorFlow Object Detection
                  API)
Sources: google/automl efficientdet/{tf2/anchors, hparams_config}.py; object_detection/anchor_generators/
multiscale_grid_anchor_generator.py with the settings of ssd_resnet50_v1_fpn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from qviz.decoders.grid import Level, Levels, Output, input_size, levels_of, outputs_over
from qviz.decoders.head import IMAGENET_INPUT, SIGNED_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, probabilities, strong_rows
from qviz.decoders.ssd import SCALES, decode_boxes
from qviz.structures import Graph, Settings, Tensor

STRIDES = (8, 16, 32, 64, 128)
RATIOS = (1.0, 2.0, 0.5)
WITH_BACKGROUND = 91
"""Number of columns for COCO's 90 class ids with a background column first."""
ENCODED = 4
NAMED_BOXES = re.compile(r"box|loc|encod|regress")

INPUT = replace(IMAGENET_INPUT, resize="letterbox-top-left", nms_iou=0.5)
LITE_INPUT = replace(INPUT, mean=(127.0,) * 3, std=(128.0,) * 3)


Parts = list[tuple[Output, Output]]
"""(scores, encodings): a single pair for all levels together, or one per level, the finest first."""


def anchor_outputs(graph: Graph, levels: Levels, per_cell: int) -> Parts | None:
    """The graph's outputs as scores and encodings with `per_cell` anchors in each cell; None if they do not fit."""
    tensors = graph.output_tensors()
    if len(tensors) == 2:
        pairs = [_pair(graph, tensors, levels, per_cell)]
    elif levels and len(tensors) == 2 * len(levels):
        pairs = [_pair(graph, tensors, (level,), per_cell) for level in levels]
    else:
        return None
    complete = [pair for pair in pairs if pair is not None]
    is_whole = len(complete) == len(pairs) and len({scores.columns for scores, _ in complete}) == 1
    return complete if is_whole else None


def _pair(
    graph: Graph, tensors: tuple[Tensor, ...], levels: tuple[Level, ...], per_cell: int
) -> tuple[Output, Output] | None:
    """(scores, encodings) among these tensors for these levels; None if there is no such pair."""
    fitting = outputs_over(tensors, levels, per_cell)
    boxes = [entry for entry in fitting if entry.columns == ENCODED]
    if len(fitting) != 2 or not boxes:
        return None
    if len(boxes) == 2:
        boxes = _boxes_among(graph, boxes)
    if len(boxes) != 1:
        return None
    return (fitting[1] if boxes[0] is fitting[0] else fitting[0]), boxes[0]


def _boxes_among(graph: Graph, both: list[Output]) -> list[Output]:
    """Which of two outputs with four columns are encodings, judged by name, else by operator."""
    named = [entry for entry in both if NAMED_BOXES.search(graph.names_of(entry.tensor))]
    return named if len(named) == 1 else [entry for entry in both if not ends_in_probabilities(graph, entry.tensor)]


@dataclass(frozen=True, slots=True, eq=False)
class AnchorHead(Decoder[Parts]):
    """Decoder of one family of networks.

    Attributes:
        anchor_scale: See the module.
        octaves: Number of octaves per cell.
        retinanet: Whether anchors and encodings are those of RetinaNet.
        inputs: Sides in pixels of the square inputs that the family has; empty for any input.
    """

    expects: str
    defaults: Settings
    anchor_scale: float
    octaves: int
    retinanet: bool
    inputs: tuple[int, ...] = ()

    def parts(self, graph: Graph) -> Parts | None:
        size = input_size(graph)
        if size is None or (self.inputs and (size[0] != size[1] or size[0] not in self.inputs)):
            return None
        return anchor_outputs(graph, levels_of(graph, STRIDES), self.octaves * len(RATIOS))

    def classes(self, parts: Parts) -> int:
        return parts[0][0].columns - _background(parts[0][0].columns)

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        certain = all(ends_in_probabilities(head.graph, scores.tensor) for scores, _ in parts)
        values, encodings = (np.concatenate([output.of(head) for output in side]) for side in zip(*parts, strict=True))
        scores = probabilities(values, certain)[:, _background(values.shape[1]) :]
        strong = strong_rows(scores, limits)
        anchors = anchors_of(self, levels_of(head.graph, STRIDES), head.width, head.height)[strong]
        boxes = decode_boxes(
            encodings[strong], anchors, (head.width, head.height), SCALES if self.retinanet else (1.0,) * 4
        )
        return decoded(boxes, scores[strong], limits)


@lru_cache(maxsize=8)
def anchors_of(kind: AnchorHead, levels: Levels, width: int, height: int) -> np.ndarray:
    """Anchors (n, 4) as cy, cx, h, w, normalised to [0, 1]. The array is cached and must not be modified."""
    blocks = [_level_anchors(kind, level, width, height) for level in levels]
    normalised: np.ndarray = np.concatenate(blocks) / np.array([height, width] * 2)
    return normalised.astype(np.float32)


def _level_anchors(kind: AnchorHead, level: Level, width: int, height: int) -> np.ndarray:
    """Anchors of one level, (cells * a, 4) as cy, cx, h, w in pixels, cell by cell in row order."""
    stride = np.array([level.stride] * 2 if kind.retinanet else [height / level.rows, width / level.columns])
    divides = [height % level.stride == 0, width % level.stride == 0]
    shift = np.where(divides, 0.5, 0.0) if kind.retinanet else 0.5
    cells = np.stack(np.divmod(np.arange(level.cells), level.columns), axis=1)  # [cells, (row, column)]
    centres = (cells + shift) * stride
    sizes = np.array(_shapes(kind)) * kind.anchor_scale * stride  # [a, (h, w)]
    repeated = centres[:, None].repeat(len(sizes), axis=1)
    return np.concatenate([repeated, np.broadcast_to(sizes, repeated.shape)], axis=2).reshape(-1, 4)


def _shapes(kind: AnchorHead) -> list[tuple[float, float]]:
    """(height, width) of each anchor of a cell, in units of `size` (see the module)."""
    octaves = [2 ** (step / kind.octaves) for step in range(kind.octaves)]
    if kind.retinanet:
        pairs = [(octave, ratio) for ratio in RATIOS for octave in octaves]
    else:
        pairs = [(octave, ratio) for octave in octaves for ratio in RATIOS]
    return [(octave / ratio**0.5, octave * ratio**0.5) for octave, ratio in pairs]


def _background(columns: int) -> int:
    return 1 if columns == WITH_BACKGROUND else 0


WORDS = "scores [1, n, classes] and encodings [1, n, 4], or a pair per level, {} anchors per cell of strides 8 to 128{}"
EFFICIENTDET = AnchorHead(WORDS.format(9, ""), INPUT, 4.0, 3, False)
EFFICIENTDET_LITE = AnchorHead(WORDS.format(9, ", input 320, 384 or 448"), LITE_INPUT, 3.0, 3, False, (320, 384, 448))
RETINANET = AnchorHead(WORDS.format(6, ""), SIGNED_INPUT, 4.0, 2, True)
