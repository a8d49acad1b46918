"""What a file is, in a sentence."""

from __future__ import annotations

from qviz.features.inspection import Info, ModelInfo
from qviz.formatting import megabytes, plural


def verdict(result: Info) -> str:
    """One sentence per model."""
    return " ".join([*map(_sentence, result.models), *result.errors])


def _sentence(model: ModelInfo) -> str:
    warnings = [warning for warning in model.warnings if not warning.advice]
    end = f", {plural(len(warnings), 'warning')}" if warnings else ""
    integers = f"{model.quantized_operators} of {plural(model.operators, 'operator')} compute on integers"
    return f"{model.name}: {model.scheme}, {megabytes(model.bytes)}, {integers}{end}."
