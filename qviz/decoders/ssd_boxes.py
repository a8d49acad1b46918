"""The SSD box coder of the TensorFlow Object Detection API, and its candidates.

Source: FasterRcnnBoxCoder (object_detection/box_coders/faster_rcnn_box_coder.py) and the kernel of
TFLite_Detection_PostProcess. Encodings and anchors are (n, 4) ty, tx, th, tw and cy, cx, h, w, normalised to [0, 1].
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.nms import MAX_CANDIDATES
from qviz.structures import Detections
from qviz.structures.boxes import from_centres
from qviz.structures.detections import CANDIDATE_FLOOR

SCALES = (10.0, 10.0, 5.0, 5.0)
"""y, x, h, w scale of the box coder in every SSD of the zoo."""


def decode_boxes(
    encodings: np.ndarray, anchors: np.ndarray, size: tuple[int, int], scales: tuple[float, ...] = SCALES
) -> np.ndarray:
    """(n, 4) xyxy in pixels of an input of `size` = (width, height)."""
    ty, tx, th, tw = (encodings / np.array(scales, np.float32)).T
    cy, cx, h, w = anchors.T
    # exp overflows on a broken head; such a box is as wide as the image and says so
    centres = [tx * w + cx, ty * h + cy, np.exp(np.minimum(tw, 10)) * w, np.exp(np.minimum(th, 10)) * h]
    pixels = np.stack(centres, axis=1) * np.array([*size, *size], np.float32)
    return from_centres(pixels).astype(np.float32)


def candidates_of(boxes: np.ndarray, scores: np.ndarray, floor: float = CANDIDATE_FLOOR) -> Detections:
    """Every (anchor, class) that reaches `floor`: boxes (n, 4), scores (n, classes) without background."""
    anchor, class_id = np.nonzero(scores >= floor)
    values = scores[anchor, class_id]
    best = np.argsort(-values, kind="stable")[:MAX_CANDIDATES]
    return Detections.of(boxes[anchor[best]], values[best], class_id[best])
