"""Read a .tflite file into objects that can be changed, and write it again."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as fb


def unpacked(data: bytes) -> Any:
    """The file as a `ModelT`. Constants stored behind the flatbuffer (`Buffer.offset`) are moved into it."""
    model = fb.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8)[buffer.offset : buffer.offset + buffer.size]
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """The bytes of the .tflite file that a `ModelT` describes."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def set_constant(model: Any, index: int, values: np.ndarray, scales: np.ndarray) -> None:
    """Give a quantized constant of the main subgraph other integers and scales.

    Args:
        model: A `ModelT`.
        index: Of the tensor; a buffer that another tensor shares stays as it is for that one.
        values: Integers in the tensor's shape and type.
        scales: (1,) or (channels,) float32.
    """
    tensors = model.subgraphs[0].tensors
    tensor = tensors[index]
    if sum(other.buffer == tensor.buffer for other in tensors) > 1:
        tensor.buffer = len(model.buffers)
        model.buffers.append(fb.BufferT())
    model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    tensor.quantization.scale = scales.astype(np.float32)
