"""The form in which inferences are kept in the store, and their keys.

A key covers everything on which an inference depends. A value consists of a line of JSON (sizes, milliseconds, numbers
of detections and candidates) and the raw rows of both. It contains no code. A value that cannot be parsed counts as
missing; all others are restored bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import Any

import numpy as np

from qviz.engine.code import code_digest
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, EncodedImage, Inference

CODE = ("corruptions", "datasets", "decoders", "detector", "onnx_model", "structures", "tensorflow_models", "tflite")
"""Packages that compute detections from an image's bytes; a change in one of them invalidates stored values."""
ARRAYS = tuple(field.name for field in fields(Detections))
ROW = np.dtype(list(zip(ARRAYS, ("<f4", "<f4", "<i4"), ((4,), (), ()), strict=True)))
"""Type of a row, which is one object: box, score, class."""


def key_of(model: LoadedModel, image: EncodedImage, score: float, threads: int, candidates: bool) -> str:
    """The key of an inference: sha256 of everything on which detections depend; labels are not part of it.

    The score threshold is included, because with a lower threshold a decoder may also find other objects above the
    higher one.
    """
    parts = [code_digest(*CODE), model.digest, image.digest, model.settings.to_json(), score, threads, candidates]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def to_bytes(inference: Inference) -> bytes:
    """An inference as a value for the store."""
    parts = inference.detections, inference.candidates
    header = {
        "width": inference.width,
        "height": inference.height,
        "milliseconds": inference.milliseconds,
        "rows": [None if part is None else len(part) for part in parts],
    }
    return b"\n".join([json.dumps(header).encode(), b"".join(_packed(part) for part in parts if part is not None)])


def _packed(detections: Detections) -> bytes:
    rows = np.empty(len(detections), ROW)
    for name in ARRAYS:
        rows[name] = getattr(detections, name)
    return rows.tobytes()


def from_bytes(data: bytes) -> Inference | None:
    """The inference in a value of the store, or None if the bytes cannot be parsed."""
    try:
        first_line, _, body = data.partition(b"\n")
        header: dict[str, Any] = json.loads(first_line)
        detections, candidates = header["rows"]
        rows = np.frombuffer(body, ROW)
        if not 0 <= detections <= len(rows) or detections + (candidates or 0) != len(rows):
            return None
        second = None if candidates is None else _unpacked(rows[detections:])
        size = int(header["width"]), int(header["height"])
        return Inference(_unpacked(rows[:detections]), second, *size, float(header["milliseconds"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _unpacked(rows: np.ndarray) -> Detections:
    return Detections(*(rows[name].astype(rows[name].dtype.newbyteorder("=")) for name in ARRAYS))
