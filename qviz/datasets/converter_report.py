"""The report that onnx2tf writes with `--eval_with_onnx`: the outputs of a .tflite file compared with the ONNX file's.

The report is `NAME_accuracy_report.json` beside `NAME_float32.tflite`, and names the .tflite file that was compared.
onnx2tf uses random numbers as inputs unless it is given data. The report then says whether the conversion is exact, but
nothing about objects. The report is not trusted: a file that is not such a report, or is about another model, is
ignored. Source: onnx2tf/tflite_builder/accuracy_evaluator.py, schema_version 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qviz.structures.json_document import NotJson, parse_json

SUFFIX = "_accuracy_report.json"
SCHEMA = 1
MAX_BYTES, MAX_OUTPUTS, MAX_NAME = 1 << 20, 64, 100
RANDOM = "seeded_random"
ERRORS = ("max_abs", "mean_abs", "rmse", "cosine_similarity")


@dataclass(frozen=True, slots=True)
class ConvertedOutput:
    """The differences between one output of the .tflite file and that of the ONNX file, over all samples.

    Attributes:
        max_abs, mean_abs, rmse: Errors in the output's unit.
        cosine_similarity: In [-1, 1], 1 for equal directions.
    """

    name: str
    max_abs: float
    mean_abs: float
    rmse: float
    cosine_similarity: float


@dataclass(frozen=True, slots=True)
class ConverterReport:
    """The content of such a report.

    Attributes:
        file: Name of the report.
        samples: Number of inputs.
        random_inputs: Whether the inputs were random numbers.
        passed: Whether the errors are within the converter's own limits.
        outputs: One entry per output.
    """

    file: str
    samples: int
    random_inputs: bool
    passed: bool
    outputs: tuple[ConvertedOutput, ...]


def read_converter_report(model: Path) -> ConverterReport | None:
    """The report beside a .tflite file; None if there is none about this file."""
    parts = model.stem.split("_")
    names = [f"{'_'.join(parts[:end])}{SUFFIX}" for end in range(len(parts), 0, -1)][:16]
    for path in (model.with_name(name) for name in names):
        try:
            if path.is_file() and path.stat().st_size <= MAX_BYTES:
                report = parse_report(path.read_bytes(), path.name, model.name)
                if report is not None:
                    return report
        except OSError:
            continue  # the model itself is usable without it
    return None


def parse_report(data: bytes, name: str, model: str) -> ConverterReport | None:
    """The report in a file. model: name of the .tflite file that it must be about. None if it is not such a report."""
    try:
        content = parse_json(data)
    except NotJson:
        return None
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA:
        return None
    path, samples, passed = (content.get(key) for key in ("tflite_path", "num_samples", "evaluation_pass"))
    rows = content.get("per_output_metrics")
    if not isinstance(path, str) or path.replace("\\", "/").split("/")[-1] != model or not isinstance(rows, dict):
        return None
    if not isinstance(samples, int) or isinstance(samples, bool) or not isinstance(passed, bool):
        return None
    compared = [(key, row) for key, row in rows.items() if isinstance(row, dict) and row.get("status") == "compared"]
    outputs = [_output(key, row) for key, row in compared[:MAX_OUTPUTS]]
    if not outputs or None in outputs:
        return None
    complete = tuple(output for output in outputs if output is not None)
    return ConverterReport(name, samples, content.get("inputs_source") == RANDOM, passed, complete)


def _output(name: str, row: Mapping[str, Any]) -> ConvertedOutput | None:
    """One row; None if one of its numbers is missing or not finite."""
    values = [row.get(key) for key in ERRORS]
    numbers = [
        float(value)
        for value in values
        if isinstance(value, (int, float)) and abs(value) < 1e300 and math.isfinite(value)
    ]
    if len(numbers) != len(ERRORS):
        return None
    printable = "".join(character for character in name if character.isprintable())
    return ConvertedOutput(printable[:MAX_NAME], *numbers)
