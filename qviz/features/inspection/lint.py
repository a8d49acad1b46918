"""Warnings about models that can be found in their files without running them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from qviz.context import Context
from qviz.decoders import DECODERS
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.inspection.checks import (
    bias_warnings,
    capped_warnings,
    input_warnings,
    nms_warnings,
    scheme_warnings,
)
from qviz.features.inspection.head import head_warnings
from qviz.features.inspection.made_from import made_from, origin_warnings
from qviz.features.inspection.warning import Warning
from qviz.formatting import listed, plural
from qviz.structures import Scheme
from qviz.tflite.metadata import raw_pixels

COMPARED_SETTINGS = ("mean", "std", "channels", "resize", "nms_iou", "max_detections", "class_offset")


def lint_model(model: LoadedModel, threads: int = 1) -> list[Warning]:
    """Warnings about one model. threads: number of threads per interpreter used for the results that are shown."""
    return [
        *_origin(model),
        *_kernels(model),
        *_reading(model),
        *_label_count(model),
        *input_warnings(model),
        *scheme_warnings(model),
        *_head(model),
        *bias_warnings(model),
        *capped_warnings(model),
        *nms_warnings(model.inspection, model.name, threads),
    ]


def lint_all(context: Context, models: Sequence[LoadedModel]) -> list[Warning]:
    """All warnings about the models and about comparing them with the first one, most serious first."""
    return lint_origin(context, models[0], models[1:]) + lint_files(models, context.threads)


def lint_files(models: Sequence[LoadedModel], threads: int = 1) -> list[Warning]:
    """The warnings of `lint_all` except those that compare weights, which takes a worker about 0.4 s per variant."""
    warnings = assumed_settings(models[0])
    warnings += [warning for model in models for warning in lint_model(model, threads)]
    return warnings + lint_comparison(models[0], models[1:])


def lint_origin(context: Context, reference: LoadedModel, variants: Sequence[LoadedModel]) -> list[Warning]:
    """A warning about each variant that was not made from the reference; workers compare the weights."""
    return [
        warning
        for variant in variants
        for warning in origin_warnings(reference, variant, made_from(context, reference, variant))
    ]


def lint_built(context: Context, reference: LoadedModel, data: bytes, name: str) -> tuple[Warning, ...]:
    """Warnings about a file that was built from the reference, and about settings assumed for the reference.

    The file is loaded in a worker. Raises ModelError if it cannot be run.
    """
    built = follow(load_model(context.engine, ModelSource(name, data)), reference)
    return (*_unfolded(reference), *assumed_settings(reference), *lint_model(built))


def lint_comparison(reference: LoadedModel, variants: Sequence[LoadedModel]) -> list[Warning]:
    """Warnings about differences, apart from quantization, that may cause a loss."""
    warnings = [*_converted_file(reference, variants)]
    for variant in variants:
        if variant.layers_available and reference.layers_available:  # TensorFlow does its own preprocessing and NMS
            warnings += [*_settings_differ(reference, variant), *_post_process_differ(reference, variant)]
        warnings += _labels_differ(reference, variant)
    return warnings


def _origin(model: LoadedModel) -> Iterator[Warning]:
    """A warning if the model was converted, or if TensorFlow runs it."""
    if model.converted_from.endswith(UNFOLDED):
        yield from _unfolded(model)
    elif model.converted_from:
        yield Warning(
            "converted",
            f"The {model.converted_from} was converted to an FP32 .tflite file.",
            "Size, latency and layers are those of the converted model. Nothing needs to be done.",
            model.name,
        )
    if model.inspection.remark:
        yield Warning(
            "recorded_results",
            model.inspection.remark,
            "If they were not recorded, leave these images out.",
            model.name,
        )
    if model.inspection.runtime:
        yield Warning(
            "onnx_reference",
            f"{model.name} is run by {model.inspection.runtime}, for boxes and AP only.",
            "Losses against it include those of its conversion; compare the float32 .tflite file with it, too.",
            model.name,
        )
    if not model.reads_outputs and not model.is_recorded:
        yield Warning(
            "tensorflow_reference",
            f"The model {model.refusal}",
            "TensorFlow also does its resizing and NMS, so small differences are not caused by quantization.",
            model.name,
        )


CONVERTED_FILE = "converted_file"
"""Code of a warning about the float32 file that was converted from the ONNX reference."""


def _converted_file(reference: LoadedModel, variants: Sequence[LoadedModel]) -> Iterator[Warning]:
    """A note on the float32 variant, which separates the converter's share of a loss from the quantizer's.

    Only if the reference is an ONNX file.
    """
    converted = next((variant for variant in variants if variant.scheme == Scheme.FLOAT32), None)
    if reference.inspection.runtime and converted is not None and len(variants) > 1:
        yield Warning(
            CONVERTED_FILE,
            f"{converted.name} is float32: what it loses against {reference.name} is the share of the conversion, and"
            " what other variants lose beyond that is the share of the quantization.",
            f"Nothing needs to be done if the others were quantized from {converted.name}.",
            converted.name,
        )


UNFOLDED = " .tflite file"
"""`LoadedModel.converted_from` ends with this if the weights of a .tflite file were dequantized to float32."""


def _unfolded(model: LoadedModel) -> Iterator[Warning]:
    """A warning if a file with compressed weights was dequantized to float32 before a variant was built from it."""
    if model.converted_from.endswith(UNFOLDED):
        scheme = model.converted_from.removesuffix(UNFOLDED)
        yield Warning(
            "unfolded_source",
            f"{model.name} is {scheme}, so it was dequantized to float32 first; losses are those against that float32"
            " network.",
            "If you have the float32 file, start from it: dequantizing does not undo the rounding of the weights.",
            model.name,
        )


def assumed_settings(model: LoadedModel) -> list[Warning]:
    """A warning that lists the settings that the model does not state, with the reason for each value.

    It is only given for the reference of a comparison, because variants use the same settings.
    """
    if not model.reads_outputs:
        return []
    groups: dict[str, list[str]] = {}
    for name, source in model.inspection.sources.items():
        if name in PREPARATION and (source in ASSUMED or source.startswith("input of ")):
            groups.setdefault(source, []).append(f"{name} {_plain(getattr(model.settings, name))}")
    if not groups:
        return []
    reasons = [f"{listed(values)}, {ASSUMED.get(source) or f'from the {source}'}" for source, values in groups.items()]
    return [
        Warning(
            "assumed_settings",
            f"{model.name} does not state how images are prepared; assumed: {'; '.join(reasons)}.",
            "If this is wrong, change it: in the dashboard under Models, on the command line with --mean, --std and"
            " --channels, or in a settings file beside the model.",
            model.name,
        )
    ]


PREPARATION = ("mean", "std", "channels")
ASSUMED = {"default": "as usual for this head", "guess": "from the most confident detections on a few images"}
"""Source of a setting -> why that value is used."""


def _head(model: LoadedModel) -> list[Warning]:
    end_to_end = model.inspection.decoder == "end_to_end"
    classes = 0 if model.inspection.sources.get("labels") == "class count" else len(model.inspection.labels)
    return head_warnings(model.inspection.graph, model.name, end_to_end, classes)


def _reading(model: LoadedModel) -> Iterator[Warning]:
    """Warnings about how the outputs are decoded: the decoder was guessed, the boxes are implausible, or a remark."""
    inspection = model.inspection
    decoder = DECODERS.get(inspection.decoder)
    if decoder is None:
        return
    others = [name for name in inspection.decoders if name != inspection.decoder]
    if inspection.sources.get("decoder") == "guess":
        yield Warning(
            "assumed_settings",
            f"The outputs of {model.name} can be read in several ways; on a few images they fit {inspection.decoder}"
            f" ({decoder.expects}).",
            f"Choose another with --decoder ({listed(others)}) if boxes are wrong.",
            model.name,
        )
    if inspection.odd_boxes:
        choices = f"another --decoder ({listed(others)})" if others else "--mean, --std and --channels"
        yield Warning(
            "senseless_boxes",
            f"The boxes of {model.name} make no sense: {inspection.odd_boxes}.",
            f"Either its outputs are read the wrong way (as {inspection.decoder}): try {choices}. Or quantization has"
            " damaged its boxes: then a float version of the same network has good ones.",
            model.name,
        )
    if inspection.constant_inputs:
        yield Warning(
            "constant_inputs",
            f"{model.name} has further inputs besides the image: {inspection.constant_inputs}, so that boxes are in"
            " pixels of the input.",
            "If boxes are wrong, export it with these inputs as constants.",
            model.name,
        )
    if note := decoder.note_for(inspection.graph, model.settings):
        yield Warning("head_note", f"{model.name} {note}.", "Nothing needs to be done if this is known.", model.name)


def _kernels(model: LoadedModel) -> Iterator[Warning]:
    if model.inspection.reference_kernels:
        yield Warning(
            "reference_kernels",
            f"The default delegate (XNNPACK) refuses {model.name}; it runs on the reference kernels instead.",
            "Look for a quantization scale that is far too large or too small. A phone may refuse the file too.",
            model.name,
        )


def _label_count(model: LoadedModel) -> Iterator[Warning]:
    """A warning if the numbers of names and classes differ, even allowing for a background class."""
    decoder, names = DECODERS.get(model.inspection.decoder), len(model.inspection.labels)
    classes = decoder.class_count(model.inspection.graph) if decoder else None
    if classes and names and names not in (classes, classes - (model.settings.class_offset or 0)):
        yield Warning(
            "label_count",
            f"{model.name} has {plural(names, 'label')} for {plural(classes, 'class')}: names may belong to other"
            " classes.",
            "Use the label file that it was trained with (class_offset 1 where class 0 is the background).",
            model.name,
        )


def _settings_differ(reference: LoadedModel, variant: LoadedModel) -> Iterator[Warning]:
    first, second = reference.settings, variant.settings
    names = [
        name
        for name in COMPARED_SETTINGS
        if getattr(first, name) != getattr(second, name)
        and not (name in ("mean", "std") and _normalises_inside(reference, variant))
        and not (name in ("nms_iou", "max_detections") and variant.inspection.post_process)
    ]
    if names:
        yield Warning(
            "settings_differ",
            f"{_differences(names, first.given(), second.given(), reference, variant)} The comparison mixes this with"
            " the effect of quantization.",
            "Set both to the same values, unless the models were exported with different ones.",
            variant.name,
        )


def _normalises_inside(*models: LoadedModel) -> bool:
    """Whether one of the models takes raw pixels and normalises them itself, so that mean and std may differ."""
    return any(raw_pixels(model.inspection.graph.input_tensors()[0]).given() for model in models)


def _post_process_differ(reference: LoadedModel, variant: LoadedModel) -> Iterator[Warning]:
    first: dict[str, object] = {**reference.inspection.post_process}
    second: dict[str, object] = {**variant.inspection.post_process}
    if reference.inspection.decoder != variant.inspection.decoder:
        first, second = {"decoder": reference.inspection.decoder}, {"decoder": variant.inspection.decoder}
    names = [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)]
    if names:
        yield Warning(
            "post_process_differ",
            f"Post-processing differs: {_differences(names, first, second, reference, variant)} The comparison mixes"
            " this with the effect of quantization.",
            "Export both with the same detections, NMS and threshold.",
            variant.name,
        )


def _differences(
    names: Sequence[str],
    first: Mapping[str, object],
    second: Mapping[str, object],
    reference: LoadedModel,
    variant: LoadedModel,
) -> str:
    """A sentence about differing values, such as `b.tflite uses std 1; a.tflite uses std 255.`"""
    uses, other = (", ".join(f"{name} {_plain(values.get(name))}" for name in names) for values in (second, first))
    return f"{variant.name} uses {uses}; {reference.name} uses {other}."


def _labels_differ(reference: LoadedModel, variant: LoadedModel) -> Iterator[Warning]:
    first, second = reference.inspection.labels, variant.inspection.labels
    if first != second:
        yield Warning(
            "labels_differ",
            f"{variant.name} has {plural(len(second), 'label')}, {reference.name} has {len(first)}, and they differ.",
            "Use the same label file for both. Objects are matched by class number.",
            variant.name,
        )


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return f"{value[0]:g}" if len(set(value)) == 1 else "(" + ", ".join(f"{v:g}" for v in value) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
