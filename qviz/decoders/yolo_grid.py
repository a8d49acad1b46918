"""YOLOv2, YOLOv3, YOLOv4 and their tiny versions, YOLO-Fastest: grids with anchors, as Darknet and Keras export them.

Each level has one output, [1, h, w, a * (5 + classes)] or [1, a * (5 + classes), h, w]. For each of the `a` anchors of
a cell it has tx, ty, tw, th, the objectness and one score per class, all of them raw outputs of the last convolution:
    cx = (sigmoid(tx) + column) * stride    cy likewise    w = exp(tw) * anchor's w    h = exp(th) * anchor's h
    score = sigmoid(objectness) * class score, a softmax in YOLOv2 (five anchors), else a sigmoid
The file does not contain the anchors: they come from the settings (`anchors`, in pixels of the input, the finest level
first). Without these, the anchors of the family are assumed, scaled from its usual input size. Sources:
AlexeyAB/darknet src/{region_layer, yolo_layer}.c and cfg/*.cfg; dog-qiuqiu/Yolo-Fastest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qviz.decoders.grid import Level, Output, cells, input_size, levels_of, outputs_over
from qviz.decoders.head import UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, floor_of, sigmoid, softmax
from qviz.errors import SettingsError
from qviz.structures import Graph, Settings
from qviz.structures.boxes import from_centres

OTHERS = 5
PYRAMIDS = ((8, 16, 32), (16, 32), (32,))


@dataclass(frozen=True, slots=True)
class Family:
    """A family of networks. anchors: w, h of each in pixels of an input of `side` pixels, the finest level first."""

    name: str
    side: int
    anchors: tuple[float, ...]


_V3 = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
_TINY = (23, 27, 37, 58, 81, 82, 81, 82, 135, 169, 344, 319)
_FASTEST = (12, 18, 37, 49, 52, 132, 115, 73, 119, 199, 242, 238)
_V2_COCO = (0.57273, 0.677385, 1.87446, 2.06253, 3.33843, 5.47434, 7.88282, 3.52778, 9.77052, 9.16828)
_V2_VOC = (1.3221, 1.73145, 3.19275, 4.00944, 5.05587, 8.09892, 9.47112, 4.84053, 11.2364, 10.0071)
VOC = 20


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The levels and their outputs, the finest first. per_cell: number of anchors per cell."""

    levels: tuple[Level, ...]
    outputs: tuple[Output, ...]
    per_cell: int


class YOLOGrid(Decoder[Parts]):
    """Decoder of one grid per level whose boxes are not decoded in the file."""

    expects = "[1, h, w, a * (5 + classes)] per level of strides 8, 16, 32, a = 3 or 5 anchors per cell"
    defaults = replace(UNIT_INPUT, nms_iou=0.45)

    def parts(self, graph: Graph) -> Parts | None:
        tensors = graph.output_tensors()
        if any(len(tensor.shape) != 4 for tensor in tensors):
            return None
        for strides in PYRAMIDS:
            levels = levels_of(graph, strides)
            if len(levels) == len(tensors):
                for per_cell in (5, 3) if len(levels) == 1 else (3,):
                    if (parts := _placed(graph, levels, per_cell)) is not None:
                        return parts
        return None

    def classes(self, parts: Parts) -> int:
        return parts.outputs[0].columns - OTHERS

    def note_for(self, graph: Graph, settings: Settings) -> str:
        parts = self.parts(graph)
        if parts is None or settings.anchors:
            return ""
        family = family_of(parts, graph)
        return (
            f"does not contain its anchors; those of {family.name} are assumed, scaled from {family.side} pixels. If"
            ' boxes have wrong sizes, give "anchors": [w, h, ...] in pixels of its input, in a settings file beside it'
        )

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        anchors = _anchors(parts, head, limits.anchors)
        boxes, scores = [], []
        for level, output, pairs in zip(parts.levels, parts.outputs, anchors, strict=True):
            values = output.of(head)
            objectness = sigmoid(values[:, 4])
            strong = np.flatnonzero(objectness >= floor_of(limits))  # the product is at most the objectness
            grid = cells((level,)).repeat(parts.per_cell, axis=0)[strong]
            sizes = np.tile(pairs, (level.cells, 1))[strong] * np.exp(np.minimum(values[strong, 2:4], 10))
            centres = (sigmoid(values[strong, :2]) + grid[:, :2]) * level.stride
            boxes.append(from_centres(np.concatenate([centres, sizes], axis=1)).astype(np.float32))
            classes = (softmax if parts.per_cell == 5 else sigmoid)(values[strong, OTHERS:])
            scores.append(objectness[strong, None] * classes)
        return decoded(np.concatenate(boxes), np.concatenate(scores), limits)


def _placed(graph: Graph, levels: tuple[Level, ...], per_cell: int) -> Parts | None:
    """The outputs of these levels, or None if they do not fit."""
    outputs = [outputs_over(graph.output_tensors(), (level,), per_cell) for level in levels]
    if any(len(entries) != 1 for entries in outputs):
        return None
    single = tuple(_by_anchor(entries[0], per_cell) for entries in outputs)
    columns = {output.columns for output in single}
    fits = len(columns) == 1 and single[0].columns > OTHERS
    if graph.notes.classes and fits and graph.notes.classes != single[0].columns - OTHERS:
        return None
    return Parts(levels, single, per_cell) if fits else None


def _by_anchor(output: Output, per_cell: int) -> Output:
    return Output(output.tensor, output.columns, output.first, per_cell)


def family_of(parts: Parts, graph: Graph) -> Family:
    """The family whose anchors are assumed."""
    size = input_size(graph)
    if len(parts.levels) == 3:
        return Family("YOLOv3", 416, _V3)
    if len(parts.levels) == 2:
        return Family("YOLO-Fastest", 320, _FASTEST) if size == (320, 320) else Family("YOLOv4-tiny", 416, _TINY)
    if parts.per_cell == 3:
        return Family("YOLOv4-tiny", 416, _TINY[6:])
    in_cells = _V2_VOC if parts.outputs[0].columns - OTHERS == VOC else _V2_COCO
    return Family("YOLOv2", 416, tuple(side * 32 for side in in_cells))


def _anchors(parts: Parts, head: Head, given: tuple[float, ...]) -> list[np.ndarray]:
    """For each level, anchors (a, 2) as width, height in pixels. Raises SettingsError for a wrong number of anchors."""
    expected = 2 * parts.per_cell * len(parts.levels)
    if given and len(given) != expected:
        raise SettingsError(
            f"anchors has {len(given)} numbers; this head needs {expected}: width and height of {parts.per_cell}"
            f" anchors for each of {len(parts.levels)} levels, the finest level first, in pixels of the input."
        )
    if given:
        return [np.array(part).reshape(-1, 2) for part in np.split(np.array(given), len(parts.levels))]
    family = family_of(parts, head.graph)
    scale = np.array([head.width, head.height]) / family.side
    return [part.reshape(-1, 2) * scale for part in np.split(np.array(family.anchors), len(parts.levels))]
