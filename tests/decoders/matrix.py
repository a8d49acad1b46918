"""Recorded outputs of detectors and the decoders that match each; `python -m tests.decoders.matrix` prints the matrix.

docs/heads.md contains this matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from qviz.decoders import DECODERS, fitting
from qviz.structures import Graph, Op
from qviz.structures.graph import HeadNotes
from tests.decoders.heads import graph_of

LABELS, VALUES = "the number of class names, else values on a few images", "values on a few images"
FIRST = "the number of class names, else the first"
SIZE = "the usual family of this input size; `--decoder` chooses the other"
NAMES = "names and values; `--decoder` chooses the other"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Outputs of a public file or exporter. choice: what decides if several decoders match; empty if only one does."""

    name: str
    graph: Graph
    choice: str = ""

    @property
    def shapes(self) -> str:
        shapes = [str(list(tensor.shape)) for tensor in self.graph.output_tensors()]
        return ", ".join(shapes[:3]) + (f" and {len(shapes) - 3} more" if len(shapes) > 3 else "")


def square(side: int, *shapes: tuple[int, ...], ends: tuple[str, ...] = (), **notes: object) -> Graph:
    graph = graph_of(*shapes, size=(side, side), ends=ends)
    return replace(graph, notes=HeadNotes(**notes)) if notes else graph  # type: ignore[arg-type]


def with_anchor_output() -> Graph:
    """A graph whose scores and encodings depend on the image's pixels, and whose anchors depend only on its shape."""
    graph = square(192, (1, 3830, 2), (1, 3830, 4), (1, 3830, 4))
    kinds = ("SOFTMAX", "RESHAPE", "SHAPE")
    return replace(graph, ops=tuple(Op(i, kind, (0,), (i + 1,)) for i, kind in enumerate(kinds)))


LEVELS = (1600, 400, 100)
CASES = (
    Case("SSDLite MobileNetV2 (sample)", square(300, (1, 25, 4), (1, 25), (1, 25), (1,))),
    Case("the same without its post-processing", square(300, (1, 1917, 4), (1, 1917, 91))),
    Case("SSD MobileNet v1 192 of STM32's zoo", with_anchor_output()),
    Case("YOLOX-nano", square(416, (1, 3549, 85))),
    Case("YOLOX, 7 classes, or YOLOv8, 8 classes", square(416, (1, 3549, 12)), LABELS),
    Case("NanoDet-m", square(320, *((n, c) for c in (80, 32) for n in LEVELS))),
    Case("NanoDet-Plus", square(320, (1, 2125, 112)), FIRST),
    Case("PicoDet", square(320, *((1, n, c) for n in (*LEVELS, 25) for c in (80, 32)))),
    Case("YOLOv5, YOLOv7", square(640, (1, 25200, 85))),
    Case("YOLOv8n, YOLO11n, YOLO-World with fixed classes", square(640, (1, 84, 8400)), VALUES),
    Case("YOLOv10n without top-k", square(320, (1, 7, 2100), classes=3), VALUES),
    Case("YOLOv8n before its decoding", square(640, *((1, n, c) for n in (6400, 1600, 400) for c in (64, 80)))),
    Case("YOLO26n, YOLOv8n with nms=True", square(640, (1, 300, 6))),
    Case("YOLOv8n-pose", square(640, (1, 56, 8400), task="pose", classes=1, keypoints=51)),
    Case("YOLOv8n-pose without metadata", square(640, (1, 56, 8400)), LABELS),
    Case("a pose of 2 classes and 4 keypoints without metadata", square(640, (1, 18, 8400)), LABELS),
    Case("YOLOv8n-pose with nms=True, YOLO26n-pose", square(640, (1, 300, 57), task="pose", classes=1, keypoints=51)),
    Case("YOLOv8n-seg with nms=True, YOLO26n-seg", square(640, (1, 300, 38), (1, 160, 160, 32))),
    Case("YOLO26n-obb", square(1024, (1, 300, 7), task="obb", classes=15)),
    Case("YOLOv8n-seg", square(640, (1, 116, 8400), (1, 160, 160, 32))),
    Case("YOLOv8n-obb", square(1024, (1, 20, 21504), task="obb", classes=15)),
    Case("YOLO-NAS, PP-YOLOE", square(640, (1, 8400, 4), (1, 8400, 80))),
    Case("the best score and class of each box", square(640, (1, 8400, 4), (1, 8400), (1, 8400)), NAMES),
    Case("EfficientDet-Lite0", square(320, (1, 19206, 4), (1, 19206, 90)), SIZE),
    Case("EfficientDet-D0", square(512, (1, 49104, 4), (1, 49104, 90))),
    Case("RetinaNet", square(640, (1, 51150, 4), (1, 51150, 91))),
    Case("BlazeFace", square(128, (1, 896, 16), (1, 896, 1))),
    Case("UltraFace RFB-320", graph_of((1, -1, 4), (1, -1, 2), size=(320, 240), ends=("RESHAPE", "SOFTMAX"))),
    Case("CenterNet", square(512, (1, 128, 128, 80), (1, 128, 128, 2), (1, 128, 128, 2))),
    Case("YOLO-Fastest (160, grey)", square(160, (1, 5, 5, 40))),
    Case("YOLOv4-tiny", square(416, (1, 26, 26, 255), (1, 13, 13, 255))),
    Case("YOLOv3", square(416, (1, 52, 52, 255), (1, 26, 26, 255), (1, 13, 13, 255))),
    Case("FastestDet", square(352, (1, 85, 22, 22))),
    Case("FOMO", square(96, (1, 12, 12, 3), ends=("SOFTMAX",))),
    Case("DETR", square(800, (1, 100, 92), (1, 100, 4))),
    Case("RT-DETR, D-FINE", square(640, (1, 300, 80), (1, 300, 4))),
)


def table() -> str:
    """The matrix in Markdown: one row per recorded output. The first decoder of a row is the default."""
    lines = ["| outputs of | shapes | decoders that match | chosen by |", "|---|---|---|---|"]
    for case in CASES:
        names = ", ".join(f"`{name}`" for name in fitting(case.graph))
        lines.append(f"| {case.name} | {case.shapes} | {names} | {case.choice or 'shapes'} |")
    return "\n".join(lines)


def heads() -> str:
    """A Markdown table of the decoders and the outputs that they expect."""
    lines = ["| decoder | outputs |", "|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {decoder.expects} |" for name, decoder in DECODERS.items()])


if __name__ == "__main__":
    print(heads())
    print(table())
