"""One object's score before NMS, read from the tensors of any run of a variant.

anchor    where the file ends in TFLite_Detection_PostProcess: the anchor and class of the object at the operator's
          inputs, found in FP32 by score and box and the same in the variant, as both have the same anchors
cell      else: the best candidate of the object's class whose box overlaps FP32's by IoU >= LEAST_IOU, however low it
          scores (from LOWEST on); 0 where there is none. Heads whose NMS hides the candidates give their detections.
Objects are FP32's detections by falling score, numbered from 0, as `qviz detect` lists them. Boxes: xyxy in pixels of
the original image for people, in pixels of the variant's input inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qviz.analysis.paired_networks import PairedNetworks, as_real
from qviz.decoders.post_process import KIND, anchor_rows, score_columns
from qviz.decoders.reading import HeadReader
from qviz.detector import input_spec
from qviz.engine import Blob
from qviz.structures import Detections, Image, Settings, Tensor
from qviz.structures.boxes import iou_matrix
from qviz.tflite.constants import stored_constant
from qviz.tflite.inputs import fill, input_size
from qviz.tflite.stepper import Stepper

LEAST_IOU = 0.5
LOWEST = 0.001
"""Scores below it count as 0 where candidates are decoded; thousands of boxes would be for nothing."""

Tensors = Mapping[int, np.ndarray]


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
    tensors = [stepper.graph.tensors[index] for index in reader.wanted]
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
    wanted = tuple(index for index in readers[1].wanted if index in made)
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
