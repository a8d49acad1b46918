"""EfficientDet and RetinaNet before their post-processing: anchors on five levels, strides 8 to 128.

Class scores (logits or probabilities) and box encodings ty, tx, th, tw, an output each for all levels, [1, n, classes]
and [1, n, 4], or one pair a level, [1, h, w, a * classes] and [1, h, w, a * 4], in any order. a anchors a cell of
height and width `size * 2^octave * sqrt(1/ratio)` and `... * sqrt(ratio)`, size = anchor_scale * stride:
    cy = ty * height + anchor's    cx likewise    h = exp(th) * height    w = exp(tw) * width      (pixels)

EfficientDet      9 anchors a cell, octaves outside ratios; the stride is input / cells; no scales on the encodings
EfficientDet-Lite the same, with anchors of 3 instead of 4 strides (lite0 to lite2: inputs of 320, 384, 448)
RetinaNet         6 anchors a cell, ratios outside octaves; encodings scaled by 10, 10, 5, 5; a level that does not
                  divide the input has its anchors on the cells' corners (TensorFlow Object Detection API)
Sources: google/automl efficientdet/{tf2/anchors, hparams_config}.py; object_detection/anchor_generators/
multiscale_grid_anchor_generator.py with the settings of ssd_resnet50_v1_fpn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qviz.decoders.anchor_outputs import AnchorOutputs, anchor_outputs
from qviz.decoders.grid import Level, Levels, input_size, levels_of
from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, probabilities, strong_rows
from qviz.decoders.ssd_boxes import SCALES, decode_boxes
from qviz.errors import ModelError
from qviz.structures import Graph, Settings

STRIDES = (8, 16, 32, 64, 128)
RATIOS = (1.0, 2.0, 0.5)
WITH_BACKGROUND = 91
"""COCO's 90 classes with the background column first."""

INPUT = Settings(
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    channels="rgb",
    resize="letterbox-top-left",
    nms_iou=0.5,
    max_detections=100,
)
LITE_INPUT = Settings(mean=(127.0,) * 3, std=(128.0,) * 3).with_defaults(INPUT)
RETINANET_INPUT = Settings(mean=(127.5,) * 3, std=(127.5,) * 3, resize="stretch", nms_iou=0.6).with_defaults(INPUT)


@dataclass(slots=True, eq=False)  # not frozen: the Protocol of decoders has plain attributes
class AnchorHead:
    """inputs: sizes (sides in pixels) that the family has, () for any. NMS is ours."""

    expects: str
    defaults: Settings
    anchor_scale: float
    octaves: int
    retinanet: bool
    inputs: tuple[int, ...] = ()

    def matches(self, graph: Graph) -> bool:
        size = input_size(graph)
        wanted = size is not None and (not self.inputs or (size[0] == size[1] and size[0] in self.inputs))
        return wanted and self._outputs(graph) is not None

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        outputs = self._outputs(graph)
        return outputs.classes - _background(outputs.classes) if outputs else None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        outputs = self._outputs(head.graph)
        if outputs is None:
            raise ModelError("has no box encodings and class scores for anchors of five levels.")
        known = all(ends_in_probabilities(head.graph, tensor) for tensor, _ in outputs.scores)
        scores = probabilities(outputs.rows(head, outputs.scores), known)[:, _background(outputs.classes) :]
        strong = strong_rows(scores, limits)
        anchors = anchors_of(self, levels_of(head.graph, STRIDES), head.width, head.height)[strong]
        encodings = outputs.rows(head, outputs.boxes)[strong]
        boxes = decode_boxes(encodings, anchors, (head.width, head.height), SCALES if self.retinanet else (1.0,) * 4)
        return decoded(boxes, scores[strong], limits)

    def _outputs(self, graph: Graph) -> AnchorOutputs | None:
        return anchor_outputs(graph, levels_of(graph, STRIDES), self.octaves * len(RATIOS))


@lru_cache(maxsize=8)
def anchors_of(kind: AnchorHead, levels: Levels, width: int, height: int) -> np.ndarray:
    """(n, 4) cy, cx, h, w normalised to [0, 1]; not to be written to."""
    blocks = [_level_anchors(kind, level, width, height) for level in levels]
    normalised: np.ndarray = np.concatenate(blocks) / np.array([height, width] * 2)
    return normalised.astype(np.float32)


def _level_anchors(kind: AnchorHead, level: Level, width: int, height: int) -> np.ndarray:
    """(cells * a, 4) in pixels, cell by cell in row order."""
    stride = np.array([level.stride] * 2 if kind.retinanet else [height / level.rows, width / level.columns])
    divides = [height % level.stride == 0, width % level.stride == 0]
    shift = np.where(divides, 0.5, 0.0) if kind.retinanet else 0.5
    cells = np.stack(np.divmod(np.arange(level.cells), level.columns), axis=1)  # [cells, (row, column)]
    centres = (cells + shift) * stride
    sizes = np.array(_shapes(kind)) * kind.anchor_scale * stride  # [a, (h, w)]
    repeated = centres[:, None].repeat(len(sizes), axis=1)
    return np.concatenate([repeated, np.broadcast_to(sizes, repeated.shape)], axis=2).reshape(-1, 4)


def _shapes(kind: AnchorHead) -> list[tuple[float, float]]:
    """Height and width of a cell's anchors, in sizes of the plain one."""
    octaves = [2 ** (step / kind.octaves) for step in range(kind.octaves)]
    if kind.retinanet:
        pairs = [(octave, ratio) for ratio in RATIOS for octave in octaves]
    else:
        pairs = [(octave, ratio) for octave in octaves for ratio in RATIOS]
    return [(octave / ratio**0.5, octave * ratio**0.5) for octave, ratio in pairs]


def _background(columns: int) -> int:
    return 1 if columns == WITH_BACKGROUND else 0


WORDS = "scores [1, n, classes] and encodings [1, n, 4], or a pair a level, {} anchors a cell of strides 8 to 128{}"
EFFICIENTDET = AnchorHead(WORDS.format(9, ""), INPUT, 4.0, 3, False)
EFFICIENTDET_LITE = AnchorHead(WORDS.format(9, ", input 320, 384 or 448"), LITE_INPUT, 3.0, 3, False, (320, 384, 448))
RETINANET = AnchorHead(WORDS.format(6, ""), RETINANET_INPUT, 4.0, 2, True)
