"""Corruptions that move the pixels and thus the boxes: rotation, perspective, scale.

Each is a (3, 3) homography of continuous pixel coordinates, in which pixel i covers i..i+1. (In OpenCV's coordinates,
pixel centres are whole numbers, which differs by half a pixel.) The picture keeps its size; areas without pixels become
grey 114, the value that detectors use for letterboxing. Directions are drawn from `rng` first, so for a given seed they
are the same at all severities.
"""

from __future__ import annotations

import cv2
import numpy as np

from qviz.structures import boxes as box_arrays

BORDER = 114

ROTATION = (5.0, 10.0, 15.0, 22.0, 30.0)
"""Angle of the rotation about the centre in degrees, to the left or to the right."""

TILT = (10.0, 18.0, 26.0, 34.0, 42.0)
"""Angle in degrees by which the picture, as a plane, is turned about its vertical or horizontal axis."""

SCALE = (0.85, 0.7, 0.55, 0.42, 0.3)
"""New side length relative to the old one, as if objects were seen from farther away."""

MIN_VISIBLE = 0.3
"""A box with less than this share of its area inside the picture is dropped."""

HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


def rotated(size: tuple[int, int], severity: int, rng: np.random.Generator) -> np.ndarray:
    """The homography of a rotation to the left or to the right."""
    angle = np.radians(ROTATION[severity - 1]) * _sign(rng)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return _about_centre(turn, size)


def tilted(size: tuple[int, int], severity: int, rng: np.random.Generator) -> np.ndarray:
    """The homography of a tilted plane seen by a pinhole camera; focal length and distance equal the longer side."""
    angle = np.radians(TILT[severity - 1]) * _sign(rng)
    cosine, depth = np.cos(angle), np.sin(angle) / max(size)
    if rng.random() < 0.5:
        turn = np.array([[cosine, 0, 0], [0, 1, 0], [depth, 0, 1]])
    else:
        turn = np.array([[1, 0, 0], [0, cosine, 0], [0, depth, 1]])
    return _about_centre(turn, size)


def shrunk(size: tuple[int, int], severity: int, rng: np.random.Generator) -> np.ndarray:
    """The homography of `scale`, whose sizes and offsets are whole pixels."""
    (left, top), (width, height) = _placed(size, severity)
    return np.array([[width / size[0], 0, left], [0, height / size[1], top], [0, 0, 1]])


def rotation(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture rotated about its centre."""
    return _warped(pixels, rotated(_size(pixels), severity, rng))


def perspective(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture viewed at an angle."""
    return _warped(pixels, tilted(_size(pixels), severity, rng))


def scale(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture made smaller by area averaging, which avoids aliasing."""
    (left, top), (width, height) = _placed(_size(pixels), severity)
    result = np.full_like(pixels, BORDER)
    result[top : top + height, left : left + width] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return result


def moved(boxes: np.ndarray, size: tuple[int, int], matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((n, 4) float32 boxes after the homography `matrix`, (n,) bool whether each is still visible).

    A moved box is the upright hull of the original's four corners, clipped to the picture. After a rotation it is
    looser than a box drawn around the rotated object, but equally so for every model. A box is visible if at least a
    share `MIN_VISIBLE` of the hull is inside the picture.
    """
    x0, y0, x1, y1 = box_arrays.clip(np.asarray(boxes).reshape(-1, 4), *size).astype(np.float64).T
    corners = np.stack([[x0, x1, x1, x0], [y0, y0, y1, y1], [np.ones_like(x0)] * 4])  # [3, 4, n]
    x, y, w = np.tensordot(matrix, corners, axes=1)
    hull = np.stack([(x / w).min(0), (y / w).min(0), (x / w).max(0), (y / w).max(0)], axis=1)
    inside = box_arrays.clip(hull, *size)
    whole = box_arrays.area(hull)
    return inside, (whole > 0) & (box_arrays.area(inside) >= MIN_VISIBLE * whole)


def _warped(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    of_centres = np.linalg.inv(HALF) @ matrix @ HALF
    border = (BORDER, BORDER, BORDER)
    return np.asarray(cv2.warpPerspective(pixels, of_centres, _size(pixels), borderValue=border))


def _about_centre(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    there = np.array([[1, 0, size[0] / 2], [0, 1, size[1] / 2], [0, 0, 1]])
    return there @ matrix @ np.linalg.inv(there)


def _placed(size: tuple[int, int], severity: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """((left, top), (width, height)) of the smaller picture within the frame."""
    width, height = (max(1, round(side * SCALE[severity - 1])) for side in size)
    return ((size[0] - width) // 2, (size[1] - height) // 2), (width, height)


def _size(pixels: np.ndarray) -> tuple[int, int]:
    return int(pixels.shape[1]), int(pixels.shape[0])


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0
