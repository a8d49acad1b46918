"""What each operator of a .tflite file was told: strides, padding, axes, the activation fused into it.

Source of the format: tensorflow/lite/schema/schema.fbs. Names are the schema's, as ai-edge-litert's object API spells
them (strideH, keepDims); codes stay numbers but for padding and the fused activation, which get the schema's names.
"""

from __future__ import annotations

import struct
from typing import Any

from ai_edge_litert import schema_py_generated as fb

from qviz.errors import ModelError

_PADDINGS = {code: name for name, code in vars(fb.Padding).items() if isinstance(code, int)}
_ACTIVATIONS = {code: name for name, code in vars(fb.ActivationFunctionType).items() if isinstance(code, int)}


def operator_options(data: bytes) -> tuple[dict[str, Any], ...]:
    """One dictionary an operator of the main subgraph, empty where it has no options. Raises ModelError."""
    try:
        subgraph = fb.Model.GetRootAs(data).Subgraphs(0)
        return tuple(_options(subgraph.Operators(i)) for i in range(subgraph.OperatorsLength()))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"is damaged: an operator's options cannot be read ({error}). Export it again.") from error


def _options(op: Any) -> dict[str, Any]:
    held = fb.BuiltinOptionsCreator(op.BuiltinOptionsType(), op.BuiltinOptions())
    said = dict(vars(held)) if held is not None else {}
    if "padding" in said:
        said["padding"] = _PADDINGS[said["padding"]]
    if "fusedActivationFunction" in said:
        said["fusedActivationFunction"] = _ACTIVATIONS[said["fusedActivationFunction"]]
    return said
