"""A model of one operator with known outputs, to test an installation without any model file.

It is a FULLY_CONNECTED with 4 inputs, 3 outputs and RELU. Weights, biases and inputs are multiples of the scales, so
float32 and int8 have exactly the same outputs in every kernel, and no difference can be due to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.tflite.edit import packed

WEIGHTS = np.array([[1, -2, 0.5, 0], [0.25, 0.5, -1, 2], [1, 1, 1, 1]], np.float32)
BIAS = np.array([0.5, -1, 1], np.float32)
INPUT = np.array([[1, 0.5, -2, 1.5]], np.float32)
OUTPUT = np.maximum(INPUT @ WEIGHTS.T + BIAS, 0)
INPUT_SCALE, WEIGHT_SCALE, OUTPUT_SCALE = 0.5, 0.25, 0.125


def tiny_model(is_int8: bool = False) -> bytes:
    """The model as the bytes of a .tflite file; the int8 one has int8 inputs and outputs with zero points of 0."""
    dtype = fb.TensorType.INT8 if is_int8 else fb.TensorType.FLOAT32
    scales = (INPUT_SCALE, WEIGHT_SCALE, INPUT_SCALE * WEIGHT_SCALE, OUTPUT_SCALE) if is_int8 else (None,) * 4
    weights = (WEIGHTS / WEIGHT_SCALE).astype(np.int8) if is_int8 else WEIGHTS
    bias = (BIAS / (INPUT_SCALE * WEIGHT_SCALE)).astype(np.int32) if is_int8 else BIAS
    tensors = [
        _tensor("input", INPUT.shape, dtype, 0, scales[0]),
        _tensor("weights", WEIGHTS.shape, dtype, 1, scales[1]),
        _tensor("bias", BIAS.shape, fb.TensorType.INT32 if is_int8 else dtype, 2, scales[2]),
        _tensor("output", OUTPUT.shape, dtype, 0, scales[3]),
    ]
    buffers = [fb.BufferT(data=np.frombuffer(data, np.uint8)) for data in (b"", weights.tobytes(), bias.tobytes())]
    options = fb.FullyConnectedOptionsT(fusedActivationFunction=fb.ActivationFunctionType.RELU)
    op = fb.OperatorT(
        inputs=[0, 1, 2],
        outputs=[3],
        builtinOptionsType=fb.BuiltinOptions.FullyConnectedOptions,
        builtinOptions=options,
    )
    kind = fb.BuiltinOperator.FULLY_CONNECTED
    code = fb.OperatorCodeT(builtinCode=kind, deprecatedBuiltinCode=kind, version=4 if is_int8 else 1)
    subgraph = fb.SubGraphT(tensors=tensors, inputs=[0], outputs=[3], operators=[op], name=b"tiny")
    return packed(fb.ModelT(version=3, operatorCodes=[code], subgraphs=[subgraph], buffers=buffers))


def tiny_input(is_int8: bool = False) -> np.ndarray:
    """The input of `tiny_model`, (1, 4)."""
    return (INPUT / INPUT_SCALE).astype(np.int8) if is_int8 else INPUT


def tiny_output(is_int8: bool = False) -> np.ndarray:
    """The output that `tiny_model` must have for `tiny_input`, (1, 3)."""
    return (OUTPUT / OUTPUT_SCALE).astype(np.int8) if is_int8 else OUTPUT


def _tensor(name: str, shape: tuple[int, ...], dtype: int, buffer: int, scale: float | None) -> Any:
    quantization = None if scale is None else fb.QuantizationParametersT(scale=[scale], zeroPoint=[0])
    return fb.TensorT(name=name.encode(), shape=list(shape), type=dtype, buffer=buffer, quantization=quantization)
