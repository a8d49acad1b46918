"""Convert a model's raw outputs to detections. `DECODERS` has one decoder for each kind of head.

A decoder recognises its head from the graph alone (`matches`), by shapes, names and operators of the outputs, never by
their order. If none matches, the error says what the outputs look like and what to do (`refusal`).
"""

from __future__ import annotations

from typing import Any

from qviz.decoders.anchor_heads import EFFICIENTDET, EFFICIENTDET_LITE, RETINANET
from qviz.decoders.blazeface import BlazeFace
from qviz.decoders.box_set import BoxSet
from qviz.decoders.boxes_and_scores import BoxesAndScores
from qviz.decoders.centernet import CenterNet
from qviz.decoders.distance_heads import NANODET, PICODET, YOLOV8_LEVELS, NanoDetPlus
from qviz.decoders.end_to_end import EndToEnd
from qviz.decoders.fastestdet import FastestDet
from qviz.decoders.fomo import Fomo
from qviz.decoders.head import Decoded, Decoder, Head, Limits
from qviz.decoders.mediapipe import MediaPipe
from qviz.decoders.post_process import PostProcess
from qviz.decoders.refusal import no_head, other_head
from qviz.decoders.ssd import RawSSD
from qviz.decoders.ssd_anchors import SSDAnchors
from qviz.decoders.ultraface import UltraFace
from qviz.decoders.yolo import YOLOX, YOLOv5, YOLOv8, YOLOv8Corners
from qviz.decoders.yolo_grid import YOLOGrid
from qviz.decoders.yolo_tasks import YOLOv8Pose, YOLOv8Rotated, YOLOv8Tasks
from qviz.errors import NoDecoderError, SettingsError
from qviz.structures import Graph

__all__ = ["DECODERS", "Decoded", "Decoder", "Head", "Limits", "choose", "fitting"]

DECODERS: dict[str, Decoder[Any]] = {
    "mediapipe": MediaPipe(),
    "boxes_and_scores": BoxesAndScores(),
    "tflite_post_process": PostProcess(),
    "end_to_end": EndToEnd(),
    "nanodet": NANODET,
    "nanodet_plus": NanoDetPlus(),
    "picodet": PICODET,
    "yolov8_levels": YOLOV8_LEVELS,
    "yolov5": YOLOv5(),
    "yolox": YOLOX(),
    "yolov8_tasks": YOLOv8Tasks(),
    "yolov8": YOLOv8(),
    "yolov8_corners": YOLOv8Corners(),
    "yolov8_pose": YOLOv8Pose(),
    "yolov8_rotated": YOLOv8Rotated(),
    "efficientdet_lite": EFFICIENTDET_LITE,
    "efficientdet": EFFICIENTDET,
    "retinanet": RETINANET,
    "blazeface": BlazeFace(),
    "centernet": CenterNet(),
    "ssd_raw": RawSSD(),
    "ssd_anchors": SSDAnchors(),
    "ultraface": UltraFace(),
    "fomo": Fomo(),
    "fastestdet": FastestDet(),
    "yolo_grid": YOLOGrid(),
    "box_set": BoxSet(),
}
"""Name -> decoder. If several decoders match, the first one is chosen. YOLOX comes before YOLOv8, for files that do not
show whether they have an objectness column."""


def fitting(graph: Graph) -> tuple[str, ...]:
    """The names of all decoders that match, in the order of choice."""
    names = [name for name, decoder in DECODERS.items() if decoder.matches(graph)]
    return tuple(name for name in names if len(names) == 1 or not DECODERS[name].last_resort)


def choose(graph: Graph, name: str | None, labels: int = 0) -> tuple[str, Decoder[Any]]:
    """(name, decoder): the decoder with this name or, if name is None, the first that matches the graph.

    Args:
        labels: Number of class names. If several decoders match, one with as many classes is preferred.

    Raises:
        SettingsError: There is no decoder with this name.
        NoDecoderError: The named decoder does not match or, without a name, no decoder does. The message begins with a
            verb (`has outputs ...`).
    """
    if name is not None and name not in DECODERS:
        raise SettingsError(f"decoder is {name!r}; choose one of {', '.join(DECODERS)}.")
    fits = fitting(graph)
    if name is not None and name not in fits:
        raise NoDecoderError(other_head(graph, name, DECODERS[name].expects))
    if not fits:
        raise NoDecoderError(no_head(graph))
    as_many = [fit for fit in fits if labels and DECODERS[fit].class_count(graph) == labels]
    chosen = name or (as_many or fits)[0]
    return chosen, DECODERS[chosen]
