"""Intersection over union of convex polygons, for boxes that are rotated: (n, 4, 2) corners in either direction.

The intersection is found by clipping one polygon at each side of the other (Sutherland and Hodgman, Reentrant polygon
clipping, Communications of the ACM 17, 1974). Here, a corner outside a side is moved onto that side instead of being
removed. This adds no area, and all polygons keep the same number of corners, so that all pairs can be computed at once.
"""

from __future__ import annotations

import numpy as np

from qviz.structures.boxes import iou_matrix

PAIRS_AT_ONCE = 4096
"""Number of pairs that are clipped together, which limits memory to a few MB."""


def hulls(corners: np.ndarray) -> np.ndarray:
    """(n, 4) float32 xyxy: the upright boxes around polygons (n, k, 2)."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def rotated(centres: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(n, 4, 2) float32 corners of boxes that are rotated around their centres.

    Args:
        centres: (n, 4) centre x, centre y, width, height.
        angles: (n,) radians, from the x axis towards the y axis (clockwise on the screen).
    """
    cos, sin = np.cos(angles), np.sin(angles)
    across = np.stack([cos, sin], axis=1) * centres[:, 2:3] / 2
    down = np.stack([-sin, cos], axis=1) * centres[:, 3:4] / 2
    middle = centres[:, :2]
    corners = [middle - across - down, middle + across - down, middle + across + down, middle - across + down]
    return np.stack(corners, axis=1).astype(np.float32)


def areas(polygons: np.ndarray) -> np.ndarray:
    """(n,) areas of polygons (n, k, 2); negative if the corners run anticlockwise on the screen."""
    x, y = polygons[..., 0], polygons[..., 1]
    return np.asarray((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(axis=1) / 2)


def polygon_iou_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) float32 intersection over union of n and m convex polygons, (n, k, 2) and (m, k, 2), in [0, 1]."""
    result = np.zeros((len(first), len(second)), np.float32)
    rows, columns = np.nonzero(iou_matrix(hulls(first), hulls(second)) > 0)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        i, j = rows[start : start + PAIRS_AT_ONCE], columns[start : start + PAIRS_AT_ONCE]
        result[i, j] = _ious(first[i].astype(np.float64), second[j].astype(np.float64))
    return result


def _ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(p,) IoU of p pairs of polygons (p, k, 2)."""
    first, second = first - first[:, :1], second - first[:, :1]  # coordinates near 0 lose less to rounding
    clockwise = np.where(areas(second)[:, None, None] < 0, second[:, ::-1], second)
    shared = np.abs(areas(_clipped(first, clockwise)))
    union = np.abs(areas(first)) + np.abs(areas(second)) - shared
    return np.clip(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), 0, 1)


def _clipped(polygons: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The intersections of polygons (p, k, 2) with convex polygons `by` (p, s, 2), whose areas are not negative."""
    for side in range(by.shape[1]):
        start, end = by[:, side], by[:, (side + 1) % by.shape[1]]
        along = end - start
        length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
        inwards = np.stack([-along[:, 1], along[:, 0]], axis=1) / length
        polygons = _clipped_at(polygons, ((polygons - start[:, None]) * inwards[:, None]).sum(axis=2), inwards)
    return polygons


def _clipped_at(polygons: np.ndarray, depths: np.ndarray, inwards: np.ndarray) -> np.ndarray:
    """(p, 2k, 2) polygons clipped at a line. Each corner is followed by the point where its edge crosses the line.

    depths: (p, k) distance of each corner from the line, negative outside; inwards: (p, 2) the line's unit normal.
    """
    moved = polygons - np.minimum(depths, 0)[..., None] * inwards[:, None]
    following, beyond = np.roll(polygons, -1, 1), np.roll(depths, -1, 1)
    crosses = (depths < 0) != (beyond < 0)
    share = np.divide(depths, depths - beyond, out=np.zeros_like(depths), where=crosses)
    crossing = np.where(crosses[..., None], polygons + share[..., None] * (following - polygons), moved)
    both = np.stack([moved, crossing], axis=2)
    return both.reshape(len(polygons), -1, 2)
