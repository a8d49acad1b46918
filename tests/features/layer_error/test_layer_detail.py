"""One layer in detail, against numpy on the same tensors, and on constructed arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.datasets.images import read_image
from qviz.engine import LocalEngine
from qviz.errors import ImageError, ModelError
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.detail import LayerDetail, start_layer_detail
from qviz.features.layer_error.figures import MAX_CELLS, channel_sqnr_db, error_map, map_axes, worst_channels
from qviz.features.layer_error.tensor_error import BINS, histogram, unused_share, wasted_bits
from qviz.structures import EncodedImage, Image
from qviz.tensorflow_models import TENSORFLOW
from qviz.tflite.paired_networks import PairedNetworks
from tests.conftest import Sample

Models = dict[str, LoadedModel]
NAME = "int8"


@pytest.fixture(scope="module")
def image(sample: Sample) -> EncodedImage:
    return next(iter(load_images([sample.images / "hens.jpg"])))


@pytest.fixture(scope="module")
def picture(image: EncodedImage) -> Image:
    return read_image(image)


@pytest.fixture(scope="module")
def networks(loaded: Models) -> PairedNetworks:
    reference, variant = loaded["float32"], loaded[NAME]
    return PairedNetworks(reference.model.data, variant.model.data, (reference.settings, variant.settings))


def detail_of(engine: LocalEngine, loaded: Models, name: str, image: EncodedImage, order: int) -> LayerDetail:
    return start_layer_detail(Context(engine), loaded["float32"], loaded[name], image, order).result()


def order_of(networks: PairedNetworks, kind: str, nth: int = 0) -> int:
    return [op.order for op in networks.layers if op.kind == kind][nth]


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_figures_of_a_layer_equal_numpy(
    engine: LocalEngine, loaded: Models, networks: PairedNetworks, image: EncodedImage, picture: Image, kind: str
) -> None:
    detail = detail_of(engine, loaded, NAME, image, order_of(networks, kind))
    truth, variant_tensors = networks.run(picture)
    op = next(op for op in networks.layers if op.order == detail.layer.order)
    tensor = networks.variant.graph.tensors[op.outputs[0]]
    assert tensor.quantization is not None
    scale, zero = float(tensor.quantization.scales[0]), int(tensor.quantization.zero_points[0])
    x = truth[networks.partners[tensor.index]].astype(np.float64)
    y = scale * (variant_tensors[tensor.index].astype(np.float64) - zero)

    assert (detail.layer.op_kind, detail.layer.dtype, detail.layer.shape) == (kind, "int8", x.shape)
    assert detail.layer.reference_op_kind == kind
    assert detail.values.reference == pytest.approx((x.min(), x.max()))
    assert detail.values.variant == pytest.approx((y.min(), y.max()), rel=1e-6)
    low, high = scale * (-128 - zero), scale * (127 - zero)
    assert detail.values.representable == pytest.approx((low, high))
    outside = (x < low - scale / 2) | (x > high + scale / 2)
    assert detail.values.clipped_share == pytest.approx(outside.mean())
    used = (min(x.max(), high) - max(x.min(), low)) / (high - low)
    assert detail.values.unused_share == pytest.approx(1 - used, abs=1e-6)

    sqnr = 20 * np.log10(np.linalg.norm(x) / np.linalg.norm(x - y))
    assert detail.error.cumulative_sqnr_db == pytest.approx(sqnr, abs=0.01)
    assert detail.error.cumulative_rmse_over_scale == pytest.approx(np.sqrt(((x - y) ** 2).mean()) / scale, rel=1e-3)
    assert detail.map is not None
    assert np.allclose(detail.map.error, np.sqrt(((x - y) ** 2).mean(-1)[0]), atol=1e-4)
    assert np.allclose(detail.map.reference, np.sqrt((x**2).mean(-1)[0]), atol=1e-4)
    rmse = np.sqrt(((x - y) ** 2).mean((0, 1, 2)))
    assert rmse[list(detail.channels)] == pytest.approx(sorted(rmse, reverse=True)[:8], rel=1e-4)


@pytest.mark.parametrize(("kind", "axis"), [("CONV_2D", 0), ("DEPTHWISE_CONV_2D", 3)])
def test_weights_are_compared_along_the_quantized_axis(
    engine: LocalEngine, loaded: Models, networks: PairedNetworks, image: EncodedImage, kind: str, axis: int
) -> None:
    order = order_of(networks, kind, 2)
    weights = detail_of(engine, loaded, NAME, image, order).weights
    assert weights is not None
    assert (weights.dtype, weights.per_channel, weights.axis) == ("int8", True, axis)
    x = networks.reference_weights[networks.pair_of[order].reference_order].astype(np.float64)
    y = networks.variant_weights[order].astype(np.float64)
    slices = [(np.take(x, i, axis), np.take(y, i, axis)) for i in range(x.shape[axis])]
    norms = np.array([np.linalg.norm(a) for a, _ in slices])
    has_weights = norms > 1e-6 * norms.max()
    direct = np.array([20 * np.log10(np.linalg.norm(a) / np.linalg.norm(a - b)) for a, b in slices])
    assert weights.channels[has_weights] == pytest.approx(direct[has_weights], abs=0.01)
    assert np.isnan(weights.channels[~has_weights]).all() and has_weights.mean() > 0.5
    assert weights.sqnr_db == pytest.approx(20 * np.log10(np.linalg.norm(x) / np.linalg.norm(x - y)), abs=0.01)
    assert [row.channel for row in weights.worst] == np.argsort(np.where(has_weights, direct, np.inf))[:8].tolist()
    worst = weights.worst[0]
    assert worst.max_abs == pytest.approx(np.abs(slices[worst.channel][0]).max())
    assert worst.scale == pytest.approx(worst.max_abs / 127, rel=0.01)  # symmetric, as the converter makes them


def test_the_wrong_range_clips_half_of_the_input(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    detail = detail_of(engine, loaded, "int8_wrong_range", image, 0)
    assert detail.layer.op_kind == "QUANTIZE"
    assert (detail.layer.reference_order, detail.layer.reference_op_kind) == (None, None)
    assert detail.values.clipped_share is not None and 0.4 < detail.values.clipped_share < 0.7
    assert detail.values.representable == pytest.approx((0, 1))
    assert detail.values.reference == pytest.approx((-1, 1))
    assert detail.values.wasted_bits == 0
    assert detail.cause.startswith("Clipping:")
    after = detail_of(engine, loaded, "int8_wrong_range", image, 1)
    assert "of its input is clipped" in after.cause
    good = detail_of(engine, loaded, "int8", image, 0)
    assert good.values.clipped_share == 0
    assert good.cause.startswith("Only normal rounding error")


def test_histograms_count_every_value_in_bins_of_whole_steps(
    engine: LocalEngine, loaded: Models, image: EncodedImage
) -> None:
    detail = detail_of(engine, loaded, "int8_wrong_range", image, 0)
    shown, scale = detail.histogram, detail.layer.scale
    assert shown.reference.sum() == shown.variant.sum() == 300 * 300 * 3
    assert scale is not None
    width = float(shown.edges[1] - shown.edges[0])
    assert width / scale == pytest.approx(round(width / scale))
    assert (shown.edges[0], shown.edges[-1]) == pytest.approx((-1, 1), abs=2 * width)
    assert shown.variant[shown.edges[1:] < -scale].sum() == 0  # the variant holds nothing below 0


@pytest.mark.parametrize("name", ["float16", "dynamic_range"])
def test_a_float_activation_has_no_range(engine: LocalEngine, loaded: Models, image: EncodedImage, name: str) -> None:
    first = {"float16": 182, "dynamic_range": 0}[name]
    detail = detail_of(engine, loaded, name, image, first + 3)
    assert detail.layer.op_kind == "CONV_2D"
    assert (detail.values.representable, detail.values.clipped_share, detail.values.wasted_bits) == (None, None, None)
    assert len(detail.histogram.reference) == BINS
    assert detail.weights is not None and detail.weights.axis == 0
    assert detail.weights.dtype == {"float16": "float16", "dynamic_range": "int8"}[name]
    assert len(detail.weights.channels) == detail.layer.shape[-1]


def test_anchor_scores_have_no_map(
    engine: LocalEngine, loaded: Models, networks: PairedNetworks, image: EncodedImage
) -> None:
    detail = detail_of(engine, loaded, NAME, image, order_of(networks, "LOGISTIC"))
    assert (detail.map, detail.weights) == (None, None)
    assert 0 < len(detail.channels) <= 8


def test_a_letterboxed_map_is_aligned_with_the_image(
    engine: LocalEngine, loaded: Models, networks: PairedNetworks, image: EncodedImage, picture: Image
) -> None:
    variant = loaded[NAME]
    settings = replace(variant.settings, resize="letterbox")
    boxed = replace(variant, inspection=replace(variant.inspection, settings=settings))
    detail = start_layer_detail(
        Context(engine), loaded["float32"], boxed, image, order_of(networks, "CONV_2D")
    ).result()
    assert detail.map is not None
    width, height = picture.width, picture.height
    bar = (width - height) / 2  # above and below, in pixels of the image; a pixel of the input is about two of them
    assert detail.map.extent == pytest.approx((0, -bar, width, height + bar), abs=2 * width / 300)
    plain = detail_of(engine, loaded, NAME, image, detail.layer.order)
    assert plain.map is not None
    assert plain.map.extent == pytest.approx((0, 0, width, height), abs=0.01)
    assert plain.size == (width, height)


def test_operators_that_are_not_layers_are_refused(
    engine: LocalEngine, loaded: Models, networks: PairedNetworks, image: EncodedImage
) -> None:
    back = next(op.order for op in networks.variant.graph.ops if op.kind == "DEQUANTIZE")
    with pytest.raises(ModelError, match=rf"Operator {back} \(DEQUANTIZE\) is not a layer .*qviz layers"):
        detail_of(engine, loaded, NAME, image, back)
    with pytest.raises(ModelError, match="Operator 9999 is not a layer"):
        detail_of(engine, loaded, NAME, image, 9999)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        detail_of(engine, loaded, NAME, EncodedImage("bad.jpg", b"no image"), 0)
    by_tensorflow = replace(loaded[NAME], inspection=replace(loaded[NAME].inspection, decoder=TENSORFLOW))
    with pytest.raises(ModelError, match="has no layers to read"):
        start_layer_detail(Context(engine), loaded["float32"], by_tensorflow, image, 0).result()


RANGES = [
    ((0.0, 6.0), (0.0, 6.0), 0.0, 0.0),
    ((0.0, 1.5), (0.0, 6.0), 0.75, 2.0),  # a quarter used: two bits fewer would suffice
    ((-1.0, 1.0), (0.0, 1.0), 0.0, 0.0),  # wider than the range: clipped, and nothing unused
    ((-1.0, 0.5), (0.0, 1.0), 0.5, 1.0),
    ((7.0, 9.0), (0.0, 6.0), 1.0, None),  # all of it beyond the range
    ((0.0, 1.0), (0.0, 0.0), 0.0, 0.0),
]


@pytest.mark.parametrize(("reached", "representable", "unused", "bits"), RANGES)
def test_unused_share(
    reached: tuple[float, float], representable: tuple[float, float], unused: float, bits: float | None
) -> None:
    assert unused_share(reached, representable) == pytest.approx(unused)
    assert wasted_bits(unused_share(reached, representable)) == (None if bits is None else pytest.approx(bits))


MAPS = [
    ((1, 75, 75, 96), (300, 300), (1, 2)),
    ((1, 80, 160, 16), (640, 320), (1, 2)),
    ((1, 16, 80, 80), (640, 640), (2, 3)),  # channels first
    ((1, 3, 2, 8), (320, 480), (1, 2)),
    ((1, 1083, 1, 4), (300, 300), None),  # boxes of anchors
    ((1, 6, 1, 4), (300, 300), None),
    ((1, 1, 1, 546), (300, 300), None),  # one cell says nothing of where
    ((1, 1917, 91), (300, 300), None),
    ((2, 75, 75, 96), (300, 300), None),
]


@pytest.mark.parametrize(("shape", "size", "axes"), MAPS)
def test_which_activations_are_maps(
    shape: tuple[int, ...], size: tuple[int, int], axes: tuple[int, int] | None
) -> None:
    assert map_axes(shape, size) == axes


def test_a_large_map_is_downsampled_with_equal_energy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 413, 640, 3)).astype(np.float32)
    y = x + rng.normal(size=x.shape).astype(np.float32)
    downsampled = error_map(x, y, (1, 2), (0, 0, 640, 413))
    assert downsampled.error.shape == (MAX_CELLS, MAX_CELLS)
    assert float(np.square(downsampled.error).mean()) == pytest.approx(float(np.square(x - y).mean()), rel=1e-4)
    spot = np.zeros((1, 640, 640, 1), np.float32)
    spot[0, 600:604, 4:8] = 1.0
    small = error_map(spot, np.zeros_like(spot), (1, 2), (0, 0, 640, 640)).error
    assert np.argwhere(small > 0).tolist() == [[150, 1]]
    assert small[150, 1] == pytest.approx(1)


def test_channels_and_slices_that_are_equal_are_not_ranked() -> None:
    x = np.ones((1, 2, 2, 3), np.float32)
    y = x.copy()
    y[..., 1] = 1.1
    assert worst_channels(x, y, 3) == (1,)
    silent = np.zeros((2, 4), np.float32)
    assert np.isnan(channel_sqnr_db(silent, silent, 0)).all()
    assert np.isnan(channel_sqnr_db(silent, silent + 1, 0)).all()


def test_histograms_of_odd_values() -> None:
    same = histogram(np.full(5, 2.0), np.full(5, 2.0), None, None)
    assert same.reference.sum() == same.variant.sum() == 5
    broken = histogram(np.array([np.nan, np.inf, 1.0]), np.array([0.0, 1.0, 2.0]), (0.0, 2.55), 0.01)
    assert (broken.reference.sum(), broken.variant.sum()) == (1, 3)
    even = histogram(np.arange(256) * 0.1, np.arange(256) * 0.1, (0.0, 25.5), 0.1)
    assert set(even.variant[:-1]) == {3}  # no comb: each bin holds three steps
