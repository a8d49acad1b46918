"""What can be said of models from their files alone: each warning with its sentence and its cure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qviz.decoders import DECODERS
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.checks import CLIPPED, clipped_share, input_warnings, nms_warnings, scheme_warnings
from qviz.features.inspection.head import head_warnings
from qviz.features.inspection.warning import Warning

__all__ = ["CLIPPED", "Warning", "clipped_share", "lint_all", "lint_comparison", "lint_model"]

COMPARED_SETTINGS = ("mean", "std", "channels", "resize", "nms_iou", "max_detections", "class_offset")


def lint_model(model: LoadedModel, threads: int = 1) -> list[Warning]:
    """Warnings of one model; threads: of an interpreter, where figures were made with it."""
    said = [*_origin(model), *_guessed(model), *_kernels(model), *_label_count(model), *input_warnings(model)]
    own = nms_warnings(model.inspection, model.name, threads)
    return said + scheme_warnings(model) + head_warnings(model.inspection.graph, model.name) + own


def lint_all(models: Sequence[LoadedModel], threads: int = 1) -> list[Warning]:
    """Warnings of each model and of the comparison; the first model is the reference. threads: as `lint_model`."""
    own = [warning for model in models for warning in lint_model(model, threads)]
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


def _label_count(model: LoadedModel) -> Iterator[Warning]:
    """More or fewer names than classes; a class of background may have a name or not."""
    decoder, names = DECODERS.get(model.inspection.decoder), len(model.inspection.labels)
    classes = decoder.class_count(model.inspection.graph) if decoder else None
    if classes and names and names not in (classes, classes - (model.settings.class_offset or 0)):
        yield Warning(
            "label_count",
            f"{model.name} has {names} labels for the {classes} classes of its head: names may stand at wrong classes.",
            "Give the label file that it was trained with (class_offset 1 where class 0 is the background).",
            model.name,
        )


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
