"""Whether images, normalised as set, fit the model's input and its first quantizer.

span    the smallest and largest value that pixels 0..255 take when normalised as set
range   what the first quantizer behind the input can hold
A span beyond the range is clipped (`input_range`); one that fills few of its steps, or that no normalisation in use
gives, comes from wrong settings or from calibration with something else than images (`input_normalisation`).

A class that TensorFlow Lite's own NMS leaves out: the one with the number of its threads.

Several threads take their next class from a common counter. It begins at their number and is raised before it is read
(`NonMaxSuppressionWorkerTask`, tensorflow/lite/kernels/detection_postprocess.cc; tensorflow issue 56058), so that with
two threads class 2 never comes up, with four class 4. Its fast variant, which takes all classes at once, is spared.

Whether a file is quantized as its name says, and throughout.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from qviz.detector import Inspection
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.warning import Warning
from qviz.structures import Graph, Op, Scheme, Settings, Tensor
from qviz.tflite.scheme import CONVERSIONS, WITHOUT_INT8

CLIPPED = 0.02
"""Share of the pixels' range outside the quantizer's that is worth a warning."""
FEWEST_STEPS = 64
"""Of the quantizer's steps that a channel's pixels should reach: 6 bits. [0, 1] in a range of [-1, 1] has 128."""
SPANS = (0.9, 256.0)
"""Narrowest and widest span of a channel in use: [0, 1], [-.5, .5] and pixels / 256 at one end, pixels at the other."""


def input_warnings(model: LoadedModel) -> list[Warning]:
    """Warnings of one model's input; of a clipped one the clipping alone."""
    if model.settings.mean is None or model.settings.std is None:  # TensorFlow prepares by itself
        return []
    return list(_input_range(model)) or [*_odd_settings(model), *_few_steps(model)][:1]


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
            f" [{first:.3g}, {last:.3g}]; {clipped:.0%} of that span is clipped (of an image's own values more or"
            " less).",
            "Calibrate with real images prepared as for inference, or correct mean and std if they are wrong.",
            model.name,
        )


def _odd_settings(model: LoadedModel) -> Iterator[Warning]:
    """No network is trained on pixels normalised so."""
    for low, high in channel_spans(model.settings):
        if not SPANS[0] <= high - low <= SPANS[1]:
            yield Warning(
                "input_normalisation",
                f"Pixels 0..255 normalised as set span [{low:.3g}, {high:.3g}] in a channel; no usual normalisation of"
                " images does.",
                "Give mean and std on the scale of pixel values 0..255: those for pixels in [0, 1] times 255.",
                model.name,
            )


def _few_steps(model: LoadedModel) -> Iterator[Warning]:
    """The first quantizer's range is far wider than what pixels fill."""
    held = input_quantizer(model.inspection.graph)
    if held is None or held.quantization is None or not held.quantization.scales[0] > 0:
        return
    low, high = held.quantization.real_range(held.dtype)
    first, last = min(channel_spans(model.settings), key=lambda ends: ends[1] - ends[0])
    steps = (last - first) / float(held.quantization.scales[0])
    if steps < FEWEST_STEPS:
        yield Warning(
            "input_normalisation",
            f"The input quantizer holds [{low:.3g}, {high:.3g}], but images normalised as set span"
            f" [{first:.3g}, {last:.3g}] in a channel: {_count(steps)} of its steps.",
            "Calibrate with real images prepared as for inference, or correct mean and std if they are wrong.",
            model.name,
        )


def _count(steps: float) -> str:
    return f"{steps:.0f}" if steps >= 1 else "less than one"


def channel_spans(settings: Settings) -> list[tuple[float, float]]:
    """The smallest and largest value of pixels 0..255 when normalised as set, a channel each."""
    assert settings.mean and settings.std, "settings are complete"
    ends = [((0 - mean) / std, (255 - mean) / std) for mean, std in zip(settings.mean, settings.std, strict=True)]
    return [(min(pair), max(pair)) for pair in ends]


def pixel_span(settings: Settings) -> tuple[float, float]:
    """The smallest and largest value that pixels 0..255 take when normalised as set, over the channels."""
    spans = channel_spans(settings)
    return min(low for low, _ in spans), max(high for _, high in spans)


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


USUAL = (2, 4, 8)
"""Threads that a phone's code asks for."""


def nms_warnings(found: Inspection, name: str, threads: int = 1) -> list[Warning]:
    """threads: that the figures beside the warning were made with."""
    lost = lost_class(found, threads)
    if lost is not None:
        return [
            Warning(
                "class_lost_by_threads",
                f"{name} cannot detect {lost} with {threads} threads: TensorFlow Lite's NMS leaves out the class of"
                " that number. It counts as missed here, as on a device with so many threads.",
                CURE,
                name,
            )
        ]
    named = [f"{lost} with {some}" for some in USUAL if (lost := lost_class(found, some)) is not None]
    if not named:
        return []
    return [
        Warning(
            "class_lost_by_threads",
            f"On a device with several threads {name} never detects one class: {', '.join(named)} threads."
            " TensorFlow Lite's NMS leaves out the class of that number. With one thread, as here, all are there.",
            CURE,
            name,
            advice=True,
        )
    ]


def lost_by_threads(models: Sequence[LoadedModel], counts: Sequence[int]) -> list[str]:
    """A sentence a thread count and class that is lost with it."""
    found: dict[tuple[int, str], list[str]] = {}
    for count in counts:
        for model in models:
            if (lost := lost_class(model.inspection, count)) is not None:
                found.setdefault((count, lost), []).append(model.name)

    def told(names: list[str]) -> str:
        return f"any of these {len(names)} models" if len(names) == len(models) > 1 else ", ".join(names)

    return [
        f"With {count} threads {lost} is never detected by {told(names)}: TensorFlow Lite's NMS leaves out the class of"
        " that number."
        for (count, lost), names in found.items()
    ]


CURE = "Set the interpreter to one thread, or export the model with fast NMS, or without NMS and suppress outside."


def lost_class(found: Inspection, threads: int) -> str | None:
    """The label of the class that is never detected, if there is one."""
    options = found.post_process
    if not options.get("use_regular_nms") or not 1 < threads < options.get("num_classes", 0):
        return None
    return repr(found.label(threads - (found.settings.class_offset or 0)))


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
