"""Damaged .tflite files by number. A number always gives the same file, as long as the sample does not change.

Some files have changed bytes, as from a broken disk or an attacker. In others, the flatbuffer is unpacked, one value is
made impossible, and it is packed again, so that code after the first checks is tested too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from tests.faults import planted
from tests.tflite.files import code, operator, packed, tensor

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
EDGE = 40_000
"""Number of bytes at the beginning and at the end of a file that can be damaged; they hold the flatbuffer's tables."""
BASES = ("int8", "small", "dynamic_range", "small", "float16", "int8", "small", "int8_wrong_range")
ODD = (0, 1, -1, 2, 3, 7, 127, 255, 256, 65_535, 65_536, 1 << 24, (1 << 31) - 1, -(1 << 31))
"""Integers that readers often handle wrongly."""
ODD_REAL = (0.0, -1.0, 1e-38, 1e38, float("nan"), float("inf"), float("-inf"))

Draw = np.random.Generator
Change = Callable[[bytes, Draw], bytes]


@lru_cache(maxsize=8)
def base(name: str) -> bytes:
    """A valid file: one of the sample, or a small one with one convolution and an end-to-end head."""
    if name == "small":
        return _small()
    return (ROOT / f"sample_data/models/ssdlite_mobilenet_v2_{name}.tflite").read_bytes()


def _small() -> bytes:
    """[1,32,32,3] -> CONV_2D 8 x 8, stride 8 -> [1,4,4,60] -> RESHAPE -> [1,160,6]."""
    draw = np.random.default_rng(SEED)
    weights = draw.normal(0, 0.1, (60, 8, 8, 3)).astype(np.float32)
    constants = [weights, np.zeros(60, np.float32), np.array([1, 160, 6], np.int32)]
    shapes = [("image", (1, 32, 32, 3)), ("weights", weights.shape), ("bias", (60,)), ("cells", (1, 4, 4, 60))]
    tensors = [tensor(name, shape, buffer={1: 1, 2: 2}.get(i, 0)) for i, (name, shape) in enumerate(shapes)]
    tensors += [tensor("shape", (3,), fb.TensorType.INT32, buffer=3), tensor("rows", (1, 160, 6))]
    convolution, reshape = operator(0, [0, 1, 2], [3]), operator(1, [3, 4], [5])
    convolution.builtinOptionsType, convolution.builtinOptions = fb.BuiltinOptions.Conv2DOptions, fb.Conv2DOptionsT()
    convolution.builtinOptions.strideH = convolution.builtinOptions.strideW = 8
    codes = [code(fb.BuiltinOperator.CONV_2D), code(fb.BuiltinOperator.RESHAPE)]
    return packed(tensors, [convolution, reshape], codes, inputs=(0,), outputs=(5,), constants=constants)


# ---- bytes -------------------------------------------------------------------------------------------------------


def flipped(data: bytes, draw: Draw) -> bytes:
    """Change one to sixteen bytes near the beginning or the end."""
    damaged = bytearray(data)
    for _ in range(int(draw.integers(1, 17))):
        damaged[_position(data, draw)] ^= int(draw.integers(1, 256))
    return bytes(damaged)


def cut(data: bytes, draw: Draw) -> bytes:
    return data[: int(draw.integers(0, len(data)))]


def odd_numbers(data: bytes, draw: Draw) -> bytes:
    """Replace some 32-bit integers at multiples of four bytes, where offsets and lengths are stored."""
    damaged = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        at = _position(data, draw) // 4 * 4
        damaged[at : at + 4] = struct.pack("<i", _odd(draw))
    return bytes(damaged[: len(data)])


def spliced(data: bytes, draw: Draw) -> bytes:
    """Copy one part of the tables over another."""
    size = int(draw.integers(4, 2_000))
    source, target = _position(data, draw), _position(data, draw)
    piece = data[source : source + size]
    return (data[:target] + piece + data[target + len(piece) :])[: len(data)]


def _position(data: bytes, draw: Draw) -> int:
    near = int(draw.integers(8, min(EDGE, len(data) - 1)))
    return near if draw.random() < 0.5 else len(data) - near


def _odd(draw: Draw) -> int:
    return ODD[int(draw.integers(len(ODD)))]


# ---- one thing in it made impossible -----------------------------------------------------------------------------


def _edited(edit: Callable[[fb.ModelT, fb.SubGraphT, Draw], None]) -> Change:
    def change(data: bytes, draw: Draw) -> bytes:
        for _ in range(20):
            try:
                return planted(data, lambda model, graph: edit(model, graph, draw))
            except (struct.error, TypeError, OverflowError, ValueError, AttributeError, IndexError):
                continue  # refused by the packer: draw again
        return flipped(data, draw)

    return change


def _any(items: Any, draw: Draw) -> Any:
    return items[int(draw.integers(len(items)))]


def _reshaped(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    target_part = _any(graph.tensors, draw)
    shape = [int(side) for side in target_part.shape] or [1]
    if draw.random() < 0.3:
        shape = shape[:-1] if draw.random() < 0.5 else [*shape, _odd(draw)]
    else:
        shape[int(draw.integers(len(shape)))] = _odd(draw)
    target_part.shape = shape
    if draw.random() < 0.5:
        target_part.shapeSignature = None


def _retyped(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    _any(graph.tensors, draw).type = int(draw.integers(0, 20))


def _requantized(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    target_part = (tensor.quantization for tensor in graph.tensors)
    quantized = [each for each in target_part if each is not None and each.scale is not None]
    if not quantized:
        target = _any(graph.tensors, draw).quantization = fb.QuantizationParametersT()
        target.scale, target.zeroPoint, quantized = [1.0], [0], [target]
    target_part = _any(quantized, draw)
    scales, zeros = list(target_part.scale), list(target_part.zeroPoint if target_part.zeroPoint is not None else [0])
    what = int(draw.integers(5))
    if what == 0:
        scales[int(draw.integers(len(scales)))] = ODD_REAL[int(draw.integers(len(ODD_REAL)))]
    elif what == 1:
        zeros[int(draw.integers(len(zeros)))] = _odd(draw)
    elif what == 2:
        scales = scales[: len(scales) // 2]
    elif what == 3:
        zeros = zeros * int(draw.integers(2, 5))
    else:
        target_part.quantizedDimension = _odd(draw)
    target_part.scale, target_part.zeroPoint = scales, zeros


def _rewired(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    op = _any(graph.operators, draw)
    name = "inputs" if draw.random() < 0.6 else "outputs"
    indices = [int(index) for index in getattr(op, name)]
    what = draw.random()
    if what < 0.5:
        indices[int(draw.integers(len(indices)))] = int(draw.integers(-1, len(graph.tensors)))
    elif what < 0.7:
        indices[int(draw.integers(len(indices)))] = _odd(draw)
    else:
        indices = indices[:-1] if what < 0.85 else [*indices, int(draw.integers(len(graph.tensors)))]
    setattr(op, name, indices)


def _recoded(model: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    if draw.random() < 0.5:
        _any(graph.operators, draw).opcodeIndex = int(draw.integers(0, len(model.operatorCodes) + 1))
    else:
        target_part = _any(model.operatorCodes, draw)
        target_part.builtinCode = int(draw.integers(0, 210))
        target_part.deprecatedBuiltinCode = min(target_part.builtinCode, 127)
        target_part.version = int(draw.integers(0, 12))


def _options(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    custom = [op for op in graph.operators if op.customOptions is not None]
    if custom and draw.random() < 0.3:
        content = bytearray(bytes(_any(custom, draw).customOptions))
        content[int(draw.integers(len(content)))] ^= int(draw.integers(1, 256))
        custom[0].customOptions = np.frombuffer(bytes(content), np.uint8)
        return
    options = _any([op.builtinOptions for op in graph.operators if op.builtinOptions is not None], draw)
    name = _any(sorted(vars(options)), draw)
    odd = _odd(draw)
    setattr(options, name, [odd, odd] if isinstance(getattr(options, name), (list, np.ndarray)) else odd)


def _emptied(model: fb.ModelT, _: fb.SubGraphT, draw: Draw) -> None:
    target_part = _any([buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data)], draw)
    target_part.data = None if draw.random() < 0.3 else target_part.data[: int(draw.integers(0, len(target_part.data)))]


def _filled(model: fb.ModelT, _: fb.SubGraphT, draw: Draw) -> None:
    """Set some bytes of a constant (weights, biases, shapes, axes) to extreme values."""
    target_part = _any([buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data)], draw)
    content = np.array(target_part.data, np.uint8)
    at = int(draw.integers(len(content)))
    content[at : at + int(draw.integers(1, 65))] = _any((0, 0x7F, 0x80, 0xFF), draw)
    target_part.data = content


def _reordered(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    first, second = (int(i) for i in draw.integers(0, len(graph.operators), 2))
    operators = list(graph.operators)
    operators[first], operators[second] = operators[second], operators[first]
    graph.operators = operators


def _ends(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Set other inputs or outputs of the network: none, one twice, or an inner tensor."""
    name = "inputs" if draw.random() < 0.4 else "outputs"
    count = int(draw.integers(0, 5))
    setattr(graph, name, [int(index) for index in draw.integers(0, len(graph.tensors), count)])


KINDS: dict[str, Change] = {
    "flipped": flipped,
    "cut": cut,
    "odd_numbers": odd_numbers,
    "spliced": spliced,
    "reshaped": _edited(_reshaped),
    "retyped": _edited(_retyped),
    "requantized": _edited(_requantized),
    "rewired": _edited(_rewired),
    "recoded": _edited(_recoded),
    "options": _edited(_options),
    "emptied": _edited(_emptied),
    "filled": _edited(_filled),
    "reordered": _edited(_reordered),
    "ends": _edited(_ends),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One damaged file, and the number, base and kind from which it can be made again."""

    number: int
    base: str
    kind: str
    data: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return f"mutant-{self.number}.tflite"


def mutant(number: int, seed: int = SEED) -> Mutant:
    """The file with this number. Numbers go through all kinds, and for each kind through all bases."""
    kind = list(KINDS)[number % len(KINDS)]
    name = BASES[number // len(KINDS) % len(BASES)]
    draw = np.random.default_rng([seed, number])
    return Mutant(number, name, kind, KINDS[kind](base(name), draw))
