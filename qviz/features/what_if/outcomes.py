"""In a worker: the objects of one image with some of a variant's operators in float, compared with those of FP32.

share of an object   the best score of the object's class in the variant's head before NMS, among boxes that overlap the
                     object with the IoU of a pair, divided by the object's score in FP32. At most 1; 0 if the head has
                     no such box with a score of at least `Matching.head_score`
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.cache import LRUCache
from qviz.detector import decoded, inference
from qviz.features.comparison.matching import Change, changes
from qviz.features.layer_error.partial_head import heads_of
from qviz.features.what_if.mixed import Float, MixedNetwork
from qviz.features.what_if.sets import Orders
from qviz.structures import Detections, EncodedImage, Image, Inference
from qviz.tflite.inputs import Placement, fill, input_spec
from qviz.tflite.paired_networks import Pair, PairedNetworks, paired_networks
from qviz.tflite.stretches import Checkpoints


@dataclass(frozen=True, slots=True)
class Matching:
    """How objects are counted.

    Attributes:
        score: Minimum confidence of an object.
        iou: Minimum IoU of a pair.
        head_score: Minimum score in the head before NMS.
    """

    score: float
    iou: float
    head_score: float


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """The objects of one image with one set of operators in float.

    Attributes:
        changes: The change of each object.
        deltas: Score of the variant minus FP32's score, for kept and shifted objects.
        shares: Share of the score that remains, for each of FP32's objects, in [0, 1]; see the module.
    """

    changes: tuple[Change, ...]
    deltas: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """(objects that agree, objects of both models); the agreement is twice the first divided by the second."""
        number = Counter(self.changes)
        same = number[Change.KEPT] + number[Change.SHIFTED]
        one_sided = number[Change.LOST] + number[Change.SPURIOUS]
        return same, 2 * (len(self.changes) - one_sided) + one_sided


Outcomes = dict[Float, ImageOutcome]
JOB_SECONDS = 3.0
"""Time after which a job ends with the sets measured so far, far below a job's time limit."""


def possible_job(pair: Pair) -> Orders:
    """Indices of the variant's operators that can run in float; runs in a worker."""
    return _detectors(pair).mixed.orders


def outcomes_job(pair: Pair, image: EncodedImage, sets: Sequence[Float], matching: Matching) -> Outcomes:
    """Set -> its outcome on one image; runs in a worker.

    Both networks run once. For each set, only the operators whose inputs it changes run again. After `JOB_SECONDS`, the
    sets that are left are left out.
    """
    end = time.monotonic() + JOB_SECONDS
    detectors = _detectors(pair)
    key = (pair.key, image.digest, matching.score)
    base = _BASES.get(key, lambda: detectors.base(decoded(image), matching.score))
    outcomes: Outcomes = {}
    for chosen in sets:
        outcomes[chosen] = detectors.outcome(base, chosen, matching)
        if time.monotonic() > end:
            break
    return outcomes


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """FP32's detections and tensors, and the variant's tensors, on one image."""

    image: Image
    reference: Inference
    exact: Checkpoints
    variant_tensors: Checkpoints
    placement: Placement

    @property
    def bytes(self) -> int:
        return self.exact.bytes + self.variant_tensors.bytes + self.image.pixels.nbytes


class _MixedDetector:
    """Two networks with their heads."""

    def __init__(self, networks: PairedNetworks, pair: Pair) -> None:
        self._steppers = networks.reference, networks.variant
        self._specs = [input_spec(one) for one in pair.settings]
        self._heads = heads_of(networks, pair)
        self.mixed = MixedNetwork(networks, (self._heads[0].reader.tensors, self._heads[1].reader.tensors))

    def base(self, image: Image, score: float) -> _Base:
        pixels, placement = self._input(0, image)
        own_pixels, own_placement = self._input(1, image)
        exact, variant_tensors = (
            Checkpoints(
                self._steppers[side], [values], set(self._heads[side].reader.tensors), self.mixed.stretches[side]
            )
            for side, values in ((0, pixels), (1, own_pixels))
        )
        decoded = self._heads[0].decode(exact.selected, score)
        return _Base(image, inference(decoded, placement, image.size, 0.0), exact, variant_tensors, own_placement)

    def _input(self, side: int, image: Image) -> tuple[np.ndarray, Placement]:
        return fill(image, self._specs[side], self._steppers[side].graph.input_tensors()[0])

    def outcome(self, base: _Base, chosen: Float, matching: Matching) -> ImageOutcome:
        requested = self._heads[1].reader.tensors
        tensors = self.mixed.run(base.variant_tensors, chosen, requested, base.exact)
        decoded = self._heads[1].decode(tensors, matching.score, matching.head_score)
        if decoded.candidates is None:  # what is left of a score can only be seen in weaker detections
            decoded = self._heads[1].decode(tensors, matching.head_score)
        return outcome_of(base.reference, inference(decoded, base.placement, base.image.size, 0.0), matching)


def outcome_of(reference: Inference, variant: Inference, matching: Matching) -> ImageOutcome:
    """The changes, score differences and remaining scores of the objects of one image."""
    rows = changes(reference.detections, variant.detections, None, matching.score, matching.iou, reasons=False)
    first, second = reference.detections.above(matching.score), variant.detections.above(matching.score)
    deltas = tuple(
        float(second.scores[row.variant]) - float(first.scores[row.reference])
        for row in rows
        if row.change in (Change.KEPT, Change.SHIFTED) and row.reference is not None and row.variant is not None
    )
    candidates = variant.detections if variant.candidates is None else variant.candidates
    return ImageOutcome(tuple(row.change for row in rows), deltas, _shares(first, candidates, matching))


def _shares(objects: Detections, candidates: Detections, matching: Matching) -> tuple[float, ...]:
    candidates = candidates[np.isin(candidates.class_ids, objects.class_ids)]
    if not len(objects) or not len(candidates):
        return (0.0,) * len(objects)
    near = objects.overlaps(candidates) >= matching.iou  # [n, m]
    same = objects.class_ids[:, None] == candidates.class_ids[None, :]
    best = np.where(near & same, candidates.scores[None, :], 0).max(axis=1)
    return tuple(float(share) for share in np.minimum(1, best / np.maximum(objects.scores, 1e-9)))


MAX_BASE_BYTES = 384 << 20
"""Maximum bytes of activations that a worker caches: about twenty images of a network with 416 x 416 pixels."""

_DETECTORS, _BASES = LRUCache[Any](2), LRUCache[Any](MAX_BASE_BYTES, lambda base: base.bytes)


def _detectors(pair: Pair) -> _MixedDetector:
    return _DETECTORS.get(pair.key, lambda: _MixedDetector(paired_networks(pair), pair))
