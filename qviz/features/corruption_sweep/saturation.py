"""Find layers that exceed their calibrated ranges under a corruption, and measure how much of the loss they explain.

share         share of a layer's activations, over all images, that the layer's range clips (see `out_of_range`); in
              [0, 1]
rise          share minus the share on the images without corruption
first         lowest severity at which the rise reaches `MIN_RISE`
clipped_share mean of the layers' shares: all layers have the same weight, so that large ones do not hide small ones

A clipped output affects the operators that read it, so `explain` runs these in float together with the layer (see
`what_if`). Both networks receive the corrupted images, so what the reference itself loses is not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.features.corruption_sweep.out_of_range import LAYER_NAMES, NO_IMAGE, RangeReach, reach_job
from qviz.features.corruption_sweep.result import CLEAN, Robustness
from qviz.features.detection.inference import results_in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.features.what_if import what_if
from qviz.features.what_if.sets import Orders, with_conversions
from qviz.structures import AppliedCorruption, EncodedImage, Graph

MIN_RISE = 0.01
"""A layer saturates if its rise is at least this: one more clipped activation in a hundred than without corruption."""

Corruptions = Sequence[AppliedCorruption | None]
"""The conditions of a measurement. None stands for the image without corruption and comes first."""


@dataclass(frozen=True, slots=True)
class LayerSaturation:
    """The clipped shares of one layer.

    Attributes:
        shares: Clipped share under each entry of `Saturation.corruptions`.
        rise: The largest rise over all corruptions.
        first: See the module; None if the rise never reaches `MIN_RISE`.
    """

    op_index: int
    tensor: str
    op_type: str
    shares: tuple[float, ...]
    rise: float
    first: float | None

    JSON_NAMES: ClassVar = LAYER_NAMES


@dataclass(frozen=True, slots=True, eq=False)
class Saturation:
    """The clipped shares of one variant's layers, in the variant's order; no layers if no activation is quantized."""

    variant: str
    images: int
    corruptions: tuple[AppliedCorruption | None, ...]
    layers: tuple[LayerSaturation, ...]
    skipped: tuple[str, ...] = ()

    JSON_NAMES: ClassVar = {"variant": "model", "corruptions": None, "skipped": None}
    JSON_ALSO: ClassVar = ("shifts",)

    @property
    def shifts(self) -> list[dict[str, Any]]:
        """The corruptions in the form used in JSON."""
        return [
            {"corruption": CLEAN, "severity": 0} if row is None else {"corruption": row.name, "severity": row.amount}
            for row in self.corruptions
        ]

    def clipped_share(self, corruption: AppliedCorruption | None) -> float | None:
        """Mean over the layers; None if no activation is quantized or the corruption was not run."""
        if not self.layers or corruption not in self.corruptions:
            return None
        position = self.corruptions.index(corruption)
        return float(np.mean([layer.shares[position] for layer in self.layers]))

    def first_layers(self, count: int) -> tuple[LayerSaturation, ...]:
        """At most `count` layers that saturate, sorted by `first` and then by falling rise."""
        reached = [layer for layer in self.layers if layer.first is not None]
        return tuple(sorted(reached, key=lambda layer: (layer.first or 0, -layer.rise, layer.op_index))[:count])

    def under(self, name: str) -> Saturation:
        """This result, limited to the clean images and to one corruption at all its severities."""
        chosen = [i for i, row in enumerate(self.corruptions) if row is None or row.name == name]
        corruptions = tuple(self.corruptions[i] for i in chosen)
        layers = tuple(_with_shares(layer, corruptions, [layer.shares[i] for i in chosen]) for layer in self.layers)
        return replace(self, corruptions=corruptions, layers=layers)


def saturation(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    corruptions: Sequence[AppliedCorruption],
) -> Saturation:
    """The clipped share of every layer of a variant, under every corruption and without corruption.

    Raises:
        Cancelled, ImageError, ModelError, WorkerError: No image can be read, or a model has no layers.
    """
    pair = pair_of(reference, variant)
    conditions: tuple[AppliedCorruption | None, ...] = (None, *corruptions)

    def submit(image: EncodedImage) -> list[Future[tuple[RangeReach, ...]]]:
        return [context.engine.submit(reach_job, pair, image.under(corruption)) for corruption in conditions]

    reaches: dict[int, list[list[RangeReach]]] = defaultdict(lambda: [[] for _ in conditions])
    skipped: list[str] = []
    for _, measured in results_in_order(context, images, submit, skipped, NO_IMAGE):
        for position, layers_of in enumerate(measured):
            for layer in layers_of:
                reaches[layer.op_index][position].append(layer)
    layers = tuple(_pooled(conditions, rows) for _, rows in sorted(reaches.items()))
    return Saturation(variant.name, len(images) - len(skipped), conditions, layers, tuple(skipped))


def _pooled(corruptions: Corruptions, rows: Sequence[Sequence[RangeReach]]) -> LayerSaturation:
    """The clipped shares of one layer. `rows` has one row per corruption, with one entry per image."""
    layer = next(reach for row in rows for reach in row)
    shares = [sum(each.below + each.above for each in row) / max(1, sum(each.count for each in row)) for row in rows]
    return _with_shares(
        LayerSaturation(layer.op_index, layer.tensor, layer.op_type, (), 0.0, None), corruptions, shares
    )


def _with_shares(layer: LayerSaturation, corruptions: Corruptions, shares: Sequence[float]) -> LayerSaturation:
    rises = [share - shares[0] for share in shares]
    reached = [
        corruption.amount
        for corruption, rise in zip(corruptions, rises, strict=True)
        if corruption is not None and rise >= MIN_RISE
    ]
    return replace(layer, shares=tuple(shares), rise=max(rises), first=min(reached, default=None))


def with_clipping(result: Robustness, saturations: Mapping[str, Saturation]) -> Robustness:
    """The sweep with `clipped_share` filled in for every point of the variants in `saturations` (by name)."""
    points = tuple(
        replace(
            point,
            clipped_share=saturations[point.model].clipped_share(
                None if point.corruption == CLEAN else AppliedCorruption(point.corruption, point.severity)
            ),
        )
        if point.model in saturations
        else point
        for point in result.points
    )
    return replace(result, points=points)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The contribution of saturated layers to the loss under one corruption.

    Attributes:
        layers, operators: Number of saturated layers, and number of operators that run in float because of them.
        base: Agreement with the reference under the corruption, in [0, 1]; None if neither model has an object.
        agreement: The same with these operators in float.
        explained: Share of the lost agreement that is recovered; None if nothing is lost.
    """

    corruption: AppliedCorruption
    layers: int
    operators: int
    base: float | None
    agreement: float | None
    explained: float | None


def explain(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    corruption: AppliedCorruption,
    layers: Sequence[int],
    score: float = PAGE_SCORE,
) -> Explanation:
    """Run saturated layers, given by operator index, and their readers in float. Raises the errors of `what_if`."""
    operators = with_readers(variant.inspection.graph, layers)
    corrupted = [image.under(corruption) for image in images]
    result = what_if(context, reference, variant, corrupted, sets=[operators], score=score)
    (row,) = result.sets
    return Explanation(corruption, len(layers), len(operators), result.base, row.agreement, row.explained)


def with_readers(graph: Graph, layers: Iterable[int]) -> Orders:
    """The set of these operators, the operators that read their outputs, and the conversions between them, by index."""
    indices = set(layers)
    written = {tensor for op in graph.ops if op.order in indices for tensor in op.outputs}
    readers = {op.order for op in graph.ops if written & set(op.inputs)}
    return with_conversions(graph, frozenset(indices | readers))
