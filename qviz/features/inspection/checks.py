"""Warnings about a model's input, its NMS with several threads, and its scheme.

Input: pixels 0..255 after normalisation span one interval; the first quantizer can represent another. Pixels outside
the quantizer's interval are clipped (`input_range`). If the pixels use only a few of the quantizer's steps, or span an
interval that no usual normalisation gives, the settings are wrong or the model was calibrated without images
(`input_normalisation`).

NMS: TensorFlow Lite's regular NMS with N threads never detects class N. The threads take their next class from a shared
counter that starts at N and is incremented before it is read (`NonMaxSuppressionWorkerTask` in
tensorflow/lite/kernels/detection_postprocess.cc; tensorflow issue 56058). Fast NMS, which processes all classes at
once, is not affected.

Scheme: whether the file has the scheme that its name claims, and whether float operators lie between integer ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from qviz.detector import Inspection
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.warning import Warning
from qviz.formatting import listed, plural
from qviz.structures import Graph, Op, Scheme, Settings, Tensor
from qviz.tflite.scheme import CONVERSIONS, INTEGER_FORM, WITHOUT_INT8

CLIPPED = 0.02
"""There is a warning if more than this share of the pixels' span lies outside the quantizer's range."""
MIN_STEPS = 64
"""Minimum number of the quantizer's steps that the pixels of a channel should use: 6 bits. Pixels in [0, 1] use 128
steps of a range of [-1, 1]."""
USUAL_SPANS = (0.9, 256.0)
"""Narrowest and widest usual span of a normalised channel. [0, 1], [-.5, .5] and pixels / 256 span about 1; pixels that
are not normalised span 255."""


def input_warnings(model: LoadedModel) -> list[Warning]:
    """Warnings about the input: a warning about clipping or, if nothing is clipped, the first of the other warnings."""
    if model.settings.mean is None or model.settings.std is None:  # TensorFlow normalises
        return []
    return list(_input_range(model)) or [*_odd_settings(model), *_few_steps(model)][:1]


def _input_range(model: LoadedModel) -> Iterator[Warning]:
    """A warning if the first quantizer cannot represent all normalised pixels."""
    clipped = clipped_share(model.inspection.graph, model.settings)
    quantizer = input_range(model.inspection.graph)
    if clipped > CLIPPED and quantizer is not None:
        low, high, _ = quantizer
        first, last = pixel_span(model.settings)
        yield Warning(
            "input_range",
            f"Wrong input range: the input quantizer represents [{low:.3g}, {high:.3g}], but normalised pixels span"
            f" [{first:.3g}, {last:.3g}]; {clipped:.0%} of that span is clipped.",
            CALIBRATE,
            model.name,
        )


def _odd_settings(model: LoadedModel) -> Iterator[Warning]:
    """A warning if pixels are normalised to a span that is not usual in training."""
    for low, high in channel_spans(model.settings):
        if not USUAL_SPANS[0] <= high - low <= USUAL_SPANS[1]:
            yield Warning(
                "input_normalisation",
                f"Normalised pixels span [{low:.3g}, {high:.3g}] in a channel, which no usual normalisation gives.",
                "Give mean and std for pixel values 0..255: those for pixels in [0, 1], times 255.",
                model.name,
            )


def _few_steps(model: LoadedModel) -> Iterator[Warning]:
    """A warning if the first quantizer's range is far wider than the span of the pixels."""
    quantizer = input_range(model.inspection.graph)
    if quantizer is None or not quantizer[2] > 0:
        return
    low, high, scale = quantizer
    first, last = min(channel_spans(model.settings), key=lambda ends: ends[1] - ends[0])
    steps = (last - first) / scale
    if steps < MIN_STEPS:
        yield Warning(
            "input_normalisation",
            f"The input quantizer represents [{low:.3g}, {high:.3g}], but normalised pixels span"
            f" [{first:.3g}, {last:.3g}] in a channel and use {step_count(steps)} of its steps.",
            CALIBRATE,
            model.name,
        )


def step_count(steps: float) -> str:
    """A number of steps as text: `12`, or `less than one`."""
    return f"{steps:.0f}" if steps >= 1 else "less than one"


MIN_DETECTIONS = 20
"""Built-in NMS should return at least this many objects per image. In COCO, one image in fifty has more than 20
objects, and some have 90."""


def capped_warnings(model: LoadedModel) -> Iterator[Warning]:
    """A warning if the built-in NMS returns fewer than `MIN_DETECTIONS` objects per image."""
    limit = model.inspection.post_process.get("max_detections")
    if limit is not None and limit < MIN_DETECTIONS:
        yield Warning(
            "caps_detections",
            f"NMS inside {model.name} keeps at most {limit:.0f} objects per image, which limits its recall in images"
            " with more.",
            "Export it with more detections (max_detections), or compare models with the same limit.",
            model.name,
        )


def bias_warnings(model: LoadedModel) -> Iterator[Warning]:
    """A warning if biases are saturated, i.e. clipped to the range of their integer type."""
    if saturated := model.inspection.saturated_biases:
        graph = model.inspection.graph
        operators = listed([f"{order} ({graph.ops[order].kind})" for order in saturated], 3)
        yield Warning(
            "saturated_bias",
            f"{model.name} has {plural(sum(saturated.values()), 'bias')} cut off at the limit of the integer type,"
            f" in {'operator' if len(saturated) == 1 else 'operators'} {operators}: the scale of the weights is too"
            " small.",
            "Build the file again with qviz or TensorFlow's converter, which raise the scale of weights near zero.",
            model.name,
            operators=tuple(saturated),
        )


CALIBRATE = "Calibrate with real images prepared as for inference, or correct mean and std if they are wrong."


def channel_spans(settings: Settings) -> list[tuple[float, float]]:
    """(smallest, largest) normalised value of pixels 0..255, for each channel."""
    assert settings.mean and settings.std, "settings are complete"
    ends = [((0 - mean) / std, (255 - mean) / std) for mean, std in zip(settings.mean, settings.std, strict=True)]
    return [(min(pair), max(pair)) for pair in ends]


def pixel_span(settings: Settings) -> tuple[float, float]:
    """(smallest, largest) normalised value of pixels 0..255 over all channels."""
    spans = channel_spans(settings)
    return min(low for low, _ in spans), max(high for _, high in spans)


def clipped_share(graph: Graph, settings: Settings) -> float:
    """Share of the span of normalised pixels that the first quantizer clips, in [0, 1]; 0 if there is no quantizer."""
    quantizer = input_range(graph)
    if quantizer is None or settings.mean is None or settings.std is None:
        return 0.0
    low, high, _ = quantizer
    first, last = pixel_span(settings)
    return 1 - max(0.0, min(high, last) - max(low, first)) / (last - first)


def input_quantizer(graph: Graph) -> Tensor | None:
    """The first quantized tensor: the input itself, or the output of a QUANTIZE operator that reads it; else None."""
    entry = graph.input_tensors()[0]
    if entry.quantized:
        return entry
    readers = [op for op in graph.ops if entry.index in op.inputs]
    quantizers = [op for op in readers if op.kind == "QUANTIZE"]
    return graph.tensors[quantizers[0].outputs[0]] if quantizers else None


def input_range(graph: Graph) -> tuple[float, float, float] | None:
    """(lowest value, highest value, scale) of the first quantizer, or None if there is none."""
    tensor = input_quantizer(graph)
    if tensor is None or tensor.quantization is None:
        return None
    return *tensor.quantization.real_range(tensor.dtype), float(tensor.quantization.scales[0])


USUAL_THREADS = (2, 4, 8)
"""Thread counts that are usual in phone apps."""


def nms_warnings(inspection: Inspection, name: str, threads: int = 1) -> list[Warning]:
    """A warning about the class that NMS never detects with several threads.

    threads: Number of threads per interpreter used for the results that are shown.
    """
    lost = lost_class(inspection, threads)
    if lost is not None:
        return [
            Warning(
                "class_lost_by_threads",
                f"{name} never detects {lost} with {threads} threads, because of a bug in TensorFlow Lite's NMS. Its"
                " objects count as missed here, as on a device with as many threads.",
                ONE_THREAD,
                name,
            )
        ]
    lost_classes = [
        f"{lost} with {count}" for count in USUAL_THREADS if (lost := lost_class(inspection, count)) is not None
    ]
    if not lost_classes:
        return []
    return [
        Warning(
            "class_lost_by_threads",
            f"With several threads, {name} never detects one class: {', '.join(lost_classes)} threads. This is a bug in"
            " TensorFlow Lite's NMS. With one thread, as here, all classes are detected.",
            ONE_THREAD,
            name,
            advice=True,
        )
    ]


def lost_by_threads(models: Sequence[LoadedModel], counts: Sequence[int]) -> list[str]:
    """One sentence for each thread count and class that is never detected with that many threads."""
    models_by_class: dict[tuple[int, str], list[str]] = {}
    for count in counts:
        for model in models:
            if (lost := lost_class(model.inspection, count)) is not None:
                models_by_class.setdefault((count, lost), []).append(model.name)
    return [
        f"With {count} threads, {lost} is never detected by"
        f" {f'all {len(names)} models' if len(names) == len(models) > 1 else listed(names)}, because of a bug in"
        " TensorFlow Lite's NMS."
        for (count, lost), names in models_by_class.items()
    ]


ONE_THREAD = "Use one thread, or export the model with fast NMS, or without NMS."


def lost_class(inspection: Inspection, threads: int) -> str | None:
    """The quoted label of the class that is never detected with this many threads, or None."""
    options = inspection.post_process
    if not options.get("use_regular_nms") or not 1 < threads < options.get("num_classes", 0):
        return None
    return repr(inspection.label(threads - (inspection.settings.class_offset or 0)))


_CLAIMS = {  # the most specific first
    r"int16x8|16x8|int16_act": {Scheme.INT16X8},
    r"dynamic|dynrange": {Scheme.DYNAMIC_RANGE},
    r"float16|fp16|f16": {Scheme.FLOAT16},
    r"float32|fp32|f32": {Scheme.FLOAT32},
    r"float(?!io|16|32)": {Scheme.FLOAT32, Scheme.FLOAT16},
    r"int8|integer|uint8|quant": {Scheme.INT8, Scheme.DYNAMIC_RANGE, Scheme.WEIGHT_ONLY, Scheme.INT16X8},
}


def scheme_warnings(model: LoadedModel) -> list[Warning]:
    """Warnings about the quantization scheme."""
    return [*_contradicting_name(model), *_float_islands(model)]


def _contradicting_name(model: LoadedModel) -> Iterator[Warning]:
    """A warning if the name claims another scheme than the tensors have; the most specific claim in the name counts.

    `float` and `int8` may refer to inputs and outputs, so if a name contains both, only one of them has to be right. A
    variant that qviz built is called `MODEL + RECIPE`. Only the recipe counts as its name, and a recipe may keep
    operators in float.
    """
    built = " + " in model.name
    name = model.name.lower().rpartition(" + ")[2]
    claims = {match.group(): schemes for pattern, schemes in _CLAIMS.items() if (match := re.search(pattern, name))}
    unspecific = [word for word in claims if word in ("float", "int8", "integer", "uint8", "quant")]
    counting = list(claims)[:1] if len(unspecific) < len(claims) else unspecific
    fits = any(model.scheme in claims[word] for word in counting)
    if claims and not fits and not (built and model.scheme is Scheme.MIXED):
        facts = model.inspection.facts
        yield Warning(
            "name_lies",
            f"This file is {model.scheme} ({facts.quantized_operators} of {facts.operators} operators compute"
            f" on integers), although its name says {next(iter(claims))}.",
            "Check the export: by default the converter falls back to float without an error.",
            model.name,
        )


def _float_islands(model: LoadedModel) -> Iterator[Warning]:
    """A warning if float operators lie between integer operators. Those at either end of the graph do not count."""
    if model.scheme not in (Scheme.INT8, Scheme.INT16X8):
        return
    graph = model.inspection.graph
    inner = inner_islands(graph, model.inspection.facts.float_islands)
    if inner:
        ops = [graph.ops[order] for island in inner for order in island]
        counts = Counter(op.kind for op in ops)
        types = ", ".join(f"{count} {op_type}" for op_type, count in counts.most_common(5))
        yield Warning(
            "float_islands",
            f"{model.name} switches from integers to floats and back in {plural(len(inner), 'place')} ({types}). Each"
            " costs a DEQUANTIZE and a QUANTIZE, and integer-only accelerators refuse it.",
            _cure(ops),
            model.name,
            advice=True,
        )


def _cure(ops: Iterable[Op]) -> str:
    """What to do: replace operators without an integer kernel, and convert the file again if the others have one."""
    unable = sorted({op.kind for op in ops if op.custom or op.kind in WITHOUT_INT8})
    able = sorted({op.kind for op in ops} - set(unable))
    sentences = []
    if unable:
        forms = ", ".join(f"{INTEGER_FORM[kind]} in place of {kind}" for kind in unable if kind in INTEGER_FORM)
        advice = f"build the model with {forms}" if forms else f"build the model without {_it_or_them(unable)}"
        keep = f"keep {_it_or_them(unable)} if the cost is small"
        sentences.append(f"{_have_or_has(unable)} no integer kernel: {advice}, or {keep}.")
    if able:
        sentences.append(f"{_have_or_has(able)} an integer kernel: convert again and calibrate the whole model.")
    return " ".join(sentences)


def _have_or_has(kinds: Sequence[str]) -> str:
    return f"{', '.join(kinds)} {'has' if len(kinds) == 1 else 'have'}"


def _it_or_them(kinds: Sequence[str]) -> str:
    return "it" if len(kinds) == 1 else "them"


def inner_islands(graph: Graph, islands: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The islands with an operator that lies both after an integer operator and before another one.

    This excludes post-processing at the end of the graph and preprocessing at its beginning.
    """
    after, before = _linked(graph, forwards=True), _linked(graph, forwards=False)
    return [island for island in islands if set(island) & after & before]


def _linked(graph: Graph, forwards: bool) -> set[int]:
    """Indices of the operators that follow an integer operator (forwards) or precede one (not forwards)."""
    indices: set[int] = set()
    touched: set[int | None] = set()
    for op in graph.ops if forwards else reversed(graph.ops):
        near, far = (op.inputs, op.outputs) if forwards else (op.outputs, op.inputs)
        linked = any(tensor in touched for tensor in near if tensor is not None)
        if linked:
            indices.add(op.order)
        if linked or _on_integers(graph, op):
            touched |= set(far)
    return indices


def _on_integers(graph: Graph, op: Op) -> bool:
    writes = any(tensor.quantized for tensor in graph.op_outputs(op))
    reads = any(tensor.quantized and not tensor.constant for tensor in graph.op_inputs(op))
    return writes and reads and op.kind not in CONVERSIONS
