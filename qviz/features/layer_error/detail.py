"""One layer of a variant on one image: its values, where on the image the error is, in which channels, and why.

x is FP32's activation, y the variant's, dequantized; local and cumulative as in `layer_error`, dB and RMSE/scale as in
`tensor_error`. Energies are mean squares in the tensor's unit.

The cause is found by rules on these figures, the most serious first. A sentence says no more than the figures show.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qviz.context import Context
from qviz.detector import decoded
from qviz.engine import Blob
from qviz.errors import ModelError
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import require_layers
from qviz.features.layer_error.figures import (
    ChannelError,
    ErrorMap,
    Identity,
    OwnError,
    WeightError,
    channel_errors,
    error_map,
    identity,
    layer_errors_of,
    map_axes,
    per_tensor,
    weight_error,
)
from qviz.features.layer_error.tensor_error import Histogram, ValueRange, histogram
from qviz.result import to_json
from qviz.structures import EncodedImage, Image, Op, Settings
from qviz.tflite.inputs import fill, input_size, input_spec
from qviz.tflite.paired_networks import PairedNetworks, as_real, paired_networks

INHERITED_FACTOR = 10.0
"""A layer inherits most of its error where the cumulative error is at least this many times the local one (10 dB)."""
MAIN_SHARE = 0.5
"""Share of an error's energy from which on one source is named as its cause."""
COARSE_DB = 10.0
"""Weights are coarse when their SQNR is this far below the median of the network's layers."""
MIN_CLIPPED = 0.01
"""Clipped share from which on clipping is mentioned beside another cause."""
MAX_UNUSED = 0.5
"""Unused share of the range from which on the range is called wide: one bit is wasted."""


@dataclass(frozen=True, slots=True)
class Symptoms:
    """The figures of one layer on one image; None: unknown, or (SQNR) nothing differs.

    Attributes:
        quantized: Whether its output is.
        clipping_mse, rounding_mse: What the range and the step of the output do to FP32's activation.
        input_clipped_share: Clipped share of FP32's values by the ranges of the inputs; of the worst input.
        usual_weight_db: Median SQNR of the weights of the network's other layers.
    """

    cumulative_mse: float
    cumulative_sqnr_db: float | None
    local_mse: float | None = None
    local_sqnr_db: float | None = None
    rmse_over_scale: float | None = None
    quantized: bool = True
    clipped_share: float | None = None
    unused_share: float | None = None
    clipping_mse: float | None = None
    rounding_mse: float | None = None
    input_clipped_share: float | None = None
    weight_sqnr_db: float | None = None
    usual_weight_db: float | None = None


def cause_of(facts: Symptoms) -> str:
    """A sentence that names the main source of the error."""
    if facts.cumulative_mse == 0:
        return "No error: its output equals the reference's on this image."
    if facts.local_mse is not None and facts.cumulative_mse >= INHERITED_FACTOR * facts.local_mse:
        return _inherited(facts) + _also_clips(facts)
    own = facts.cumulative_mse if facts.local_mse is None else facts.local_mse
    if (facts.clipping_mse or 0.0) >= MAIN_SHARE * own:
        share = _share(facts.clipped_share)
        return f"Clipping: {share} of FP32's values on this image are outside the representable range."
    return (_rounding(facts, own) or _weights(facts) or _unknown_source(facts) or _operator(facts)) + _also_clips(facts)


def _inherited(facts: Symptoms) -> str:
    here = f"{_db(facts.cumulative_sqnr_db)} here"
    if not facts.local_mse:
        return f"All of the error comes from earlier layers: {here}, no error of its own."
    return f"Most of the error comes from earlier layers: {here}, {_db(facts.local_sqnr_db)} on FP32's activations."


def _weights(facts: Symptoms) -> str | None:
    weights, usual = facts.weight_sqnr_db, facts.usual_weight_db
    if weights is None or usual is None or weights > usual - COARSE_DB:
        return None
    return f"Coarse weights: {_db(weights)}; the median of this network's layers is {_db(usual)}."


def _unknown_source(facts: Symptoms) -> str | None:
    if facts.local_mse is not None:
        return None
    return f"It cannot be run alone, so its own share is unknown: {_db(facts.cumulative_sqnr_db)} here."


def _rounding(facts: Symptoms, own: float) -> str | None:
    if (facts.rounding_mse or 0.0) < MAIN_SHARE * own:
        return None
    left = f"Only normal rounding error: {_steps(facts.rmse_over_scale)} (0.29 where only rounding is left)."
    unused = facts.unused_share or 0.0
    return left + (
        f" Its range is wide: {_share(unused)} of it is unused on this image." if unused >= MAX_UNUSED else ""
    )


def _operator(facts: Symptoms) -> str:
    """More than its output's quantization explains; the parts of weights and inputs are not separated."""
    alone = f"{_db(facts.local_sqnr_db)} alone"
    weights = "" if facts.weight_sqnr_db is None else f"; its weights: {_db(facts.weight_sqnr_db)}"
    if not facts.quantized:
        return f"Its output is float and still differs: {alone}{weights}."
    share = facts.input_clipped_share or 0.0
    clipped = f"; {_share(share)} of its input is clipped" if share >= MIN_CLIPPED else ""
    steps = _steps(facts.rmse_over_scale)
    return f"More error than rounding of its output: {steps} instead of 0.29, {alone}{weights}{clipped}."


def _also_clips(facts: Symptoms) -> str:
    share = facts.clipped_share or 0.0
    return f" It also clips {_share(share)} of FP32's values on this image." if share >= MIN_CLIPPED else ""


def _share(share: float | None) -> str:
    if share is None:
        return "a part"
    return f"{share:.0%}" if share >= 0.095 else f"{100 * share:.2g}%"


def _db(value: float | None) -> str:
    return "no SQNR" if value is None else f"{value:.1f} dB"


def _steps(value: float | None) -> str:
    return "an unknown error" if value is None else f"an RMSE of {value:.2f} steps"


@dataclass(frozen=True, slots=True, eq=False)
class LayerDetail:
    """One layer on one image.

    Attributes:
        size: (width, height) of the image in pixels.
        cause: A sentence.
        map: Error over the image; None where the output is not a feature map.
        channels: The worst channels of the activation; empty where it has no channel axis.
        weights: None where the layer has no weights.
    """

    image: str
    size: tuple[int, int]
    layer: Identity
    cause: str
    error: OwnError
    values: ValueRange
    histogram: Histogram
    map: ErrorMap | None
    channels: tuple[ChannelError, ...]
    weights: WeightError | None

    JSON_INLINE: ClassVar = ("layer",)

    @property
    def order(self) -> int:
        """Index of the operator in the variant's file."""
        return self.layer.order

    def to_json(self) -> dict[str, Any]:
        """One object; unknown is null, arrays are lists."""
        document: dict[str, Any] = to_json(self)
        return document


def start_layer_detail(
    context: Context, reference: LoadedModel, variant: LoadedModel, image: EncodedImage, order: int
) -> Future[LayerDetail]:
    """Start measuring one layer on one image.

    The future raises ModelError where the operator is not a layer with a partner, ImageError, WorkerError.

    Raises:
        ModelError: One of the two has no layers: it is run by TensorFlow.
    """
    require_layers(reference, variant)
    settings = (reference.settings, variant.settings)
    return context.engine.submit_urgent(layer_detail_job, reference.blob, variant.blob, settings, image, order)


def layer_detail_job(
    reference: Blob, variant: Blob, settings: tuple[Settings, Settings], image: EncodedImage, order: int
) -> LayerDetail:
    """In a worker: one layer of the variant."""
    networks = paired_networks(reference, variant, settings)
    op = _layer(networks, order)
    picture = decoded(image)
    exact, own = networks.run(picture)
    tensor, partner = networks.variant.graph.tensors[op.outputs[0]], networks.partners[op.outputs[0]]
    if tensor.index not in own or partner not in exact or exact[partner].size != own[tensor.index].size:
        raise ModelError(f"Operator {order} ({op.kind}) has no output of its partner's size on {image.name}.")
    y = as_real(own[tensor.index], tensor)
    x = as_real(exact[partner], networks.reference.graph.tensors[partner]).reshape(y.shape)
    weights = weight_error(networks, op)
    error, values = layer_errors_of(networks, op, exact, x, y)
    scale = per_tensor(tensor)[0]
    return LayerDetail(
        image=image.name,
        size=(picture.width, picture.height),
        layer=identity(networks, op, y.shape),
        cause=_cause(error, values, weights, tensor.quantized),
        error=error,
        values=values,
        histogram=histogram(x, y, values.representable, scale),
        map=_map(networks, picture, settings[1], x, y),
        channels=_channels(networks, x, y),
        weights=weights,
    )


def _layer(networks: PairedNetworks, order: int) -> Op:
    layer = next((op for op in networks.layers if op.order == order), None)
    if layer is not None:
        return layer
    ops = networks.variant.graph.ops
    kind = f" ({ops[order].kind})" if 0 <= order < len(ops) else ""
    raise ModelError(
        f"Operator {order}{kind} is not a layer with a partner in the reference; {len(networks.layers)} of the"
        f" variant's {len(ops)} operators are. Choose one that `qviz layers` lists."
    )


def _cause(error: OwnError, values: ValueRange, weights: WeightError | None, quantized: bool) -> str:
    local = error.local_rmse_over_scale
    return cause_of(
        Symptoms(
            cumulative_mse=error.cumulative_mse,
            cumulative_sqnr_db=error.cumulative_sqnr_db,
            local_mse=error.local_mse,
            local_sqnr_db=error.local_sqnr_db,
            rmse_over_scale=local if local is not None else error.cumulative_rmse_over_scale,
            quantized=quantized,
            clipped_share=values.clipped_share,
            unused_share=values.unused_share,
            clipping_mse=error.clipping_mse,
            rounding_mse=error.rounding_mse,
            input_clipped_share=error.input_clipped_share,
            weight_sqnr_db=weights.sqnr_db if weights is not None else None,
            usual_weight_db=weights.usual_db if weights is not None else None,
        )
    )


def _map(networks: PairedNetworks, image: Image, settings: Settings, x: np.ndarray, y: np.ndarray) -> ErrorMap | None:
    """Over the variant's input, and from there over the image."""
    tensor = networks.variant.graph.input_tensors()[0]
    width, height = input_size(tensor)
    axes = map_axes(x.shape, (width, height))
    if axes is None:
        return None
    _, placement = fill(image, input_spec(settings), tensor)
    left, top, right, bottom = placement.to_original(np.array([[0, 0, width, height]], np.float32))[0]
    return error_map(x, y, axes, (float(left), float(top), float(right), float(bottom)))


def _channels(networks: PairedNetworks, x: np.ndarray, y: np.ndarray) -> tuple[ChannelError, ...]:
    """Along the last axis, except where the feature map itself lies there."""
    if x.ndim < 2:
        return ()
    axes = map_axes(x.shape, input_size(networks.variant.graph.input_tensors()[0]))
    return channel_errors(x, y, 1 if axes == (2, 3) else x.ndim - 1)
