"""What stayed float in a quantized file, each tensor with the reason.

Where activations have integers: what operators compute in float, and float inputs and outputs of the network. In the
other schemes activations are float by nature: there it is the weights. Operators are named by the tensors they write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qviz.quantize.recipes import WEIGHTS_8, Builder, Options, Recipe
from qviz.structures import Graph, Op, Tensor
from qviz.tflite.scheme import CONVERSIONS, WITHOUT_INT8

POST_PROCESS = "TFLite_Detection_PostProcess"
FLOATS = ("float32", "float16")
Stayed = tuple[tuple[str, str], ...]


def float_ends(graph: Graph, options: Options, kept: Mapping[int, str]) -> tuple[bool, bool]:
    """Whether the network's inputs and its outputs stay float.

    Outputs do, all of them, where one is written by an operator that has no integers: class ids, counts and the like
    are exact there, and would be clipped.
    """
    if options.io == "float":
        return True, True
    return False, any(_keeps_output(graph, index, kept) for index in graph.outputs)


def _keeps_output(graph: Graph, index: int, kept: Mapping[int, str]) -> bool:
    maker = graph.producer(index)
    return maker is not None and (maker.custom or maker.kind in WITHOUT_INT8 or maker.order in kept)


def stayed_float(
    built: Graph, source: Graph, recipe: Recipe, options: Options, kept: Mapping[int, str], builder: Builder
) -> Stayed:
    """(tensor, reason), each tensor once, in the order of the file. kept: operators of `source` and who asked."""
    asked = {tensor.name: why for order, why in kept.items() for tensor in source.op_outputs(source.ops[order])}
    known = {tensor.name for tensor in source.tensors}
    if recipe.needs_calibration:
        found = _activations(built, recipe, options, asked, builder)
    else:
        found = _weights(built, recipe, asked, known, builder)
    reasons: dict[str, str] = {}
    for tensor, reason in found:
        reasons.setdefault(tensor, reason)  # of two the first
    return tuple(reasons.items())


def _activations(
    built: Graph, recipe: Recipe, options: Options, asked: Mapping[str, str], builder: Builder
) -> Iterator[tuple[str, str]]:
    for tensor in built.input_tensors():
        if tensor.dtype in FLOATS:
            yield tensor.name, "input, asked to be float (--io float)"
    for op in built.ops:
        if op.kind not in CONVERSIONS:
            for tensor in built.op_outputs(op):
                if tensor.dtype in FLOATS:
                    yield tensor.name, asked.get(tensor.name) or _without_integers(op, recipe, builder)
    for tensor in built.output_tensors():
        if tensor.dtype in FLOATS:
            whole = "output, asked to be float (--io float)"
            yield tensor.name, whole if options.io == "float" else "output: all stay float where one must"


def _without_integers(op: Op, recipe: Recipe, builder: Builder) -> str:
    if op.kind == POST_PROCESS:
        return f"output of {POST_PROCESS}: class ids and the count must not be quantized"
    if op.custom:
        return f"{op.kind} is a custom operator, which computes in float"
    if op.kind in WITHOUT_INT8:
        return f"{op.kind} has no integer kernel"
    return f"{builder} does not quantize {op.kind} to {recipe.name}"


def _weights(
    built: Graph, recipe: Recipe, asked: Mapping[str, str], known: set[str], builder: Builder
) -> Iterator[tuple[str, str]]:
    for op in built.ops:
        weights = _weights_of(built, op)
        if weights is not None and weights.dtype == "float32":
            kept = next((asked[tensor.name] for tensor in built.op_outputs(op) if tensor.name in asked), None)
            yield weights.name, kept or _unquantized(op, weights, recipe, known, builder)


def _weights_of(graph: Graph, op: Op) -> Tensor | None:
    """The second input; the first holds no weights in a detector (of EMBEDDING_LOOKUP they are ids)."""
    index = op.inputs[1] if op.kind in WEIGHTS_8 and len(op.inputs) > 1 else None
    tensor = graph.tensors[index] if index is not None else None
    return tensor if tensor is not None and tensor.constant else None


def _unquantized(op: Op, weights: Tensor, recipe: Recipe, known: set[str], builder: Builder) -> str:
    if weights.name not in known and builder is Builder.EDGE_QUANTIZER:
        return "the Hadamard rotation itself, which is exact in float"
    if builder is Builder.CONVERTER and _count(weights) < 1024:
        return f"{_count(weights)} weights only: {builder} leaves fewer than 1024 in float"
    return f"{builder} does not quantize the weights of {op.kind} to {recipe.name}"


def _count(tensor: Tensor) -> int:
    count = 1
    for side in tensor.shape:
        count *= side
    return count
