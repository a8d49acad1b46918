"""Folding: chains, and branches between fork and join, become blocks; the folded graph has no cycle."""

from __future__ import annotations

import random

import pytest

from qviz.features.layer_error.graph import MAX_OPERATORS, fold, readers
from qviz.structures import Graph, Op
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.graphs import graph, op, tensor


def network(*rows: tuple[str, tuple[int, ...]], constants: int = 0) -> Graph:
    """One row per operator: its type and the tensors it reads. Operator i writes tensor i + 1; constants follow."""
    count = len(rows)
    tensors = [tensor(i, constant=i > count) for i in range(count + 1 + constants)]
    return graph(tensors, (count,), [op(kind, reads, (i + 1,)) for i, (kind, reads) in enumerate(rows)])


CONV = "CONV_2D"


@pytest.mark.parametrize(
    ("rows", "members", "edges"),
    [
        # a chain is cut after three operators with weights
        ([(CONV, (0,)), (CONV, (1,)), (CONV, (2,)), (CONV, (3,))], [(0, 1, 2), (3,)], [(0, 1)]),
        # an operator without weights joins the block before it
        ([(CONV, (0,)), ("RELU", (1,)), (CONV, (2,)), (CONV, (3,)), ("RELU", (4,))], [(0, 1, 2, 3, 4)], []),
        # a residual block: from behind the fork to the join, and the activation after it
        (
            [(CONV, (0,)), (CONV, (1,)), (CONV, (2,)), ("ADD", (3, 1)), ("RELU", (4,)), (CONV, (5,))],
            [(0,), (1, 2, 3, 4), (5,)],
            [(0, 1), (1, 2)],
        ),
        # a SiLU has no weights: it goes with its convolution
        ([(CONV, (0,)), ("LOGISTIC", (1,)), ("MUL", (1, 2)), (CONV, (3,))], [(0, 1, 2, 3)], []),
        # a conversion joins the block that computes its input, also on a branch
        (
            [(CONV, (0,)), ("DEQUANTIZE", (1,)), (CONV, (1,)), (CONV, (1,))],
            [(0, 1), (2,), (3,)],
            [(0, 1), (0, 2)],
        ),
        # two heads that do not meet again
        ([(CONV, (0,)), (CONV, (1,)), (CONV, (1,)), ("RELU", (3,))], [(0,), (1,), (2, 3)], [(0, 1), (0, 2)]),
    ],
)
def test_blocks(
    rows: list[tuple[str, tuple[int, ...]]], members: list[tuple[int, ...]], edges: list[tuple[int, int]]
) -> None:
    folded = fold(network(*rows))
    assert list(folded.members) == members
    assert list(folded.edges) == edges


def test_operators_on_constants_are_omitted() -> None:
    unfolded = network(("DEQUANTIZE", (3,)), (CONV, (0, 1)), constants=1)
    assert readers(unfolded) == {1: ()}
    assert fold(unfolded).members == ((1,),)


def test_an_opened_block_is_shown_as_its_operators() -> None:
    residual = network((CONV, (0,)), (CONV, (1,)), (CONV, (2,)), ("ADD", (3, 1)))
    assert fold(residual).members == ((0,), (1, 2, 3))
    opened = fold(residual, opened=(2,))
    assert opened.members == ((0,), (1,), (2,), (3,))
    assert opened.edges == ((0, 1), (0, 3), (1, 2), (2, 3))


def test_folding_never_makes_a_cycle_nor_loses_an_operator() -> None:
    draw = random.Random(4)
    kinds = [CONV, "ADD", "RELU", "QUANTIZE", "DEQUANTIZE", "MUL"]
    for _ in range(200):
        count = draw.randint(1, 40)
        rows = []
        for i in range(count):
            kind = draw.choice(kinds)
            reads = sorted(
                {max(0, i - draw.randint(0, 4)) for _ in range(1 if "QUANT" in kind else draw.randint(1, 2))}
            )
            rows.append((kind, tuple(reads)))
        folded = fold(network(*rows))
        assert sorted(order for members in folded.members for order in members) == list(range(count))
        assert all(first < second for first, second in folded.edges)  # ascending numbers, so there is no cycle
        assert max(map(len, folded.members)) <= MAX_OPERATORS


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic_range", "int8"])
def test_the_sample_has_the_same_blocks_in_every_scheme(sample: Sample, name: str) -> None:
    read = read_graph(sample.models[name].read_bytes())
    folded = fold(read)
    assert len(folded.members) == 38  # of 125 to 307 operators, the same blocks whatever the scheme
    ops: list[Op] = [read.ops[order] for members in folded.members for order in members]
    assert sum(op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") for op in ops) == 88
