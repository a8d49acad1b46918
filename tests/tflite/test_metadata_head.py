"""Anchors, task and keypoints that a file's metadata state about its outputs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import flatbuffers
import numpy as np
import pytest

from qviz.structures.graph import HeadNotes
from qviz.tflite.metadata_head import head_notes
from qviz.tflite.schema import read_graph
from tests.tflite.test_metadata_settings import NOTES, appended, relu, with_buffer

ANCHORS = [(0.5, 0.25, 0.1, 0.2), (0.75, 0.5, 0.3, 0.4)]  # x, y, width, height


def table(builder: flatbuffers.Builder, *fields: tuple[int, str, float]) -> int:
    """A table with these (number, kind, value)."""
    builder.StartObject(12)
    for number, kind, value in fields:
        add = {
            "float": builder.PrependFloat32Slot,
            "bool": builder.PrependBoolSlot,
            "offset": builder.PrependUOffsetTRelativeSlot,
        }[kind]
        add(number, value, 0)
    return int(builder.EndObject())


def tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def detector_options(sigmoid: bool = True, scale: float = 10.0) -> bytes:
    builder = flatbuffers.Builder(256)
    anchors = [table(builder, *((i, "float", v) for i, v in enumerate(anchor))) for anchor in ANCHORS]
    schema = table(builder, (0, "offset", tables(builder, anchors)))
    options = table(builder, (0, "offset", schema))
    scales = [(number, "float", value) for number, value in ((6, scale), (7, 8.0), (8, 5.0), (9, 4.0))]
    decoding = table(builder, *scales, (11, "bool", sigmoid))
    builder.Finish(table(builder, (1, "offset", options), (2, "offset", decoding)), b"V001")
    return bytes(builder.Output())


def model_maker(content: bytes) -> bytes:
    """A model whose subgraph has the custom metadata DETECTOR_METADATA."""
    builder = flatbuffers.Builder(256)
    data, name = builder.CreateByteVector(content), builder.CreateString("DETECTOR_METADATA")
    custom = table(builder, (0, "offset", name), (1, "offset", data))
    subgraph = table(builder, (9, "offset", tables(builder, [custom])))
    builder.Finish(table(builder, (3, "offset", tables(builder, [subgraph]))), b"M001")
    return with_buffer(relu(), bytes(builder.Output()))


def test_anchors_and_box_coder_of_model_maker() -> None:
    notes = read_graph(model_maker(detector_options())).notes
    assert notes.anchors is not None
    np.testing.assert_allclose(notes.anchors, [(y, x, h, w) for x, y, w, h in ANCHORS], rtol=1e-6)
    assert (notes.scales, notes.sigmoid) == ((8.0, 10.0, 4.0, 5.0), True)
    assert not head_notes(model_maker(detector_options(sigmoid=False))).sigmoid


def test_task_classes_and_keypoints_of_the_notes() -> None:
    text = str({**NOTES, "task": "pose", "names": {0: "hand"}, "kpt_shape": [21, 3]})
    notes = head_notes(appended(relu(), "meta.txt", text))
    assert (notes.task, notes.classes, notes.keypoints) == ("pose", 1, 63)


WRONG_SHAPES = [[17], [17, 4], [0, 3], [10**9, 3], ["a", 3], "17,3", None]


@pytest.mark.parametrize("shape", WRONG_SHAPES, ids=range(len(WRONG_SHAPES)))
def test_wrong_keypoints_are_ignored(shape: object) -> None:
    assert head_notes(appended(relu(), "meta.txt", str({**NOTES, "kpt_shape": shape}))).keypoints == 0


def test_damaged_options_are_ignored() -> None:
    good = model_maker(detector_options())
    plain = HeadNotes()
    assert head_notes(model_maker(detector_options(scale=0.0))).anchors is plain.anchors
    assert head_notes(model_maker(b"V00")).anchors is None
    start = good.index(b"V001")
    for at in range(start - 4, min(start + 200, len(good)), 3):
        for value in (0, 0x7F, 0xFF):
            head_notes(good[:at] + struct.pack("B", value) + good[at + 1 :])  # raises nothing
