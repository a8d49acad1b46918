"""Inputs besides the image that have the same values for every image.

Exports of PaddleDetection, RT-DETR and Darknet networks have the scale factor or the size of the image as further
inputs, and multiply the boxes by it. qviz reads boxes in pixels of the input, so it sets a scale factor to 1, and a
size to the size of the input. The file is rewritten with these values as constants, so that it has one input. Sources:
PaddleDetection deploy/python/preprocess.py (scale_factor y, x; im_shape height, width), RT-DETR
tools/export_onnx.py (orig_target_sizes width, height), tf2onnx's YOLOv3 (image_shape height, width).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

import numpy as np

from qviz.errors import ModelError
from qviz.structures import Graph, Tensor
from qviz.structures.archive import open_zip
from qviz.tflite.edit import packed, unpacked
from qviz.tflite.inputs import input_size

ONES = frozenset({"scale_factor", "scale"})
HEIGHT_WIDTH = frozenset({"im_shape", "image_shape", "img_shape", "target_sizes", "image_size"})
WIDTH_HEIGHT = frozenset({"orig_target_sizes", "orig_size"})
DTYPES = ("float32", "int32", "int64")


def image_input(graph: Graph) -> Tensor:
    """The image input. Raises ModelError if there are several inputs, or if the input has no fixed size."""
    if len(graph.inputs) != 1:
        names = ", ".join(repr(tensor.name[:80]) for tensor in graph.input_tensors()[:8])
        raise ModelError(
            f"has {len(graph.inputs)} inputs ({names}); a detector with one image input is expected, perhaps with a"
            " scale_factor, im_shape, image_shape or orig_target_sizes. Export it with the other inputs as constants."
        )
    tensor = graph.input_tensors()[0]
    input_size(tensor)
    return tensor


def constant_inputs(graph: Graph) -> dict[int, np.ndarray]:
    """Tensor index -> values of the inputs besides the image; empty if there are none or one of them is not known."""
    images = [tensor for tensor in graph.input_tensors() if len(tensor.shape) == 4]
    if len(images) != 1 or len(graph.inputs) == 1:
        return {}
    width, height = input_size(images[0])
    values = {t.index: _values(t, width, height) for t in graph.input_tensors() if t is not images[0]}
    constants = {index: array for index, array in values.items() if array is not None}
    return constants if len(constants) == len(values) else {}


def _values(tensor: Tensor, width: int, height: int) -> np.ndarray | None:
    """The values of a further input, in its shape and type; None if its name, shape or type is not known."""
    if tensor.shape not in ((1, 2), (2,), (-1, 2)) or tensor.dtype not in DTYPES or tensor.quantized:
        return None
    name = tensor.name.split(":")[0].split("/")[-1].removeprefix("serving_default_").lower()
    pairs = {ONES: (1, 1), HEIGHT_WIDTH: (height, width), WIDTH_HEIGHT: (width, height)}
    pair = next((pair for names, pair in pairs.items() if name in names), None)
    return None if pair is None else np.array(pair, tensor.dtype).reshape([abs(side) for side in tensor.shape])


def described(graph: Graph, constants: Mapping[int, np.ndarray]) -> str:
    """`'scale_factor' is 1, 1 and ...`; empty without constants."""
    parts = [
        f"{graph.tensors[index].name[:80]!r} is {', '.join(f'{value:g}' for value in values.reshape(-1).tolist())}"
        for index, values in constants.items()
    ]
    return " and ".join(parts)


def with_constant_inputs(data: bytes, constants: Mapping[int, np.ndarray]) -> bytes:
    """The .tflite file with these inputs as constants. An archive appended to the file, e.g. with labels, is kept."""
    model = unpacked(data)
    subgraph = model.subgraphs[0]
    for index, values in constants.items():
        buffer = type(model.buffers[0])()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor = subgraph.tensors[index]
        tensor.buffer, tensor.shape, tensor.shapeSignature = len(model.buffers) - 1, list(values.shape), None
    subgraph.inputs = [index for index in subgraph.inputs if int(index) not in constants]
    for signature in model.signatureDefs or ():
        signature.inputs = [entry for entry in signature.inputs or () if entry.tensorIndex not in constants]
    return packed(model) + _appended(data)


def _appended(data: bytes) -> bytes:
    """The zip archive that is appended to a file; empty if there is none or it is damaged."""
    try:
        with open_zip(data) as archive:
            return data[min((entry.header_offset for entry in archive.infolist()), default=len(data)) :]
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, ValueError):
        return b""
