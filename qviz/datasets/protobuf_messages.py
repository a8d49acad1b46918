"""Two protobuf messages read without TensorFlow: tf.train.Example (binary) and StringIntLabelMap (text).

The input is untrusted; anything wrong with it raises ValueError.

Sources: tensorflow/core/example/{example,feature}.proto; object_detection/protos/string_int_label_map.proto.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import Any

import numpy as np

Values = list[bytes] | np.ndarray
"""The values of one feature: byte strings, or an (n,) array of float32 or int64."""

MAX_VALUES = 100_000
"""Maximum number of values of one feature; no image has more objects."""

FIELDS = (
    ("Example", "features", 1, "Features"),
    ("Feature", "bytes_list", 1, "BytesList"),
    ("Feature", "float_list", 2, "FloatList"),
    ("Feature", "int64_list", 3, "Int64List"),
    ("BytesList", "value", 1, "repeated bytes"),
    ("FloatList", "value", 1, "repeated float"),
    ("Int64List", "value", 1, "repeated int64"),
    ("StringIntLabelMap", "item", 1, "repeated Item"),
    ("Item", "name", 1, "string"),
    ("Item", "id", 2, "int32"),
    ("Item", "display_name", 3, "string"),
)
"""(message, field, field number, type); `_pool` adds the message `Features`, which is a map."""

_LABEL_MAP = re.compile(r"(?:\s|#[^\n]*\n)*item\s*:?\s*[{<]")


def parse_example(data: bytes, names: Collection[str]) -> dict[str, Values]:
    """The features of a serialized tf.train.Example that have one of these names. Raises ValueError."""
    from google.protobuf.message import DecodeError

    try:
        entries = _message("Example").FromString(data).features.feature
        features = {name: _message("Feature").FromString(entries[name]) for name in names if name in entries}
    except DecodeError as error:
        raise ValueError("it is not a tf.train.Example") from error
    if not entries:
        raise ValueError("it has no features")
    return {name: _values(feature) for name, feature in features.items()}


def _values(feature: Any) -> Values:
    if feature.HasField("bytes_list"):
        values: Values = list(feature.bytes_list.value)
    elif feature.HasField("float_list"):
        values = np.array(feature.float_list.value, np.float32)
    elif feature.HasField("int64_list"):
        values = np.array(feature.int64_list.value, np.int64)
    else:
        values = []
    if len(values) > MAX_VALUES:
        raise ValueError(f"a feature has {len(values)} values")
    return values


def is_label_map(text: str) -> bool:
    """Whether a text begins with an item of a label map, apart from comments."""
    return _LABEL_MAP.match(text) is not None


def parse_label_map(text: str) -> list[tuple[int, str]]:
    """(class id, name) pairs of a `label_map.pbtxt`, with class ids from 0. Raises ValueError.

    In the file, ids count from 1, and 0 is the background. The display name is used if there is one.

        item { id: 1  name: "/m/01g317"  display_name: 'person' }
    """
    from google.protobuf import text_format

    label_map = _message("StringIntLabelMap")()
    try:
        text_format.Merge(text, label_map, allow_unknown_field=True, descriptor_pool=_pool())
    except RecursionError as error:
        raise ValueError("its messages are nested too deeply") from error
    except text_format.ParseError as error:
        reason = re.sub(
            r"^.*(?:': |\d : )", "", str(error)[-120:], flags=re.DOTALL
        )  # the error's text begins with the position and the whole line
        raise ValueError(f"line {error.GetLine() or 1}: {reason.rstrip('.')}") from error
    pairs = []
    for item in label_map.item:
        name = item.display_name or item.name
        if item.id > 0:
            pairs.append((item.id - 1, name))
        elif name.lower() != "background":
            raise ValueError(f"item {name[:40]!r} has the id {item.id}, but ids count from 1")
    return pairs


@functools.cache
def _message(name: str) -> Any:
    """The Python class for a message with this name."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"qviz.{name}"))


@functools.cache
def _pool() -> Any:
    """The descriptors of all messages.

    `Features` maps names to bytes instead of to `Feature` messages; the encoding is the same. Thus only the features
    that are used are parsed, and empty entries take no memory. A file may contain millions of them.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="qviz.proto", package="qviz", syntax="proto3")
    messages = {name: file.message_type.add(name=name) for name in dict.fromkeys(row[0] for row in FIELDS)}
    messages["Features"] = file.message_type.add(name="Features")
    entry = messages["Features"].nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "string")
    _add_field(entry, "value", 2, "bytes")
    _add_field(messages["Features"], "feature", 1, "repeated Features.FeatureEntry")
    for message, field, number, kind in FIELDS:
        _add_field(messages[message], field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    field = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
    if kind.startswith("repeated "):
        field.label, kind = Field.LABEL_REPEATED, kind.removeprefix("repeated ")
    if kind[0].isupper():
        field.type, field.type_name = Field.TYPE_MESSAGE, f".qviz.{kind}"
    else:
        field.type = Field.Type.Value(f"TYPE_{kind.upper()}")
