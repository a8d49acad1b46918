"""The margins of the reference's objects, and the noise of a variant's head in which they are measured.

An object is lost if its score falls below the threshold or if a stronger box of its class suppresses it. It is
relabelled if another class gets a higher score than its own. The margins of an object are computed from the reference's
outputs alone:

threshold   its score minus the threshold
runner-up   its score minus the highest score of another class at the same position (IoU of at least `IOU`)
NMS         the IoU above which NMS drops a box, minus the largest IoU with a stronger object of its class

The noise is measured on images on which both models have run:

score_shift, score_spread   median and 1.4826 x median absolute deviation of logit(variant's score) - logit(reference's
                            score), over all objects; the variant's score is that of its best box of the class at the
                            position, and `CANDIDATE_FLOOR` if it has none
box_error                   mean of 1 - IoU of that box and the reference's

In units of noise, the margins are (logit(score) + shift - logit(threshold)) / spread, (logit(score) - logit(runner-up))
/ (spread sqrt(2)) and (IoU of NMS - IoU) / box error, each limited to +-`LIMIT`, which is also the NMS margin of an
object without a rival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.accuracy.recalibration import logit
from qviz.features.comparison.matching import IOU, Change, changes, confidences
from qviz.structures import Detections, Inference
from qviz.structures.detections import CANDIDATE_FLOOR

LIMIT = 8.0
MIN_SPREAD, MIN_BOX_ERROR = 0.01, 0.005
"""Minimum values of the noise, because two files that differ only in rounding have nearly none."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageObjects:
    """The reference's objects on one image, and the changes in the variant; the arrays have one entry per object.

    Attributes:
        image, digest: Name and digest of the image.
        objects: The reference's detections that reach the threshold.
        threshold: Minimum score of an object.
        runner_up: Highest score of another class at the object's position; 0 if there is none.
        runner_up_class: Id of that class; -1 if there is none.
        nms_margin: See the module; NaN if there is no stronger object of the class, or NMS is unknown.
        variant_scores: The variant's score of the object, see the module.
        ious: IoU with the variant's box that has this score; NaN if there is none.
        changes: The result of each object in the variant.
    """

    image: str
    digest: str
    objects: Detections
    threshold: float
    runner_up: np.ndarray
    runner_up_class: np.ndarray
    nms_margin: np.ndarray
    variant_scores: np.ndarray
    ious: np.ndarray
    changes: tuple[Change, ...]


def image_objects(
    image: tuple[str, str],
    reference: Inference,
    variant: Inference,
    threshold: float,
    nms_iou: float | None,
    iou: float = IOU,
) -> ImageObjects:
    """The objects of one image with their margins.

    Args:
        image: (name, digest) of the image.
        threshold: Minimum score of an object, in [0, 1].
        nms_iou: IoU above which the reference's NMS drops a box; None if unknown.
        iou: Minimum IoU of a matched pair.
    """
    objects = reference.detections.above(threshold)
    rows = changes(reference.detections, variant.detections, variant.candidates, threshold, iou)
    runner_up, runner_up_class = _runner_up(objects, _boxes(reference))
    boxes = _boxes(variant)
    return ImageObjects(
        image=image[0],
        digest=image[1],
        objects=objects,
        threshold=threshold,
        runner_up=runner_up,
        runner_up_class=runner_up_class,
        nms_margin=_nms_margin(objects, nms_iou),
        variant_scores=np.maximum(confidences(objects, boxes, iou), CANDIDATE_FLOOR),
        ious=_ious(objects, boxes, iou),
        changes=tuple(row.change for row in rows if row.reference is not None),
    )


def _boxes(inference: Inference) -> Detections:
    """The boxes before NMS, or the detections if the head does not provide them."""
    return inference.detections if inference.candidates is None else inference.candidates


def _runner_up(objects: Detections, boxes: Detections) -> tuple[np.ndarray, np.ndarray]:
    """(score, class) of the best box of another class at the position of each object."""
    if not len(objects) or not len(boxes):
        return np.zeros(len(objects)), np.full(len(objects), -1)
    rival = (objects.overlaps(boxes) >= IOU) & (objects.class_ids[:, None] != boxes.class_ids[None, :])
    scores = np.where(rival, boxes.scores[None, :], 0.0)
    best = scores.argmax(axis=1)
    return scores.max(axis=1).astype(np.float64), np.where(rival.any(axis=1), boxes.class_ids[best], -1)


def _nms_margin(objects: Detections, nms_iou: float | None) -> np.ndarray:
    if nms_iou is None or not len(objects):
        return np.full(len(objects), np.nan)
    same = objects.class_ids[:, None] == objects.class_ids[None, :]
    overlaps = np.where(same & (objects.scores[None, :] > objects.scores[:, None]), objects.overlaps(objects), 0)
    nearest = overlaps.max(axis=1)
    return np.where(nearest > 0, nms_iou - nearest, np.nan)


def _ious(objects: Detections, boxes: Detections, iou: float) -> np.ndarray:
    """(n,) IoU of each object with the box whose score `confidences` returns for it; NaN if there is none."""
    if not len(objects) or not len(boxes):
        return np.full(len(objects), np.nan)
    overlaps = objects.overlaps(boxes)
    near = (overlaps >= iou) & (objects.class_ids[:, None] == boxes.class_ids[None, :])
    best = np.where(near, boxes.scores[None, :], -1.0).argmax(axis=1)
    return np.where(near.any(axis=1), overlaps[np.arange(len(objects)), best], np.nan)


@dataclass(frozen=True, slots=True)
class HeadNoise:
    """How a variant's head differs from the reference's on the same objects; see the module.

    `objects` is the number of objects, and `gone` the share of them for which the variant has no box.
    """

    objects: int
    gone: float
    score_shift: float
    score_spread: float
    box_error: float


def head_noise(images: Sequence[ImageObjects]) -> HeadNoise | None:
    """The noise over the objects of these images; None if there are no objects."""
    scores = np.concatenate([image.objects.scores for image in images]) if images else np.zeros(0)
    if not len(scores):
        return None
    ious = np.concatenate([image.ious for image in images])
    differences = logit(np.concatenate([image.variant_scores for image in images])) - logit(scores)
    shift = float(np.median(differences))
    spread = 1.4826 * float(np.median(np.abs(differences - shift)))
    gone = np.isnan(ious)
    return HeadNoise(
        objects=len(scores),
        gone=float(gone.mean()),
        score_shift=shift,
        score_spread=max(spread, MIN_SPREAD),
        box_error=max(float(np.mean(1 - ious[~gone])) if not gone.all() else 0.0, MIN_BOX_ERROR),
    )


def in_units_of_noise(images: Sequence[ImageObjects], noise: HeadNoise) -> np.ndarray:
    """(3, n) margins of all objects, image by image: to the threshold, to the runner-up and to NMS."""
    columns = [_image_in_units_of_noise(image, noise) for image in images]
    return np.concatenate(columns, axis=1) if columns else np.zeros((3, 0))


def _image_in_units_of_noise(image: ImageObjects, noise: HeadNoise) -> np.ndarray:
    scores = logit(image.objects.scores)
    threshold = (scores + noise.score_shift - float(logit(np.array(image.threshold)))) / noise.score_spread
    runner_up = logit(np.maximum(image.runner_up, CANDIDATE_FLOOR))
    nms = np.nan_to_num(image.nms_margin / noise.box_error, nan=LIMIT)
    rows = [threshold, (scores - runner_up) / (noise.score_spread * np.sqrt(2)), nms]
    return np.clip(np.array(rows), -LIMIT, LIMIT)
