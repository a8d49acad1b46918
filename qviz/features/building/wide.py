"""16-bit activations for some operators of an int8 file.

HARD_SWISH has no 16-bit kernel. A HARD_SWISH among the chosen operators is therefore replaced in the float file by
three operators that have one: x * (relu6(x + 3) / 6). Their ranges follow from the range of x, so nothing is measured
again.

If only 16-bit operators write and read a tensor, its range is from the smallest to the largest value on any image,
because 16-bit steps are fine enough. If an 8-bit operator uses it too, it keeps the range of the calibration's method.

After building, the type of every chosen operator is read from the file; operators that litert-quantizer left at 8 bits
are not reported as wide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qviz.features.building.biases import partners
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import REWRITTEN
from qviz.features.building.source import with_unique_tensor_names
from qviz.structures import Graph, Op
from qviz.tflite.edit import add_constant, add_tensor, binary_operator, packed, unpacked
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import wide_orders

SHIFT, LIMIT = 3.0, 6.0
"""The constants in the formula of HARD_SWISH (TensorFlow Lite's operator reference)."""


def with_wide_ranges(graph: Graph, wide: Collection[int], calibration: Calibration | None) -> Calibration | None:
    """The calibration, changed so that tensors that only wide operators use have their extremes as ranges.

    graph: the float graph, with unique tensor names.
    """
    if calibration is None or not wide:
        return calibration
    written = {index for order in wide for index in graph.ops[order].outputs}
    border = {index for op in graph.ops if op.order not in wide for index in op.inputs}
    inner = {graph.tensors[index].name for index in written - border}
    extremes = {name: ends for name, ends in calibration.extremes.items() if name in inner}
    return replace(calibration, ranges=calibration.ranges | extremes)


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


def rewritten(data: bytes, graph: Graph, wide: Collection[int], calibration: Calibration | None) -> Rewritten:
    """The float file with each HARD_SWISH among the wide operators replaced by ADD with RELU6, MUL and MUL.

    graph: the graph of `data`, with unique tensor names.
    """
    chosen = [graph.ops[order] for order in sorted(wide) if graph.ops[order].kind in REWRITTEN]
    origins = [op.order for op in graph.ops for _ in range(3 if op in chosen else 1)]
    if not chosen:
        return Rewritten(data, graph, tuple(origins), calibration)
    model = unpacked(data)
    subgraph = model.subgraphs[0]
    for tensor, named in zip(subgraph.tensors, graph.tensors, strict=True):
        tensor.name = named.name.encode()
    ranges = {} if calibration is None else dict(calibration.ranges)
    operators = []
    for op, old in zip(graph.ops, subgraph.operators, strict=True):
        operators += _hard_swish(model, graph, op, ranges) if op in chosen else [old]
    subgraph.operators = operators
    result = packed(model)
    completed = None if calibration is None else replace(calibration, ranges=ranges)
    return Rewritten(result, with_unique_tensor_names(read_graph(result)), tuple(origins), completed)


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


def built_wide(built: Graph, source: Rewritten, wide: Collection[int]) -> tuple[int, ...]:
    """Indices, in the given float file, of the wide operators that the built file computes in 16 bits.

    built: graph of the file built from `source`. An operator that was replaced counts if all its parts are wide.
    """
    sixteen = set(wide_orders(built))
    narrow = {source.origins[partner.order] for order, partner in partners(built, source.graph) if order not in sixteen}
    paired = {source.origins[partner.order] for _, partner in partners(built, source.graph)}
    return tuple(sorted(order for order in wide if order in paired - narrow))


def narrow_kinds(graph: Graph, wide: Collection[int], result: Collection[int]) -> Iterator[str]:
    """Kinds of the wide operators that stayed at 8 bits, each once, in alphabetical order."""
    yield from sorted({graph.ops[order].kind for order in wide if order not in result})
