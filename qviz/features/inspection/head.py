"""Whether the end of a quantized network can hold its scores: values in [0, 1] on integers.

step     one unit of a tensor's scale; 1/256 is what TensorFlow Lite gives a sigmoid's 8-bit output
range    the smallest and largest real value that a tensor can hold
A sigmoid's slope is p (1 - p), so a step of its input moves a score p by step * p (1 - p): judged at the threshold.

Where a network's scores go: from the operator that makes them to the graph's outputs.

score   a value in [0, 1]: what LOGISTIC and SOFTMAX make, and products and maxima of such
way     the tensors from there to the outputs (or to the inputs of a post-process), through operators that move values
        and leave them as they are. A LOGISTIC inside the network (SiLU) is on no way.
One pass along the operators and one back: the file's order is the order of running.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.detector import PAGE_SCORE
from qviz.features.inspection.warning import Warning
from qviz.structures import Graph, Op, Tensor

SCORE, OTHER = "score", "other"
ONLY_SCORES = frozenset({SCORE})
MAKERS = frozenset({"LOGISTIC", "SOFTMAX"})
_MOVES = """CONCATENATION DEQUANTIZE EXPAND_DIMS GATHER GATHER_ND PACK QUANTIZE RESHAPE SLICE SPLIT SPLIT_V SQUEEZE
STRIDED_SLICE TRANSPOSE UNPACK"""
MOVES = frozenset(_MOVES.split())
PRODUCTS = frozenset({"MAXIMUM", "MINIMUM", "MUL", "REDUCE_MAX", "TOPK_V2"})
ENDS = frozenset({POST_PROCESS, "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"})


@dataclass(frozen=True, slots=True, eq=False)
class ScoreWay:
    """holds: what a tensor's values are, {SCORE}, {OTHER} or both; tensors: those on the way."""

    graph: Graph
    holds: dict[int, frozenset[str]]
    tensors: frozenset[int]

    def ops(self, kinds: Iterable[str]) -> list[Op]:
        """The operators of these kinds whose output is on the way."""
        return [op for op in self.graph.ops if op.kind in kinds and self.tensors & set(op.outputs)]

    def scores(self, mixed: bool) -> list[Tensor]:
        """The tensors on the way that hold scores: alone, or beside other values."""
        wanted = frozenset({SCORE, OTHER}) if mixed else ONLY_SCORES
        return [self.graph.tensors[index] for index in sorted(self.tensors) if self.holds.get(index) == wanted]


def score_way(graph: Graph) -> ScoreWay:
    """The way of this graph's scores; empty where it makes none."""
    holds = _holds(graph)
    way = set(graph.outputs)
    for op in reversed(graph.ops):
        if way & set(op.outputs) and _crossed(op, holds):
            way |= {index for index in op.inputs if index is not None}
    return ScoreWay(graph, holds, frozenset(way))


def _crossed(op: Op, holds: dict[int, frozenset[str]]) -> bool:
    product = op.kind in PRODUCTS and all(holds.get(index) == ONLY_SCORES for index in op.outputs)
    return product or op.kind in MOVES | ENDS


def _holds(graph: Graph) -> dict[int, frozenset[str]]:
    holds: dict[int, frozenset[str]] = {}
    for op in graph.ops:
        read = [holds.get(t.index, frozenset({OTHER})) for t in graph.op_inputs(op) if not t.constant]
        holds |= dict.fromkeys(op.outputs, _made(graph, op, read))
        if op.kind == POST_PROCESS and len(op.outputs) > 2:
            holds[op.outputs[2]] = ONLY_SCORES
    return holds


def _made(graph: Graph, op: Op, read: list[frozenset[str]]) -> frozenset[str]:
    if op.kind in MAKERS:
        return ONLY_SCORES
    if op.kind in MOVES:
        return frozenset().union(*read)
    # a product with a constant may be of any size: the decoding of boxes begins so
    whole = op.kind in ("REDUCE_MAX", "TOPK_V2") or not any(tensor.constant for tensor in graph.op_inputs(op))
    scores = op.kind in PRODUCTS and whole and all(kind == ONLY_SCORES for kind in read)
    return frozenset({SCORE if scores else OTHER})


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
