"""From a model's raw outputs to detections: one file a head, one row of `DECODERS` each.

A decoder knows its head from the graph alone (`matches`), by shape, name and meaning of the outputs, never by their
position. Where none matches, the error lists what was seen and what is known; nothing is guessed silently.
"""

from __future__ import annotations

from qviz.decoders.anchor_heads import EFFICIENTDET, EFFICIENTDET_LITE, RETINANET
from qviz.decoders.blazeface import BlazeFace
from qviz.decoders.boxes_and_scores import BoxesAndScores
from qviz.decoders.centernet import CenterNet
from qviz.decoders.end_to_end import EndToEnd
from qviz.decoders.head import Decoded, Decoder, Head, Limits
from qviz.decoders.nanodet import NANODET, NanoDetPlus
from qviz.decoders.picodet import PICODET
from qviz.decoders.post_process import PostProcess
from qviz.decoders.ssd import RawSSD
from qviz.decoders.yolov5 import YOLOv5
from qviz.decoders.yolov8 import YOLOv8
from qviz.decoders.yolov8_levels import YOLOV8_LEVELS
from qviz.decoders.yolox import YOLOX
from qviz.errors import NoDecoderError, SettingsError
from qviz.structures import Graph

__all__ = ["DECODERS", "Decoded", "Decoder", "Head", "Limits", "choose", "fitting"]

DECODERS: dict[str, Decoder] = {
    "boxes_and_scores": BoxesAndScores(),
    "tflite_post_process": PostProcess(),
    "end_to_end": EndToEnd(),
    "nanodet": NANODET,
    "nanodet_plus": NanoDetPlus(),
    "picodet": PICODET,
    "yolov8_levels": YOLOV8_LEVELS,
    "yolov5": YOLOv5(),
    "yolox": YOLOX(),
    "yolov8": YOLOv8(),
    "efficientdet_lite": EFFICIENTDET_LITE,
    "efficientdet": EFFICIENTDET,
    "retinanet": RETINANET,
    "blazeface": BlazeFace(),
    "centernet": CenterNet(),
    "ssd_raw": RawSSD(),
}
"""In the order of choice where several fit: the number of boxes is the best evidence, and a file that does not tell
objectness is taken for YOLOX before YOLOv8."""


def fitting(graph: Graph) -> tuple[str, ...]:
    """The names of all decoders that know this head, the best first (the table's order)."""
    return tuple(name for name, decoder in DECODERS.items() if decoder.matches(graph))


def choose(graph: Graph, name: str | None) -> tuple[str, Decoder]:
    """The decoder asked for, or the first that fits. Raises SettingsError, NoDecoderError."""
    if name is not None and name not in DECODERS:
        raise SettingsError(f"decoder is {name!r}; known are {', '.join(DECODERS)}.")
    fits = fitting(graph)
    if name is not None and name not in fits:
        raise NoDecoderError(f"does not fit the decoder {name!r}: {_seen(graph)} {_known()}")
    if not fits:
        raise NoDecoderError(f"has outputs that no decoder knows: {_seen(graph)} {_known()}")
    chosen = name or fits[0]
    return chosen, DECODERS[chosen]


def _seen(graph: Graph) -> str:
    shapes = ", ".join(f"{tensor.name!r} {list(tensor.shape)} {tensor.dtype}" for tensor in graph.output_tensors())
    return f"its outputs are {shapes}."


def _known() -> str:
    return "Known: " + "; ".join(f"{name} ({decoder.expects})" for name, decoder in DECODERS.items()) + "."
