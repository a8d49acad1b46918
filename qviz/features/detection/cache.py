"""The form in which inferences are kept in the store, and their keys.

A key covers everything on which an inference depends. A value consists of a line of JSON (sizes, milliseconds, numbers
of detections and candidates, sizes of keypoints, masks and rotated boxes) and the raw values. It contains no code. A
value that cannot be parsed counts as missing; all others are restored bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

from qviz.engine.code import code_digest
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, Inference

CODE = ("corruptions", "datasets", "decoders", "detector", "onnx_model", "structures", "tensorflow_models", "tflite")
"""Packages that compute detections from an image's bytes; a change in one of them invalidates stored values."""
ARRAYS = ("boxes", "scores", "class_ids")
SHAPES = {"keypoints": "<f4", "masks": "u1", "corners": "<f4"}
"""Optional field of `Detections` -> type of its values."""
MAX_VALUES = 1 << 24
ROW = np.dtype(list(zip(ARRAYS, ("<f4", "<f4", "<i4"), ((4,), (), ()), strict=True)))
"""Type of a row, which is one object: box, score, class."""


def key_of(model: LoadedModel, image: str, score: float, threads: int, candidates: bool, shapes: bool = True) -> str:
    """The key of an inference: sha256 of everything on which detections depend; labels are not part of it.

    `image` is the image's digest.

    The score threshold is included, because with a lower threshold a decoder may also find other objects above the
    higher one.
    """
    setup = [model.settings.to_json(), score, threads, candidates, shapes]
    parts = [code_digest(*CODE), model.digest, image, *setup]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def to_bytes(inference: Inference) -> bytes:
    """An inference as a value for the store."""
    parts = inference.detections, inference.candidates
    header = {
        "width": inference.width,
        "height": inference.height,
        "milliseconds": inference.milliseconds,
        "rows": [None if part is None else len(part) for part in parts],
        "shapes": [{} if part is None else _sizes(part) for part in parts],
    }
    return b"\n".join([json.dumps(header).encode(), b"".join(_packed(part) for part in parts if part is not None)])


def _sizes(detections: Detections) -> dict[str, list[int]]:
    """Name of each optional field that is there -> the size of one row."""
    arrays = {name: getattr(detections, name) for name in SHAPES}
    return {name: list(array.shape[1:]) for name, array in arrays.items() if array is not None}


def _packed(detections: Detections) -> bytes:
    rows = np.empty(len(detections), ROW)
    for name in ARRAYS:
        rows[name] = getattr(detections, name)
    shapes = [getattr(detections, name).astype(SHAPES[name]).tobytes() for name in _sizes(detections)]
    return b"".join([rows.tobytes(), *shapes])


def from_bytes(data: bytes) -> Inference | None:
    """The inference in a value of the store, or None if the bytes cannot be parsed."""
    try:
        first_line, _, body = data.partition(b"\n")
        header: dict[str, Any] = json.loads(first_line)
        parts, start = [], 0
        for count, sizes in zip(header["rows"], header["shapes"], strict=True):
            part, start = (None, start) if count is None else _unpacked(body, start, count, sizes)
            parts.append(part)
        detections, candidates = parts
        if start != len(body) or detections is None:
            return None
        size = int(header["width"]), int(header["height"])
        return Inference(detections, candidates, *size, float(header["milliseconds"]))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _unpacked(body: bytes, start: int, count: int, sizes: dict[str, list[int]]) -> tuple[Detections, int]:
    """(the detections that begin at byte `start`, the byte after them). Raises ValueError if they do not fit."""

    def read(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        nonlocal start
        values = math.prod(shape)
        if min(shape) < 0 or values > MAX_VALUES:
            raise ValueError("a size that no detections have")
        array = np.frombuffer(body, dtype, values, start).reshape(shape)
        start += values * dtype.itemsize
        return array

    rows = read(ROW, (count,))
    shapes = {name: read(np.dtype(SHAPES[name]), (count, *map(int, size))) for name, size in sizes.items()}
    arrays = {**{name: rows[name] for name in ARRAYS}, **shapes}
    native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}
    return Detections(**native), start
