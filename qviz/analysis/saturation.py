"""Which layers leave their calibrated ranges as an image gets worse: FP32's activations against the variant's ranges.

share         of a layer's activations, over the images, how many its range clips (see `range_reach`)
rise          share minus the clean images' share
first         layers whose rise reaches `RISE`, by the lowest severity at which it does, then by the largest rise
clipped_share mean over the layers of their shares: each layer counts the same, large ones do not hide small ones
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.analysis.detecting import in_order
from qviz.analysis.models import LoadedModel
from qviz.analysis.range_reach import RangeReach, reach_job
from qviz.analysis.robustness import CLEAN, Robustness
from qviz.engine import Engine
from qviz.errors import ImageError, ModelError
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage, Shift

if TYPE_CHECKING:
    import pandas as pd

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
    shifts: tuple[Shift | None, ...]
    layers: tuple[LayerSaturation, ...]
    skipped: tuple[str, ...] = ()

    def clipped_share(self, shift: Shift | None) -> float | None:
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
    shifts: Sequence[Shift],
    on_progress: OnProgress = silent,
    cancel: threading.Event | None = None,
) -> Saturation:
    """Every layer of a variant under every shift, and clean. Raises Cancelled, ImageError, ModelError, WorkerError."""
    check_layers(reference, variant)
    every: tuple[Shift | None, ...] = (None, *shifts)
    models = (reference.blob, variant.blob, (reference.settings, variant.settings))

    def submit(image: EncodedImage) -> list[Future[tuple[RangeReach, ...]]]:
        return [engine.submit(reach_job, *models, image.under(shift)) for shift in every]

    found: dict[int, list[list[RangeReach]]] = defaultdict(lambda: [[] for _ in every])
    skipped: list[str] = []
    for done, (_, jobs) in enumerate(in_order(engine, images, submit, cancel=cancel), start=1):
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


def _pooled(shifts: Sequence[Shift | None], rows: Sequence[Sequence[RangeReach]]) -> LayerSaturation:
    """rows: of one layer, by shift, an entry an image."""
    one = next(row for found in rows for row in found)
    shares = [sum(row.below + row.above for row in found) / max(1, sum(row.count for row in found)) for found in rows]
    return _layer(LayerSaturation(one.order, one.tensor, one.op_kind, (), 0.0, None), shifts, shares)


def _layer(layer: LayerSaturation, shifts: Sequence[Shift | None], shares: Sequence[float]) -> LayerSaturation:
    rises = [share - shares[0] for share in shares]  # the clean images come first
    reached = [shift.amount for shift, rise in zip(shifts, rises, strict=True) if shift is not None and rise >= RISE]
    return replace(layer, shares=tuple(shares), rise=max(rises), first=min(reached, default=None))


def _named(shift: Shift | None) -> dict[str, Any]:
    return {"corruption": CLEAN, "severity": 0} if shift is None else {
        "corruption": shift.name, "severity": shift.amount,
    }  # fmt: skip


def with_clipping(result: Robustness, found: Mapping[str, Saturation]) -> Robustness:
    """The sweep with the clipped share of every point of these variants (by name)."""
    points = tuple(
        replace(
            point,
            clipped_share=found[point.model].clipped_share(
                None if point.corruption == CLEAN else Shift(point.corruption, point.severity)
            ),
        )
        if point.model in found
        else point
        for point in result.points
    )
    return replace(result, points=points)
