"""Find for each layer of a variant the same layer of the reference.

Evidence, strongest first. A pair never contradicts an earlier one, and two pairs never cross in the dataflow:
1. weights: the absolute correlation of the two layers' weights is above .9, and neither layer has another match;
2. context: everything before and after both operators is the same (kinds, shapes, connections);
3. names: their outputs have the same name without converters' suffixes, and names in general fit the connections;
4. everything before, or everything after, is the same;
5. position: they are neighbours of a pair and the graph leaves no other choice, or they lie between the same pairs.
Conversions (QUANTIZE, DEQUANTIZE) are not layers: they are skipped and do not occur in the result.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.structures import Graph
from qviz.tflite.alignment import Alignment, Flow, Roles, agree, flow_of

SURE, UNLIKE = 0.9, 0.5
"""Absolute Pearson correlation of weights. Above SURE, two layers are the same. Below UNLIKE, they are not the same if
the weights of one of them match another layer."""

FEWEST_WEIGHTS = 16
TRUSTED_NAMES = 0.8
"""Names are trusted if the variant has at least this share of the reference's connections between equally named
operators."""

Pairs = list[tuple[int, int]]
Weights = Mapping[int, np.ndarray]


@dataclass(frozen=True, slots=True)
class LayerPair:
    """One layer of the variant and its partner.

    Attributes:
        order: Index of the operator in the variant's file.
        reference_order: Index of its partner in the reference's file.
        tensor: The operator's first output.
        reference_tensor: The tensor with the same values in FP32: the first output of the partner, or, if the variant
            has an activation or a constant factor fused into this operator, the output of the last operator fused.
        how: The evidence for the pair: `name` if the outputs' names agree, else `graph`.
    """

    order: int
    reference_order: int
    tensor: int
    reference_tensor: int
    how: str


@dataclass(frozen=True, slots=True)
class LayerPairs:
    """The layers of a variant and their partners.

    Attributes:
        pairs: One entry per layer with a partner, sorted by operator index.
        unpaired, unpaired_reference: Operators of the variant, and of the reference, without a partner; conversions are
            not listed.
        paired_share: Share of the reference's operators that have a partner, in [0, 1].
    """

    pairs: tuple[LayerPair, ...]
    unpaired: tuple[int, ...]
    unpaired_reference: tuple[int, ...]
    paired_share: float

    def to_json(self) -> dict[str, object]:
        return {
            "paired_share": self.paired_share,
            "pairs": [{"order": pair.order, "reference_order": pair.reference_order} for pair in self.pairs],
            "unpaired": list(self.unpaired),
        }


def pair_layers(
    reference: Graph,
    variant: Graph,
    reference_weights: Weights | None = None,
    variant_weights: Weights | None = None,
) -> LayerPairs:
    """Pair the operators of two graphs.

    Args:
        reference_weights, variant_weights: Operator -> weights as real numbers; they decide between layers that the
            graphs alone cannot tell apart.

    Raises:
        ModelError: A graph has too many operators.
    """
    first, second = flow_of(reference), flow_of(variant)
    alike = _correlations(first, second, reference_weights or {}, variant_weights or {})
    named = _same_names(reference, first, variant, second)
    alignment = Alignment(first, second, _refuted(alike))
    _align(alignment, _sure(alike), named if _trusted(named, first, second) else [])
    return _result(reference, variant, alignment, set(named))


def _align(alignment: Alignment, weighed: Pairs, named: Pairs) -> None:
    first, second = alignment.reference, alignment.variant
    roles = Roles()
    above = roles.above(first), roles.above(second)
    below = roles.below(first), roles.below(second)
    both = list(zip(above[0], below[0], strict=True)), list(zip(above[1], below[1], strict=True))
    for evidence in (weighed, _unique(*both), named):
        alignment.add(evidence)
    alignment.grow()
    for places in (above, below):
        alignment.add(_unique(*places))
        alignment.grow()
    for pair in _twins(*both):
        if alignment.add([pair]):
            alignment.grow()
    alignment.fill()


def _unique(reference: Sequence[Hashable], variant: Sequence[Hashable]) -> Pairs:
    """Pairs (i, j) of operators whose context occurs exactly once in each graph."""
    return [pair for group in _groups(reference, variant) if len(group) == 1 for pair in group]


def _twins(reference: Sequence[Hashable], variant: Sequence[Hashable]) -> Pairs:
    """Pairs (i, j) of operators whose context occurs equally often in both graphs, matched in the files' order."""
    return [pair for group in _groups(reference, variant) for pair in group]


def _groups(reference: Sequence[Hashable], variant: Sequence[Hashable]) -> Iterator[Pairs]:
    by_role: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, roles in enumerate((reference, variant)):
        for number, role in enumerate(roles):
            by_role[role][side].append(number)
    for left, right in by_role.values():
        if len(left) == len(right):
            yield list(zip(left, right, strict=True))


def _same_names(reference: Graph, first: Flow, variant: Graph, second: Flow) -> Pairs:
    """Pairs (i, j) of operators that may be partners and whose first outputs share a name unique in both graphs."""
    named, variant_named = _by_name(reference, first), _by_name(variant, second)
    return [
        (i, variant_named[name])
        for name, i in named.items()
        if name in variant_named and agree(first, i, second, variant_named[name])
    ]


def _by_name(graph: Graph, flow: Flow) -> dict[str, int]:
    names = [_stem(graph.tensors[op.outputs[0]].name) if op.outputs else "" for op in flow.ops]
    count = Counter(names)
    return {name: number for number, name in enumerate(names) if name and count[name] == 1}


def _stem(name: str) -> str:
    """A tensor's name in the original network: the first of several fused names, without a converter's suffix."""
    return _ENDINGS.sub("", name.split(";")[0])


_ENDINGS = re.compile(r"(_(int8|int16|quantized|quant|requantized|dequantized|dequant))+$")


def _trusted(named: Pairs, first: Flow, second: Flow) -> bool:
    """Whether the variant connects at least TRUSTED_NAMES of the named operators that the reference connects."""
    partner = dict(named)
    edges = [
        (partner[source], partner[number])
        for number in partner
        for source, _ in first.sources[number]
        if source in partner
    ]
    preserved = sum(any(near == source for near, _ in second.sources[number]) for source, number in edges)
    return not edges or preserved >= TRUSTED_NAMES * len(edges)


def _correlations(first: Flow, second: Flow, first_weights: Weights, second_weights: Weights) -> np.ndarray:
    """Absolute Pearson correlation of the weights of every operator pair, (n, m).

    NaN where kinds or shapes differ, and where either operator has too few or constant weights.
    """
    alike = np.full((len(first.ops), len(second.ops)), np.nan)
    left, right = _standardised(first, first_weights), _standardised(second, second_weights)
    for shape in left.keys() & right.keys():
        (rows, a), (columns, b) = left[shape], right[shape]
        alike[np.ix_(rows, columns)] = np.abs(a @ b.T)
    same_role = np.array(first.role)[:, None] == np.array(second.role)[None, :]
    return np.where(same_role, alike, np.nan)


def _standardised(flow: Flow, weights: Weights) -> dict[tuple[int, ...], tuple[list[int], np.ndarray]]:
    """Shape of weights -> (operators with such weights, the weights as rows of mean 0 and length 1)."""
    by_shape: dict[tuple[int, ...], tuple[list[int], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for number, op in enumerate(flow.ops):
        values = weights.get(op.order)
        if values is not None and values.size >= FEWEST_WEIGHTS:
            centred = values.ravel().astype(np.float32) - np.float32(values.mean())
            length = float(np.linalg.norm(centred))
            if np.isfinite(length) and length > 0:
                by_shape[values.shape][0].append(number)
                by_shape[values.shape][1].append(centred / length)
    return {shape: (numbers, np.stack(rows)) for shape, (numbers, rows) in by_shape.items()}


def _sure(alike: np.ndarray) -> Pairs:
    """Pairs (i, j) of operators whose weights correlate above SURE and of which neither has another match."""
    high = np.nan_to_num(alike) > SURE
    alone = high & (high.sum(1) == 1)[:, None] & (high.sum(0) == 1)[None, :]
    return [(int(i), int(j)) for i, j in np.argwhere(alone)]


def _refuted(alike: np.ndarray) -> np.ndarray:
    """(n, m) bool: pairs that are excluded, because their weights differ and one of the two has a match elsewhere.

    Different weights alone do not exclude a pair, because a layer that quantization has ruined must be paired as well.
    """
    high = np.nan_to_num(alike) > SURE
    return (alike < UNLIKE) & (high.any(1)[:, None] | high.any(0)[None, :])


def _result(reference: Graph, variant: Graph, alignment: Alignment, named: set[tuple[int, int]]) -> LayerPairs:
    first, second = alignment.reference, alignment.variant
    pairs = []
    for i, j in alignment.partner.items():
        reference_op, variant_op, last = first.ops[i], second.ops[j], first.ops[alignment.after_fused(i)]
        if reference_op.outputs and variant_op.outputs:
            how = "name" if (i, j) in named else "graph"
            pairs.append(LayerPair(variant_op.order, reference_op.order, variant_op.outputs[0], last.outputs[0], how))
    orders, reference_orders = {pair.order for pair in pairs}, {pair.reference_order for pair in pairs}
    return LayerPairs(
        pairs=tuple(sorted(pairs, key=lambda pair: pair.order)),
        unpaired=tuple(op.order for op in second.ops if op.order not in orders),
        unpaired_reference=tuple(op.order for op in first.ops if op.order not in reference_orders),
        paired_share=len(pairs) / len(first.ops) if first.ops else 1.0,
    )
