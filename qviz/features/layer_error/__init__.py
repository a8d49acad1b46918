"""What each layer of a variant adds to the error, and what has gathered by there.

cumulative   both networks run on the same image; a tensor of the variant against its partner in the reference
local        one operator of the variant alone, fed the reference's activations (quantized with its own input scales),
             against the reference's output. With `local_inputs="variant"` both operators are fed the variant's own
             tensors, which is what TensorFlow's QuantizationDebugger calls the layer's error.
fall_db      cumulative SQNR before the operator (its worst input) minus after it: what it lost or amplified
clipping, rounding   of the reference's activation against the variant's range and step of that tensor
unused_share  part of the variant's range, in [0, 1], that the reference's values did not reach on any image

QUANTIZE operators count as layers. Energies are pooled over images; nothing is kept but sums, so memory does not grow.

Where layers stand along a network: places on one axis for variants whose files hold different operators.

Layers that stand out within one variant: no fixed threshold in dB, the other layers of the same file set the bar.

A robust z-score (Iglewicz and Hoaglin, 1993): away from the median by more than 3 robust standard deviations, on the
bad side. The deviation is 1.4826 times the median of |value - median|, or, where more than half of the values agree
and that is 0, 1.2533 times their mean; both are the standard deviation where values are normal.

local   local SQNR (dB, higher is better) far below that of layers of its kind; of all layers where its kind is rare
fall    cumulative SQNR falls across the layer by far more (dB) than it does across the others
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.context import Context
from qviz.engine import Engine
from qviz.errors import ImageError, ModelError
from qviz.features.detection.detect import in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.stream import LayerFact, LayerSums, facts_job, layer_sums_job
from qviz.features.layer_error.tensor_error import RangeSums, finite
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage

if TYPE_CHECKING:
    import pandas as pd


LOCAL_INPUTS = ("reference", "variant")

CLIPPED = 0.05
"""Share of clipped values from which a quantizer is named before any fall."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """One operator of the variant; units as in `tensor_error`. None: nothing to compare, or no error at all."""

    order: int
    tensor: str
    op_kind: str
    elements: int
    local_mse: float | None
    local_sqnr_db: float | None
    local_rmse_over_scale: float | None
    cumulative_mse: float | None
    cumulative_sqnr_db: float | None
    fall_db: float | None
    cumulative_cosine: float | None
    max_abs: float | None
    clipped_share: float | None
    unused_share: float | None
    clipping_mse: float | None
    rounding_mse: float | None
    weight_sqnr_db: float | None
    seconds: float
    worst_image: str


@dataclass(frozen=True, slots=True, eq=False)
class LayerErrors:
    """Every layer of one variant, in the file's order."""

    reference: str
    variant: str
    local_inputs: str
    images: int
    paired_share: float
    pairs: tuple[tuple[int, int], ...]
    unpaired: tuple[int, ...]
    layers: tuple[LayerError, ...]
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `qviz layers --json` prints it."""
        return {
            "reference": self.reference,
            "variant": self.variant,
            "local_inputs": self.local_inputs,
            "paired_share": self.paired_share,
            "pairs": [{"order": order, "reference_order": other} for order, other in self.pairs],
            "unpaired": list(self.unpaired),
            "images": self.images,
            "layers": [asdict(layer) for layer in self.layers],
            "skipped": list(self.skipped),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a layer."""
        import pandas as pd

        return pd.DataFrame([asdict(layer) for layer in self.layers], columns=list(LayerError.__slots__))


def layer_errors(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    local_inputs: str = "reference",
    on_progress: OnProgress = silent,
    total: int | None = None,
    cancel: threading.Event | None = None,
) -> LayerErrors:
    """Every layer over these images. Raises ModelError where one of the two has no layers, ImageError, WorkerError.

    `images` may be a generator, with `total` for the progress: only a few are held at a time. cancel: set it to stop;
    raises Cancelled.
    """
    for model in (reference, variant):
        if not model.layers_available:
            raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")
    models = (reference.blob, variant.blob, (reference.settings, variant.settings))
    facts = engine.submit(facts_job, *models)
    expected = total if total is not None else length_hint(images)

    def submit(image: EncodedImage) -> list[Future[dict[int, LayerSums]]]:
        return [engine.submit(layer_sums_job, *models, image, local_inputs)]

    found = _Found()
    for _, (job,) in in_order(Context(engine, cancel=cancel), images, submit):
        found.take(job)
        on_progress(found.seen, max(expected, found.seen))
    if len(found.skipped) == found.seen:
        raise ImageError(" ".join(found.skipped[:3]) or "No image was given; layers are compared on images.")
    known = facts.result()
    layers = tuple(_layer(row, found.sums) for row in known.layers)
    return LayerErrors(
        reference.name, variant.name, local_inputs, found.seen - len(found.skipped), known.paired_share, known.pairs,
        known.unpaired, layers, tuple(found.skipped),
    )  # fmt: skip


@dataclass(slots=True)
class _Found:
    """What the images have given so far: sums by the layer's order, and a sentence for each image that failed."""

    sums: dict[int, LayerSums] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    seen: int = 0

    def take(self, job: Future[dict[int, LayerSums]]) -> None:
        self.seen += 1
        try:
            for order, sums in job.result().items():
                self.sums.setdefault(order, LayerSums()).merge(sums)
        except ImageError as error:
            self.skipped.append(str(error))


def _layer(fact: LayerFact, sums: Mapping[int, LayerSums]) -> LayerError:
    own = sums.get(fact.order, LayerSums())
    after = own.cumulative.sqnr_db
    before = _worst(sums[source].cumulative.sqnr_db for source in fact.sources if source in sums)
    return LayerError(
        order=fact.order,
        tensor=fact.tensor,
        op_kind=fact.op_kind,
        elements=own.cumulative.count // max(1, own.cumulative.images),
        local_mse=own.local.mse,
        local_sqnr_db=own.local.sqnr_db,
        local_rmse_over_scale=own.local.rmse_over_scale(fact.scale),
        cumulative_mse=own.cumulative.mse,
        cumulative_sqnr_db=after,
        fall_db=before - after if before is not None and after is not None else None,
        cumulative_cosine=own.cumulative.cosine,
        max_abs=finite(own.cumulative.max_abs) if own.cumulative.count else None,
        clipped_share=own.ranges.share(),
        unused_share=_unused(own.ranges, fact.value_range),
        clipping_mse=own.ranges.mean(own.ranges.clipping),
        rounding_mse=own.ranges.mean(own.ranges.rounding),
        weight_sqnr_db=fact.weight_sqnr_db,
        seconds=own.seconds,
        worst_image=own.cumulative.worst_image,
    )


def _worst(values: Iterable[float | None]) -> float | None:
    """The lowest SQNR of those that are known (None: no error came in)."""
    return min((value for value in values if value is not None), default=None)


def _unused(ranges: RangeSums, value_range: tuple[float, float] | None) -> float | None:
    if value_range is None or not ranges.count or value_range[1] <= value_range[0]:
        return None
    low, high = value_range
    reached = max(0.0, min(high, ranges.high) - max(low, ranges.low))
    return 1 - reached / (high - low)


def reference_places(errors: LayerErrors) -> dict[int, float]:
    """order -> the order of its partner in the reference.

    A layer without one (an inserted QUANTIZE) stands half a place behind the layer before it in the variant's file.
    """
    partners = dict(errors.pairs)
    found: dict[int, float] = {}
    last = -1
    for layer in errors.layers:
        last = partners.get(layer.order, last)
        found[layer.order] = last if layer.order in partners else last + 0.5
    return found


DEVIATIONS = 3.0
ENOUGH = 8
"""Layers of a kind from which on they are measured against each other."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """Orders of the layers that stand out, by what they stand out in."""

    local: frozenset[int]
    fall: frozenset[int]

    def __contains__(self, order: int) -> bool:
        return order in self.local or order in self.fall

    def __len__(self) -> int:
        return len(self.local | self.fall)

    def said(self, order: int) -> str:
        """In words, for a table; empty for an ordinary layer."""
        return " and ".join(word for word, found in (("local", self.local), ("fall", self.fall)) if order in found)


def outliers(layers: Sequence[LayerError]) -> Outliers:
    """Which layers of one variant stand out."""
    local = {layer.order: layer.local_sqnr_db for layer in layers if layer.local_sqnr_db is not None}
    falls = {layer.order: -layer.fall_db for layer in layers if layer.fall_db is not None}
    kinds = {layer.order: layer.op_kind for layer in layers}
    by_kind: dict[str, dict[int, float]] = {}
    for order, value in local.items():
        by_kind.setdefault(kinds[order], {})[order] = value
    below_all = _far_below(local)
    low = [_far_below(group) if len(group) >= ENOUGH else below_all & group.keys() for group in by_kind.values()]
    return Outliers(frozenset().union(*low), _far_below(falls))


def worst_layer(layers: Sequence[LayerError]) -> int | None:
    """The layer to look at first, as the page's verdict names it: what clips, else the steepest fall."""
    clipped = max(layers, key=lambda layer: layer.clipped_share or 0.0, default=None)
    if clipped is None:
        return None
    if (clipped.clipped_share or 0.0) > CLIPPED:
        return clipped.order
    steepest = max(layers, key=lambda layer: layer.fall_db or 0.0)
    if steepest.fall_db:
        return steepest.order
    return min(layers, key=lambda layer: np.inf if layer.local_sqnr_db is None else layer.local_sqnr_db).order


def worst_variant(results: Mapping[str, LayerErrors]) -> str | None:
    """The variant whose last layer that differs has the lowest cumulative SQNR."""
    known = {name: [layer.cumulative_sqnr_db for layer in errors.layers] for name, errors in results.items()}
    ends = {name: last[-1] for name, values in known.items() if (last := [v for v in values if v is not None])}
    return min(ends, key=lambda name: ends[name], default=None)


def _far_below(values: Mapping[int, float]) -> frozenset[int]:
    """The keys whose values lie far below the median."""
    if len(values) < 3:
        return frozenset()
    numbers = np.fromiter(values.values(), np.float64)
    away = np.abs(numbers - np.median(numbers))
    deviation = 1.4826 * np.median(away) or 1.2533 * np.mean(away)
    bar = np.median(numbers) - DEVIATIONS * deviation
    return frozenset(order for order, value in values.items() if value < bar)
