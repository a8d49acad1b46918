"""Whether the end of a quantized network can hold its scores: values in [0, 1] on integers.

step     one unit of a tensor's scale; 1/256 is what TensorFlow Lite gives a sigmoid's 8-bit output
range    the smallest and largest real value that a tensor can hold
A sigmoid's slope is p (1 - p), so a step of its input moves a score p by step * p (1 - p): judged at the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from qviz.analysis.score_way import ScoreWay, score_way
from qviz.analysis.warning import Warning
from qviz.detector import PAGE_SCORE
from qviz.structures import Graph, Op, Tensor

COARSE = 0.02
"""Step of scores: 50 to hold [0, 1], where 8 bits have 256."""
COARSE_LOGITS = 0.05
"""Step of a score at the threshold by one step of the sigmoid's input, which is finer towards 0 and 1."""
HIGHEST, LOWEST = 0.9, 0.05
"""What a sigmoid's highest score should reach, and its lowest stay under."""
REACHES = 0.95
"""What the range of a tensor of scores should reach."""


def head_warnings(graph: Graph, name: str) -> list[Warning]:
    """Warnings of one network's end; none where scores are floats or made outside of the file."""
    way = score_way(graph)
    shared = list(_shared_concat_scale(way, name))
    coarse = [] if shared else list(_score_resolution(way, name))  # the shared scale's sentence tells its step
    return [*shared, *coarse, *_sigmoid_saturated(way, name), *_scores_below_one(way, name)]


def _shared_concat_scale(way: ScoreWay, name: str) -> Iterator[Warning]:
    """Boxes and scores joined on one scale that is made for the boxes."""
    mixed = {tensor.index for tensor in way.scores(mixed=True)}
    joined = [op for op in way.ops({"CONCATENATION", "PACK"}) if op.outputs[0] in mixed]
    worst = max(joined, key=lambda op: _step(way.graph.tensors[op.outputs[0]]), default=None)
    if worst is None or (step := _step(tensor := way.graph.tensors[worst.outputs[0]])) <= COARSE:
        return
    low, high = _range(tensor)
    steps = f"{1 / step:.0f}" if step <= 1 else "less than one"
    yield Warning(
        "shared_concat_scale",
        f"{name} joins scores and boxes on one scale ({_place(worst)}): it holds [{low:.3g}, {high:.3g}], so scores"
        f" between 0 and 1 get {steps} of {2 ** _bits(tensor)} steps.",
        "Export boxes and scores as outputs of their own, or boxes normalised to [0, 1]; or keep the end in float.",
        name,
    )


def _score_resolution(way: ScoreWay, name: str) -> Iterator[Warning]:
    """Scores on too few steps: their own, or those of the sigmoid's input."""
    cure = "Keep the last operators in float or on 16 bits, or calibrate so that the scores have a range of their own."
    tensor = max(way.scores(mixed=False), key=_step, default=None)
    if tensor is not None and _step(tensor) > COARSE:
        yield Warning(
            "score_resolution",
            f"Scores of {name} come in steps of {_step(tensor):.2g} (tensor {tensor.name[-60:]}), against a threshold"
            f" of {PAGE_SCORE:g}.",
            cure,
            name,
        )
        return
    op = max(_sigmoids(way), key=lambda op: _step(_logits(way, op)), default=None)
    moved = 0.0 if op is None else _step(_logits(way, op)) * PAGE_SCORE * (1 - PAGE_SCORE)
    if op is not None and moved > COARSE_LOGITS:
        low, high = _range(_logits(way, op))
        yield Warning(
            "score_resolution",
            f"One step of the sigmoid's input in {name} ({_place(op)}, [{low:.3g}, {high:.3g}]) moves a score by"
            f" {moved:.2g} at the threshold of {PAGE_SCORE:g}.",
            cure,
            name,
        )


def _sigmoid_saturated(way: ScoreWay, name: str) -> Iterator[Warning]:
    """The range of a sigmoid's input ends before its scores do; of several sigmoids the narrowest."""
    ends = {op.order: tuple(map(_sigmoid, _range(_logits(way, op)))) for op in _sigmoids(way)}
    op = min(_sigmoids(way), key=lambda op: ends[op.order][1] - ends[op.order][0], default=None)
    if op is None or (ends[op.order][0] <= LOWEST and ends[op.order][1] >= HIGHEST):
        return
    (first, last), (low, high) = ends[op.order], _range(_logits(way, op))
    yield Warning(
        "sigmoid_saturated",
        f"Scores of {name} stay within [{first:.2f}, {last:.2f}]: the sigmoid's input ({_place(op)}) holds"
        f" [{low:.3g}, {high:.3g}].",
        "Calibrate with images of sure objects and of plain background; thresholds of FP32 do not carry over.",
        name,
    )


def _scores_below_one(way: ScoreWay, name: str) -> Iterator[Warning]:
    """A range made for something else, or by calibration without a sure object."""
    tensors = [tensor for mixed in (False, True) for tensor in way.scores(mixed) if _step(tensor) > 0]
    lowest = min(tensors, key=lambda tensor: _range(tensor)[1], default=None)
    if lowest is not None and (high := _range(lowest)[1]) < REACHES:
        yield Warning(
            "scores_below_one",
            f"Scores of {name} are cut off at {high:.2g}: tensor {lowest.name[-60:]} holds no more.",
            "Calibrate with images of sure objects; a sigmoid's own output has scale 1/256 and reaches .996.",
            name,
        )


def _sigmoids(way: ScoreWay) -> list[Op]:
    """Those on the way that read integers."""
    return [op for op in way.ops({"LOGISTIC"}) if op.inputs and op.inputs[0] is not None and _step(_logits(way, op))]


def _logits(way: ScoreWay, op: Op) -> Tensor:
    assert op.inputs[0] is not None, "only those that read something"
    return way.graph.tensors[op.inputs[0]]


def _step(tensor: Tensor) -> float:
    """The scale; 0 for floats, and where the file gives none that can be used."""
    held = tensor.quantization
    if held is None or not tensor.quantized or held.per_channel or tensor.dtype not in _BITS:
        return 0.0
    scale = float(held.scales[0])
    return scale if math.isfinite(scale) and scale > 0 else 0.0


_BITS = {"int8": 8, "uint8": 8, "int16": 16}


def _bits(tensor: Tensor) -> int:
    return _BITS[tensor.dtype]


def _range(tensor: Tensor) -> tuple[float, float]:
    assert tensor.quantization is not None, "only tensors with a step are asked"
    return tensor.quantization.real_range(tensor.dtype)


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -60, 60))))


def _place(op: Op) -> str:
    return f"{op.kind}, operator {op.order}"
