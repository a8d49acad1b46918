"""One layer of a variant on one image: its values, where on the image the error is, in which channels, and why.

x is FP32's activation, y the variant's, dequantized; local and cumulative as in `layer_error`, dB and RMSE/scale as in
`tensor_error`. Energies are mean squares in the tensor's unit.

The cause is found by rules on these figures, which are tried in the order of the causes' seriousness. Sentences state
only what the figures show.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from qviz.context import Context
from qviz.detector import decoded
from qviz.errors import ModelError
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.features.layer_error.figures import (
    ErrorMap,
    Identity,
    OwnError,
    WeightError,
    error_map,
    identity,
    layer_errors_of,
    map_axes,
    scale_of,
    weight_error,
    worst_channels,
)
from qviz.features.layer_error.outliers import INHERITED_FACTOR
from qviz.features.layer_error.tensor_error import Histogram, ValueRange, histogram
from qviz.formatting import small_share
from qviz.structures import EncodedImage, Image, Op, Settings
from qviz.structures.graph import has_fixed_range
from qviz.tflite.inputs import fill, input_size, input_spec
from qviz.tflite.paired_networks import Pair, PairedNetworks, as_real, paired_networks

MAIN_SHARE = 0.5
"""A source of error is named as the cause if it has at least this share of the error's energy."""
MIN_CLIPPED = 0.01
"""If at least this share is clipped, clipping is mentioned in addition to another cause."""
MAX_UNUSED = 0.5
"""If at least this share of the range is unused, the range is called wide, because one bit is wasted."""


def cause_of(
    error: OwnError, values: ValueRange, weights: WeightError | None, quantized: bool, fixed_range: bool = False
) -> str:
    """A sentence that names the main source of the error.

    Args:
        quantized: Whether the layer's output is quantized.
        fixed_range: Whether the layer's kernel prescribes the range of the output. Values outside such a range do not
            count as clipped.
    """
    if error.cumulative_mse == 0:
        return "No error: its output equals the reference's on this image."
    clips = "" if fixed_range else _also_clips(values)
    if error.local_mse is not None and error.cumulative_mse >= INHERITED_FACTOR * error.local_mse:
        return _inherited(error) + clips
    error_mse = error.cumulative_mse if error.local_mse is None else error.local_mse
    if not fixed_range and (error.clipping_mse or 0.0) >= MAIN_SHARE * error_mse:
        share = small_share(values.clipped_share or 0.0)
        return f"Clipping: {share} of FP32's values on this image are outside the representable range."
    by_range = (error.rounding_mse or 0.0) + (error.clipping_mse or 0.0 if fixed_range else 0.0)
    if by_range >= MAIN_SHARE * error_mse:
        return _rounding(error, values) + clips
    if weights is not None and weights.coarse:
        usual = _db(weights.usual_db)
        size = f"{_db(weights.sqnr_db)}{_worst(weights)}"
        return f"Coarse weights: {size}; the median of this network's layers is {usual}.{clips}"
    if error.local_mse is None:
        here = _db(error.cumulative_sqnr_db)
        return f"It cannot be run alone, so its own share is unknown: {here} here.{clips}"
    return _operator(error, weights, quantized) + clips


def _inherited(error: OwnError) -> str:
    here = f"{_db(error.cumulative_sqnr_db)} here"
    if not error.local_mse:
        return f"All of the error comes from earlier layers: {here}, no error of its own."
    return f"Most of the error comes from earlier layers: {here}, {_db(error.local_sqnr_db)} on FP32's activations."


def _rounding(error: OwnError, values: ValueRange) -> str:
    left = f"Only normal rounding error: {_steps(error)} (0.29 where only rounding is left)."
    unused = values.unused_share or 0.0
    return left + (
        f" Its range is wide: {small_share(unused)} of it is unused on this image." if unused >= MAX_UNUSED else ""
    )


def _operator(error: OwnError, weights: WeightError | None, quantized: bool) -> str:
    """The sentence if the output's quantization does not explain the error. Weights and inputs are not separated."""
    alone = f"{_db(error.local_sqnr_db)} alone"
    of_weights = ""
    if weights is not None and weights.sqnr_db is not None:
        of_weights = f"; its weights: {_db(weights.sqnr_db)}{_worst(weights)}"
    if not quantized:
        return f"Its output is float and still differs: {alone}{of_weights}."
    share = error.input_clipped_share or 0.0
    clipped = f"; {small_share(share)} of its input is clipped" if share >= MIN_CLIPPED else ""
    steps = f"{_steps(error)} instead of 0.29"
    return f"More error than rounding its output explains: {steps}, {alone}{of_weights}{clipped}."


def _worst(weights: WeightError) -> str:
    """`, 3.1 dB in channel 2`."""
    return f", {_db(weights.worst[0].sqnr_db)} in channel {weights.worst[0].channel}" if weights.worst else ""


def _also_clips(values: ValueRange) -> str:
    share = values.clipped_share or 0.0
    return f" It also clips {small_share(share)} of FP32's values on this image." if share >= MIN_CLIPPED else ""


def _db(value: float | None) -> str:
    return "no SQNR" if value is None else f"{value:.1f} dB"


def _steps(error: OwnError) -> str:
    local = error.local_rmse_over_scale
    steps = error.cumulative_rmse_over_scale if local is None else local
    return "an unknown error" if steps is None else f"an RMSE of {steps:.2f} steps"


@dataclass(frozen=True, slots=True, eq=False)
class LayerDetail:
    """One layer on one image.

    Attributes:
        size: (width, height) of the image in pixels.
        cause: A sentence that names the main source of the error.
        map: Error over the image; None if the output is not a feature map.
        channels: The worst channels of the activation; empty if it has no channel axis.
        weights: The error of the weights; None if the layer has none.
    """

    image: str
    size: tuple[int, int]
    layer: Identity
    cause: str
    error: OwnError
    values: ValueRange
    histogram: Histogram
    map: ErrorMap | None
    channels: tuple[int, ...]
    weights: WeightError | None


def start_layer_detail(
    context: Context, reference: LoadedModel, variant: LoadedModel, image: EncodedImage, order: int
) -> Future[LayerDetail]:
    """Start measuring one layer on one image.

    The returned future raises ModelError if the operator is not a layer with a partner; ImageError; or WorkerError.

    Raises:
        ModelError: One of the two models has no layers, because TensorFlow runs it.
    """
    return context.engine.submit_urgent(layer_detail_job, pair_of(reference, variant), image, order)


def layer_detail_job(pair: Pair, image: EncodedImage, order: int) -> LayerDetail:
    """In a worker: the details of one layer of the variant on one image."""
    networks = paired_networks(pair)
    op = _layer(networks, order)
    picture = decoded(image)
    exact, variant_tensors = _activations(networks, image, picture)
    tensor, partner = networks.variant.graph.tensors[op.outputs[0]], networks.partners[op.outputs[0]]
    if (
        tensor.index not in variant_tensors
        or partner not in exact
        or exact[partner].size != variant_tensors[tensor.index].size
    ):
        raise ModelError(
            f"Operator {order} ({op.kind}) has no output of the same size as its partner's on {image.name}."
        )
    y = as_real(variant_tensors[tensor.index], tensor)
    x = as_real(exact[partner], networks.reference.graph.tensors[partner]).reshape(y.shape)
    weights, axes = weight_error(networks, op), map_axes(y.shape, input_size(networks.variant.graph.input_tensors()[0]))
    error, values = layer_errors_of(networks, op, exact, x, y)
    return LayerDetail(
        image=image.name,
        size=(picture.width, picture.height),
        layer=identity(networks, op, y.shape),
        cause=cause_of(error, values, weights, tensor.quantized, has_fixed_range(networks.variant.graph, tensor.index)),
        error=error,
        values=values,
        histogram=histogram(x, y, values.representable, scale_of(tensor)),
        map=None if axes is None else error_map(x, y, axes, _extent(networks, picture, pair.settings[1])),
        channels=() if y.ndim < 2 else worst_channels(x, y, 1 if axes == (2, 3) else y.ndim - 1),
        weights=weights,
    )


Tensors = dict[int, np.ndarray]
MAX_REMEMBERED = 200 << 20
"""Maximum bytes of activations that a worker keeps, so that another layer on the same image needs no new run."""
_last_run: list[tuple[PairedNetworks, str, tuple[Tensors, Tensors]]] = []


def _activations(networks: PairedNetworks, image: EncodedImage, picture: Image) -> tuple[Tensors, Tensors]:
    """(activations of the reference, of the variant) on an image; those of the last image are remembered."""
    for last, digest, tensors in _last_run:
        if last is networks and digest == image.digest:
            return tensors
    _last_run.clear()
    tensors = networks.run(picture)
    if sum(values.nbytes for part in tensors for values in part.values()) <= MAX_REMEMBERED:
        _last_run.append((networks, image.digest, tensors))
    return tensors


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


def _extent(networks: PairedNetworks, image: Image, settings: Settings) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1): the area that the variant's input covers, in pixels of the original image."""
    tensor = networks.variant.graph.input_tensors()[0]
    width, height = input_size(tensor)
    _, placement = fill(image, input_spec(settings), tensor)
    left, top, right, bottom = placement.to_original(np.array([[0, 0, width, height]], np.float32))[0].tolist()
    return left, top, right, bottom
