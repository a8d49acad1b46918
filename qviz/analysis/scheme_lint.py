"""Whether a file is quantized as its name says, and throughout."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from qviz.analysis.models import LoadedModel
from qviz.analysis.warning import Warning
from qviz.structures import Graph, Op, Scheme
from qviz.tflite.scheme import CONVERSIONS, WITHOUT_INT8

_CLAIMS = {
    r"int16x8|16x8|int16_act": {Scheme.INT16X8},
    r"dynamic|dynrange": {Scheme.DYNAMIC_RANGE},
    r"float16|fp16|f16": {Scheme.FLOAT16},
    r"float32|fp32|f32": {Scheme.FLOAT32},
    r"int8|integer|uint8|quant": {Scheme.INT8, Scheme.DYNAMIC_RANGE, Scheme.WEIGHT_ONLY, Scheme.INT16X8},
}
_INTEGER_FORM = {"ADD_N": "ADD", "SQUARE": "MUL"}
"""Operators without an integer kernel -> one that has it and does the same."""


def scheme_warnings(model: LoadedModel) -> list[Warning]:
    """Warnings about one model's scheme."""
    return [*_name_lies(model), *_float_islands(model)]


def _name_lies(model: LoadedModel) -> Iterator[Warning]:
    """The name claims a scheme that the tensors do not show; the most specific claim in it counts."""
    for pattern, schemes in _CLAIMS.items():
        if claim := re.search(pattern, model.name.lower()):
            if model.scheme not in schemes:
                facts = model.inspection.facts
                yield Warning(
                    "name_lies",
                    f"The name says {claim.group()}, the file is {model.scheme}: {facts.quantized_operators} of"
                    f" {facts.operators} operators compute on integers.",
                    "Check the export: the converter falls back to float where it is not told to refuse.",
                    model.name,
                )
            return


def _float_islands(model: LoadedModel) -> Iterator[Warning]:
    """Float operators in the midst of integer ones; those at either end are left in peace."""
    if model.scheme not in (Scheme.INT8, Scheme.INT16X8):
        return
    graph = model.inspection.graph
    inner = inner_islands(graph, model.inspection.facts.float_islands)
    if inner:
        ops = [graph.ops[order] for island in inner for order in island]
        kinds = Counter(op.kind for op in ops)
        places = "1 place" if len(inner) == 1 else f"{len(inner)} places"
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        yield Warning(
            "float_islands",
            f"{model.name} leaves integers for floats and comes back in {places} ({told}): each costs a DEQUANTIZE and"
            " a QUANTIZE, and is refused by an accelerator for integers alone.",
            _cure(ops),
            model.name,
            advice=True,
        )


def _cure(ops: Iterable[Op]) -> str:
    """Another operator where there is no integer kernel, another conversion where there is one."""
    unable = sorted({op.kind for op in ops if op.custom or op.kind in WITHOUT_INT8})
    able = sorted({op.kind for op in ops} - set(unable))
    said = []
    if unable:
        forms = ", ".join(f"{_INTEGER_FORM[kind]} in place of {kind}" for kind in unable if kind in _INTEGER_FORM)
        advice = f"build the model with {forms}" if forms else "build the model without it"
        said.append(f"{', '.join(unable)} has no integer kernel: {advice}, or leave it if it costs little.")
    if able:
        said.append(f"{', '.join(able)} has one: convert again with calibration for the whole model.")
    return " ".join(said)


def inner_islands(graph: Graph, islands: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The islands that depend on an integer operator and that an integer operator depends on.

    A post-process ends the graph, a preparation of the input begins it: neither lies between integers.
    """
    after, before = _linked(graph, forwards=True), _linked(graph, forwards=False)
    return [island for island in islands if set(island) & after & before]


def _linked(graph: Graph, forwards: bool) -> set[int]:
    """Orders of the operators that lie behind an integer operator, or before one."""
    found: set[int] = set()
    touched: set[int | None] = set()
    for op in graph.ops if forwards else reversed(graph.ops):
        near, far = (op.inputs, op.outputs) if forwards else (op.outputs, op.inputs)
        linked = any(tensor in touched for tensor in near if tensor is not None)
        if linked:
            found.add(op.order)
        if linked or _on_integers(graph, op):
            touched |= set(far)
    return found


def _on_integers(graph: Graph, op: Op) -> bool:
    made = any(tensor.quantized for tensor in graph.op_outputs(op))
    read = any(tensor.quantized and not tensor.constant for tensor in graph.op_inputs(op))
    return made and read and op.kind not in CONVERSIONS
