"""Runs in which FP32 computes up to an operator and the variant from there on, and one object's score in such a run.

cut       a step of the variant (mostly one operator): FP32 computes the steps before it, the variant computes this step
          and all later ones
enters    a tensor enters if it is written before the cut and read at the cut or later. It gets the value of its partner
          in FP32, quantized with the variant's scale and zero point of this tensor (float tensors are not changed). At
          cut 0 nothing has been computed by FP32, so the graph's inputs are the variant's own
unpaired  a tensor without a partner is computed by the variant's own operator from the tensors before it. An operator
          that FP32 does not have is therefore never left out, and its error remains at every cut
Steps that the requested tensors do not depend on are not run.

The score and the box of an object are read before NMS:
anchor    where the file ends in TFLite_Detection_PostProcess: the score of one anchor and class at the operator's
          inputs. The anchor is found in FP32 by score and box; the variant has the same anchors.
cell      otherwise: the score of the best candidate of the object's class whose box has an IoU of at least MIN_IOU with
          FP32's; 0 if there is none with a score of at least MIN_SCORE. If the file's own NMS hides the candidates,
          detections are used instead
Objects are FP32's detections by descending score, numbered from 0, as `qviz detect` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from qviz.decoders.post_process import KIND, anchor_box, anchor_rows, score_columns
from qviz.features.layer_error.partial_head import PartialHead, Tensors, heads_of
from qviz.structures import Detections, Image, Settings, Tensor
from qviz.structures.boxes import iou_matrix
from qviz.tflite.inputs import fill, input_size, input_spec
from qviz.tflite.paired_networks import Pair, PairedNetworks, as_real, as_variant
from qviz.tflite.stepper import Step


class Reading(NamedTuple):
    """The object's score in one run, and the IoU of its box with FP32's; without a score, the best candidate's IoU."""

    score: float
    iou: float


ReadObject = Callable[[Tensors], Reading]


class Takeover:
    """One image in two networks.

    Args:
        exact, variant_tensors: All activations of FP32 and of the variant, as `PairedNetworks.run` returns them.
        requested: Tensors of the variant that `run` returns.

    Attributes:
        steps: Numbers of the variant's steps that the requested tensors depend on, in order. A cut is a position in
            `steps`, from 0 (the variant alone) to len(steps) (FP32 alone, with the requested tensors quantized).
    """

    def __init__(
        self, networks: PairedNetworks, exact: Tensors, variant_tensors: Tensors, requested: Collection[int]
    ) -> None:
        self._networks, self._exact, self._variant_tensors = networks, exact, variant_tensors
        self._stepper = networks.variant
        self.requested = tuple(requested)
        self.steps = ancestors(self._stepper.steps, requested)
        inputs = [self._stepper.steps[number].inputs for number in self.steps]
        self._last_reader = {tensor: position for position, read in enumerate(inputs) for tensor in read}
        self._entering: dict[int, np.ndarray] = {}

    def run(self, cut: int) -> dict[int, np.ndarray]:
        """The requested tensors if the variant takes over at this cut: tensor -> array in the data type of the file."""
        if cut == 0:
            return {tensor: self._variant_tensors[tensor] for tensor in self.requested}
        return self.continued(cut, {})

    def continued(self, cut: int, given: Tensors) -> dict[int, np.ndarray]:
        """The same as `run`, with the values in `given` instead of FP32's for some of the tensors that enter."""
        values = dict(given)
        for position in range(cut, len(self.steps)):
            step = self._stepper.steps[self.steps[position]]
            for tensor in step.inputs:
                if tensor not in values:
                    values[tensor] = self.entering(tensor)
            values |= self._stepper.run_step(self.steps[position], values)
            for tensor in (*step.inputs, *step.outputs):
                if self._last_reader.get(tensor, -1) <= position and tensor not in self.requested:
                    values.pop(tensor, None)
        return {tensor: values[tensor] if tensor in values else self.entering(tensor) for tensor in self.requested}

    def changes_nothing(self, cut: int) -> bool:
        """Whether the step at this cut, run on FP32's values, gives exactly FP32's values."""
        if cut == 0:
            return False  # the input of the variant may differ from that of FP32
        outputs = self.step_outputs(cut)
        return all(np.array_equal(value, self.entering(tensor)) for tensor, value in outputs.items())

    def step_outputs(self, cut: int) -> dict[int, np.ndarray]:
        """Run the variant's step at this cut on FP32's values: tensor -> output."""
        number = self.steps[cut]
        inputs = {tensor: self.entering(tensor) for tensor in self._stepper.steps[number].inputs}
        return self._stepper.run_step(number, inputs)

    def entering(self, tensor: int) -> np.ndarray:
        """FP32's value of a tensor of the variant, quantized with the variant's parameters of that tensor."""
        if tensor not in self._entering:
            value = self.real(tensor)
            if value is not None:
                self._entering[tensor] = as_variant(value, self._stepper.graph.tensors[tensor])
            else:
                self._run_unpaired(tensor)
        return self._entering[tensor]

    def real(self, tensor: int) -> np.ndarray | None:
        """FP32's float32 value of a tensor of the variant, in its shape; None if it has no partner."""
        value = self._exact.get(self._networks.partners.get(tensor, -1))
        fits = value is not None and value.size == self._variant_tensors[tensor].size
        return value.reshape(self._variant_tensors[tensor].shape) if fits and value is not None else None

    def _is_paired(self, tensor: int) -> bool:
        return self.real(tensor) is not None

    def _run_unpaired(self, tensor: int) -> None:
        """Compute a tensor without a partner, and the unpaired tensors that it depends on."""
        values: dict[int, np.ndarray] = {}
        for number in ancestors(self._stepper.steps, [tensor], self._is_paired):
            for read in self._stepper.steps[number].inputs:
                if read not in values:  # one that is not paired is an input of the graph
                    values[read] = self.entering(read) if self._is_paired(read) else self._variant_tensors[read]
            values |= self._stepper.run_step(number, values)
        self._entering[tensor] = values.get(tensor, self._variant_tensors[tensor])


def ancestors(
    steps: Sequence[Step], tensors: Collection[int], is_given: Callable[[int], bool] = lambda tensor: False
) -> tuple[int, ...]:
    """Numbers of the steps that these tensors depend on, in order. The search stops where `is_given` returns True."""
    needed, numbers = set(tensors), []
    for number in reversed(range(len(steps))):
        if needed.intersection(steps[number].outputs):
            numbers.append(number)
            needed |= {tensor for tensor in steps[number].inputs if not is_given(tensor)}
    return tuple(reversed(numbers))


MIN_IOU = 0.5
MIN_SCORE = 0.001
"""Candidates with lower scores are not decoded, because there would be thousands; their score counts as 0."""
NO_SCORE = 2.0
"""Minimum score of detections if only candidates are needed. No detection reaches it, so that NMS, which is the slowest
part, has nothing to do."""
MOVED_SCORE = 0.25
"""If no candidate overlaps FP32's box enough, the best overlap among candidates with at least this score is reported as
the IoU: one of them may be the object, whose box has moved."""


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """One anchor and one class, from which the score of an object is read.

    Attributes:
        scores: Tensor of the class scores, [..., columns].
        number: Index of the anchor.
        column: Column of the class in `scores`.
        box: FP32's box, (4,) xyxy in pixels of the variant's input.
    """

    head: PartialHead
    scores: Tensor
    number: int
    column: int
    box: np.ndarray

    def read(self, tensors: Tensors) -> Reading:
        """The score and the IoU of the box; the IoU is 0 if the tensors contain no boxes."""
        scores = tensors[self.scores.index]
        value = as_real(scores.reshape(-1, scores.shape[-1])[self.number, self.column, None], self.scores)
        score = float(np.nan_to_num(value, nan=0.0, posinf=1.0, neginf=0.0)[0])  # NMS never selects NaN
        box = anchor_box(self.head.reader.head({**self.head.constants, **tensors}), self.number)
        return Reading(score, 0.0 if box is None else float(iou_matrix(self.box[None], box[None])[0, 0]))


def cell_reading(head: CandidateCache, class_id: int, box: np.ndarray, tensors: Tensors) -> Reading:
    """The best candidate of a class that overlaps `box` by MIN_IOU. box: (4,) xyxy in pixels of the variant's input."""
    candidates = head.candidates(tensors)
    same = candidates[candidates.class_ids == class_id]
    ious = iou_matrix(box[None], same.boxes)[0]
    near = np.flatnonzero(ious >= MIN_IOU)
    if not len(near):
        return Reading(0.0, float(ious[same.scores >= MOVED_SCORE].max(initial=0.0)))
    best = near[np.argmax(same.scores[near])]
    return Reading(float(same.scores[best]), float(ious[best]))


class CandidateCache:
    """The candidates of a head with a score of at least MIN_SCORE. The result for the last tensors is cached."""

    def __init__(self, head: PartialHead) -> None:
        self._head = head
        self._last: tuple[Tensors, Detections] | None = None

    def candidates(self, tensors: Tensors) -> Detections:
        if self._last is None or self._last[0] is not tensors:
            candidates = self._head.decode(tensors, NO_SCORE, MIN_SCORE).candidates
            if candidates is None:
                candidates = self._head.decode(tensors, MIN_SCORE).detections
            self._last = tensors, candidates
        return self._last[1]


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceObject:
    """One detection of FP32.

    Attributes:
        box: (4,) xyxy in pixels of the original image.
        tensors: The tensors of the variant that determine its score.
        read: Returns its score in [0, 1] and the IoU of its box from these tensors, in the data types of the file.
    """

    class_id: int
    box: np.ndarray
    score: float
    tensors: tuple[int, ...]
    read: ReadObject


def objects_of(
    networks: PairedNetworks, pair: Pair, image: Image, exact: Tensors, score: float
) -> list[ReferenceObject]:
    """FP32's objects with at least this score on one image, by falling score. exact: tensor of FP32 -> activation."""
    heads = heads_of(networks, pair)
    detections = heads[0].decode(exact, score).detections
    placement = fill(image, input_spec(pair.settings[0]), networks.reference.graph.input_tensors()[0])[1]
    boxes = placement.to_original(detections.boxes)
    anchors = _anchor_readings(networks, heads, exact, detections, pair.settings)
    tensors, readers = anchors or (heads[1].activations, _cell_readings(networks, heads[1], detections))
    return [
        ReferenceObject(int(detections.class_ids[i]), boxes[i], float(detections.scores[i]), tensors, readers[i])
        for i in range(len(detections))
        if np.isfinite(boxes[i]).all()
    ]


def _cell_readings(networks: PairedNetworks, head: PartialHead, detections: Detections) -> list[ReadObject]:
    cache = CandidateCache(head)
    boxes = detections.boxes * _size_ratio(networks)
    return [
        partial(cell_reading, cache, int(class_id), box)
        for class_id, box in zip(detections.class_ids, boxes, strict=True)
    ]


def _size_ratio(networks: PairedNetworks) -> np.ndarray:
    """The variant's input size divided by FP32's, (4,), to scale boxes."""
    sizes = [
        np.array(input_size(stepper.graph.input_tensors()[0]) * 2, np.float32)
        for stepper in (networks.reference, networks.variant)
    ]
    return np.asarray(sizes[1] / sizes[0])


def _anchor_readings(
    networks: PairedNetworks,
    heads: tuple[PartialHead, PartialHead],
    exact: Tensors,
    detections: Detections,
    settings: tuple[Settings, Settings],
) -> tuple[tuple[int, ...], list[ReadObject]] | None:
    """(tensors to read, one reader per object); None unless both files have the post-process and the same anchors."""
    columns = score_columns(networks.variant.graph)
    if columns is None or all(op.kind != KIND for op in networks.reference.graph.ops):
        return None
    rows = anchor_rows(heads[0].reader.head({**heads[0].constants, **exact}))
    if rows is None:
        return None
    tensor, first = networks.variant.graph.tensors[columns[0]], columns[1]
    boxes, scores = rows
    if tensor.index not in heads[1].activations or tensor.shape[-2:] != (scores.shape[0], scores.shape[1] + first):
        return None  # a block that computes the scores and reads them does not write them out
    offsets = [one.class_offset or 0 for one in settings]
    if detections.class_ids.max(initial=0) + offsets[1] + first >= tensor.shape[-1]:
        return None  # classes are numbered differently: the object is found by its box
    readers: list[ReadObject] = []
    ratio = _size_ratio(networks)
    for box, score, class_id in zip(detections.boxes, detections.scores, detections.class_ids, strict=True):
        number = nearest_anchor(boxes, scores[:, class_id + offsets[0]], box, float(score))
        readers.append(Anchor(heads[1], tensor, number, int(class_id) + offsets[1] + first, box * ratio).read)
    op = next(op for op in networks.variant.graph.ops if op.kind == KIND)
    encodings = [index for index in op.inputs[:1] if index is not None and index in heads[1].activations]
    return (tensor.index, *encodings), readers


def nearest_anchor(boxes: np.ndarray, scores: np.ndarray, box: np.ndarray, score: float) -> int:
    """Index of the anchor from which a detection was made.

    Args:
        boxes: (n, 4) boxes of all anchors.
        scores: (n,) scores of all anchors for the detection's class.
        box, score: The detection, in the same units.
    """
    close = np.abs(scores - score) <= max(1e-5, float(np.abs(scores - score).min()))
    distance = np.where(close, np.abs(boxes - box).max(axis=1), np.inf)
    return int(np.argmin(distance))
