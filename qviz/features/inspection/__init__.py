"""Describe model files: scheme, operators, inputs, outputs, decoder, settings and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from qviz.context import Context
from qviz.datasets.converter_report import ConverterReport
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_model
from qviz.features.inspection.made_from import MadeFrom, made_from
from qviz.features.inspection.warning import Warning
from qviz.result import Result
from qviz.tflite.scheme import io_facts


@dataclass(frozen=True, slots=True, eq=False)
class ModelInfo:
    """The description of one file.

    Attributes:
        sha256: Digest of the file, in hexadecimal.
        bytes: Size of the file.
        scheme: How the file is quantized, according to its tensors.
        weight_bits: Bits per weight.
        inputs, outputs: Name, shape, dtype, scale and zero point of each tensor.
        quantized_operators: Number of operators that compute on integers.
        float_islands: The operator indices of each group of float operators in a quantized file.
        decoder, decoders: The decoder in use, and all decoders that fit the outputs.
        post_process: Options of the NMS operator in the file; empty if the file has none.
        settings, settings_from: All settings except the labels, and the source of each setting.
        warnings: Lint warnings.
        made_from: Whether the file was made from the given reference; None if no reference was given.
        converter_report: What onnx2tf measured against the ONNX file, if its report lies beside the file.
    """

    name: str
    sha256: str
    bytes: int
    scheme: str
    weight_bits: int
    per_channel: bool
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    operators: int
    quantized_operators: int
    float_islands: tuple[tuple[int, ...], ...]
    decoder: str
    decoders: tuple[str, ...]
    post_process: Mapping[str, float]
    settings: Mapping[str, Any]
    settings_from: Mapping[str, str]
    labels: tuple[str, ...]
    warnings: tuple[Warning, ...]
    made_from: MadeFrom | None = None
    converter_report: ConverterReport | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Info(Result):
    """The description of each file.

    Attributes:
        models: One entry per file.
        errors: One sentence for each file that could not be read; only the command line collects them.
    """

    ROWS: ClassVar[str] = "models"

    models: tuple[ModelInfo, ...]
    errors: tuple[str, ...] = ()


def info(
    context: Context, models: Sequence[LoadedModel], errors: Sequence[str] = (), against: LoadedModel | None = None
) -> Info:
    """Describe models.

    Args:
        errors: Sentences about files that could not be read.
        against: A reference; the result says whether the models were made from it.

    Example:
        >>> with qviz.open(FLOAT32, INT8) as session:
        ...     session.info().models[1].scheme
        'int8'
    """
    rows = [_info(model) for model in models]
    if against is not None:
        origins = [None if model is against else made_from(context, against, model) for model in models]
        rows = [replace(row, made_from=origin) for row, origin in zip(rows, origins, strict=True)]
    return Info(tuple(rows), tuple(errors))


def _info(model: LoadedModel) -> ModelInfo:
    inspection = model.inspection
    facts = inspection.facts
    return ModelInfo(
        name=model.name,
        sha256=model.digest,
        bytes=model.bytes,
        scheme=str(model.scheme),
        weight_bits=facts.weight_bits,
        per_channel=facts.per_channel,
        inputs=tuple(io_facts(tensor) for tensor in inspection.graph.input_tensors()),
        outputs=tuple(io_facts(tensor) for tensor in inspection.graph.output_tensors()),
        operators=facts.operators,
        quantized_operators=facts.quantized_operators,
        float_islands=tuple(tuple(island) for island in facts.float_islands),
        decoder=inspection.decoder,
        decoders=inspection.decoders,
        post_process=inspection.post_process,
        settings=inspection.settings.to_json(),
        settings_from=inspection.sources,
        labels=inspection.labels,
        warnings=tuple(lint_model(model)),
        converter_report=model.report,
    )
