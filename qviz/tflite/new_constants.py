"""A .tflite file with other values in its float32 constants, and nothing else changed.

The new values are as long as the old ones, so they are written over them: operators, names, metadata and what hangs
behind the flatbuffer (labels) stay byte for byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.structures import Graph


def own_constants(data: bytes, graph: Graph) -> frozenset[int]:
    """Float32 constants whose data no other tensor of the file shares: those that can be given other values."""
    model = fb.Model.GetRootAs(data)
    subgraphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    uses = Counter(part.Tensors(i).Buffer() for part in subgraphs for i in range(part.TensorsLength()))
    floats = (tensor.index for tensor in graph.tensors if tensor.constant and tensor.dtype == "float32")
    return frozenset(index for index in floats if uses[_buffer(model, index)] == 1)


def with_constants(data: bytes, values: Mapping[int, np.ndarray]) -> bytes:
    """The file with `values` (tensor index -> float32, in the tensor's shape) in place of its own."""
    model = fb.Model.GetRootAs(data)
    made = bytearray(data)
    for index, array in values.items():
        start, length = _place(data, model.Buffers(_buffer(model, index)))
        raw = np.ascontiguousarray(array, np.float32).tobytes()
        if len(raw) != length:
            raise ValueError(f"tensor {index} holds {length} bytes, and {len(raw)} were given")
        made[start : start + length] = raw
    return bytes(made)


def _buffer(model: Any, tensor: int) -> int:
    return int(model.Subgraphs(0).Tensors(tensor).Buffer())


def _place(data: bytes, buffer: Any) -> tuple[int, int]:
    """Where in the file the buffer's data lies: (start, bytes)."""
    if not buffer.DataLength():
        return int(buffer.Offset()), int(buffer.Size())
    view = buffer.DataAsNumpy()
    start = view.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    return int(start), len(view)
