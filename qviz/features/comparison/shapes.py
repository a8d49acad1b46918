"""Compare the keypoints and the masks of an object in two models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qviz.structures import Detections
from qviz.structures.detections import MASK_SIDE

MIN_VISIBILITY = 0.5
"""Keypoints that the reference gives a lower visibility are not compared, and no viewer draws them."""
COCO_SIGMAS = np.array(
    [
        0.026,
        0.025,
        0.025,
        0.035,
        0.035,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
    ]
)
"""Standard deviation of annotators for each of COCO's 17 keypoints, in units of the object's scale."""
AREA_SHARE = 0.53
"""Area of a person's mask as a share of its box, on average in COCO; Ultralytics uses it where masks are unknown."""
SAMPLES = 128
"""Number of points along each side of the box around two masks. The masks are compared at these points."""


@dataclass(frozen=True, slots=True)
class ShapeSimilarity:
    """How similar the shapes of two detections of one object are.

    Attributes:
        keypoints: Object keypoint similarity in [0, 1]; None if a model has no keypoints.
        masks: IoU of the masks in [0, 1]; None if a model has no masks.
    """

    keypoints: float | None = None
    masks: float | None = None


def shape_similarity(reference: Detections, variant: Detections, pair: tuple[int, int]) -> ShapeSimilarity:
    """The similarity of a pair of objects. pair: the object's index in the reference and in the variant."""
    i, j = pair
    keypoints = masks = None
    if reference.keypoints is not None and variant.keypoints is not None:
        keypoints = keypoint_similarity(reference.keypoints[i], variant.keypoints[j], reference.boxes[i])
    if reference.masks is not None and variant.masks is not None:
        masks = mask_iou(reference.boxes[i], reference.masks[i], variant.boxes[j], variant.masks[j])
    return ShapeSimilarity(keypoints, masks)


def keypoint_similarity(reference: np.ndarray, variant: np.ndarray, box: np.ndarray) -> float | None:
    """Object keypoint similarity (OKS), in [0, 1], 1 for equal keypoints; None if no keypoint can be compared.

    OKS is the mean of exp(-d² / (2 s² k²)) over the keypoints that are visible in the reference. d is the distance in
    pixels, s² the object's area, taken as 0.53 of its box, and k twice the keypoint's standard deviation in COCO, or
    2 / n for any other set of n keypoints. Source: cocodataset.org/#keypoints-eval; ultralytics/utils/metrics.py.

    Args:
        reference, variant: (n, 3) x, y in pixels and visibility.
        box: (4,) xyxy of the reference.

    Example:
        >>> points = np.array([[10.0, 10.0, 1.0], [20.0, 10.0, 1.0]])
        >>> keypoint_similarity(points, points, np.array([0, 0, 30, 30]))
        1.0
    """
    if reference.shape != variant.shape:
        return None
    visible = reference[:, 2] >= MIN_VISIBILITY
    area = AREA_SHARE * float(np.prod(np.maximum(box[2:] - box[:2], 0)))
    if not visible.any() or area <= 0:
        return None
    sigmas = sigmas_of(len(reference))
    squares = ((reference[:, :2] - variant[:, :2]).astype(np.float64) ** 2).sum(axis=1)
    similarity = np.exp(-squares / (2 * area * (2 * sigmas) ** 2))
    return float(similarity[visible].mean())


def sigmas_of(count: int) -> np.ndarray:
    """(count,) standard deviation of each keypoint: COCO's for 17 keypoints, in COCO's order; else 1 / count."""
    return COCO_SIGMAS if count == len(COCO_SIGMAS) else np.full(count, 1 / count)


def mask_iou(first_box: np.ndarray, first: np.ndarray, second_box: np.ndarray, second: np.ndarray) -> float | None:
    """Intersection over union of two masks, in [0, 1]; None if both are empty.

    Both masks are sampled at 128 x 128 points of the smallest box that contains both objects' boxes. At each point, the
    nearest cell of a mask counts.

    Args:
        first_box, second_box: (4,) xyxy in pixels.
        first, second: Masks as `Detections.masks` has them.
    """
    start, end = np.minimum(first_box[:2], second_box[:2]), np.maximum(first_box[2:], second_box[2:])
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES
    points = start + steps[:, None] * (end - start)  # [SAMPLES, 2] x and y
    sampled = [_sampled(points, box, mask) for box, mask in ((first_box, first), (second_box, second))]
    union = int((sampled[0] | sampled[1]).sum())
    return int((sampled[0] & sampled[1]).sum()) / union if union else None


def _sampled(points: np.ndarray, box: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(SAMPLES, SAMPLES) bool, rows from top to bottom: whether the mask covers each point."""
    cells = np.unpackbits(mask, axis=1).astype(bool)
    index = np.floor((points - box[:2]) / np.maximum(box[2:] - box[:2], 1e-6) * MASK_SIDE).astype(np.int64)
    inside = (index >= 0) & (index < MASK_SIDE)
    x, y = np.clip(index, 0, MASK_SIDE - 1).T
    return np.asarray(cells[y[:, None], x[None, :]] & inside[:, 1, None] & inside[None, :, 0])


def mean_and_lowest(values: Iterable[float | None]) -> tuple[float, int] | None:
    """(mean, index of the lowest value) over the values that are not None; None if all are None."""
    numbered = [(value, index) for index, value in enumerate(values) if value is not None]
    if not numbered:
        return None
    return float(np.mean([value for value, _ in numbered])), min(numbered)[1]
