"""What a file's metadata say about its outputs: the task, the numbers of classes and keypoints, and the anchors.

The exporter's notes (`qviz.tflite.metadata`) name the task and the keypoints. MediaPipe Model Maker writes the anchors
and the box coder into the TFLite metadata of the subgraph, as a custom entry named DETECTOR_METADATA, a flatbuffer of
its own. Sources: mediapipe/tasks/metadata/{metadata_schema, object_detector_metadata_schema}.fbs, versions 1.5.0 and
1.0.0. All of it is untrusted: what cannot be read is ignored.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

from qviz.structures.graph import HeadNotes
from qviz.tflite.metadata import children, exporter_notes, metadata_root, offset, table_of

MAX_ANCHORS = 200_000
ENTRY, IDENTIFIER = b"DETECTOR_METADATA", b"V001"
SUBGRAPHS, CUSTOM_METADATA, NAME, DATA = 3, 9, 0, 1
"""Field numbers: ModelMetadata.subgraph_metadata, SubGraphMetadata.custom_metadata, CustomMetadata.name and .data."""
ANCHOR_OPTIONS, DECODING, FIXED_ANCHORS, ANCHORS = 1, 2, 0, 0
"""Field numbers: the anchors and the box coder in ObjectDetectorOptions, SsdAnchorsOptions.fixed_anchors_schema,
FixedAnchorsSchema.anchors."""
X_CENTER, Y_CENTER, WIDTH, HEIGHT = range(4)
X_SCALE, Y_SCALE, W_SCALE, H_SCALE, SIGMOID_SCORE = 6, 7, 8, 9, 11
"""Field numbers of TensorsDecodingOptions."""


def head_notes(data: bytes) -> HeadNotes:
    """The notes of a .tflite file; empty if it has none or they cannot be read."""
    notes = exporter_notes(data)
    task, names = notes.get("task"), notes.get("names")
    count, size = _keypoint_shape(notes.get("kpt_shape"))
    stated = HeadNotes(
        task if isinstance(task, str) else "",
        len(names) if isinstance(names, (dict, list, tuple)) else 0,
        count * size,
        keypoint_size=size,
    )
    try:
        return _with_anchors(data, stated) if ENTRY in data else stated
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError):
        return stated


def _keypoint_shape(shape: Any) -> tuple[int, int]:
    """(number of keypoints, number of values per keypoint: 2 or 3) as the notes state it; (0, 0) for other values."""
    if not isinstance(shape, (list, tuple)) or len(shape) != 2 or not all(isinstance(side, int) for side in shape):
        return 0, 0
    return (shape[0], shape[1]) if 0 < shape[0] <= 1000 and shape[1] in (2, 3) else (0, 0)


def _with_anchors(data: bytes, notes: HeadNotes) -> HeadNotes:
    """The notes with the anchors and the box coder of DETECTOR_METADATA."""
    root = metadata_root(data)
    subgraphs = children(root, SUBGRAPHS) if root is not None else []
    entries = [entry for graph in subgraphs[:1] for entry in children(graph, CUSTOM_METADATA)]
    content = next((_vector(entry, DATA) for entry in entries if _vector(entry, NAME) == ENTRY), b"")
    if content[4:8] != IDENTIFIER:
        return notes
    options = Table(content, struct.unpack_from("<I", content)[0])
    decoding = table_of(options, DECODING)
    anchors = _anchors(options)
    if decoding is None or anchors is None:
        return notes
    scales = tuple(_number(decoding, field) for field in (Y_SCALE, X_SCALE, H_SCALE, W_SCALE))
    if not all(0 < scale < 1e6 for scale in scales):
        return notes
    sigmoid = _flag(decoding, SIGMOID_SCORE)
    return replace(notes, anchors=anchors, scales=scales, sigmoid=sigmoid)


def _anchors(options: Table) -> np.ndarray | None:
    """Anchors (n, 4) as cy, cx, h, w; None if the file has none or a value is not finite."""
    schema = table_of(options, ANCHOR_OPTIONS)
    fixed = table_of(schema, FIXED_ANCHORS) if schema is not None else None
    if fixed is None:
        return None
    rows = [
        [_number(anchor, field) for field in (Y_CENTER, X_CENTER, HEIGHT, WIDTH)]
        for anchor in children(fixed, ANCHORS, MAX_ANCHORS)
    ]
    anchors = np.array(rows, np.float32).reshape(-1, 4)
    return anchors if len(anchors) and np.isfinite(anchors).all() else None


def _vector(table: Table, field: int) -> bytes:
    """The bytes of a string or a vector of bytes; empty if the field is missing."""
    at = offset(table, field)
    start = table.Vector(at) if at else 0
    return bytes(table.Bytes[start : start + table.VectorLen(at)]) if at else b""


def _number(table: Table, field: int) -> float:
    """The value of a float field; 0, the default of flatbuffers, if it is not stored or not finite."""
    at = offset(table, field)
    value = float(table.Get(number_types.Float32Flags, at + table.Pos)) if at else 0.0
    return value if math.isfinite(value) else 0.0


def _flag(table: Table, field: int) -> bool:
    at = offset(table, field)
    return bool(table.Get(number_types.BoolFlags, at + table.Pos)) if at else False
