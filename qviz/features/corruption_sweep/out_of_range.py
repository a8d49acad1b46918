"""How far the reference's activations lie outside a variant's calibrated ranges, by layer and by image.

Only the reference runs. A layer is an operator of the variant whose output is quantized per tensor. Its range is the
interval that its scale and zero point can represent; its activations are those of the corresponding tensor in the
reference.

below, above   number of values clipped at the lower and upper end. A value within half a step of an end is rounded to
               that end and does not count as clipped
excess         how far a layer's values go beyond that half step at the (lower, upper) end, in widths of the range; 0
               for every image that was used in a min-max calibration
score          score of an image: mean excess over all layers and both ends, each limited to 1, plus the largest share
               of activations clipped by one layer. It is high if many layers exceed their ranges a little, or if one
               layer exceeds its range by far
alarm          a score of at least `ALARM_SCORE`, or one that is above the images' median by more than 3 standard
               deviations (median absolute deviation x 1.4826) and by at least `MIN_ABOVE_MEDIAN`. If the median itself
               reaches `ALARM_SCORE`, the problem is the calibration and not a single image
to add         as few images as possible that cover the excess. Each (layer, end) has weight 1. An image covers the
               share of it that is its own excess there, divided by the largest excess of any image. The images are
               chosen greedily, which covers at least 1 - 1/e of what the best choice would (Nemhauser et al. 1978),
               until `ENOUGH_COVERED` is covered
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from qviz.context import Context
from qviz.detector import decoded
from qviz.features.detection.inference import results_in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.structures import EncodedImage, Tensor
from qviz.tflite.paired_networks import Pair, paired_networks

ALARM_SCORE = 0.05
"""For example, one layer that clips one activation in twenty. Images that resemble the calibration images have about a
tenth of this score."""
MIN_ABOVE_MEDIAN = 0.02
ENOUGH_COVERED = 0.95
MAX_ADDED = 20
LAYERS_PER_IMAGE = 5
TOLERATED_EXCESS = 0.05
"""A layer end with less excess than this, in widths of the range, needs no further image."""

LAYER_NAMES = {"op_index": "order", "op_type": "op_kind"}
"""Keys in JSON."""


@dataclass(frozen=True, slots=True)
class RangeReach:
    """How far one layer's activations reach on one image.

    Attributes:
        count: Number of activations.
        below, above: Number of activations clipped at the lower and at the upper end.
        excess: Excess at the lower and at the upper end, in widths of the range.
    """

    op_index: int
    tensor: str
    op_type: str
    count: int
    below: int
    above: int
    excess: tuple[float, float]

    @property
    def share(self) -> float:
        """Share of the activations that are clipped, in [0, 1]."""
        return (self.below + self.above) / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class LayerExcess:
    """One layer on one image: its excess at both ends, in widths of the range, and its share of clipped activations."""

    op_index: int
    tensor: str
    op_type: str
    below: float
    above: float
    share: float

    JSON_NAMES: ClassVar = LAYER_NAMES


@dataclass(frozen=True, slots=True)
class ImageAlarm:
    """How far one image exceeds the ranges.

    Attributes:
        score: See the module; higher is farther outside the ranges.
        clipped_share: Clipped share of the activations in [0, 1], averaged over the layers.
        layers_outside: Number of layers with any excess.
        layers: The layers with the largest excess.
    """

    image: str
    digest: str
    score: float
    alarm: bool
    clipped_share: float
    layers_outside: int
    layers: tuple[LayerExcess, ...]

    JSON_NAMES: ClassVar = {"layers_outside": "outside"}


@dataclass(frozen=True, slots=True)
class Addition:
    """An image to add to the calibration.

    Attributes:
        covered: Share of the excess, in [0, 1], that is covered by this image and the images before it.
    """

    image: str
    digest: str
    covered: float


@dataclass(frozen=True, slots=True, eq=False)
class OutOfRange:
    """The images that exceed the calibrated ranges of one variant.

    Attributes:
        typical: Median score of the images.
        images: All images, sorted by falling score.
        add: Images to add to the calibration, the most useful one first.
    """

    variant: str
    typical: float
    images: tuple[ImageAlarm, ...]
    add: tuple[Addition, ...]
    skipped: tuple[str, ...] = ()

    JSON_NAMES: ClassVar = {"variant": "model"}

    @property
    def alarms(self) -> tuple[ImageAlarm, ...]:
        return tuple(image for image in self.images if image.alarm)


def has_ranges(reference: LoadedModel, variant: LoadedModel) -> bool:
    """Whether the variant has quantized activations, which can exceed a range."""
    if not (reference.layers_available and variant.layers_available):
        return False
    graph = variant.inspection.graph
    return any(graph.tensors[op.outputs[0]].quantized for op in graph.ops if op.outputs and op.kind != "DEQUANTIZE")


NO_RANGES = "No activation of this variant is quantized, so nothing can leave its range."
NO_IMAGE = "No image was given; activations are measured on images."


def out_of_range(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    total: int | None = None,
) -> OutOfRange:
    """Find the images that exceed a variant's ranges, and those to add to the calibration.

    Args:
        images: The images; a generator is allowed.
        total: Expected number of images, for the progress.

    Raises:
        Cancelled, ImageError, ModelError, WorkerError: No image can be read, or a model has no layers.
    """
    return image_reaches(context, reference, variant, images, total).ranked()


@dataclass(frozen=True, slots=True, eq=False)
class ImageReaches:
    """The reach of every layer of a variant on every image, from which any of the images can be ranked.

    Attributes:
        names: (name, digest) of each image.
        rows: For each image, the reach of every layer.
    """

    variant: str
    names: tuple[tuple[str, str], ...]
    rows: tuple[tuple[RangeReach, ...], ...]
    skipped: tuple[str, ...] = ()

    def of(self, digests: Collection[str]) -> ImageReaches:
        """Only the images with these digests."""
        chosen = [number for number, (_, digest) in enumerate(self.names) if digest in digests]
        return replace(self, names=tuple(self.names[i] for i in chosen), rows=tuple(self.rows[i] for i in chosen))

    def ranked(self) -> OutOfRange:
        """The ranking of these images, and those to add to the calibration."""
        return rank_images(self.variant, self.names, self.rows, self.skipped)


def image_reaches(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    total: int | None = None,
) -> ImageReaches:
    """Run the reference on the images, and compare its activations with the variant's ranges; see `out_of_range`."""
    pair = pair_of(reference, variant)

    def submit(image: EncodedImage) -> list[Future[tuple[RangeReach, ...]]]:
        return [context.engine.submit(reach_job, pair, image)]

    names: list[tuple[str, str]] = []
    rows: list[tuple[RangeReach, ...]] = []
    skipped: list[str] = []
    for image, (row,) in results_in_order(context, images, submit, skipped, NO_IMAGE, total):
        rows.append(row)
        names.append((image.name, image.digest))
    return ImageReaches(variant.name, tuple(names), tuple(rows), tuple(skipped))


def rank_images(
    variant: str,
    names: Sequence[tuple[str, str]],
    rows: Sequence[tuple[RangeReach, ...]],
    skipped: Sequence[str] = (),
) -> OutOfRange:
    """Rank the images by their score, and choose the images to add.

    Args:
        names: (name, digest) of each image.
        rows: For each image, the reach of every layer.
    """
    excess = np.array([[layer.excess for layer in row] for row in rows]).reshape(len(rows), -1)  # [I, 2 L]
    scores = np.minimum(excess, 1).mean(axis=1) if excess.shape[1] else np.zeros(len(rows))
    scores = scores + np.array([max((layer.share for layer in row), default=0.0) for row in rows])
    limit = _alarm_limit(scores)
    order = np.argsort(-scores, kind="stable")
    images = tuple(_ranked(names[i], float(scores[i]), bool(scores[i] >= limit), rows[i]) for i in order)
    add = tuple(Addition(*names[i], covered) for i, covered in images_to_add(excess))
    return OutOfRange(variant, float(np.median(scores)), images, add, tuple(skipped))


def _alarm_limit(scores: np.ndarray) -> float:
    median = float(np.median(scores))
    deviation = 1.4826 * float(np.median(np.abs(scores - median)))
    return min(median + max(3 * deviation, MIN_ABOVE_MEDIAN), ALARM_SCORE)


def _ranked(name: tuple[str, str], score: float, alarm: bool, row: Sequence[RangeReach]) -> ImageAlarm:
    outside = [
        LayerExcess(layer.op_index, layer.tensor, layer.op_type, *layer.excess, layer.share)
        for layer in row
        if max(layer.excess) > 0
    ]
    outside.sort(key=lambda layer: (-max(layer.below, layer.above), layer.op_index))
    clipped = float(np.mean([layer.share for layer in row])) if row else 0.0
    return ImageAlarm(*name, score, alarm, clipped, len(outside), tuple(outside[:LAYERS_PER_IMAGE]))


def images_to_add(excess: np.ndarray) -> list[tuple[int, float]]:
    """(index of the image, share covered so far) for each greedily chosen image. `excess` is (images, layer ends)."""
    worst = excess.max(axis=0, initial=0)
    ends = worst > TOLERATED_EXCESS
    if not ends.any():
        return []
    shares = excess[:, ends] / worst[ends]  # [I, ends], relative to the worst excess
    covered = np.zeros(shares.shape[1])
    chosen: list[tuple[int, float]] = []
    while len(chosen) < MAX_ADDED and covered.mean() < ENOUGH_COVERED:
        gains = np.maximum(shares, covered).mean(axis=1)
        best = int(gains.argmax())
        if gains[best] <= covered.mean() + 1e-9:
            break
        covered = np.maximum(covered, shares[best])
        chosen.append((best, float(covered.mean())))
    return chosen


def reach_job(pair: Pair, image: EncodedImage) -> tuple[RangeReach, ...]:
    """How far every layer's activations reach on one image, in the variant's order of operators; runs in a worker.

    Empty if no activation is quantized.
    """
    networks = paired_networks(pair)
    tensors = networks.variant.graph.tensors
    layers = [op for op in networks.layers if _has_range(tensors[op.outputs[0]])]
    if not layers:
        return ()
    readers: dict[int, list[int]] = {}
    for number, op in enumerate(layers):
        readers.setdefault(networks.partners[op.outputs[0]], []).append(number)
    reaches: dict[int, RangeReach] = {}

    def measure(partner: int, values: np.ndarray) -> np.ndarray:
        for number in readers.get(partner, ()):
            op = layers[number]
            reaches[number] = range_reach(op.order, op.kind, tensors[op.outputs[0]], values)
        return values

    first, _ = networks.inputs(decoded(image))
    measure(networks.reference.graph.inputs[0], first)
    networks.reference.run([first], replace=measure)
    return tuple(reaches[number] for number in sorted(reaches))


def _has_range(tensor: Tensor) -> bool:
    return tensor.per_tensor is not None


def range_reach(op_index: int, op_type: str, tensor: Tensor, values: np.ndarray) -> RangeReach:
    """Compare the reference's values, in an array of any shape, with the range of the variant's tensor."""
    assert tensor.quantization is not None, "layers without a range were left out"
    low, high = tensor.quantization.real_range(tensor.dtype)
    half = float(tensor.quantization.scales[0]) / 2
    lowest, highest = (float(values.min()), float(values.max())) if values.size else (low, high)
    beyond = max(0.0, low - half - lowest), max(0.0, highest - high - half)
    below = int(np.count_nonzero(values < low - half)) if beyond[0] else 0
    above = int(np.count_nonzero(values > high + half)) if beyond[1] else 0
    width = max(high - low, 1e-12)
    excess = beyond[0] / width, beyond[1] / width
    return RangeReach(op_index, tensor.name, op_type, int(values.size), below, above, excess)
