"""Chains of convolutions as float32 .tflite files, made from their weights without TensorFlow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.engine import LocalEngine
from qviz.features.building.build import start_building
from qviz.features.building.calibration import ranges_on
from qviz.features.building.recipes import Options
from qviz.tensorflow_models import SourceKind
from qviz.tflite.edit import packed
from qviz.tflite.runner import Runner
from tests.features.conftest import source_of

SILU = "silu"
"""x * sigmoid(x), as a LOGISTIC and a MUL after the convolution."""
SIDE = 24
"""Height and width of the input, in pixels."""
RELU, RELU6, LINEAR = (
    fb.ActivationFunctionType.RELU,
    fb.ActivationFunctionType.RELU6,
    fb.ActivationFunctionType.NONE,
)


@dataclass
class Layer:
    """A convolution of stride 1 with padding SAME.

    Attributes:
        weights: (outputs, height, width, inputs), or (1, height, width, channels) if the convolution is depthwise.
        activation: RELU, RELU6, LINEAR or SILU.
    """

    weights: np.ndarray
    bias: np.ndarray
    activation: int | str = RELU
    depthwise: bool = False


def random_layers(*widths: int, seed: int = 0, depthwise: bool = True) -> list[Layer]:
    """Layers with random weights: a 3 x 3 convolution to the first width, a depthwise one, then 1 x 1 convolutions.

    widths: number of output channels of each convolution that is not depthwise. The last layer is linear.
    """
    random = np.random.default_rng(seed)

    def layer(shape: tuple[int, ...], fan_in: int, **kinds: bool) -> Layer:
        channels = shape[-1] if kinds else shape[0]
        weights = random.normal(0, np.sqrt(2 / fan_in), shape)
        return Layer(weights.astype(np.float32), random.normal(0, 0.1, channels).astype(np.float32), **kinds)

    layers = [layer((widths[0], 3, 3, 3), 27)]
    if depthwise:
        layers.append(layer((1, 3, 3, widths[0]), 9, depthwise=True))
    for before, after in pairwise(widths):
        layers.append(layer((after, 1, 1, before), before))
    layers[-1].activation = LINEAR
    return layers


def chain(layers: Sequence[Layer]) -> bytes:
    """A float32 .tflite file in which all layers follow one another. The input is [1, SIDE, SIDE, 3]."""
    tensors: list[fb.TensorT] = []
    buffers = [fb.BufferT()]

    def tensor(name: str, shape: Sequence[int], values: np.ndarray | None = None) -> int:
        buffer = 0
        if values is not None:
            buffers.append(fb.BufferT(data=np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)))
            buffer = len(buffers) - 1
        kind = fb.TensorType.FLOAT32
        tensors.append(fb.TensorT(name=name.encode(), shape=list(shape), type=kind, buffer=buffer))
        return len(tensors) - 1

    operators = []
    current = tensor("image", (1, SIDE, SIDE, 3))
    for number, layer in enumerate(layers):
        parts = [tensor(f"weights{number}", layer.weights.shape, layer.weights)]
        parts.append(tensor(f"bias{number}", layer.bias.shape, layer.bias))
        output = tensor(f"layer{number}", (1, SIDE, SIDE, len(layer.bias)))
        options = fb.DepthwiseConv2DOptionsT() if layer.depthwise else fb.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = LINEAR if layer.activation == SILU else layer.activation
        if layer.depthwise:
            options.depthMultiplier = 1
        kind = fb.BuiltinOptions.DepthwiseConv2DOptions if layer.depthwise else fb.BuiltinOptions.Conv2DOptions
        inputs = [current, *parts]
        op = fb.OperatorT(opcodeIndex=int(layer.depthwise), inputs=inputs, outputs=[output])
        op.builtinOptionsType, op.builtinOptions = kind, options
        operators.append(op)
        if layer.activation == SILU:
            gate, result = (tensor(f"{part}{number}", (1, SIDE, SIDE, len(layer.bias))) for part in ("gate", "silu"))
            operators.append(fb.OperatorT(opcodeIndex=2, inputs=[output], outputs=[gate]))
            product = fb.OperatorT(opcodeIndex=3, inputs=[output, gate], outputs=[result])
            product.builtinOptionsType, product.builtinOptions = fb.BuiltinOptions.MulOptions, fb.MulOptionsT()
            operators.append(product)
            output = result
        current = output
    codes = [
        fb.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)
        for code in map(fb.BuiltinOperator.__dict__.get, ("CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC", "MUL"))
    ]
    graph = fb.SubGraphT(tensors=tensors, inputs=[0], outputs=[current], operators=operators)
    return packed(fb.ModelT(version=3, operatorCodes=codes, subgraphs=[graph], buffers=buffers))


def noise(count: int, seed: int = 1) -> list[np.ndarray]:
    """Random inputs in [-1, 1] whose neighbouring pixels are similar, as in images."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(-1, 1, (count, 1, SIDE // 4, SIDE // 4, 3))
    fine = random.uniform(-1, 1, (count, 1, SIDE, SIDE, 3))
    return list((0.7 * coarse.repeat(4, 2).repeat(4, 3) + 0.3 * fine).astype(np.float32))


def built(
    workers: LocalEngine,
    data: bytes,
    inputs: Sequence[np.ndarray],
    recipe: str = "int8",
    method: str = "minmax",
    wide: Collection[int] = (),
) -> bytes:
    """The file that a recipe builds from `data`. wide: indices of operators with 16-bit activations."""
    source = source_of(SourceKind.TFLITE, data, data)
    ranges = ranges_on(data, inputs, method) if recipe == "int8" else None
    return start_building(workers, source, recipe, Options(wide_orders=tuple(wide)), ranges).result().data


def sqnr_db(data: bytes, variant: bytes, inputs: Sequence[np.ndarray]) -> float:
    """SQNR of a variant's outputs in dB, as the mean over their channels."""
    outputs = [np.concatenate([runner.run([x])[0] for x in inputs]) for runner in (Runner(data), Runner(variant))]
    true, other = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in outputs)
    return float(10 * np.log10((true**2).mean(0) / ((other - true) ** 2).mean(0)).mean())
