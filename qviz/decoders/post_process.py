"""The outputs of TFLite_Detection_PostProcess: boxes, classes, scores and usually a count.

Boxes (1, n, 4) are ymin, xmin, ymax, xmax normalised to [0, 1]; classes (1, n) count from zero without background; then
there are scores (1, n) and a count (1,). Exporters put them in any order, and some omit the count. The operator's order
of outputs identifies them if it is in the file, else their names, else their values. Source:
tensorflow/lite/kernels/detection_postprocess.cc.
"""

from __future__ import annotations

import re

import numpy as np

from qviz.decoders.head import SIGNED_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import candidates_of, first_is_classes
from qviz.decoders.ssd import decode_boxes
from qviz.structures import Detections, Graph, Op, Tensor
from qviz.structures.detections import class_ids_of

KIND = "TFLite_Detection_PostProcess"
MEANINGS = {"classes": r"class|label|categor", "scores": r"score|conf|prob"}

Parts = tuple[dict[str, int], list[Tensor]]
"""(meaning -> tensor index, the tensors of classes and scores if only their names or values distinguish them)."""


class PostProcess(Decoder[Parts]):
    """Decoder of the operator's results. NMS is done in the file; candidates are read from the operator's inputs."""

    expects = "boxes [1, n, 4], classes [1, n], scores [1, n] and perhaps a count [1], in any order"
    defaults = SIGNED_INPUT

    def parts(self, graph: Graph) -> Parts | None:
        return _by_operator(graph) or _by_shape(graph)

    def reads(self, graph: Graph) -> tuple[int, ...]:
        op = _op(graph)
        return tuple(index for index in op.inputs if index is not None) if op else ()

    def class_count(self, graph: Graph) -> int | None:
        op = _op(graph)
        count = op.options.get("num_classes") if op else None
        return int(count) if isinstance(count, (int, float)) else None

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        outputs = _outputs(parts, head)
        count = max(0, round(float(outputs["count"].reshape(-1)[0]))) if "count" in outputs else None
        scores = outputs["scores"].reshape(-1)[:count].clip(0, 1)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= max(limits.score, 1e-9)][: limits.max_detections]  # unused rows score 0
        size = np.array([head.width, head.height] * 2, np.float32)
        boxes = outputs["boxes"].reshape(-1, 4)[order][:, [1, 0, 3, 2]] * size
        classes = class_ids_of(outputs["classes"].reshape(-1)[order], limits.class_offset)
        detections = Detections.of(boxes, scores[order], classes)
        rows = anchor_rows(head)
        candidates = candidates_of(*rows, limits.floor) if rows is not None else None
        return Decoded(detections[detections.class_ids >= 0], candidates)


def _op(graph: Graph) -> Op | None:
    return next((op for op in reversed(graph.ops) if op.kind == KIND), None)  # it is mostly the last operator


def _outputs(parts: Parts, head: Head) -> dict[str, np.ndarray]:
    """Values of `boxes`, `classes`, `scores` and, if present, `count`, identified by the best evidence available."""
    indices, rows = parts
    if rows:
        indices = indices | (_by_name(head.graph, rows) or _by_value(head, rows))
    return {name: head.values[index] for name, index in indices.items()}


def _by_operator(graph: Graph) -> Parts | None:
    """The parts of a file with the operator, whose outputs have a fixed order; a conversion may follow each of them."""
    op = _op(graph)
    if op is None or len(op.outputs) < 3:
        return None
    final = {t: t for t in op.outputs}
    for later in graph.ops[op.order + 1 :]:
        if later.kind in ("QUANTIZE", "DEQUANTIZE"):
            final = {first: later.outputs[0] if last == later.inputs[0] else last for first, last in final.items()}
    names = ("boxes", "classes", "scores", "count")
    indices = {name: final[t] for name, t in zip(names, op.outputs, strict=False) if final[t] in graph.outputs}
    return (indices, []) if {"boxes", "classes", "scores"} <= set(indices) else None


def _by_shape(graph: Graph) -> Parts | None:
    """The parts of a file without the operator, by the shapes of its outputs; None if they do not fit."""
    outputs = graph.output_tensors()
    boxes = [t for t in outputs if len(t.shape) == 3 and t.shape[0] == 1 and t.shape[-1] == 4]
    if len(boxes) != 1:
        return None
    rows = [t for t in outputs if len(t.shape) == 2 and t.shape[-1] == boxes[0].shape[-2]]
    rest = [t for t in outputs if t is not boxes[0] and t not in rows]
    if len(rows) != 2 or len(rest) > 1 or any(int(np.prod(t.shape)) != 1 for t in rest):
        return None
    return {"boxes": boxes[0].index, **({"count": rest[0].index} if rest else {})}, rows


def _by_name(graph: Graph, rows: list[Tensor]) -> dict[str, int] | None:
    indices: dict[str, int] = {}
    for tensor in rows:
        meanings = [meaning for meaning, words in MEANINGS.items() if re.search(words, graph.names_of(tensor))]
        if len(meanings) == 1:
            indices[meanings[0]] = tensor.index
    return indices if len(indices) == 2 else None


def _by_value(head: Head, rows: list[Tensor]) -> dict[str, int]:
    """Which tensor is `classes` and which `scores`: classes are whole numbers, scores in [0, 1] and rarely whole."""
    first, second = (head.values[t.index].reshape(-1) for t in rows)
    classes, scores = rows if first_is_classes(first, second) else reversed(rows)
    return {"classes": classes.index, "scores": scores.index}


def score_columns(graph: Graph) -> tuple[int, int] | None:
    """(tensor of the class scores that the operator reads, column of the first class); None without the operator.

    The first class is in column 1 if column 0 is the background.
    """
    op = _op(graph)
    if op is None or len(op.inputs) != 3 or op.inputs[1] is None:
        return None
    with_background = graph.tensors[op.inputs[1]].shape[-1:] == (_option(op, "num_classes", 0) + 1,)
    return op.inputs[1], int(with_background)


def anchor_rows(head: Head) -> tuple[np.ndarray, np.ndarray] | None:
    """(boxes (n, 4), scores (n, classes) without background) of all anchors, decoded as the operator does.

    None if the operator or its inputs are not available.
    """
    op = _op(head.graph)
    if op is None or len(op.inputs) != 3 or any(index not in head.values for index in op.inputs):
        return None
    encodings, scores, anchors = (head.values[index] for index in op.inputs if index is not None)
    scores = scores.reshape(-1, scores.shape[-1])
    if scores.shape[-1] == _option(op, "num_classes", 0) + 1:
        scores = scores[:, 1:]  # without the background, which is first
    scales = tuple(_option(op, f"{side}_scale", default) for side, default in _SCALES.items())
    boxes = decode_boxes(encodings.reshape(-1, encodings.shape[-1])[:, :4], anchors, (head.width, head.height), scales)
    return boxes, scores


def anchor_box(head: Head, number: int) -> np.ndarray | None:
    """The box (4,) of one anchor, as in `anchor_rows`; None if the operator's boxes or anchors are not available."""
    op = _op(head.graph)
    if op is None or len(op.inputs) != 3 or any(index not in head.values for index in (op.inputs[0], op.inputs[2])):
        return None
    encodings, anchors = (head.values[index] for index in (op.inputs[0], op.inputs[2]) if index is not None)
    scales = tuple(_option(op, f"{side}_scale", default) for side, default in _SCALES.items())
    encoding = encodings.reshape(-1, encodings.shape[-1])[number, None, :4]
    return np.asarray(decode_boxes(encoding, anchors[number, None], (head.width, head.height), scales)[0])


def _option(op: Op, name: str, default: float) -> float:
    value = op.options.get(name)
    return float(value) if isinstance(value, (int, float)) and value else default


_SCALES = {"y": 10.0, "x": 10.0, "h": 5.0, "w": 5.0}
