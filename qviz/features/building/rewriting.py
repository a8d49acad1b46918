"""Operators of the float file that are replaced before it is quantized, because they have no integer kernel.

kind        replaced by                     for
ADD_N       ADD, if it has two inputs       all integer recipes
SQUARE      MUL                             all integer recipes
HARD_SWISH  x * (relu6(x + 3) / 6)          operators with 16-bit activations; there is a kernel for 8 bits

The float values stay the same. The ranges of new tensors follow from the range of x, so nothing is measured again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import REWRITTEN
from qviz.features.building.source import with_unique_tensor_names
from qviz.structures import Graph, Op
from qviz.tflite.edit import add_constant, add_tensor, binary_operator, packed, unpacked
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import INTEGER_FORM

SHIFT, LIMIT = 3.0, 6.0
"""The constants in the formula of HARD_SWISH (TensorFlow Lite's operator reference)."""


@dataclass(frozen=True, slots=True, eq=False)
class Rewritten:
    """A float file in which some operators were replaced by others.

    Attributes:
        data, graph: The file and its graph, with unique tensor names.
        origins: For each operator of the new file, the index of the operator of the given file that it comes from.
        calibration: The ranges, also of the new tensors.
    """

    data: bytes
    graph: Graph
    origins: tuple[int, ...]
    calibration: Calibration | None

    def orders(self, given: Collection[int]) -> list[int]:
        """Indices in the new file of the operators that come from these operators of the given file."""
        return [order for order, origin in enumerate(self.origins) if origin in given]


def rewritten(
    data: bytes, graph: Graph, integers: Collection[int], wide: Collection[int], calibration: Calibration | None
) -> Rewritten:
    """The float file with the operators replaced that the table above names.

    Args:
        graph: The graph of `data`, with unique tensor names.
        integers: Operators that are to compute on integers.
        wide: Those of them with 16-bit activations.
    """
    chosen = [op for op in graph.ops if op.order in integers and _is_replaced(op, wide)]
    origins = [op.order for op in graph.ops for _ in range(3 if op.kind == "HARD_SWISH" and op in chosen else 1)]
    if not chosen:
        return Rewritten(data, graph, tuple(origins), calibration)
    model = unpacked(data)
    subgraph = model.subgraphs[0]
    for tensor, named in zip(subgraph.tensors, graph.tensors, strict=True):
        tensor.name = named.name.encode()
    ranges = {} if calibration is None else dict(calibration.ranges)
    operators = []
    for op, old in zip(graph.ops, subgraph.operators, strict=True):
        operators += _replacement(model, graph, op, ranges) if op in chosen else [old]
    subgraph.operators = operators
    result = packed(model)
    completed = None if calibration is None else replace(calibration, ranges=ranges)
    return Rewritten(result, with_unique_tensor_names(read_graph(result)), tuple(origins), completed)


def _is_replaced(op: Op, wide: Collection[int]) -> bool:
    if op.kind == "HARD_SWISH":
        return op.order in wide
    return op.kind in REWRITTEN and len(op.inputs) <= 2


def _replacement(model: Any, graph: Graph, op: Op, ranges: dict[str, tuple[float, float]]) -> list[Any]:
    """The operators that replace one. Adds inner tensors to `model` and their ranges to `ranges`."""
    if op.kind == "HARD_SWISH":
        return _hard_swish(model, graph, op, ranges)
    inputs = [index or 0 for index in (op.inputs * 2)[:2]]  # SQUARE reads its input twice
    return [binary_operator(model, INTEGER_FORM[op.kind], inputs, op.outputs[0])]


def _hard_swish(model: Any, graph: Graph, op: Op, ranges: dict[str, tuple[float, float]]) -> list[Any]:
    """The three operators for a HARD_SWISH. Adds their inner tensors to `model` and the tensors' ranges to `ranges`."""
    entry, output = op.inputs[0] or 0, op.outputs[0]
    name = graph.tensors[output].name
    shifted, gate = (add_tensor(model, f"{name}/{part}", like=entry) for part in ("shifted", "gate"))
    three = add_constant(model, f"{name}/3", np.array([SHIFT], np.float32))
    sixth = add_constant(model, f"{name}/6", np.array([1 / LIMIT], np.float32))
    if (ends := ranges.get(graph.tensors[entry].name)) is not None:
        low, high = (min(max(end + SHIFT, 0.0), LIMIT) for end in ends)
        ranges[f"{name}/shifted"], ranges[f"{name}/gate"] = (low, high), (low / LIMIT, high / LIMIT)
    return [
        binary_operator(model, "ADD", [entry, three], shifted, "RELU6"),
        binary_operator(model, "MUL", [shifted, sixth], gate),
        binary_operator(model, "MUL", [entry, gate], output),
    ]
