"""Which decoder a graph gets, and which others the user may choose instead."""

import pytest

from qviz.decoders import choose, fitting
from qviz.errors import NoDecoderError
from tests.decoders.heads import CELLS, graph_of

LEVELS = (96, 24, 6)

TABLE = [
    ("tflite_post_process", graph_of((1, 10, 4), (1, 10), (1, 10), (1,))),
    ("boxes_and_scores", graph_of((1, CELLS, 4), (1, CELLS, 80))),
    ("boxes_and_scores", graph_of((1, 8400, 80), (1, 8400, 4), size=(640, 640))),
    ("end_to_end", graph_of((1, 300, 6))),
    ("nanodet", graph_of(*((n, c) for c in (80, 32) for n in LEVELS))),
    ("picodet", graph_of(*((1, n, c) for n in (*LEVELS, 2) for c in (80, 32)))),
    ("yolov8_levels", graph_of(*((1, n, c) for n in LEVELS for c in (64, 80)))),
    ("yolov5", graph_of((1, 3 * CELLS, 85))),
    ("yolov5", graph_of((1, 25200, 85), size=(640, 640))),
    ("yolox", graph_of((1, CELLS, 85))),
    ("yolox", graph_of((1, 3549, 85), size=(416, 416))),
    ("efficientdet", graph_of((1, 129 * 9, 4), (1, 129 * 9, 90))),
    ("retinanet", graph_of((1, 129 * 6, 4), (1, 129 * 6, 90))),
    ("blazeface", graph_of((1, 896, 16), (1, 896, 1), size=(128, 128))),
    ("centernet", graph_of((1, 16, 24, 80), (1, 16, 24, 2), (1, 16, 24, 2))),
    ("ssd_raw", graph_of((1, 1917, 4), (1, 1917, 91), size=(300, 300))),
]

UNSTATED = ("yolov8_pose", "yolov8_rotated")
"""They fit where neither the number of classes nor the task is known; values decide."""
SEVERAL = [
    (("yolov8", "yolov8_corners"), graph_of((1, 84, CELLS))),
    (("yolov8", "yolov8_corners"), graph_of((1, CELLS, 84))),
    (("yolov8", "yolov8_corners"), graph_of((1, 84, 8400), size=(640, 640), nchw=True)),
    (("yolov8", "yolov8_corners", "yolov8_rotated"), graph_of((1, 6, CELLS))),  # two classes
    (("yolov8", "yolov8_corners", *UNSTATED), graph_of((1, CELLS, 12), ends=("SOFTMAX",))),
    (("yolov8", "yolov8_corners"), graph_of((1, CELLS + 2, 84))),
    (("boxes_and_scores", "tflite_post_process"), graph_of((1, CELLS, 4), (1, CELLS), (1, CELLS))),
    (("yolox", "yolov8", "yolov8_corners", *UNSTATED), graph_of((1, CELLS, 12))),  # 7 classes and objectness, or 8
    (("yolox", "yolov8", "yolov8_corners", "yolov8_rotated"), graph_of((1, CELLS, 6))),
    (("nanodet_plus", "yolov8", "yolov8_corners", *UNSTATED), graph_of((1, CELLS + 2, 112))),
    (("efficientdet_lite", "efficientdet"), graph_of((1, 19206, 4), (1, 19206, 90), size=(320, 320))),
]


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, 1000)),  # a classifier
        graph_of((1, 16, 24, 21)),  # a segmentation
        graph_of((1, CELLS + 1, 85)),
        graph_of((1, 300, 7)),
        graph_of((1, 3, 8, 12, 85), (1, 3, 4, 6, 85), (1, 3, 2, 3, 85)),
        graph_of((1, 1, 126, 1)),
        graph_of((1, -1, -1)),
        graph_of(()),
    ],
)
def test_an_unknown_head_is_refused_with_its_shapes_and_the_supported_heads(graph):
    with pytest.raises(NoDecoderError, match=r"Identity_0|has no outputs"):
        choose(graph, None)


@pytest.mark.parametrize(("name", "graph"), TABLE, ids=[f"{name}-{i}" for i, (name, _) in enumerate(TABLE)])
def test_one_decoder_fits(name, graph):
    assert fitting(graph) == (name,)


@pytest.mark.parametrize(("names", "graph"), SEVERAL, ids=["-".join(names) for names, _ in SEVERAL])
def test_the_first_of_several_matching_decoders_is_the_default(names, graph):
    assert fitting(graph) == names
    assert choose(graph, None)[0] == names[0]
    assert choose(graph, names[1])[0] == names[1]


def test_a_decoder_that_does_not_fit_cannot_be_chosen():
    with pytest.raises(NoDecoderError, match="does not fit the decoder 'yolov8'"):
        choose(graph_of((1, CELLS, 85)), "yolov8")
