"""Errors that users see have no text of Python's own."""

import struct

import pytest

from qviz.errors import ModelError, reason
from qviz.tflite.schema import read_graph
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "error",
    [
        struct.error("unpack_from requires a buffer of at least 3625488 bytes for unpacking 4 bytes at offset 3625484"),
        ValueError("read b'o\\n'"),
        IndexError("list index out of range"),
        AttributeError("'NoneType' object has no attribute 'Shape'"),
        ValueError(""),
    ],
)
def test_pythons_texts_are_left_out(error: Exception) -> None:
    assert reason(error) == ""


def test_a_reason_in_words_is_given() -> None:
    assert reason(ValueError("image file is truncated")) == " (image file is truncated)"


def test_a_model_that_was_cut_short_is_refused_in_words() -> None:
    data = (ROOT / "sample_data" / "models" / "ssdlite_mobilenet_v2_int8.tflite").read_bytes()
    with pytest.raises(ModelError) as refused:
        read_graph(data[: len(data) // 2])
    assert str(refused.value) == "is damaged: its flatbuffer cannot be read. Copy or export it again."
