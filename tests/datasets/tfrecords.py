"""TFRecord files: one that TensorFlow wrote, and functions that write others in the same format."""

from __future__ import annotations

import base64
import io
import struct
from typing import Any

import numpy as np
from PIL import Image as Pillow

from qviz.datasets.tfrecord import masked_crc32c

WRITTEN_BY_TENSORFLOW = base64.b64decode(
    "UgEAAAAAAAAju5jvCs8CClkKDWltYWdlL2VuY29kZWQSSApGCkSJUE5HDQoaCgAAAA1JSERSAAAABAAAAAIIAgAAAPDK6jQAAAALSURBVHicY2DA"
    "BQAAGgABvDzgQQAAAABJRU5ErkJgggobCg5pbWFnZS9maWxlbmFtZRIJCgcKBWEucG5nCiIKFmltYWdlL29iamVjdC9iYm94L3htYXgSCBIGCgQA"
    "AEA/CiIKFmltYWdlL29iamVjdC9iYm94L3htaW4SCBIGCgQAAIA+CiIKFmltYWdlL29iamVjdC9iYm94L3ltYXgSCBIGCgQAAAA/CiIKFmltYWdl"
    "L29iamVjdC9iYm94L3ltaW4SCBIGCgQAAAAACiEKGGltYWdlL29iamVjdC9jbGFzcy9sYWJlbBIFGgMKAQMKIgoXaW1hZ2Uvb2JqZWN0L2NsYXNz"
    "L3RleHQSBwoFCgNjYXTfqagY"
)
"""An image of 4 x 2 pixels with a cat (label 3), as tf.io.TFRecordWriter of 2.21 writes it."""


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: Any) -> bytes:
    values = values if isinstance(values, list) else [values]
    if all(isinstance(value, bytes) for value in values):
        return message(1, b"".join(message(1, value) for value in values))
    if all(isinstance(value, int) for value in values):
        return message(3, message(1, b"".join(varint(value) for value in values)))
    return message(2, message(1, np.array(values, "<f4").tobytes()))


def example(features: dict[str, Any]) -> bytes:
    entries = (message(1, name.encode()) + message(2, feature(value)) for name, value in features.items())
    return message(1, b"".join(message(1, entry) for entry in entries))


def frame(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked_crc32c(length)) + record + bytes(4)


def png(width: int = 40, height: int = 20, orientation: int = 1) -> bytes:
    exif, buffer = Pillow.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Pillow.new("RGB", (width, height)).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


SIDES = ("xmin", "ymin", "xmax", "ymax")


def annotated(boxes: list[tuple[float, ...]] | None = None, **others: Any) -> bytes:
    boxes = [(0.25, 0.0, 0.75, 0.5)] if boxes is None else boxes
    sides = {f"image/object/bbox/{side}": [float(box[i]) for box in boxes] for i, side in enumerate(SIDES)}
    classes = {"image/object/class/label": [3] * len(boxes), "image/object/class/text": [b"cat"] * len(boxes)}
    features = {"image/encoded": png(), "image/filename": b"in/a.png", **sides, **classes}
    features |= {"image/" + name.replace("__", "/"): value for name, value in others.items()}
    return example({name: value for name, value in features.items() if value is not None})
