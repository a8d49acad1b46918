"""Whether images, normalised as set, fit the model's input and its first quantizer.

span    the smallest and largest value that pixels 0..255 take when normalised as set
range   what the first quantizer behind the input can hold
A span beyond the range is clipped (`input_range`); one that fills few of its steps, or that no normalisation in use
gives, comes from wrong settings or from calibration with something else than images (`input_normalisation`).
"""

from __future__ import annotations

from collections.abc import Iterator

from qviz.analysis.models import LoadedModel
from qviz.analysis.warning import Warning
from qviz.structures import Graph, Settings, Tensor

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
