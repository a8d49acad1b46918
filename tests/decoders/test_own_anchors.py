"""Heads whose anchors are an output, are in the metadata, or belong to the family."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qviz.decoders import DECODERS, Limits, fitting
from qviz.errors import SettingsError
from qviz.structures import Graph, Op, Settings
from qviz.structures.graph import HeadNotes
from tests.decoders.heads import BOX, CLASS, HEIGHT, LIMITS, WIDTH, assert_planted, graph_of, head_of

SIDES = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
ANCHORS = np.array([[0.5, 0.5, 0.5, 0.5], [0.3, 0.45, 0.3, 0.4], [0.5, 0.5, 1.0, 1.0]])  # cy, cx, h, w
ROW = 1


def scores() -> np.ndarray:
    values = np.full((1, 3, 4), 0.01)
    values[0, ROW, 1 + CLASS] = 0.8
    return values


def centred(box: np.ndarray) -> np.ndarray:
    """cy, cx, h, w of a box x1, y1, x2, y2."""
    x1, y1, x2, y2 = box
    return np.array([(y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1])


def encoded(scales: tuple[float, ...]) -> np.ndarray:
    """(1, 3, 4) ty, tx, th, tw of the planted box at ROW."""
    target, anchor = centred(np.array(BOX) / SIDES), ANCHORS[ROW]
    values = np.zeros((1, 3, 4))
    values[0, ROW, :2] = (target[:2] - anchor[:2]) / anchor[2:]
    values[0, ROW, 2:] = np.log(target[2:] / anchor[2:])
    return values * np.array(scales)


def with_anchor_output(*order: int) -> Graph:
    """Scores, encodings and anchors in this order; only the first two come from the image."""
    shapes = [(1, 3, 4), (1, 3, 4), (1, 3, 4)]
    graph = graph_of(*shapes)
    kinds = ["SOFTMAX", "RESHAPE", "SHAPE"]
    ops = tuple(Op(i, kinds[meaning], (0,), (i + 1,)) for i, meaning in enumerate(order))
    return replace(graph, ops=ops)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_anchors_as_an_output_are_the_one_that_does_not_depend_on_the_image(order: tuple[int, ...]) -> None:
    graph = with_anchor_output(*order)
    assert fitting(graph) == ("ssd_anchors",)
    assert DECODERS["ssd_anchors"].class_count(graph) == 3
    cy, cx, h, w = ANCHORS.T
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    encodings = np.zeros((1, 3, 4))
    encodings[0, ROW] = (np.array(BOX) / SIDES - corners[ROW]) / np.tile([w[ROW], h[ROW]], 2)
    arrays = (scores(), encodings, corners[None])
    result = DECODERS["ssd_anchors"].decode(head_of(graph, *(arrays[i] for i in order)), LIMITS)
    assert_planted(result, 0.8)


@pytest.mark.parametrize("logits", [True, False])
def test_anchors_of_the_metadata(logits: bool) -> None:
    scales = (10.0, 10.0, 5.0, 5.0)
    notes = HeadNotes(anchors=ANCHORS.astype(np.float32), scales=scales, sigmoid=logits)
    graph = replace(graph_of((1, 3, 4), (1, 3, 4), names=("boxes", "scores")), notes=notes)
    assert fitting(graph) == ("mediapipe",)
    values = np.log(scores() / (1 - scores())) if logits else scores()
    assert_planted(DECODERS["mediapipe"].decode(head_of(graph, encoded(scales), values), LIMITS), 0.8)


def test_faces_whose_anchors_follow_from_the_input() -> None:
    graph = graph_of((1, -1, 4), (1, -1, 2), size=(320, 240), ends=("RESHAPE", "SOFTMAX"))
    assert fitting(graph) == ("ultraface",)
    faces = np.tile([0.99, 0.01], (4420, 1))
    row = (10 * 40 + 15) * 3 + 2  # stride 8, row 10, column 15, side 24
    faces[row] = 0.2, 0.8
    encodings = np.zeros((4420, 4))
    encodings[row] = 10 * 0.5, 10 * 0.25, 5 * math.log(2), 0  # half a width to the right, twice as wide
    head = replace_values(graph, encodings, faces)
    (box,) = DECODERS["ultraface"].decode(head, LIMITS).detections.boxes
    cx, cy = 15.5 * 8 + 12, 10.5 * 8 + 6
    np.testing.assert_allclose(box, [cx - 24, cy - 12, cx + 24, cy + 12], rtol=1e-4)


def test_faces_that_the_file_decodes() -> None:
    graph = graph_of((1, 4420, 2), (1, 4420, 4), size=(320, 240), ends=("SOFTMAX", "CONCATENATION"))
    faces = np.tile([0.99, 0.01], (4420, 1))
    faces[7] = 0.2, 0.8
    corners = np.tile([0.1, 0.2, 0.3, 0.6], (4420, 1))
    head = replace_values(graph, faces, corners)
    (box,) = DECODERS["ultraface"].decode(head, LIMITS).detections.boxes
    np.testing.assert_allclose(box, [32, 48, 96, 144], rtol=1e-5)


def replace_values(graph: Graph, *values: np.ndarray):  # type: ignore[no-untyped-def]
    from qviz.decoders import Head

    named = {index: array[None].astype(np.float32) for index, array in zip(graph.outputs, values, strict=True)}
    return Head(graph, named, 320, 240)


def grid(columns: int, per_cell: int, rows: int, width: int, cell: tuple[int, int], values: list[float]) -> np.ndarray:
    """(1, rows, width, per_cell * columns) with one box, of the last anchor of a cell."""
    cells = np.full((1, rows, width, per_cell, columns), -9.0)
    cells[0, cell[0], cell[1], -1] = values
    return cells.reshape(1, rows, width, -1)


def logit(value: float) -> float:
    return math.log(value / (1 - value))


def test_grids_with_the_anchors_of_the_settings() -> None:
    graph = graph_of((1, 4, 6, 24), (1, 2, 3, 24))
    assert fitting(graph) == ("yolo_grid",)
    anchors = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16.0, 48.0)
    x, y, w, h = 46.0, 22.0, 32.0, 24.0  # in the cell (0, 1) of stride 32
    planted = [logit(x / 32 - 1), logit(y / 32), math.log(w / 16), math.log(h / 48), logit(0.9)]
    coarse = grid(8, 3, 2, 3, (0, 1), [*planted, -9, -9, logit(0.8)])
    fine = np.full((1, 4, 6, 24), -9.0)
    decoder = DECODERS["yolo_grid"]
    limits = Limits(0.25, 0.6, 100, anchors=anchors)
    assert_planted(decoder.decode(head_of(graph, fine, coarse), limits), 0.72)
    with pytest.raises(SettingsError, match="anchors has 2 numbers; this head needs 12"):
        decoder.decode(head_of(graph, fine, coarse), replace(limits, anchors=(1.0, 2.0)))
    assert "does not contain its anchors; those of YOLOv4-tiny are assumed" in decoder.note_for(graph, Settings())
    assert decoder.note_for(graph, Settings(anchors=anchors)) == ""


def test_five_anchors_are_a_yolov2_with_a_softmax_over_classes() -> None:
    graph = graph_of((1, 2, 3, 40))
    w, h = 9.77052 * 32 * WIDTH / 416, 9.16828 * 32 * HEIGHT / 416  # the last anchor, scaled to the input
    values = grid(8, 5, 2, 3, (0, 1), [0, 0, math.log(32 / w), math.log(24 / h), logit(0.9), 0, 0, math.log(2)])
    result = DECODERS["yolo_grid"].decode(head_of(graph, values), LIMITS)
    assert_planted(result, 0.45, box=(48 - 16, 16 - 12, 48 + 16, 16 + 12), candidates=3)


def test_anchors_in_a_settings_file() -> None:
    assert Settings.from_json({"anchors": [10, 14, 23.5, 27]}, "x").anchors == (10.0, 14.0, 23.5, 27.0)
    for wrong in ([10], [], "10,14", [10, -1], [1, "a"], [0, 1], [1.0, 2.0] * 100):
        with pytest.raises(SettingsError, match="list of widths and heights"):
            Settings.from_json({"anchors": wrong}, "x")
