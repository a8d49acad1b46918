"""16-bit activations for some operators of an int8 file.

Operators without a 16-bit kernel are replaced by others (`rewriting`) where possible.

If only 16-bit operators write and read a tensor, its range is from the smallest to the largest value on any image,
because 16-bit steps are fine enough. If an 8-bit operator uses it too, it keeps the range of the calibration's method.

After building, the type of every chosen operator is read from the file; operators that litert-quantizer left at 8 bits
are not reported as wide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from qviz.features.building.biases import partners
from qviz.features.building.calibration import Calibration
from qviz.features.building.rewriting import Rewritten
from qviz.structures import Graph
from qviz.tflite.scheme import wide_orders


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
