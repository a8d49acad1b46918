"""Boxes as plain arrays: (n, 4) float32 xyxy. Every function takes and returns that."""

import numpy as np

FloatArray = np.ndarray


def area(boxes: FloatArray) -> FloatArray:
    """(n,) areas in square pixels; a box turned inside out has area 0."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def iou_matrix(first: FloatArray, second: FloatArray) -> FloatArray:
    """(n, m) intersection over union in [0, 1]; 0 where both boxes are empty."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])  # [n, m, 2]
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = area(first)[:, None] + area(second)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def covered_matrix(first: FloatArray, second: FloatArray) -> FloatArray:
    """(n, m) share of each first box that lies in a second one, in [0, 1]: IoU as COCO takes it against crowds."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    own = np.broadcast_to(area(first)[:, None], sides.shape[:2])
    return np.divide(sides[..., 0] * sides[..., 1], own, out=np.zeros(sides.shape[:2], first.dtype), where=own > 0)


def clip(boxes: FloatArray, width: int, height: int) -> FloatArray:
    """The boxes cut to an image of width x height pixels."""
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limit).astype(np.float32)


def from_centres(centres: FloatArray) -> FloatArray:
    """(n, 4) cx, cy, w, h to xyxy."""
    half = centres[:, 2:] / 2
    return np.concatenate([centres[:, :2] - half, centres[:, :2] + half], axis=1)
