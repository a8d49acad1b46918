"""The description of each file in a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from qviz.datasets.converter_report import ConverterReport
from qviz.features.inspection import Info, ModelInfo
from qviz.features.inspection.warning import Warning
from qviz.formatting import megabytes, plural


def verdict(result: Info) -> str:
    """One sentence for each model, followed by the errors."""
    return " ".join([*map(_sentence, result.models), *result.errors])


def _sentence(model: ModelInfo) -> str:
    warnings = [warning for warning in model.warnings if not warning.advice]
    end = f", {plural(len(warnings), 'warning')}" if warnings else ""
    integers = f"{model.quantized_operators} of {plural(model.operators, 'operator')} compute on integers"
    return f"{model.name}: {model.scheme}, {megabytes(model.bytes)}, {integers}{end}."


def converter_lines(report: ConverterReport) -> list[str]:
    """What the converter measured: one line for the whole file and one for each output."""
    inputs = "random numbers" if report.random_inputs else "given data"
    result = "within its limits" if report.passed else "beyond its limits"
    first = f"against the ONNX file on {plural(report.samples, 'sample')} of {inputs}: {result} ({report.file})"
    rows = [
        f"  {output.name}: largest error {output.max_abs:.3g}, RMSE {output.rmse:.3g}, cosine similarity"
        f" {output.cosine_similarity:.6f}"
        for output in report.outputs
    ]
    return [first, *rows]


NOT_COMPARABLE = ("not_same_network", "other_input_size")
"""Codes of warnings that are shown before any finding, because the numbers then reflect more than quantization."""


def headline(warnings: Iterable[Warning], finding: str) -> str:
    """A finding, preceded by the reasons why variants cannot be compared with the reference, if there are any."""
    sentences = [warning.message for warning in warnings if warning.code in NOT_COMPARABLE]
    return " ".join([*sentences, finding])
