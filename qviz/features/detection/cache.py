"""Inferences as bytes, and the key under which they are kept: what else may not differ for them to be the same.

A value is one line of JSON (sizes, milliseconds, dtype and shape of each array) and the arrays behind it, raw, in the
line's order. Nothing in it can be run; what does not parse is taken for absent. Values come back bit for bit.
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

ROOMS = ("corruptions", "datasets", "decoders", "detector", "structures", "tensorflow_models", "tflite")
"""What runs between an image's bytes and its detections: a change in any of them makes stored values void."""
DTYPES = ("<f4", "<f8", "<i4", "<i8")
ARRAYS = tuple(field.name for field in fields(Detections))


def key_of(model: LoadedModel, image: EncodedImage, score: float, threads: int, candidates: bool) -> str:
    """sha256 over all that detections depend on. Labels only name them.

    The score is part of it, so that nothing rests on every decoder giving the same objects above a threshold
    whatever the threshold is.
    """
    said = [code_digest(*ROOMS), model.digest, image.digest, model.settings.to_json(), score, threads, candidates]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def to_bytes(found: Inference) -> bytes:
    """An inference to be kept."""
    line = {
        "width": found.width,
        "height": found.height,
        "milliseconds": found.milliseconds,
        "detections": _described(found.detections),
        "candidates": None if found.candidates is None else _described(found.candidates),
    }
    kept = [found.detections] if found.candidates is None else [found.detections, found.candidates]
    arrays = [_little(getattr(rows, name)).tobytes() for rows in kept for name in ARRAYS]
    return b"\n".join([json.dumps(line).encode(), b"".join(arrays)])


def _described(rows: Detections) -> list[tuple[str, tuple[int, ...]]]:
    arrays = [_little(getattr(rows, name)) for name in ARRAYS]
    return [(array.dtype.str, array.shape) for array in arrays]


def _little(array: np.ndarray) -> np.ndarray:
    """Little-endian, whatever the machine."""
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))


def from_bytes(data: bytes) -> Inference | None:
    """The inference, or None where the bytes are none."""
    try:
        head, _, body = data.partition(b"\n")
        line: dict[str, Any] = json.loads(head)
        detections, end = _rows(line["detections"], body, 0)
        candidates = None
        if line["candidates"] is not None:
            candidates, end = _rows(line["candidates"], body, end)
        if end != len(body):
            return None
        return Inference(detections, candidates, int(line["width"]), int(line["height"]), float(line["milliseconds"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _rows(described: Sequence[Any], body: bytes, start: int) -> tuple[Detections, int]:
    """Detections from the body, and where they end. Raises ValueError, TypeError."""
    arrays = []
    for dtype, shape in described:
        if dtype not in DTYPES or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ValueError("no array of detections")
        count = math.prod(shape)
        array = np.frombuffer(body, dtype, count, start).astype(np.dtype(dtype).newbyteorder("="))
        arrays.append(array.reshape(shape))
        start += count * array.itemsize
    boxes, scores, class_ids = arrays
    if boxes.shape != (len(scores), 4) or class_ids.shape != scores.shape:
        raise ValueError("no boxes, scores and classes of the same objects")
    return Detections(boxes, scores, class_ids), start
