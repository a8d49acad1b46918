"""Warnings about the head of a quantized network: whether its integers can represent scores in [0, 1].

step     the difference between two neighbouring values of a tensor, i.e. its scale. For the 8-bit output of a sigmoid,
         TensorFlow Lite prescribes 1/256
range    the smallest and largest real value that a tensor can represent
score    an output of LOGISTIC or SOFTMAX, or a product or maximum of such outputs
path     the tensors from a score to the graph's outputs (or to the inputs of a post-processing operator), through
         operators that move values without changing them. A LOGISTIC inside the network (SiLU) is not on the path.

The slope of a sigmoid is p (1 - p), so a step of its input changes a score p by step * p (1 - p), which is computed at
the threshold. The path is found in one forward and one backward pass over the operators, which are in order of
execution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.detector import PAGE_SCORE
from qviz.features.inspection.checks import step_count
from qviz.features.inspection.warning import Warning
from qviz.structures import Graph, Op, Tensor
from qviz.structures.graph import DATA_MOVERS

SCORE, OTHER = "score", "other"
ONLY_SCORES = frozenset({SCORE})
MAKERS = frozenset({"LOGISTIC", "SOFTMAX"})
PRODUCTS = frozenset({"MAXIMUM", "MINIMUM", "MUL", "REDUCE_MAX", "TOPK_V2"})
ENDS = frozenset({POST_PROCESS, "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"})


@dataclass(frozen=True, slots=True, eq=False)
class ScorePath:
    """The path of the scores.

    Attributes:
        contents: Tensor index -> the kinds of values that it contains: {SCORE}, {OTHER} or both.
        tensors: Indices of the tensors on the path.
    """

    graph: Graph
    contents: dict[int, frozenset[str]]
    tensors: frozenset[int]

    def ops(self, kinds: Iterable[str]) -> list[Op]:
        """The operators of these kinds that have an output on the path."""
        return [op for op in self.graph.ops if op.kind in kinds and self.tensors & set(op.outputs)]

    def scores(self, mixed: bool) -> list[Tensor]:
        """The tensors on the path that contain only scores or, if `mixed`, scores and other values."""
        contents = frozenset({SCORE, OTHER}) if mixed else ONLY_SCORES
        return [self.graph.tensors[index] for index in sorted(self.tensors) if self.contents.get(index) == contents]


def score_path(graph: Graph) -> ScorePath:
    """The path of the scores in this graph."""
    contents = _contents(graph)
    path = set(graph.outputs)
    for op in reversed(graph.ops):
        if path & set(op.outputs) and _passes_scores(op, contents):
            path |= {index for index in op.inputs if index is not None}
    return ScorePath(graph, contents, frozenset(path))


def _passes_scores(op: Op, contents: dict[int, frozenset[str]]) -> bool:
    product = op.kind in PRODUCTS and all(contents.get(index) == ONLY_SCORES for index in op.outputs)
    return product or op.kind in DATA_MOVERS | ENDS


def _contents(graph: Graph) -> dict[int, frozenset[str]]:
    contents: dict[int, frozenset[str]] = {}
    for op in graph.ops:
        inputs = [contents.get(t.index, frozenset({OTHER})) for t in graph.op_inputs(op) if not t.constant]
        contents |= dict.fromkeys(op.outputs, _output_contents(graph, op, inputs))
        if op.kind == POST_PROCESS and len(op.outputs) > 2:
            contents[op.outputs[2]] = ONLY_SCORES
    return contents


def _output_contents(graph: Graph, op: Op, inputs: list[frozenset[str]]) -> frozenset[str]:
    if op.kind in MAKERS:
        return ONLY_SCORES
    if op.kind in DATA_MOVERS:
        return frozenset().union(*inputs)
    # a product with a constant may be arbitrarily large; for example, decoding of boxes begins with one
    bounded = op.kind in ("REDUCE_MAX", "TOPK_V2") or not any(tensor.constant for tensor in graph.op_inputs(op))
    scores = op.kind in PRODUCTS and bounded and all(kind == ONLY_SCORES for kind in inputs)
    return frozenset({SCORE if scores else OTHER})


COARSE = 0.02
"""Maximum step of scores: 50 steps for [0, 1], of the 256 that are possible with 8 bits."""
COARSE_LOGITS = 0.05
"""Maximum change that one step of a sigmoid's input may cause in a score at the threshold."""
MIN_HIGH_SCORE, MAX_LOW_SCORE = 0.9, 0.05
"""The range of a sigmoid's input must allow scores at least as high and as low as these."""
MIN_TOP = 0.95
"""Value that the upper end of the range of a tensor with scores must reach."""


def head_warnings(graph: Graph, name: str, has_class_column: bool = False, classes: int = 0) -> list[Warning]:
    """Warnings about the head; empty if the scores are floats or are computed outside the file.

    Args:
        has_class_column: Whether an output contains class numbers beside boxes and scores, as in end-to-end heads.
        classes: Number of classes; 0 if it is unknown.
    """
    path = score_path(graph)
    shared = list(_class_shares_scale(path, name, classes)) if has_class_column else []
    shared = shared or list(_shared_concat_scale(path, name)) or list(_boxes_share_scale(path, name))
    coarse = [] if shared else list(_score_resolution(path, name))  # the warning about the scale also states the step
    return [*shared, *coarse, *_sigmoid_saturated(path, name), *_scores_below_one(path, name)]


IF_CONFIRMED = "If qviz diagnose confirms that this costs objects:"
"""Words before a cure. Only an experiment shows whether a problem that is visible in the file costs objects."""
SEPARATE = "build it with qviz quantize --recipe int8 --cures split_head from the float file"
KEEP_IN_FLOAT = (
    "keep this operator and those after it in float (qviz diagnose FLOAT32 VARIANT --images PATH --fix"
    " --calibration PATH -o FILE finds them in the float file, builds and measures; by hand: qviz quantize"
    " --keep-operators)"
)
JOINS = ("CONCATENATION", "PACK")
AFTER_JOIN = ("DEQUANTIZE", "QUANTIZE", "TRANSPOSE")
"""Operators that may follow the concatenation in a head that can be split."""
MAX_CLASS_NUMBER = 100
"""If the number of classes is unknown, a range that ends at a whole number up to this may be that of class numbers."""
MIN_PIXELS = 16
"""If the range of the boxes' tensor ends above this value, the boxes are assumed to be in pixels."""
NORMALISED = 2.0
"""Largest coordinate of boxes in fractions of the image. It is above 1, because boxes may extend beyond the image."""


def _separate(path: ScorePath, op: Op) -> str:
    """The cure that splits the head at the concatenation `op`; empty if other operators than `AFTER_JOIN` follow it."""
    tensor = path.graph.outputs[0] if len(path.graph.outputs) == 1 else None
    for _ in path.graph.ops:  # at most as often as there are operators, because a file may contain a cycle
        if tensor is None or tensor == op.outputs[0]:
            break
        last = path.graph.producer(tensor)
        tensor = last.inputs[0] if last is not None and last.kind in AFTER_JOIN else None
    return f"{SEPARATE}, " if tensor == op.outputs[0] else ""


def _class_shares_scale(path: ScorePath, name: str, classes: int) -> Iterator[Warning]:
    """A warning if box, score and class number share a scale that the class number or the box determines."""
    joined = [op for op in path.ops(JOINS) if _step(path.graph.tensors[op.outputs[0]]) > COARSE]
    if not joined:
        return
    op = max(joined, key=lambda op: (_step(path.graph.tensors[op.outputs[0]]), op.order))
    tensor = path.graph.tensors[op.outputs[0]]
    (low, high), step = _range(tensor), _step(tensor)
    class_is_widest = abs(high - round(high)) < 0.01 * step + 1e-3 and round(high) < (classes or MAX_CLASS_NUMBER)
    widest = "the class number" if class_is_widest else "the box, in pixels"
    boxes = "" if class_is_widest else ", with boxes normalised to [0, 1]"
    yield Warning(
        "class_index_shares_scale",
        f"In {name}, box, score and class number share one scale ({_operator(op)}), set by {widest}: range"
        f" [{low:.3g}, {high:.3g}], steps of {step:.2g}. Scores between 0 and 1 get {step_count(1 / step)} of"
        f" {2 ** _bits(tensor)} steps, and a class number can come out as another one.",
        f"{IF_CONFIRMED} export the head without its end-to-end selection{boxes}, or {KEEP_IN_FLOAT}.",
        name,
        operators=(op.order,),
    )


def _boxes_share_scale(path: ScorePath, name: str) -> Iterator[Warning]:
    """A warning if boxes are concatenated with values of a far wider range, such as logits."""
    for op in path.ops(JOINS):
        step = _step(tensor := path.graph.tensors[op.outputs[0]])
        for part in path.graph.op_inputs(op):
            ends = (
                None if part.constant or path.contents.get(part.index) == ONLY_SCORES else _computed_range(path, part)
            )
            if step > COARSE and ends is not None and ends[0] >= -NORMALISED and ends[1] <= NORMALISED:
                low, high = _range(tensor)
                yield Warning(
                    "boxes_share_scale",
                    f"{name} concatenates values within [{ends[0]:.3g}, {ends[1]:.3g}], such as boxes, with values of a"
                    f" wider range on one scale ({_operator(op)}): range [{low:.3g}, {high:.3g}], so the small ones"
                    f" get {step_count((ends[1] - ends[0]) / step)} of {2 ** _bits(tensor)} steps.",
                    f"{IF_CONFIRMED} {_separate(path, op)}export them as separate outputs, or {KEEP_IN_FLOAT}.",
                    name,
                    operators=(op.order,),
                )
                return


def _computed_range(path: ScorePath, tensor: Tensor) -> tuple[float, float] | None:
    """(lowest, highest) value that a tensor's operator can compute from the ranges of its inputs; None if unknown."""
    op = path.graph.producer(tensor.index)
    while op is not None and op.kind in DATA_MOVERS - set(JOINS) and op.inputs and op.inputs[0] is not None:
        op = path.graph.producer(op.inputs[0])
    if op is not None and op.kind in JOINS:
        parts = [_computed_range(path, part) for part in path.graph.op_inputs(op)]
        known_ranges = [ends for ends in parts if ends is not None]
        all_known = known_ranges and len(known_ranges) == len(parts)
        return (min(low for low, _ in known_ranges), max(high for _, high in known_ranges)) if all_known else None
    inputs = list(path.graph.op_inputs(op)) if op is not None else []
    if op is None or op.kind not in ("ADD", "SUB", "MUL") or len(inputs) != 2 or not all(map(_step, inputs)):
        return None
    (a, b), (c, d) = map(_range, inputs)
    results = {"ADD": (a + c, b + d), "SUB": (a - d, b - c), "MUL": (a * c, a * d, b * c, b * d)}[op.kind]
    if not _step(tensor):
        return min(results), max(results)
    own_low, own_high = _range(tensor)
    return max(min(results), own_low), min(max(results), own_high)


def _shared_concat_scale(path: ScorePath, name: str) -> Iterator[Warning]:
    """A warning if boxes and scores are concatenated with a common scale, which the boxes determine."""
    mixed = {tensor.index for tensor in path.scores(mixed=True)}
    joined = [op for op in path.ops(JOINS) if op.outputs[0] in mixed]
    worst = max(joined, key=lambda op: _step(path.graph.tensors[op.outputs[0]]), default=None)
    if worst is None or (step := _step(tensor := path.graph.tensors[worst.outputs[0]])) <= COARSE:
        return
    low, high = _range(tensor)
    pixels = "normalise boxes to [0, 1], or " if high > MIN_PIXELS else ""
    yield Warning(
        "shared_concat_scale",
        f"{name} concatenates scores and boxes on one scale ({_operator(worst)}). Its range is [{low:.3g}, {high:.3g}],"
        f" so scores between 0 and 1 get {step_count(1 / step)} of {2 ** _bits(tensor)} steps.",
        f"{IF_CONFIRMED} {_separate(path, worst)}export boxes and scores as separate outputs, or"
        f" {pixels}{KEEP_IN_FLOAT}.",
        name,
        operators=(worst.order,),
    )


def _score_resolution(path: ScorePath, name: str) -> Iterator[Warning]:
    """A warning if scores have too few steps, either of their own tensor or of the sigmoid's input."""
    cure = "Keep the last operators in float or 16 bits, or give the scores their own range."
    tensor = max(path.scores(mixed=False), key=_step, default=None)
    if tensor is not None and _step(tensor) > COARSE:
        yield Warning(
            "score_resolution",
            f"Scores of {name} have steps of {_step(tensor):.2g} (tensor {tensor.name[-60:]}); the threshold is"
            f" {PAGE_SCORE:g}.",
            cure,
            name,
            operators=_makers(path, tensor),
        )
        return
    op = max(_sigmoids(path), key=lambda op: _step(_logits(path, op)), default=None)
    change = 0.0 if op is None else _step(_logits(path, op)) * PAGE_SCORE * (1 - PAGE_SCORE)
    if op is not None and change > COARSE_LOGITS:
        low, high = _range(_logits(path, op))
        yield Warning(
            "score_resolution",
            f"One step of the sigmoid's input in {name} ({_operator(op)}, range [{low:.3g}, {high:.3g}]) changes a"
            f" score by {change:.2g} at the threshold of {PAGE_SCORE:g}.",
            cure,
            name,
            operators=(op.order,),
        )


def _sigmoid_saturated(path: ScorePath, name: str) -> Iterator[Warning]:
    """A warning if the range of a sigmoid's input limits the scores, for the sigmoid with the narrowest range."""
    ends = {op.order: tuple(map(_sigmoid, _range(_logits(path, op)))) for op in _sigmoids(path)}
    op = min(_sigmoids(path), key=lambda op: ends[op.order][1] - ends[op.order][0], default=None)
    if op is None or (ends[op.order][0] <= MAX_LOW_SCORE and ends[op.order][1] >= MIN_HIGH_SCORE):
        return
    (first, last), (low, high) = ends[op.order], _range(_logits(path, op))
    yield Warning(
        "sigmoid_saturated",
        f"Scores of {name} are limited to [{first:.2f}, {last:.2f}], because the range of the sigmoid's input"
        f" ({_operator(op)}) is [{low:.3g}, {high:.3g}].",
        "Calibrate with images of clear objects and of plain background, and choose another threshold than for FP32.",
        name,
        operators=(op.order,),
    )


def _scores_below_one(path: ScorePath, name: str) -> Iterator[Warning]:
    """A warning if the range of scores ends far below 1, e.g. because no calibration image shows a clear object."""
    tensors = [tensor for mixed in (False, True) for tensor in path.scores(mixed) if _step(tensor) > 0]
    lowest = min(tensors, key=lambda tensor: _range(tensor)[1], default=None)
    if lowest is not None and (high := _range(lowest)[1]) < MIN_TOP:
        yield Warning(
            "scores_below_one",
            f"Scores of {name} are clipped at {high:.2g}, the upper end of tensor {lowest.name[-60:]}.",
            "Calibrate with images of clear objects. A sigmoid's output normally has scale 1/256.",
            name,
            operators=_makers(path, lowest),
        )


def _makers(path: ScorePath, tensor: Tensor) -> tuple[int, ...]:
    op = path.graph.producer(tensor.index)
    return () if op is None else (op.order,)


def _sigmoids(path: ScorePath) -> list[Op]:
    """The sigmoids on the path whose input is quantized."""
    return [op for op in path.ops({"LOGISTIC"}) if op.inputs and op.inputs[0] is not None and _step(_logits(path, op))]


def _logits(path: ScorePath, op: Op) -> Tensor:
    assert op.inputs[0] is not None, "`_sigmoids` leaves the others out"
    return path.graph.tensors[op.inputs[0]]


def _step(tensor: Tensor) -> float:
    """The scale of a tensor; 0 for floats, and if the file has no usable scale."""
    quantization = tensor.quantization
    if quantization is None or not tensor.quantized or quantization.per_channel or tensor.dtype not in _BITS:
        return 0.0
    scale = float(quantization.scales[0])
    return scale if math.isfinite(scale) and scale > 0 else 0.0


_BITS = {"int8": 8, "uint8": 8, "int16": 16}


def _bits(tensor: Tensor) -> int:
    return _BITS[tensor.dtype]


def _range(tensor: Tensor) -> tuple[float, float]:
    assert tensor.quantization is not None, "only called for tensors with a step"
    return tensor.quantization.real_range(tensor.dtype)


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -60, 60))))


def _operator(op: Op) -> str:
    return f"{op.kind}, operator {op.order}"
