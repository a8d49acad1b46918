"""Functions on arrays of boxes: (n, 4) float32 xyxy."""

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """(n,) areas in square pixels; an inverted box has area 0."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def iou_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of n and m boxes, in [0, 1]; 0 where both boxes are empty."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])  # [n, m, 2]
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = area(first)[:, None] + area(second)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def covered_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) share of the area of each first box that each second box covers, in [0, 1]. COCO uses it for crowds."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    areas = np.broadcast_to(area(first)[:, None], sides.shape[:2])
    return np.divide(sides[..., 0] * sides[..., 1], areas, out=np.zeros(sides.shape[:2], first.dtype), where=areas > 0)


def clip(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """The boxes clipped to an image of width x height pixels."""
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limit).astype(np.float32)


def from_centres(centres: np.ndarray) -> np.ndarray:
    """(n, 4) xyxy from (n, 4) centre x, centre y, width, height."""
    half = centres[:, 2:] / 2
    return np.concatenate([centres[:, :2] - half, centres[:, :2] + half], axis=1)
