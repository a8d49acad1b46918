"""What workers find out about sets of operators in float: one image, many sets, counted as `qviz compare` counts.

share of an object   the best score of its class and place (IoU as for pairs) in the variant's head before NMS, over its
                     score in FP32; 0 where the head holds none above `CANDIDATE_FLOOR`, 1 where it scores more
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from qviz.analysis.changes import Change, changes
from qviz.analysis.float_sets import Orders
from qviz.analysis.mixed_run import MixedNetwork
from qviz.analysis.paired_networks import PairedNetworks, activations, paired_networks
from qviz.decoders.reading import HeadReader
from qviz.detector import decoded, inference, input_spec
from qviz.engine import Blob, Warm
from qviz.errors import QvizError
from qviz.structures import Detections, EncodedImage, Image, Inference, Settings
from qviz.structures.boxes import iou_matrix
from qviz.tflite.inputs import Placement, fill, input_size
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Stepper

Both = tuple[Settings, Settings]


@dataclass(frozen=True, slots=True)
class Counting:
    """score: threshold of objects; low: of the head before NMS; iou: least overlap of a pair."""

    score: float
    iou: float
    low: float


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """One image under one set. deltas: variant minus FP32, of kept and shifted ones; shares: of FP32's objects."""

    kinds: tuple[Change, ...]
    deltas: tuple[float, ...]
    shares: tuple[float, ...]


Outcomes = dict[Orders, ImageOutcome]


def possible_job(reference: Blob, variant: Blob, settings: Both) -> Orders:
    """In a worker: the variant's operators that can run in float."""
    return _lab(reference, variant, settings).mixed.orders


def outcomes_job(
    reference: Blob, variant: Blob, settings: Both, image: EncodedImage, sets: Sequence[Orders], counting: Counting
) -> Outcomes:
    """In a worker: one image under each set. Both networks run once; what a set does not touch is not run again."""
    lab = _lab(reference, variant, settings)
    key = (reference.digest, variant.digest, settings, image.digest, counting.low)
    base = _BASES.get(key, lambda: lab.base(decoded(image), counting.low))
    return {orders: lab.outcome(base, orders, counting) for orders in sets}


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """Both networks on one image: FP32's detections, the variant's tensors."""

    image: Image
    truth: Inference
    own: Mapping[int, np.ndarray]
    placement: Placement

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for value in self.own.values()) + self.image.pixels.nbytes


class _Lab:
    """Two networks with their heads."""

    def __init__(self, networks: PairedNetworks, settings: Both, files: tuple[bytes, bytes]) -> None:
        self._sides = networks.reference, networks.variant
        self._specs = [input_spec(said) for said in settings]
        self._readers = [_reader(stepper, said) for stepper, said in zip(self._sides, settings, strict=True)]
        self._constants = [_constants(*pair) for pair in zip(files, self._readers, strict=True)]
        self.mixed = MixedNetwork(networks)

    def base(self, image: Image, low: float) -> _Base:
        truth, placement = self._run(0, image, self._readers[0].wanted)
        own, other = self._run(1, image, activations(self._sides[1]) | set(self._readers[1].wanted))
        return _Base(image, self._read(0, truth, placement, image, low), own, other)

    def _run(self, side: int, image: Image, keep: Collection[int]) -> tuple[dict[int, np.ndarray], Placement]:
        values, placement = fill(image, self._specs[side], self._sides[side].graph.input_tensors()[0])
        return self._sides[side].run([values], keep=keep), placement

    def outcome(self, base: _Base, orders: Orders, counting: Counting) -> ImageOutcome:
        tensors = self.mixed.run(base.own, orders, self._readers[1].wanted)
        found = self._read(1, tensors, base.placement, base.image, counting.low)
        return counted(base.truth, found, counting)

    def _read(
        self, side: int, tensors: Mapping[int, np.ndarray], placement: Placement, image: Image, low: float
    ) -> Inference:
        decoded = self._readers[side].decode({**self._constants[side], **tensors}, low)
        return inference(decoded, placement, image, 0.0)


def counted(truth: Inference, found: Inference, counting: Counting) -> ImageOutcome:
    """The objects of one image, as `changes` tells them."""
    rows = changes(truth.detections, found.detections, None, counting.score, counting.iou)
    first, second = truth.detections.above(counting.score), found.detections.above(counting.score)
    deltas = tuple(
        float(second.scores[row.variant]) - float(first.scores[row.reference])
        for row in rows
        if row.change in (Change.KEPT, Change.SHIFTED) and row.reference is not None and row.variant is not None
    )
    among = found.detections if found.candidates is None else found.candidates
    return ImageOutcome(tuple(row.change for row in rows), deltas, _shares(first, among, counting))


def _shares(objects: Detections, among: Detections, counting: Counting) -> tuple[float, ...]:
    if not len(objects) or not len(among):
        return (0.0,) * len(objects)
    near = iou_matrix(objects.boxes, among.boxes) >= counting.iou  # [n, m]
    same = objects.class_ids[:, None] == among.class_ids[None, :]
    best = np.where(near & same, among.scores[None, :], 0).max(axis=1)
    return tuple(float(share) for share in np.minimum(1, best / np.maximum(objects.scores, 1e-9)))


def _reader(stepper: Stepper, settings: Settings) -> HeadReader:
    return HeadReader(stepper.graph, settings, *input_size(stepper.graph.input_tensors()[0]))


def _constants(data: bytes, reader: HeadReader) -> dict[int, np.ndarray]:
    """What a head reads of the file itself: the anchors of an NMS operator."""
    indices = [index for index in reader.wanted if reader.graph.tensors[index].constant]
    found: dict[int, np.ndarray] = {}
    if indices:
        runner = Runner(data)
        for index in indices:
            with suppress(QvizError):  # a decoder does without what is not given away
                found[index] = runner.tensor(index)
    return found


class _Bases:
    """The latest images' tensors, in at most `BYTES`."""

    def __init__(self) -> None:
        self._held: dict[object, _Base] = {}

    def get(self, key: object, make: Callable[[], _Base]) -> _Base:
        base = self._held.pop(key, None) or make()
        while self._held and sum(other.bytes for other in self._held.values()) + base.bytes > BYTES:
            del self._held[next(iter(self._held))]
        self._held[key] = base
        return base


BYTES = 192 << 20

_LABS, _BASES = Warm(2), _Bases()


def _lab(reference: Blob, variant: Blob, settings: Both) -> _Lab:
    def made() -> _Lab:
        networks = paired_networks(reference, variant, settings)
        return _Lab(networks, settings, (reference.read(), variant.read()))

    return _LABS.get((reference.digest, variant.digest, settings), made)
