"""What can be said of models from their files alone: each warning with its sentence and its cure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qviz.analysis.models import LoadedModel
from qviz.structures import Graph, Scheme, Settings, Tensor

COMPARED_SETTINGS = ("mean", "std", "channels", "resize", "nms_iou", "max_detections", "class_offset")
CLIPPED = 0.02
"""Share of the pixels' range outside the quantizer's that is worth a warning."""


@dataclass(frozen=True, slots=True)
class Warning:
    """code: for programs; message: what is the matter; cure: what to do; model: whose it is, "" for a comparison's."""

    code: str
    message: str
    cure: str
    model: str = ""

    def to_json(self) -> dict[str, str]:
        return {"model": self.model, "code": self.code, "message": self.message, "cure": self.cure}


def lint_model(model: LoadedModel) -> list[Warning]:
    """Warnings of one model."""
    return [*_origin(model), *_guessed(model), *_kernels(model), *_input_range(model), *_name_lies(model)]


def lint_all(models: Sequence[LoadedModel]) -> list[Warning]:
    """Warnings of each model and of the comparison; the first model is the reference."""
    own = [warning for model in models for warning in lint_model(model)]
    return own + lint_comparison(models[0], models[1:])


def lint_comparison(reference: LoadedModel, variants: Sequence[LoadedModel]) -> list[Warning]:
    """Every difference beside quantization, before any damage is blamed on it."""
    found = []
    for variant in variants:
        if variant.layers_available and reference.layers_available:  # TensorFlow prepares and suppresses by itself
            found += [*_settings_differ(reference, variant), *_post_process_differ(reference, variant)]
        found += _labels_differ(reference, variant)
    return found


def _origin(model: LoadedModel) -> Iterator[Warning]:
    """The model is not the file that was given, or not run as one."""
    if model.converted_from:
        yield Warning(
            "converted",
            f"The {model.converted_from} given was converted on the fly to an FP32 .tflite.",
            "Size, times and layers are those of the converted model; nothing needs to be done.",
            model.name,
        )
    if not model.layers_available:
        yield Warning(
            "tensorflow_reference",
            f"The model {model.refusal}",
            "Its resizing and NMS are TensorFlow's own too: small differences are not quantization's.",
            model.name,
        )


def _guessed(model: LoadedModel) -> Iterator[Warning]:
    """Some settings are nobody's word."""
    names = [name for name, source in model.inspection.sources.items() if source == "guess"]
    if names:
        told = ", ".join(f"{name} {_plain(getattr(model.settings, name))}" for name in names)
        yield Warning(
            "guessed",
            f"{model.name} does not say how to prepare images: {told} gave the surest detections on a few of them.",
            "Say so in its settings if you know better.",
            model.name,
        )


def _kernels(model: LoadedModel) -> Iterator[Warning]:
    """The default delegate refuses the file."""
    if model.inspection.reference_kernels:
        yield Warning(
            "reference_kernels",
            f"{model.name} is refused by the default delegate (XNNPACK) and runs on the reference kernels.",
            "Look for a quantization scale that is far too large or too small; the phone may refuse the file too.",
            model.name,
        )


def _input_range(model: LoadedModel) -> Iterator[Warning]:
    """The first quantizer behind the input cannot hold what normalised pixels span."""
    clipped = clipped_share(model.inspection.graph, model.settings)
    held = input_quantizer(model.inspection.graph)
    if clipped > CLIPPED and held is not None and held.quantization is not None:
        low, high = held.quantization.real_range(held.dtype)
        first, last = pixel_span(model.settings)
        yield Warning(
            "input_range",
            f"Wrong range: the input quantizer holds [{low:.3g}, {high:.3g}], but images normalised as set span"
            f" [{first:.3g}, {last:.3g}]; {clipped:.0%} of that is clipped.",
            "Calibrate with real images prepared as for inference, or correct mean and std if they are wrong.",
            model.name,
        )


def pixel_span(settings: Settings) -> tuple[float, float]:
    """The smallest and largest value that pixels 0..255 take when normalised as set, over the channels."""
    assert settings.mean and settings.std, "settings are complete"
    ends = [(edge - mean) / std for mean, std in zip(settings.mean, settings.std, strict=True) for edge in (0, 255)]
    return min(ends), max(ends)


def clipped_share(graph: Graph, settings: Settings) -> float:
    """The share of the pixels' span that the first quantizer cannot hold; 0 where there is none."""
    held = input_quantizer(graph)
    if held is None or held.quantization is None or settings.mean is None or settings.std is None:
        return 0.0
    low, high = held.quantization.real_range(held.dtype)
    first, last = pixel_span(settings)
    return 1 - max(0.0, min(high, last) - max(low, first)) / (last - first)


def input_quantizer(graph: Graph) -> Tensor | None:
    """The quantized tensor that images enter: the input itself, or what a QUANTIZE right behind it makes."""
    entry = graph.input_tensors()[0]
    if entry.quantized:
        return entry
    readers = [op for op in graph.ops if entry.index in op.inputs]
    quantizers = [op for op in readers if op.kind == "QUANTIZE"]
    return graph.tensors[quantizers[0].outputs[0]] if quantizers else None


_CLAIMS = {
    r"int16x8|16x8|int16_act": {Scheme.INT16X8},
    r"dynamic|dynrange": {Scheme.DYNAMIC_RANGE},
    r"float16|fp16|f16": {Scheme.FLOAT16},
    r"float32|fp32|f32": {Scheme.FLOAT32},
    r"int8|integer|uint8|quant": {Scheme.INT8, Scheme.DYNAMIC_RANGE, Scheme.WEIGHT_ONLY, Scheme.INT16X8},
}


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


def _settings_differ(reference: LoadedModel, variant: LoadedModel) -> Iterator[Warning]:
    names = [
        name
        for name in COMPARED_SETTINGS
        if getattr(reference.settings, name) != getattr(variant.settings, name)
        and not (name in ("nms_iou", "max_detections") and variant.inspection.post_process)
    ]
    if names:
        told = ", ".join(
            f"{name} {_plain(getattr(reference.settings, name))} against {_plain(getattr(variant.settings, name))}"
            for name in names
        )
        yield Warning(
            "settings_differ",
            f"{variant.name} is run with other settings than {reference.name}: {told}.",
            "Unless the models were exported so, set both alike: else the difference is not quantization's.",
            variant.name,
        )


def _post_process_differ(reference: LoadedModel, variant: LoadedModel) -> Iterator[Warning]:
    first, second = reference.inspection, variant.inspection
    if first.decoder != second.decoder:
        told = f"{first.decoder} against {second.decoder}"
    else:
        names = sorted(set(first.post_process) | set(second.post_process))
        told = ", ".join(
            f"{name} {_plain(first.post_process.get(name))} against {_plain(second.post_process.get(name))}"
            for name in names
            if first.post_process.get(name) != second.post_process.get(name)
        )
    if told:
        yield Warning(
            "post_process_differ",
            f"{variant.name} ends in another post-processing than {reference.name}: {told}.",
            "Export both with the same detections, NMS and threshold: else the difference is not quantization's.",
            variant.name,
        )


def _labels_differ(reference: LoadedModel, variant: LoadedModel) -> Iterator[Warning]:
    first, second = reference.inspection.labels, variant.inspection.labels
    if first != second:
        yield Warning(
            "labels_differ",
            f"{variant.name} names {len(second)} classes, {reference.name} {len(first)}, and not the same.",
            "Give both the same label file; objects are matched by class number.",
            variant.name,
        )


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return f"{value[0]:g}" if len(set(value)) == 1 else "(" + ", ".join(f"{v:g}" for v in value) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
