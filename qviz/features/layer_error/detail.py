"""One layer of a variant on one image: its values, where on the image it errs, in which channels, and why.

x is FP32's activation, y the variant's, dequantized; local and cumulative as in `layer_error`, dB and RMSE/scale as in
`tensor_error`. A layer is known by the order of its operator in the variant's file.

What hurts in one layer, in a sentence: rules over its figures, the gravest first.

Energies are mean squares in the tensor's unit. own: what the layer adds alone, fed FP32's activations. A sentence
says no more than the figures show: where none of the rules holds, it says what is known and what is not.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qviz.detector import decoded
from qviz.engine import Blob, Engine
from qviz.errors import ModelError
from qviz.features.detection.models import LoadedModel
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
from qviz.structures import EncodedImage, Image, Op, Settings
from qviz.tflite.inputs import fill, input_size, input_spec
from qviz.tflite.paired_networks import PairedNetworks, as_real, paired_networks

CAME_IN = 10.0
"""From this many times its own error on (10 dB), most of a layer's error came in from before."""
MOST = 0.5
"""Of an error's energy, the share from which on one source stands for it."""
COARSE_DB = 10.0
"""Weights are coarse when their SQNR lies this far below the median of the network's layers."""
WORTH_SAYING = 0.01
"""Clipped share from which clipping is mentioned beside another cause."""
WIDE = 0.5
"""Unused share of the range from which rounding is said to be coarser than it need be: a bit is wasted."""


@dataclass(frozen=True, slots=True)
class Symptoms:
    """The figures of one layer on one image; None: not known, or (SQNR) nothing differs.

    quantized: whether its output is. clipping_mse, rounding_mse: of FP32's activation against its range and step.
    input_clipped_share: of FP32's values that go in, against the ranges of what it reads; the worst input's.
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


def cause_of(seen: Symptoms) -> str:
    """The sentence."""
    if seen.cumulative_mse == 0:
        return "Nothing is lost: its output equals the reference's on this image."
    if seen.local_mse is not None and seen.cumulative_mse >= CAME_IN * seen.local_mse:
        return _came_in(seen) + _also_clips(seen)
    own = seen.cumulative_mse if seen.local_mse is None else seen.local_mse
    if (seen.clipping_mse or 0.0) >= MOST * own:
        share = _share(seen.clipped_share)
        return f"Clipping: {share} of FP32's values on this image lie outside of the range it can hold."
    return (_rounding(seen, own) or _weights(seen) or _unknown_source(seen) or _operator(seen)) + _also_clips(seen)


def _came_in(seen: Symptoms) -> str:
    here = f"{_db(seen.cumulative_sqnr_db)} here"
    if not seen.local_mse:
        return f"The error came in from before: {here}, and none of its own."
    return f"Most of the error came in from before: {here}, {_db(seen.local_sqnr_db)} when fed FP32's activations."


def _weights(seen: Symptoms) -> str | None:
    weights, usual = seen.weight_sqnr_db, seen.usual_weight_db
    if weights is None or usual is None or weights > usual - COARSE_DB:
        return None
    return f"Coarse weights: {_db(weights)}, where the median of this network's layers is {_db(usual)}."


def _unknown_source(seen: Symptoms) -> str | None:
    if seen.local_mse is not None:
        return None
    return f"Its own share is not known, as it cannot be run alone: {_db(seen.cumulative_sqnr_db)} by here."


def _rounding(seen: Symptoms, own: float) -> str | None:
    if (seen.rounding_mse or 0.0) < MOST * own:
        return None
    left = f"Only rounding is left: {_steps(seen.rmse_over_scale)} (values that spread evenly leave 0.29)."
    unused = seen.unused_share or 0.0
    return left + (f" Its range is wide: {_share(unused)} of it is not reached here." if unused >= WIDE else "")


def _operator(seen: Symptoms) -> str:
    """More than its output's quantization explains. What of it weights and inputs make is not told apart here."""
    alone = f"{_db(seen.local_sqnr_db)} alone"
    weights = "" if seen.weight_sqnr_db is None else f"; its weights: {_db(seen.weight_sqnr_db)}"
    if not seen.quantized:
        return f"Its output is float, and still differs: {alone}{weights}."
    share = seen.input_clipped_share or 0.0
    clipped = f"; {_share(share)} of what it reads is clipped" if share >= WORTH_SAYING else ""
    steps = _steps(seen.rmse_over_scale)
    return f"More than rounding its output leaves: {steps} instead of 0.29, {alone}{weights}{clipped}."


def _also_clips(seen: Symptoms) -> str:
    share = seen.clipped_share or 0.0
    return f" It also clips {_share(share)} of FP32's values on this image." if share >= WORTH_SAYING else ""


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
    """size: (width, height) of the image in pixels. map: None for what is no feature map, weights: where none are.

    channels: the worst ones of the activation; () where it has no axis of them.
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

    @property
    def order(self) -> int:
        return self.layer.order

    def to_json(self) -> dict[str, Any]:
        """One object; unknown is null, arrays are lists."""
        parts = {"image": self.image, "size": list(self.size), "cause": self.cause, **asdict(self.layer)}
        for name in ("error", "values", "histogram", "map", "weights"):
            part = getattr(self, name)
            parts[name] = None if part is None else asdict(part)
        parts["values"]["wasted_bits"] = self.values.wasted_bits
        parts["channels"] = [asdict(channel) for channel in self.channels]
        plain: dict[str, Any] = _plain(parts)
        return plain


def _plain(value: Any) -> Any:
    """As JSON has it: lists, and null for what is no finite number."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | tuple | list):
        return [_plain(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def layer_detail(
    engine: Engine, reference: LoadedModel, variant: LoadedModel, image: EncodedImage, order: int
) -> LayerDetail:
    """One layer on one image. Raises ModelError where there is no such layer, ImageError, WorkerError."""
    return start_layer_detail(engine, reference, variant, image, order).result()


def start_layer_detail(
    engine: Engine, reference: LoadedModel, variant: LoadedModel, image: EncodedImage, order: int
) -> Future[LayerDetail]:
    """The same under way: somebody waits for it. Raises ModelError where one of the two has no layers."""
    for model in (reference, variant):
        if not model.layers_available:
            raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")
    settings = (reference.settings, variant.settings)
    return engine.submit_urgent(layer_detail_job, reference.blob, variant.blob, settings, image, order)


def layer_detail_job(
    reference: Blob, variant: Blob, settings: tuple[Settings, Settings], image: EncodedImage, order: int
) -> LayerDetail:
    """In a worker: one layer of the variant."""
    networks = paired_networks(reference, variant, settings)
    op = _layer(networks, order)
    picture = decoded(image)
    truth, own = networks.run(picture)
    tensor, partner = networks.variant.graph.tensors[op.outputs[0]], networks.partners[op.outputs[0]]
    if tensor.index not in own or partner not in truth or truth[partner].size != own[tensor.index].size:
        raise ModelError(f"Operator {order} ({op.kind}) gave no tensor of its partner's size on {image.name}.")
    y = as_real(own[tensor.index], tensor)
    x = as_real(truth[partner], networks.reference.graph.tensors[partner]).reshape(y.shape)
    weights = weight_error(networks, op)
    error, values = layer_errors_of(networks, op, truth, x, y)
    scale = per_tensor(tensor)[0]
    return LayerDetail(
        image=image.name,
        size=(picture.width, picture.height),
        layer=identity(networks, op, y.shape),
        cause=_cause(error, values, weights, tensor.quantized),
        error=error,
        values=values,
        histogram=histogram(x, y, values.held, scale),
        map=_map(networks, picture, settings[1], x, y),
        channels=_channels(networks, x, y),
        weights=weights,
    )


def _layer(networks: PairedNetworks, order: int) -> Op:
    found = next((op for op in networks.layers if op.order == order), None)
    if found is not None:
        return found
    ops = networks.variant.graph.ops
    kind = f" ({ops[order].kind})" if 0 <= order < len(ops) else ""
    raise ModelError(
        f"Operator {order}{kind} is no layer with a partner in the reference; {len(networks.layers)} of the variant's"
        f" {len(ops)} operators are. Choose one that `qviz layers` lists."
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


def _map(networks: PairedNetworks, image: Image, said: Settings, x: np.ndarray, y: np.ndarray) -> ErrorMap | None:
    """Over the variant's input, and from there over the image."""
    read = networks.variant.graph.input_tensors()[0]
    width, height = input_size(read)
    axes = map_axes(x.shape, (width, height))
    if axes is None:
        return None
    _, placement = fill(image, input_spec(said), read)
    left, top, right, bottom = placement.to_original(np.array([[0, 0, width, height]], np.float32))[0]
    return error_map(x, y, axes, (float(left), float(top), float(right), float(bottom)))


def _channels(networks: PairedNetworks, x: np.ndarray, y: np.ndarray) -> tuple[ChannelError, ...]:
    """Along the last axis, except where the feature map itself lies there."""
    if x.ndim < 2:
        return ()
    axes = map_axes(x.shape, input_size(networks.variant.graph.input_tensors()[0]))
    return channel_errors(x, y, 1 if axes == (2, 3) else x.ndim - 1)
