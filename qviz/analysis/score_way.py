"""Where a network's scores go: from the operator that makes them to the graph's outputs.

score   a value in [0, 1]: what LOGISTIC and SOFTMAX make, and products and maxima of such
way     the tensors from there to the outputs (or to the inputs of a post-process), through operators that move values
        and leave them as they are. A LOGISTIC inside the network (SiLU) is on no way.
One pass along the operators and one back: the file's order is the order of running.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qviz.decoders.post_process import KIND as POST_PROCESS
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
