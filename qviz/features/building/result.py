"""A built variant, and which of its tensors are in float, each with the reason.

If the recipe quantizes activations, the list has the outputs of operators that compute in float and the network's
float inputs and outputs. In the other schemes all activations are float, so only weights are listed. An operator is
identified by the tensor that it writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.errors import QuantizeError
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import Builder, Options, Recipe, weights_of
from qviz.features.inspection.warning import Warning
from qviz.result import Result
from qviz.structures import Graph, Op, Scheme, Tensor
from qviz.tflite.scheme import CONVERSIONS, WITHOUT_INT8


@dataclass(frozen=True, slots=True)
class FloatTensor:
    """A tensor that stayed in float, and the reason."""

    tensor: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Built(Result):
    """A quantized variant; `save("int8.tflite")` writes the file.

    Attributes:
        recipe: The name of the recipe.
        data: The .tflite file.
        scheme: The scheme of the file, read from its tensors.
        stayed_float: Tensors that are still float.
        seconds: Duration of building, in seconds, without calibration.
        builder: The program that wrote the file.
        remark: Why the file's scheme differs from the recipe's, and what else could not be built; else empty.
        changes: What each cure changed, one sentence each.
        wide: Indices, in the float32 file, of operators with 16-bit activations, if any were requested.
        ranges: Ranges used to quantize the activations; None if the recipe needs none.
        warnings: Lint warnings about the file, and the settings that were assumed for the float model.
    """

    recipe: str
    data: bytes = field(repr=False)
    scheme: Scheme
    stayed_float: tuple[FloatTensor, ...]
    seconds: float
    builder: Builder
    remark: str = ""
    wide: tuple[int, ...] = ()
    ranges: Calibration | None = None
    warnings: tuple[Warning, ...] = ()
    changes: tuple[str, ...] = ()

    ROWS: ClassVar = "stayed_float"
    JSON_NAMES: ClassVar = {"data": None, "ranges": None, "size": "bytes"}
    JSON_ALSO: ClassVar = ("size", "calibration")

    @property
    def size(self) -> int:
        """Size of the file, in bytes."""
        return len(self.data)

    @property
    def calibration(self) -> dict[str, Any] | None:
        """Facts about the ranges for the JSON document; None if they were not measured for this file."""
        ranges = self.ranges
        if ranges is None or ranges.seconds is None:
            return None
        return {"images": ranges.images, "method": ranges.method, "digest": ranges.digest, "seconds": ranges.seconds}


FLOATS = ("float32", "float16")
CONVERTER_MIN_WEIGHTS = 1024
"""TensorFlow's converter leaves tensors with fewer weights in float."""


def float_ends(graph: Graph, options: Options, in_float: Mapping[int, str]) -> tuple[bool, bool]:
    """(whether the network's inputs stay in float, whether its outputs do).

    If one output comes from an operator without an integer kernel, all outputs stay in float, because integers would
    clip class ids and counts.
    """
    if options.io == "float":
        return True, True
    return False, any(_writes_float(graph, index, in_float) for index in graph.outputs)


def _writes_float(graph: Graph, index: int, in_float: Mapping[int, str]) -> bool:
    op = graph.producer(index)
    return op is not None and (op.custom or op.kind in WITHOUT_INT8 or op.order in in_float)


def float_operators(built: Graph) -> tuple[str, ...]:
    """Kinds of the operators that compute in float, each once, in the order of the file.

    Conversions do not count, and neither does a detection post-process, which runs after the network and not on an
    accelerator.
    """
    ops = (op for op in built.ops if op.kind not in (*CONVERSIONS, POST_PROCESS))
    return tuple(dict.fromkeys(op.kind for op in ops if any(t.dtype in FLOATS for t in built.op_outputs(op))))


def check_integers_only(built: Graph) -> None:
    """Raise QuantizeError if a file does not compute on integers alone, see `float_operators`."""
    if kinds := float_operators(built):
        raise QuantizeError(f"It does not compute on integers alone: {', '.join(kinds)} in float.")


def float_tensors(
    built: Graph, source: Graph, recipe: Recipe, options: Options, in_float: Mapping[int, str], builder: Builder
) -> tuple[FloatTensor, ...]:
    """The tensors of a built file that are in float, each listed once with one reason, in the order of the file.

    in_float: operators of `source` that the options keep in float -> the reason.
    """
    requested = {tensor.name: why for order, why in in_float.items() for tensor in source.op_outputs(source.ops[order])}
    if recipe.needs_calibration:
        pairs = _activations(built, recipe, options, requested, builder)
    else:
        pairs = _weights(built, recipe, requested, {tensor.name for tensor in source.tensors}, builder)
    reasons: dict[str, str] = {}
    for tensor, reason in pairs:
        reasons.setdefault(tensor, reason)
    return tuple(FloatTensor(tensor, reason) for tensor, reason in reasons.items())


def _activations(
    built: Graph, recipe: Recipe, options: Options, requested: Mapping[str, str], builder: Builder
) -> Iterator[tuple[str, str]]:
    for tensor in built.input_tensors():
        if tensor.dtype in FLOATS:
            yield tensor.name, "input, float as requested (--io float)"
    for op in built.ops:
        if op.kind not in CONVERSIONS:
            for tensor in built.op_outputs(op):
                if tensor.dtype in FLOATS:
                    yield tensor.name, requested.get(tensor.name) or _no_integers_reason(op, recipe, builder)
    requested_end = ", float as requested (--io float)" if options.io == "float" else ": all stay float if one does"
    for tensor in built.output_tensors():
        if tensor.dtype in FLOATS:
            yield tensor.name, f"output{requested_end}"


def _no_integers_reason(op: Op, recipe: Recipe, builder: Builder) -> str:
    if op.kind == POST_PROCESS:
        return f"output of {POST_PROCESS}: class ids and the count must not be quantized"
    if op.custom:
        return f"{op.kind} is a custom operator, which computes in float"
    if op.kind in WITHOUT_INT8:
        return f"{op.kind} has no integer kernel"
    return f"{builder} does not quantize {op.kind} to {recipe.name}"


def _weights(
    built: Graph, recipe: Recipe, requested: Mapping[str, str], source_names: set[str], builder: Builder
) -> Iterator[tuple[str, str]]:
    for op in built.ops:
        weights = weights_of(built, op)
        if weights is not None and weights.dtype == "float32":
            reasons = (requested[tensor.name] for tensor in built.op_outputs(op) if tensor.name in requested)
            yield weights.name, next(reasons, None) or _unquantized_reason(op, weights, recipe, source_names, builder)


def _unquantized_reason(op: Op, weights: Tensor, recipe: Recipe, source_names: set[str], builder: Builder) -> str:
    if weights.name not in source_names and builder is Builder.LITERT_QUANTIZER:
        return "the Hadamard rotation itself, which is exact in float"
    count = math.prod(weights.shape)
    if builder is Builder.CONVERTER and count < CONVERTER_MIN_WEIGHTS:
        return f"{count} weights only: {builder} leaves fewer than {CONVERTER_MIN_WEIGHTS} in float"
    return f"{builder} does not quantize the weights of {op.kind} to {recipe.name}"
