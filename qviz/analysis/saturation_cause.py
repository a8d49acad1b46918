"""Whether the layers that leave their range are to blame: what comes back under a shift with them in float.

A layer's clipped output does harm where it is read, so its readers run in float with it; see `what_if` for what in
float means. Both networks see the shifted images: what FP32 itself loses there is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qviz.analysis.float_sets import Orders, with_conversions
from qviz.analysis.models import LoadedModel
from qviz.analysis.what_if import what_if_float
from qviz.detector import PAGE_SCORE
from qviz.engine import Engine
from qviz.structures import EncodedImage, Graph, Shift


@dataclass(frozen=True, slots=True)
class Explanation:
    """Agreement with FP32 under one shift: as it is, with the layers in float, and with all operators in float."""

    shift: str
    layers: int
    operators: int
    base: float
    agreement: float
    explained: float | None

    @property
    def sentence(self) -> str:
        """What the layers are to blame for."""
        said = f"Under {self.shift.replace('_', ' ')} the variant agrees with FP32 by {self.base:.2f}"
        if self.explained is None:
            return f"{said}: nothing is lost to explain."
        return (
            f"{said}, with the {self.layers} first layers and what reads them in float by {self.agreement:.2f}:"
            f" they explain {max(0.0, self.explained):.0%} of the loss."
        )


def explained(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    shift: Shift,
    layers: Sequence[int],
    score: float = PAGE_SCORE,
) -> Explanation:
    """layers: orders of the saturating operators. Raises as `what_if_float` does."""
    orders = with_readers(variant.inspection.graph, layers)
    found = what_if_float(engine, reference, variant, [image.under(shift) for image in images], [orders], score)
    (row,) = found.sets
    return Explanation(str(shift), len(layers), len(orders), found.base, row.agreement, row.explained)


def with_readers(graph: Graph, layers: Iterable[int]) -> Orders:
    """The operators, those that read their outputs, and the conversions between them."""
    wanted = set(layers)
    made = {tensor for op in graph.ops if op.order in wanted for tensor in op.outputs}
    readers = {op.order for op in graph.ops if made & set(op.inputs)}
    return with_conversions(graph, frozenset(wanted | readers))
