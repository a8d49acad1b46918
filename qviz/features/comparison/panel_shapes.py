"""Keypoints, masks and rotated boxes as the viewer draws them: paths of SVG in pixels of the original image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from qviz.features.comparison.shapes import MIN_VISIBILITY
from qviz.structures import Detections
from qviz.structures.detections import MASK_SIDE

COCO_BONES = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
"""Pairs of COCO's 17 keypoints that a line connects (the skeleton in COCO's annotations)."""


def viewer_shapes(detections: Detections) -> list[dict[str, str]] | None:
    """For each object, paths by name: outline (rotated box), mask, bones and points; None if the model has none."""
    if detections.keypoints is None and detections.masks is None and detections.corners is None:
        return None
    return [_shape(detections, index) for index in range(len(detections))]


def _shape(detections: Detections, index: int) -> dict[str, str]:
    shape = {}
    if detections.corners is not None:
        shape["outline"] = _closed(detections.corners[index])
    if detections.masks is not None:
        shape["mask"] = mask_path(detections.masks[index], detections.boxes[index])
    if detections.keypoints is not None:
        points = detections.keypoints[index]
        visible = points[:, 2] >= MIN_VISIBILITY
        bones = COCO_BONES if len(points) == 17 else ()
        lines = [_line(points[a], points[b]) for a, b in bones if visible[a] and visible[b]]
        shape |= {"bones": "".join(lines), "points": "".join(_line(point, point) for point in points[visible])}
    return {name: path for name, path in shape.items() if path}


def _line(start: np.ndarray, end: np.ndarray) -> str:
    return f"M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"


def _closed(corners: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z"


def mask_path(mask: np.ndarray, box: np.ndarray) -> str:
    """The edge of a mask as closed lines along its cells, for the fill rule evenodd; empty for an empty mask.

    mask: as `Detections.masks` has it; box: (4,) xyxy in pixels.
    """
    cells = np.pad(np.unpackbits(mask, axis=1).astype(bool), 1)
    xs, ys = (box[axis] + np.arange(MASK_SIDE + 1) / MASK_SIDE * (box[axis + 2] - box[axis]) for axis in (0, 1))
    paths = []
    for loop in _loops(_edges(cells)):
        x, y = loop[0]
        steps = [f"M{xs[x]:.1f} {ys[y]:.1f}"]
        for (before_x, _), (x, y) in pairwise(loop):
            steps.append(f"V{ys[y]:.1f}" if x == before_x else f"H{xs[x]:.1f}")
        paths.append("".join(steps) + "Z")
    return "".join(paths)


def _edges(cells: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The mask's outline as directed cell sides: start corner -> end corners. The mask is to the right of each side."""
    inner = cells[1:-1, 1:-1]
    sides = (
        (inner & ~cells[:-2, 1:-1], (0, 0), (1, 0)),  # above
        (inner & ~cells[1:-1, 2:], (1, 0), (1, 1)),  # right
        (inner & ~cells[2:, 1:-1], (1, 1), (0, 1)),  # below
        (inner & ~cells[1:-1, :-2], (0, 1), (0, 0)),  # left
    )
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for where, start, end in sides:
        for y, x in np.argwhere(where).tolist():
            edges.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    return edges


def _loops(edges: dict[tuple[int, int], list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Join the sides to closed loops of corners; corners in the middle of a straight line are left out."""
    loops = []
    while edges:
        start = next(iter(edges))
        loop, corner = [start], start
        while following := edges.get(corner):
            corner_after = following.pop()
            if not following:
                del edges[corner]
            straight = len(loop) > 1 and (loop[-2][0] == loop[-1][0] == corner_after[0])
            level = len(loop) > 1 and (loop[-2][1] == loop[-1][1] == corner_after[1])
            if straight or level:
                loop.pop()
            loop.append(corner_after)
            corner = corner_after
        loops.append(loop)
    return loops
