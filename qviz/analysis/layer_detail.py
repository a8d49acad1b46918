"""One layer of a variant on one image: its values, where on the image it errs, in which channels, and why.

x is FP32's activation, y the variant's, dequantized; local and cumulative as in `layer_error`, dB and RMSE/scale as in
`tensor_error`. A layer is known by the order of its operator in the variant's file.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qviz.analysis.error_map import ChannelError, ErrorMap, channel_errors, error_map, map_axes
from qviz.analysis.layer_cause import Symptoms, cause_of
from qviz.analysis.layer_figures import Identity, OwnError, identity, layer_errors_of, per_tensor
from qviz.analysis.models import LoadedModel
from qviz.analysis.paired_networks import PairedNetworks, as_real, paired_networks
from qviz.analysis.value_range import Histogram, ValueRange, histogram
from qviz.analysis.weight_error import WeightError, weight_error
from qviz.detector import decoded, input_spec
from qviz.engine import Blob, Engine
from qviz.errors import ModelError
from qviz.structures import EncodedImage, Image, Op, Settings
from qviz.tflite.inputs import fill, input_size


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
