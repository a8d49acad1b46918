"""The first operator that differs between two kernels: planted in a small model, where one of three rounds a tie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.features.backends.noise import KernelNoise, layers_of, sums_of
from qviz.tflite.edit import packed
from qviz.tflite.stepper import Stepper

KIND = fb.BuiltinOperator.FULLY_CONNECTED


def chain(scales: tuple[float, ...]) -> bytes:
    """Int8 FULLY_CONNECTED operators in a row, each the identity up to its change of scale (input, output, ...)."""
    buffers: list[Any] = [fb.BufferT(), fb.BufferT(data=np.eye(4, dtype=np.int8).reshape(-1).view(np.uint8))]
    tensors = [tensor("t0", (1, 4), fb.TensorType.INT8, 0, scales[0])]
    operators = []
    for number, scale in enumerate(scales[1:], start=1):
        weights, output = len(tensors), len(tensors) + 1
        tensors.append(tensor(f"w{number}", (4, 4), fb.TensorType.INT8, 1, 1.0))
        tensors.append(tensor(f"t{number}", (1, 4), fb.TensorType.INT8, 0, scale))
        operators.append(
            fb.OperatorT(
                inputs=[output - 2 if number > 1 else 0, weights, -1],
                outputs=[output],
                builtinOptionsType=fb.BuiltinOptions.FullyConnectedOptions,
                builtinOptions=fb.FullyConnectedOptionsT(),
            )
        )
    code = fb.OperatorCodeT(builtinCode=KIND, deprecatedBuiltinCode=KIND, version=4)
    subgraph = fb.SubGraphT(tensors=tensors, inputs=[0], outputs=[len(tensors) - 1], operators=operators, name=b"chain")
    return packed(fb.ModelT(version=3, operatorCodes=[code], subgraphs=[subgraph], buffers=buffers))


def tensor(name: str, shape: tuple[int, ...], dtype: int, buffer: int, scale: float) -> Any:
    quantization = fb.QuantizationParametersT(scale=[scale], zeroPoint=[0])
    return fb.TensorT(name=name.encode(), shape=list(shape), type=dtype, buffer=buffer, quantization=quantization)


def noise(data: bytes, kernels: str) -> KernelNoise:
    values = np.array([[1, 5, -3, 9]], np.int8)
    default, other = Stepper(data), Stepper(data, kernels=kernels)
    everything = set(range(len(default.graph.tensors)))
    runs = [stepper.run([values], keep=everything) for stepper in (default, other)]
    return KernelNoise(kernels, None, None, layers_of(sums_of(other, *runs, "image"), default.graph))


@pytest.mark.parametrize("kernels", ["builtin", "reference"])
def test_the_operator_that_rounds_a_tie_is_the_first_to_differ(kernels: str) -> None:
    """Odd integers become halves in the second operator: XNNPACK rounds them to even, the others away from zero."""
    result = noise(chain((1.0, 1.0, 2.0, 2.0)), kernels)
    assert [layer.order for layer in result.layers] == [0, 1, 2]
    assert result.first is not None
    assert (result.first.order, result.first.local_steps) == (1, 1)
    assert [layer.differs for layer in result.layers] == [False, True, False]  # the third only passes it on
    assert result.layers[2].differing_share > 0
    assert result.first_beyond_rounding is None


def test_without_a_tie_nothing_differs() -> None:
    result = noise(chain((1.0, 1.0, 1.0)), "reference")
    assert result.equal
    assert result.first is None
