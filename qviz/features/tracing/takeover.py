"""FP32 runs up to an operator, the variant from there: what the trace of an object is made of.

cut       a step of the variant (mostly one operator): those before it are FP32's, it and those behind it the variant's.
enters    every tensor that steps from the cut on read and that steps before it write is FP32's: its partner's value,
          quantized with the variant's own parameters of that tensor (a float tensor has none and takes it as it is).
          Before the first step nothing is FP32's: the graph's inputs are the variant's own.
unpaired  a tensor without a partner is made by the variant's own operator, from what enters before it; so an operator
          that FP32 does not have is never left out, and its error stays at every cut.
Only steps that the wanted tensors depend on are run: the others cannot change them.

One object's score before NMS, read from the tensors of any run of a variant.

anchor    where the file ends in TFLite_Detection_PostProcess: the anchor and class of the object at the operator's
          inputs, found in FP32 by score and box and the same in the variant, as both have the same anchors
cell      else: the best candidate of the object's class whose box overlaps FP32's by IoU >= LEAST_IOU, however low it
          scores (from LOWEST on); 0 where there is none. Heads whose NMS hides the candidates give their detections.
Objects are FP32's detections by falling score, numbered from 0, as `qviz detect` lists them. Boxes: xyxy in pixels of
the original image for people, in pixels of the variant's input inside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qviz.decoders.post_process import KIND, anchor_rows, score_columns
from qviz.decoders.head_reader import HeadReader
from qviz.engine import Blob
from qviz.structures import Detections, Image, Settings, Tensor
from qviz.structures.boxes import iou_matrix
from qviz.tflite.constants import stored_constant
from qviz.tflite.inputs import fill, input_size, input_spec
from qviz.tflite.paired_networks import PairedNetworks, as_real, as_variant
from qviz.tflite.stepper import Stepper
from qviz.tflite.stepper import Step

Tensors = Mapping[int, np.ndarray]


class Takeover:
    """One image in two networks. truth, own: all activations of FP32 and of the variant, as `PairedNetworks.run` gives.

    steps: the numbers of the variant's steps that `wanted` depends on, in their order. A cut is a place in it, from 0
    (the variant alone) to len(steps) (FP32 alone, its `wanted` quantized).
    """

    def __init__(self, networks: PairedNetworks, truth: Tensors, own: Tensors, wanted: Collection[int]) -> None:
        self._networks, self._truth, self._own = networks, truth, own
        self._stepper = networks.variant
        self.wanted = tuple(wanted)
        self.steps = ancestors(self._stepper.steps, wanted)
        inputs = [self._stepper.steps[number].inputs for number in self.steps]
        self._last_reader = {tensor: place for place, read in enumerate(inputs) for tensor in read}
        self._entering: dict[int, np.ndarray] = {}

    def run(self, cut: int) -> dict[int, np.ndarray]:
        """The wanted tensors when the variant takes over at this cut, as the file types them."""
        if cut == 0:
            return {tensor: self._own[tensor] for tensor in self.wanted}
        return self.continued(cut, {})

    def continued(self, cut: int, given: Tensors) -> dict[int, np.ndarray]:
        """As `run`, with some of the tensors that enter given."""
        held = dict(given)
        for place in range(cut, len(self.steps)):
            step = self._stepper.steps[self.steps[place]]
            for tensor in step.inputs:
                if tensor not in held:
                    held[tensor] = self.entering(tensor)
            held |= self._stepper.run_step(self.steps[place], held)
            for tensor in (*step.inputs, *step.outputs):
                if self._last_reader.get(tensor, -1) <= place and tensor not in self.wanted:
                    held.pop(tensor, None)
        return {tensor: held[tensor] if tensor in held else self.entering(tensor) for tensor in self.wanted}

    def changes_nothing(self, cut: int) -> bool:
        """Whether the step at this cut makes, of what enters, exactly what would enter behind it."""
        if cut == 0:
            return False  # the variant's own input may be another one than FP32's
        made = self.made(cut)
        return all(np.array_equal(value, self.entering(tensor)) for tensor, value in made.items())

    def made(self, cut: int) -> dict[int, np.ndarray]:
        """What the variant's step at this cut makes of what enters."""
        number = self.steps[cut]
        fed = {tensor: self.entering(tensor) for tensor in self._stepper.steps[number].inputs}
        return self._stepper.run_step(number, fed)

    def entering(self, tensor: int) -> np.ndarray:
        """FP32's value of a tensor of the variant."""
        if tensor not in self._entering:
            if self._paired(tensor):
                self._entering[tensor] = self._quantized(tensor)
            else:
                self._run_unpaired(tensor)
        return self._entering[tensor]

    def real(self, tensor: int) -> np.ndarray | None:
        """FP32's own value of a tensor of the variant, in its shape; None where it has no partner."""
        value = self._truth_of(tensor)
        return None if value is None else value.reshape(self._own[tensor].shape)

    def _truth_of(self, tensor: int) -> np.ndarray | None:
        value = self._truth.get(self._networks.partners.get(tensor, -1))
        return value if value is not None and value.size == self._own[tensor].size else None

    def _paired(self, tensor: int) -> bool:
        return self._truth_of(tensor) is not None

    def _quantized(self, tensor: int) -> np.ndarray:
        value = self.real(tensor)
        assert value is not None, "it has a partner"
        return as_variant(value, self._stepper.graph.tensors[tensor])

    def _run_unpaired(self, tensor: int) -> None:
        """A tensor without a partner, and those before it that it is made of, in the file's order."""
        held: dict[int, np.ndarray] = {}
        for number in ancestors(self._stepper.steps, [tensor], self._paired):
            for read in self._stepper.steps[number].inputs:
                if read not in held:  # else a graph's input without a partner
                    held[read] = self.entering(read) if self._paired(read) else self._own[read]
            held |= self._stepper.run_step(number, held)
        self._entering[tensor] = held.get(tensor, self._own[tensor])


def ancestors(
    steps: Sequence[Step], wanted: Collection[int], known: Callable[[int], bool] = lambda tensor: False
) -> tuple[int, ...]:
    """The numbers of the steps that `wanted` depends on; not looked for behind tensors that are known."""
    needed, numbers = set(wanted), []
    for number in reversed(range(len(steps))):
        if needed.intersection(steps[number].outputs):
            numbers.append(number)
            needed |= {tensor for tensor in steps[number].inputs if not known(tensor)}
    return tuple(reversed(numbers))


LEAST_IOU = 0.5
LOWEST = 0.001
"""Scores below it count as 0 where candidates are decoded; thousands of boxes would be for nothing."""


class ObjectScore(Protocol):
    """wanted: the variant's tensors that the score is read from."""

    wanted: tuple[int, ...]

    def of(self, tensors: Tensors) -> float:
        """In [0, 1], from the wanted tensors as the file types them."""
        ...


@dataclass(slots=True, eq=False)  # not frozen: the Protocol has plain attributes
class AnchorScore:
    """One anchor and class in a tensor of class scores [..., columns]."""

    tensor: Tensor
    anchor: int
    column: int
    wanted: tuple[int, ...]

    def of(self, tensors: Tensors) -> float:
        scores = tensors[self.tensor.index]
        found = as_real(scores.reshape(-1, scores.shape[-1])[self.anchor, self.column, None], self.tensor)
        return float(np.nan_to_num(found, nan=0.0, posinf=1.0, neginf=0.0)[0])  # NMS never takes what is no number


@dataclass(slots=True, eq=False)
class CellScore:
    """The best candidate of a class near a box (4,). constants: what the head reads and the file holds."""

    head: VariantHead
    class_id: int
    box: np.ndarray
    wanted: tuple[int, ...]

    def of(self, tensors: Tensors) -> float:
        found = self.head.candidates(tensors)
        same = found[found.class_ids == self.class_id]
        near = iou_matrix(self.box[None], same.boxes)[0] >= LEAST_IOU
        return float(same.scores[near].max(initial=0.0))


class VariantHead:
    """A head read at the lowest scores; the tensors of the last reading are not decoded twice."""

    def __init__(self, reader: HeadReader, constants: Tensors) -> None:
        self._reader, self._constants = reader, constants
        self._last: tuple[Tensors, Detections] | None = None

    def candidates(self, tensors: Tensors) -> Detections:
        if self._last is None or self._last[0] is not tensors:
            decoded = self._reader.decode({**self._constants, **tensors}, LOWEST, LOWEST)
            self._last = tensors, decoded.candidates if decoded.candidates is not None else decoded.detections
        return self._last[1]


@dataclass(frozen=True, slots=True, eq=False)
class FoundObject:
    """One detection of FP32: box (4,) in pixels of the original image, and where the variant's score of it is read."""

    class_id: int
    box: np.ndarray
    score: float
    read: ObjectScore


def objects_of(
    networks: PairedNetworks, blobs: tuple[Blob, Blob], settings: tuple[Settings, Settings], image: Image,
    truth: Tensors, score: float,
) -> list[FoundObject]:  # fmt: skip
    """FP32's objects of at least `score` on one image. truth: FP32's tensors on it."""
    readers = [_reader(stepper, said) for stepper, said in zip(_sides(networks), settings, strict=True)]
    constants = [_constants(*side) for side in zip(_sides(networks), readers, blobs, strict=True)]
    seen = {**constants[0], **truth}
    found = readers[0].decode(seen, score).detections
    placement = fill(image, input_spec(settings[0]), networks.reference.graph.input_tensors()[0])[1]
    boxes = placement.to_original(found.boxes)
    reads = _reads(networks, readers, seen, constants[1], found, settings)
    return [
        FoundObject(int(found.class_ids[i]), boxes[i], float(found.scores[i]), reads[i])
        for i in range(len(found))
        if np.isfinite(boxes[i]).all()
    ]


def _sides(networks: PairedNetworks) -> tuple[Stepper, Stepper]:
    return networks.reference, networks.variant


def _reader(stepper: Stepper, said: Settings) -> HeadReader:
    return HeadReader(stepper.graph, said, *input_size(stepper.graph.input_tensors()[0]))


def _constants(stepper: Stepper, reader: HeadReader, blob: Blob) -> dict[int, np.ndarray]:
    """The constants that a head reads (anchors), as the file types them."""
    tensors = [stepper.graph.tensors[index] for index in reader.tensors]
    stored = [tensor for tensor in tensors if tensor.constant]
    folded = {tensor.index: stepper.folded[tensor.index] for tensor in tensors if tensor.index in stepper.folded}
    data = blob.read() if stored else b""
    return folded | {tensor.index: stored_constant(data, tensor) for tensor in stored}


def _reads(
    networks: PairedNetworks, readers: list[HeadReader], seen: Tensors, constants: Tensors, found: Detections,
    settings: tuple[Settings, Settings],
) -> list[ObjectScore]:  # fmt: skip
    anchors = _anchors(networks, readers[0], seen, found, settings)
    if anchors is not None:
        return anchors
    made = {tensor for step in networks.variant.steps for tensor in step.outputs}
    wanted = tuple(index for index in readers[1].tensors if index in made)
    sizes = [np.array(input_size(stepper.graph.input_tensors()[0]) * 2, np.float32) for stepper in _sides(networks)]
    head = VariantHead(readers[1], constants)
    boxes = found.boxes * (sizes[1] / sizes[0])
    return [CellScore(head, int(class_id), box, wanted) for class_id, box in zip(found.class_ids, boxes, strict=True)]


def _anchors(
    networks: PairedNetworks, reader: HeadReader, seen: Tensors, found: Detections, settings: tuple[Settings, Settings]
) -> list[ObjectScore] | None:
    """Where both files hold the operator over the same anchors."""
    rows, columns = anchor_rows(reader.head(seen)) if KIND in _kinds(networks) else None, _score_tensor(networks)
    if rows is None or columns is None:
        return None
    tensor, first = columns
    boxes, scores = rows
    if tensor.shape[-2:] != (scores.shape[0], scores.shape[1] + first):
        return None
    offsets = [said.class_offset or 0 for said in settings]
    if found.class_ids.max(initial=0) + offsets[1] + first >= tensor.shape[-1]:
        return None  # counted otherwise: the variant's class is looked for by its box
    reads: list[ObjectScore] = []
    for box, score, class_id in zip(found.boxes, found.scores, found.class_ids, strict=True):
        anchor = nearest_anchor(boxes, scores[:, class_id + offsets[0]], box, float(score))
        reads.append(AnchorScore(tensor, anchor, int(class_id) + offsets[1] + first, (tensor.index,)))
    return reads


def nearest_anchor(boxes: np.ndarray, scores: np.ndarray, box: np.ndarray, score: float) -> int:
    """The anchor whose score (n,) and box (n, 4) are those of a detection, which the operator copies from it."""
    alike = np.abs(scores - score) <= max(1e-5, float(np.abs(scores - score).min()))
    apart = np.where(alike, np.abs(boxes - box).max(axis=1), np.inf)
    return int(np.argmin(apart))


def _kinds(networks: PairedNetworks) -> set[str]:
    return {op.kind for op in networks.reference.graph.ops}


def _score_tensor(networks: PairedNetworks) -> tuple[Tensor, int] | None:
    found = score_columns(networks.variant.graph)
    return (networks.variant.graph.tensors[found[0]], found[1]) if found is not None else None
