"""tf.train.Example from its bytes, without TensorFlow: named lists of bytes, floats or integers.

    Example { Features features = 1 }     Features { map<string, Feature> feature = 1 }
    Feature { BytesList = 1 | FloatList = 2 | Int64List = 3 }, each { repeated value = 1 }, packed or not

Source: tensorflow/core/example/{example,feature}.proto; protobuf.dev/programming-guides/encoding for the wire format: a
field is a varint of number << 3 | type, then by type a varint (0), 8 bytes (1), a length and bytes (2), or 4 bytes (5).
Nothing is copied but what is asked for. The bytes are untrusted: whatever is wrong with them raises ValueError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

Values = list[bytes] | np.ndarray
"""Of a bytes list: bytes each; of the others (n,) float32 or int64."""

MAX_VALUES = 100_000
"""Numbers or texts in one list, fields in one message: more objects than that are in no image."""
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3


def parse_example(data: bytes, wanted: Collection[str]) -> dict[str, Values]:
    """The wanted features that are there. Raises ValueError where the bytes are no Example."""
    found: dict[str, Values] = {}
    entries = 0
    for features in _messages(memoryview(data), 1):
        for entry in _messages(features, 1):
            entries += 1
            name = b"".join(bytes(key) for key in _messages(entry, 1))[:200].decode("utf-8", "replace")
            if name in wanted:
                for feature in _messages(entry, 2):
                    found[name] = _feature(feature)
    if not entries:
        raise ValueError("it holds no feature")
    return found


def _feature(feature: memoryview) -> Values:
    for number, kind, content in _fields(feature):
        if kind == BYTES and isinstance(content, memoryview):
            if number == BYTES_LIST:
                return _limited([bytes(value) for value in _messages(content, 1)])
            if number == FLOAT_LIST:
                return _limited(_floats(content))
            if number == INT64_LIST:
                return _limited(_integers(content))
    return []


def _limited(values: Values) -> Values:
    if len(values) > MAX_VALUES:
        raise ValueError(f"a list of {len(values)} values")
    return values


def _floats(content: memoryview) -> np.ndarray:
    packed = [value for number, _, value in _fields(content) if number == 1 and isinstance(value, memoryview)]
    return np.frombuffer(b"".join(packed), "<f4")  # refuses a length that is no multiple of 4


def _integers(content: memoryview) -> np.ndarray:
    values: list[int] = []
    for number, kind, value in _fields(content):
        if number == 1 and kind == VARINT and isinstance(value, int):
            values.append(value)
        elif number == 1 and isinstance(value, memoryview):
            values += _varints(value)
    return np.array(values, np.uint64).astype(np.int64)  # negative numbers are written as their two's complement


def _varints(packed: memoryview) -> list[int]:
    values, at = [], 0
    if len(packed) > MAX_VALUES * 10:
        raise ValueError(f"a list of {len(packed)} bytes")
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(value)
    return values


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """The contents of the fields of that number which hold bytes."""
    for number, kind, content in _fields(data):
        if number == wanted and kind == BYTES and isinstance(content, memoryview):
            yield content


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(number, type, integer or content) of a message's fields, in the order of the file."""
    at, count = 0, 0
    while at < len(data):
        count += 1
        if count > MAX_VALUES:
            raise ValueError(f"a message of more than {MAX_VALUES} fields")
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind)
        if kind == BYTES:
            size, at = _varint(data, at)
        if size is None or at + size > len(data) or number == 0:
            raise ValueError(f"a field of type {kind} that cannot be there")
        yield number, kind, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, where the next field begins); 7 bits a byte, the lowest first, at most 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a number that does not end")
