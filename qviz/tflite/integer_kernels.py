"""Integer kernels for operators that litert-quantizer leaves in float although TensorFlow Lite has such kernels.

litert-quantizer has no rule for these operators (LEAKY_RELU and SPLIT_V among them), so it converts their inputs to
float and their results back to integers. Where only integers can be computed, such a file does not run. In the built
file, each of them gets integers as inputs and outputs, as TensorFlow's converter would write it
(`tensorflow/lite/tools/optimize/operator_property.cc` has the kinds, their versions, and whose outputs have the scale
of the input), and the conversions around it are removed. Convolutions that read such an output read it with the scale
of the input, for which their biases are scaled: converting it to another scale first would only round it again.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.structures import Op
from qviz.tflite.edit import add_tensor, operator_code, packed, set_constant, unpacked, without_unused
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import CONVERSIONS

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Kernel:
    """An integer kernel of TensorFlow Lite.

    Attributes:
        version: Version of the operator that computes on integers.
        keeps_scale: Whether the outputs have the scale of the input, because values are only moved.
        wide: Whether there is a kernel for 16 bits, too.
    """

    version: int
    keeps_scale: bool = False
    wide: bool = False


KERNELS = {
    "LEAKY_RELU": Kernel(2, wide=True),
    "PRELU": Kernel(1),
    "RELU6": Kernel(2),
    "RELU_N1_TO_1": Kernel(1),
    "SPLIT_V": Kernel(2, keeps_scale=True, wide=True),
    "SQUEEZE": Kernel(1, keeps_scale=True, wide=True),
    "EXPAND_DIMS": Kernel(1, keeps_scale=True, wide=True),
    "DEPTH_TO_SPACE": Kernel(1, keeps_scale=True),
    "SPACE_TO_BATCH_ND": Kernel(2, keeps_scale=True),
    "BATCH_TO_SPACE_ND": Kernel(2, keeps_scale=True),
    "TILE": Kernel(1, keeps_scale=True, wide=True),
    "REDUCE_MAX": Kernel(2, keeps_scale=True),
    "TOPK_V2": Kernel(2, keeps_scale=True),
    "REVERSE_V2": Kernel(1, keeps_scale=True, wide=True),
}
"""Kinds of operators without a rule in litert-quantizer -> their integer kernel."""
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
COPIES = ("TRANSPOSE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators whose output has the values and the scale of the first input."""
STEPS = {fb.TensorType.INT8: 255, fb.TensorType.INT16: 65534}
"""Type of an activation -> number of its steps between the ends of its range."""


def with_integer_kernels(data: bytes, in_float: Collection[str], ranges: Mapping[str, Ends]) -> bytes:
    """The file with integer kernels for all operators in `KERNELS` that read an integer tensor through a DEQUANTIZE.

    An output gets the scale that a QUANTIZE behind it has, else the one that follows from its range; without either,
    the operator stays in float. If all do, the result is `data` itself.

    Args:
        data: A .tflite file with integer activations, built by litert-quantizer.
        in_float: Names of tensors whose operators stay in float as requested.
        ranges: Name of an activation -> its smallest and its largest value, from calibration.
    """
    graph = read_graph(data)
    if not any(op.kind in KERNELS for op in graph.ops):
        return data
    return _Edit(data, graph.ops, in_float, ranges).result() or data


class _Edit:
    """One file while operators are given integer kernels."""

    def __init__(self, data: bytes, ops: Collection[Op], in_float: Collection[str], ranges: Mapping[str, Ends]) -> None:
        self.model = unpacked(data)
        self.subgraph = self.model.subgraphs[0]
        self.tensors = self.subgraph.tensors
        self.ops, self.in_float, self.ranges = ops, frozenset(in_float), ranges
        self.integers: dict[int, int] = {}  # float tensor -> the integer tensor that a DEQUANTIZE turns into it
        self.equal: dict[int, int] = {}  # output of a QUANTIZE that is no longer needed -> the tensor with its values
        self.moved: set[int] = set()  # outputs that have the scale of the operator's input

    def result(self) -> bytes | None:
        """The new file; None if every operator stays as it is."""
        operators: list[Any] = []
        changed = False
        for op, old in zip(self.ops, self.subgraph.operators, strict=True):
            old.inputs = [self.equal.get(int(index), int(index)) for index in old.inputs]
            if op.kind == "QUANTIZE" and self._is_superfluous(old):
                continue
            operators.append(old)
            entry = self._entry(op, old)
            if entry is not None:
                changed = True
                operators += self._with_integers(op, old, entry)
            elif op.kind == "DEQUANTIZE" and self.tensors[old.inputs[0]].type in STEPS:
                self.integers[int(old.outputs[0])] = old.inputs[0]
        self.subgraph.operators = self._without_idle(operators)
        return packed(without_unused(self.model)) if changed else None

    def _entry(self, op: Op, old: Any) -> int | None:
        """The integer tensor that the operator can read in place of its float input; None if it stays in float."""
        kernel, entry = KERNELS.get(op.kind), self.integers.get(old.inputs[0] if len(old.inputs) else -1)
        if kernel is None or entry is None or {self._name(index) for index in old.outputs} & self.in_float:
            return None
        if self.tensors[entry].type == fb.TensorType.INT16 and not kernel.wide:
            return None
        if not kernel.keeps_scale and any(self._scale(index, entry) is None for index in self._float_outputs(old)):
            return None
        return None if op.kind == "PRELU" and not self._is_float_constant(old.inputs[1]) else entry

    def _with_integers(self, op: Op, old: Any, entry: int) -> list[Any]:
        """Let the operator compute on integers; returns the DEQUANTIZE that float readers of its outputs need."""
        kernel = KERNELS[op.kind]
        old.opcodeIndex = operator_code(self.model, op.kind, kernel.version)
        if op.kind == "PRELU":
            old.inputs[1] = self._integer_slopes(old.inputs[1])
        old.inputs[0] = entry
        behind = []
        for index in self._float_outputs(old):
            scale = self.tensors[entry].quantization if kernel.keeps_scale else self._scale(index, entry)
            readers = [row for row in self.subgraph.operators if index in list(row.inputs) and row is not old]
            real = add_tensor(self.model, f"{self._name(index)}_dequant", like=index)
            self.tensors[index].type = self.tensors[entry].type
            self.tensors[index].quantization = copy.copy(scale)
            self.integers[real] = index
            if kernel.keeps_scale:
                self.moved.add(index)
            for row in readers:
                if not self._is_quantize(row):
                    row.inputs = [real if number == index else int(number) for number in row.inputs]
            self._replace_output(index, real)
            code = operator_code(self.model, "DEQUANTIZE", 2)
            behind.append(fb.OperatorT(opcodeIndex=code, inputs=[index], outputs=[real]))
        return behind

    def _scale(self, index: int, entry: int) -> Any:
        """Scale and zero point of an operator's output in the type of its integer input; None if they are unknown."""
        dtype = self.tensors[entry].type
        for row in self.subgraph.operators:
            if index in list(row.inputs) and self._is_quantize(row):
                behind = self.tensors[row.outputs[0]]
                if behind.type == dtype:
                    return behind.quantization
        ends = self.ranges.get(self._name(index))
        if ends is None:
            return None
        low, high = min(ends[0], 0.0), max(ends[1], 0.0)
        if dtype == fb.TensorType.INT16:
            low, high = -max(-low, high), max(-low, high)
        step = max(high - low, 1e-9) / STEPS[dtype]
        zero = 0 if dtype == fb.TensorType.INT16 else round(-128 - low / step)
        return _quantization(step, zero)

    def _integer_slopes(self, index: int) -> int:
        """A copy of a PRELU's float slopes in 8 bits with one scale; returns its tensor."""
        slopes = np.asarray(self.model.buffers[self.tensors[index].buffer].data, np.uint8).view(np.float32)
        step = max(float(np.abs(slopes).max()), 1e-9) / 127
        integers = np.round(slopes / step).astype(np.int8)
        copied = add_tensor(self.model, f"{self._name(index)}_quantized", like=index)
        tensor = self.tensors[copied]
        tensor.type, tensor.buffer = fb.TensorType.INT8, len(self.model.buffers)
        tensor.quantization = _quantization(step, 0)
        self.model.buffers.append(fb.BufferT(data=integers.view(np.uint8)))
        return copied

    def _is_superfluous(self, old: Any) -> bool:
        """Whether the readers of a QUANTIZE can read its integer input instead; they then do."""
        entry, output = int(old.inputs[0]), int(old.outputs[0])
        before, after = self.tensors[entry], self.tensors[output]
        if before.type != after.type:
            return False
        if not _equal(before.quantization, after.quantization):
            behind = self._behind(output) if entry in self.moved else None
            if behind is None:
                return False
            for index in behind[1]:
                _rescale(self.model, index, before.quantization.scale[0] / after.quantization.scale[0])
            for index in behind[0]:
                self.tensors[index].quantization = copy.copy(before.quantization)
        self.equal[output] = entry
        self._replace_output(output, entry)
        return True

    def _behind(self, index: int) -> tuple[list[int], list[int]] | None:
        """What changes if a tensor gets another scale: (it and the tensors that copy its values, biases).

        None if an operator reads it that neither copies it, nor converts it, nor is a convolution with its own bias.
        """
        copies, biases = [index], []
        for tensor in copies:
            if tensor in list(self.subgraph.outputs):
                return None
            for row in self.subgraph.operators:
                if tensor not in list(row.inputs) or any(self._is_kind(row, kind) for kind in CONVERSIONS):
                    continue
                if any(self._is_kind(row, kind) for kind in COPIES):
                    copies.append(int(row.outputs[0]))
                elif self._has_own_bias(row) and row.inputs[0] == tensor:
                    biases.append(int(row.inputs[2]))
                else:
                    return None
        return copies, biases

    def _has_own_bias(self, row: Any) -> bool:
        """Whether the operator is a convolution with a constant bias that no other operator uses."""
        if len(row.inputs) < 3 or row.inputs[2] < 0 or not any(self._is_kind(row, kind) for kind in CONVOLUTIONS):
            return False
        uses = sum(list(other.inputs).count(row.inputs[2]) for other in self.subgraph.operators)
        return uses == 1 and self._data(row.inputs[2]) is not None

    def _without_idle(self, operators: list[Any]) -> list[Any]:
        """The operators without each DEQUANTIZE whose result nothing reads."""
        read = {int(index) for row in operators for index in row.inputs} | set(map(int, self.subgraph.outputs))
        return [row for row in operators if int(row.outputs[0]) in read or not self._is_kind(row, "DEQUANTIZE")]

    def _replace_output(self, index: int, other: int) -> None:
        """If the tensor is an output of the network, the other one becomes this output."""
        self.subgraph.outputs = [other if number == index else int(number) for number in self.subgraph.outputs]
        for signature in self.model.signatureDefs or ():
            for row in signature.outputs or ():
                row.tensorIndex = other if row.tensorIndex == index else row.tensorIndex

    def _float_outputs(self, old: Any) -> list[int]:
        """The outputs that hold real values: the second output of TOPK_V2, for example, has indices."""
        return [int(index) for index in old.outputs if self.tensors[index].type == fb.TensorType.FLOAT32]

    def _name(self, index: int) -> str:
        return bytes(self.tensors[index].name or b"").decode(errors="replace")

    def _is_quantize(self, row: Any) -> bool:
        return self._is_kind(row, "QUANTIZE")

    def _is_kind(self, row: Any, kind: str) -> bool:
        code = self.model.operatorCodes[row.opcodeIndex]
        return bool(max(code.builtinCode, code.deprecatedBuiltinCode) == getattr(fb.BuiltinOperator, kind))

    def _is_float_constant(self, index: int) -> bool:
        return self.tensors[index].type == fb.TensorType.FLOAT32 and self._data(index) is not None

    def _data(self, index: int) -> Any:
        """The bytes of a constant; None for other tensors."""
        data = self.model.buffers[self.tensors[index].buffer].data
        return None if data is None or not len(data) else data


def _rescale(model: Any, index: int, factor: float) -> None:
    """Give a bias steps that are larger by a factor, in place. Values beyond its type are cut off, see `biases`."""
    tensor = model.subgraphs[0].tensors[index]
    dtype = np.int64 if tensor.type == fb.TensorType.INT64 else np.int32
    stored = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(dtype).astype(np.float64)
    ends = np.iinfo(dtype)
    values = np.clip(np.rint(stored / factor), ends.min, ends.max).astype(dtype)
    set_constant(model, index, values, np.asarray(tensor.quantization.scale, np.float64) * factor)


def _quantization(step: float, zero: int) -> Any:
    return fb.QuantizationParametersT(scale=np.array([step], np.float32), zeroPoint=np.array([zero], np.int64))


def _equal(some: Any, others: Any) -> bool:
    """Whether two tensors have the same scale and zero point."""
    return some is not None and others is not None and _numbers(some) == _numbers(others)


def _numbers(quantization: Any) -> tuple[list[float], list[int]]:
    return list(map(float, quantization.scale)), list(map(int, quantization.zeroPoint))
