"""Inferences as bytes for the store, and the key that they are stored under.

The key covers everything that an inference depends on. A value is one line of JSON (sizes, milliseconds, dtype and
shape of each array) followed by the raw arrays in the order of that line. It contains no code; what does not parse
counts as missing. Values are restored bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from qviz.engine.code import code_digest
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, EncodedImage, Inference

CODE = ("corruptions", "datasets", "decoders", "detector", "structures", "tensorflow_models", "tflite")
"""Packages that run between an image's bytes and its detections: a change in one of them invalidates stored values."""
DTYPES = ("<f4", "<f8", "<i4", "<i8")
ARRAYS = tuple(field.name for field in fields(Detections))


def key_of(model: LoadedModel, image: EncodedImage, score: float, threads: int, candidates: bool) -> str:
    """sha256 of everything that detections depend on, labels excepted.

    The score is included: decoders need not give the same objects above a threshold at every lower threshold.
    """
    parts = [code_digest(*CODE), model.digest, image.digest, model.settings.to_json(), score, threads, candidates]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def to_bytes(inference: Inference) -> bytes:
    """An inference as a value of the store."""
    header = {
        "width": inference.width,
        "height": inference.height,
        "milliseconds": inference.milliseconds,
        "detections": _layout(inference.detections),
        "candidates": None if inference.candidates is None else _layout(inference.candidates),
    }
    parts = [rows for rows in (inference.detections, inference.candidates) if rows is not None]
    arrays = [_little_endian(getattr(rows, name)).tobytes() for rows in parts for name in ARRAYS]
    return b"\n".join([json.dumps(header).encode(), b"".join(arrays)])


def _layout(rows: Detections) -> list[tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of each array."""
    arrays = [_little_endian(getattr(rows, name)) for name in ARRAYS]
    return [(array.dtype.str, array.shape) for array in arrays]


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))


def from_bytes(data: bytes) -> Inference | None:
    """The inference, or None where the bytes are not one."""
    try:
        first_line, _, body = data.partition(b"\n")
        header: dict[str, Any] = json.loads(first_line)
        detections, end = _rows(header["detections"], body, 0)
        candidates = None
        if header["candidates"] is not None:
            candidates, end = _rows(header["candidates"], body, end)
        if end != len(body):
            return None
        size = int(header["width"]), int(header["height"])
        return Inference(detections, candidates, *size, float(header["milliseconds"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _rows(layout: Sequence[Any], body: bytes, start: int) -> tuple[Detections, int]:
    """Detections that begin at this byte, and the byte after them. Raises ValueError, TypeError."""
    arrays = []
    for dtype, shape in layout:
        if dtype not in DTYPES or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ValueError("not an array of detections")
        count = math.prod(shape)
        array = np.frombuffer(body, dtype, count, start).astype(np.dtype(dtype).newbyteorder("="))
        arrays.append(array.reshape(shape))
        start += count * array.itemsize
    boxes, scores, class_ids = arrays
    if boxes.shape != (len(scores), 4) or class_ids.shape != scores.shape:
        raise ValueError("boxes, scores and classes differ in length")
    return Detections(boxes, scores, class_ids), start
