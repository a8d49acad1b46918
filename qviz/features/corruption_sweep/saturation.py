"""Which layers leave their calibrated ranges as an image gets worse: FP32's activations against the variant's ranges.

share         of a layer's activations, over the images, how many its range clips (see `range_reach`)
rise          share minus the clean images' share
first         layers whose rise reaches `RISE`, by the lowest severity at which it does, then by the largest rise
clipped_share mean over the layers of their shares: each layer counts the same, large ones do not hide small ones

How far FP32's activations reach beyond the variant's calibrated ranges, on one image: only FP32 runs.

A layer is an operator of the variant whose output is quantized per tensor; its range is what its scale and zero point
can say. x is the partner tensor in FP32.
below, above   values clipped at either end; half a step beyond it still rounds to the end and is none
excess         how far the values go beyond (the lower, the upper) end and that half step, in widths of the range

Whether the layers that leave their range are to blame: what comes back under a shift with them in float.

A layer's clipped output does harm where it is read, so its readers run in float with it; see `what_if` for what in
float means. Both networks see the shifted images: what FP32 itself loses there is not counted.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.context import Context
from qviz.detector import PAGE_SCORE, decoded
from qviz.engine import Blob, Engine
from qviz.errors import ImageError, ModelError
from qviz.features.corruption_sweep.result import CLEAN, Robustness
from qviz.features.detection.inference import in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.what_if import what_if_float
from qviz.features.what_if.sets import Orders, with_conversions
from qviz.progress import OnProgress, silent
from qviz.structures import AppliedCorruption, EncodedImage, Graph, Settings, Tensor
from qviz.tflite.paired_networks import paired_networks

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class RangeReach:
    """One layer; value_range: (lowest, highest) real number that the variant can say."""

    order: int
    tensor: str
    op_kind: str
    value_range: tuple[float, float]
    count: int
    below: int
    above: int
    excess: tuple[float, float]

    @property
    def share(self) -> float:
        """Of the values, how many are clipped."""
        return (self.below + self.above) / self.count if self.count else 0.0


def reach_job(
    reference: Blob, variant: Blob, settings: tuple[Settings, Settings], image: EncodedImage
) -> tuple[RangeReach, ...]:
    """In a worker: every layer on one image, in the variant's order. Empty where no activation is quantized."""
    networks = paired_networks(reference, variant, settings)
    tensors = networks.variant.graph.tensors
    layers = [op for op in networks.layers if _ranged(tensors[op.outputs[0]])]
    if not layers:
        return ()
    wanted: dict[int, list[int]] = {}
    for number, op in enumerate(layers):
        wanted.setdefault(networks.partners[op.outputs[0]], []).append(number)
    found: dict[int, RangeReach] = {}

    def see(partner: int, values: np.ndarray) -> np.ndarray:
        for number in wanted.get(partner, ()):
            op = layers[number]
            found[number] = _reach(op.order, op.kind, tensors[op.outputs[0]], values)
        return values

    first, _ = networks.inputs(decoded(image))
    see(networks.reference.graph.inputs[0], first)
    networks.reference.run([first], replace=see)
    return tuple(found[number] for number in sorted(found))


def _ranged(tensor: Tensor) -> bool:
    return tensor.quantized and tensor.quantization is not None and not tensor.quantization.per_channel


def _reach(order: int, kind: str, tensor: Tensor, values: np.ndarray) -> RangeReach:
    assert tensor.quantization is not None, "layers without a range were left out"
    low, high = tensor.quantization.real_range(tensor.dtype)
    half = float(tensor.quantization.scales[0]) / 2
    least, most = (float(values.min()), float(values.max())) if values.size else (low, high)
    beyond = max(0.0, low - half - least), max(0.0, most - high - half)
    below = int(np.count_nonzero(values < low - half)) if beyond[0] else 0
    above = int(np.count_nonzero(values > high + half)) if beyond[1] else 0
    width = max(high - low, 1e-12)
    excess = beyond[0] / width, beyond[1] / width
    return RangeReach(order, tensor.name, kind, (low, high), int(values.size), below, above, excess)


RISE = 0.01
"""One activation in a hundred more than on the clean images."""
IMAGES = 8


@dataclass(frozen=True, slots=True)
class LayerSaturation:
    """One layer; shares: a row a shift, as in `Saturation.shifts`. first: the severity from which it saturates."""

    order: int
    tensor: str
    op_kind: str
    shares: tuple[float, ...]
    rise: float
    first: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Saturation:
    """One variant. shifts: None is the clean image; layers: in the variant's order, empty without quantized ones."""

    variant: str
    images: int
    shifts: tuple[AppliedCorruption | None, ...]
    layers: tuple[LayerSaturation, ...]
    skipped: tuple[str, ...] = ()

    def clipped_share(self, shift: AppliedCorruption | None) -> float | None:
        """Mean over the layers, None where nothing is quantized or the shift was not run."""
        if not self.layers or shift not in self.shifts:
            return None
        at = self.shifts.index(shift)
        return float(np.mean([layer.shares[at] for layer in self.layers]))

    def first(self, corruption: str | None = None, most: int = 10) -> tuple[LayerSaturation, ...]:
        """The first layers to saturate, under one corruption or under any."""
        layers = (self if corruption is None else self.under(corruption)).layers
        reached = [layer for layer in layers if layer.first is not None]
        return tuple(sorted(reached, key=lambda layer: (layer.first or 0, -layer.rise, layer.order))[:most])

    def under(self, corruption: str) -> Saturation:
        """The clean images and this corruption alone."""
        kept = [i for i, shift in enumerate(self.shifts) if shift is None or shift.name == corruption]
        shifts = tuple(self.shifts[i] for i in kept)
        layers = tuple(_layer(layer, shifts, [layer.shares[i] for i in kept]) for layer in self.layers)
        return replace(self, shifts=shifts, layers=layers)

    def to_json(self) -> dict[str, Any]:
        """Shares of every layer under every shift."""
        return {
            "model": self.variant,
            "images": self.images,
            "shifts": [_named(shift) for shift in self.shifts],
            "layers": [asdict(layer) for layer in self.layers],
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a layer and shift."""
        import pandas as pd

        rows = [
            {"order": layer.order, "tensor": layer.tensor, "op_kind": layer.op_kind, **_named(shift), "share": share}
            for layer in self.layers
            for shift, share in zip(self.shifts, layer.shares, strict=True)
        ]
        return pd.DataFrame(rows)


def saturation(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    shifts: Sequence[AppliedCorruption],
    on_progress: OnProgress = silent,
    cancel: threading.Event | None = None,
) -> Saturation:
    """Every layer of a variant under every shift, and clean. Raises Cancelled, ImageError, ModelError, WorkerError."""
    check_layers(reference, variant)
    every: tuple[AppliedCorruption | None, ...] = (None, *shifts)
    models = (reference.blob, variant.blob, (reference.settings, variant.settings))

    def submit(image: EncodedImage) -> list[Future[tuple[RangeReach, ...]]]:
        return [engine.submit(reach_job, *models, image.under(shift)) for shift in every]

    found: dict[int, list[list[RangeReach]]] = defaultdict(lambda: [[] for _ in every])
    skipped: list[str] = []
    for done, (_, jobs) in enumerate(in_order(Context(engine, cancel=cancel), images, submit), start=1):
        try:
            for at, job in enumerate(jobs):
                for layer in job.result():
                    found[layer.order][at].append(layer)
        except ImageError as error:
            skipped.append(str(error))
        on_progress(done, len(images))
    if len(skipped) == len(images):
        raise ImageError(" ".join(skipped[:3]) or "No image was given; activations are read on images.")
    layers = tuple(_pooled(every, rows) for _, rows in sorted(found.items()))
    return Saturation(variant.name, len(images) - len(skipped), every, layers, tuple(skipped))


def check_layers(*models: LoadedModel) -> None:
    """Raises ModelError where one of them has no layers to read."""
    for model in models:
        if not model.layers_available:
            raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")


def _pooled(shifts: Sequence[AppliedCorruption | None], rows: Sequence[Sequence[RangeReach]]) -> LayerSaturation:
    """rows: of one layer, by shift, an entry an image."""
    one = next(row for found in rows for row in found)
    shares = [sum(row.below + row.above for row in found) / max(1, sum(row.count for row in found)) for found in rows]
    return _layer(LayerSaturation(one.order, one.tensor, one.op_kind, (), 0.0, None), shifts, shares)


def _layer(
    layer: LayerSaturation, shifts: Sequence[AppliedCorruption | None], shares: Sequence[float]
) -> LayerSaturation:
    rises = [share - shares[0] for share in shares]  # the clean images come first
    reached = [shift.amount for shift, rise in zip(shifts, rises, strict=True) if shift is not None and rise >= RISE]
    return replace(layer, shares=tuple(shares), rise=max(rises), first=min(reached, default=None))


def _named(shift: AppliedCorruption | None) -> dict[str, Any]:
    return {"corruption": CLEAN, "severity": 0} if shift is None else {
        "corruption": shift.name, "severity": shift.amount,
    }  # fmt: skip


def with_clipping(result: Robustness, found: Mapping[str, Saturation]) -> Robustness:
    """The sweep with the clipped share of every point of these variants (by name)."""
    points = tuple(
        replace(
            point,
            clipped_share=found[point.model].clipped_share(
                None if point.corruption == CLEAN else AppliedCorruption(point.corruption, point.severity)
            ),
        )
        if point.model in found
        else point
        for point in result.points
    )
    return replace(result, points=points)


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
    shift: AppliedCorruption,
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
