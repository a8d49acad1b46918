"""Each cure on a planted fault that it alone mends, and on a healthy network, which it must leave alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.bias_correction import correct_biases
from qviz.features.building.cures import check_cures, cures_of
from qviz.features.building.equalize import MIN_GAIN, TOLERANCE, equalize
from qviz.features.building.recipes import recipe_of
from qviz.features.building.rounding import round_weights
from qviz.tflite.constants import stored_constant
from qviz.tflite.edit import packed, set_constant, unpacked
from qviz.tflite.schema import read_graph
from tests.features.building.chains import LINEAR, RELU6, Layer, built, chain, noise, random_layers, sqnr_db

IMAGES, OTHERS = noise(9), noise(4, seed=2)
HEALTHY = chain(random_layers(8, 8, 8, seed=1))


def uneven_layers(activation: int | None = None) -> list[Layer]:
    """A network whose depthwise convolution writes channels that are up to 200 times quieter than others."""
    layers = random_layers(8, 8, 8, seed=1)
    loudness = np.geomspace(1, 1 / 200, 8).astype(np.float32)
    layers[1].weights, layers[1].bias = layers[1].weights * loudness, layers[1].bias * loudness
    layers[2].weights = layers[2].weights / loudness
    if activation is not None:
        layers[1].activation = activation
    return layers


def biases_shifted(data: bytes, steps: int) -> bytes:
    """The int8 file with all biases of the depthwise convolution moved by so many steps of its output."""
    graph, model = read_graph(data), unpacked(data)
    op = next(op for op in graph.ops if op.kind == "DEPTHWISE_CONV_2D")
    bias, output = graph.tensors[op.inputs[2] or 0], graph.tensors[op.outputs[0]]
    assert bias.quantization is not None and output.quantization is not None
    shift = np.rint(steps * output.quantization.scales[0] / bias.quantization.scales).astype(np.int32)
    set_constant(model, bias.index, stored_constant(data, bias) + shift, bias.quantization.scales)
    return packed(model)


def mended_by_other_cures(
    data: bytes, variant: bytes, *cures: Callable[[bytes, bytes, list[np.ndarray]], object]
) -> float:
    """Largest gain in dB on other images of these cures."""
    before = sqnr_db(data, variant, OTHERS)
    files = [getattr(cure(variant, data, IMAGES), "data") for cure in cures]  # noqa: B009
    return max(sqnr_db(data, file, OTHERS) - before for file in files)


def test_uneven_channels_are_mended_by_equalization_alone(workers: LocalEngine) -> None:
    data = chain(uneven_layers())
    result = equalize(data, IMAGES)
    assert [(pair.first, pair.second) for pair in result.pairs] == [(1, 2)]
    assert result.pairs[0].gain > 30 and result.difference <= TOLERANCE
    assert sqnr_db(data, result.data, OTHERS) > 100  # float32's outputs stay as they are
    before, after = (sqnr_db(data, built(workers, file, IMAGES), OTHERS) for file in (data, result.data))
    assert after > before + 6
    others = mended_by_other_cures(data, built(workers, data, IMAGES), round_weights, correct_biases)
    assert others < (after - before) / 3


def test_equalization_leaves_even_channels_and_unsuitable_activations_alone() -> None:
    result = equalize(HEALTHY, IMAGES)
    assert result.data is HEALTHY and not result.pairs and result.even == (0, 1, 2)
    assert result.refused == {3: "its output leaves the network"}
    assert str(result) == "Equalization changed 0 of 4 convolutions (already even: 3; not possible: 1)."


def test_relu6_is_equalized_only_as_far_as_no_value_reaches_its_limit() -> None:
    layers = uneven_layers(RELU6)
    layers[1].bias = layers[1].bias + np.array([8, 0, 0, 0, 0, 0, 0, 0], np.float32)  # one channel is clipped at 6
    data = chain(layers)
    result = equalize(data, IMAGES)
    assert len(result.pairs) == 1 and result.pairs[0].gain > MIN_GAIN
    assert sqnr_db(data, result.data, OTHERS) > 100


def test_shifted_means_are_mended_by_bias_correction_alone(workers: LocalEngine) -> None:
    healthy = built(workers, HEALTHY, IMAGES)
    shifted = biases_shifted(healthy, 6)
    result = correct_biases(shifted, HEALTHY, IMAGES)
    before, after = (sqnr_db(HEALTHY, file, OTHERS) for file in (shifted, result.data))
    assert result.layers and after > before + 6
    assert after > sqnr_db(HEALTHY, healthy, OTHERS) - 1.5
    assert equalize(HEALTHY, IMAGES).data is HEALTHY
    assert mended_by_other_cures(HEALTHY, shifted, round_weights) < 0.5


def test_bias_correction_leaves_a_healthy_file_alone(workers: LocalEngine) -> None:
    healthy = built(workers, HEALTHY, IMAGES)
    result = correct_biases(healthy, HEALTHY, IMAGES)
    assert result.data is healthy or sqnr_db(HEALTHY, result.data, OTHERS) > sqnr_db(HEALTHY, healthy, OTHERS)


def test_bias_correction_does_not_touch_clipped_channels(workers: LocalEngine) -> None:
    """Ranges from quiet images: the mean error of clipped channels is no bias."""
    clipped = built(workers, HEALTHY, [values * 0.3 for values in IMAGES])
    result = correct_biases(clipped, HEALTHY, IMAGES)
    assert sqnr_db(HEALTHY, result.data, OTHERS) >= sqnr_db(HEALTHY, clipped, OTHERS) - 0.1


@pytest.mark.parametrize("recipe", ["weight_only_int4", "dynamic_range_int4"])
def test_coarse_weights_are_mended_by_rounding_alone(workers: LocalEngine, recipe: str) -> None:
    data = chain(random_layers(8, 8, 8, seed=2))
    coarse = built(workers, data, IMAGES, recipe)
    result = round_weights(coarse, data, IMAGES)
    before, after = (sqnr_db(data, file, OTHERS) for file in (coarse, result.data))
    assert result.layers and all(layer.gain_db >= 1 for layer in result.layers)
    assert after > before + 1.5
    assert equalize(data, IMAGES).data is data
    with pytest.raises(QuantizeError, match="changes integer biases"):
        check_cures(["correct_biases"], recipe_of(recipe), 9)


def test_rounding_leaves_fine_weights_alone(workers: LocalEngine) -> None:
    healthy = built(workers, HEALTHY, IMAGES)
    result = round_weights(healthy, HEALTHY, IMAGES)
    assert result.data is healthy and not result.layers and result.left == 4
    assert str(result) == "Rounding changed the weights of 0 of 4 convolutions."


def test_an_output_of_loud_and_quiet_channels_is_mended_by_16_bits_alone(workers: LocalEngine) -> None:
    """Channels that leave the network cannot be equalized; the quiet ones have few of 256 steps, and many of 65,536."""
    layers = random_layers(8, 8, 8, seed=1)
    loudness = np.geomspace(1, 1 / 200, 8).astype(np.float32)
    layers[-1].weights *= loudness[:, None, None, None]
    layers[-1].bias *= loudness
    data, last = chain(layers), len(layers) - 1
    assert equalize(data, IMAGES).data is data
    plain, wide = built(workers, data, IMAGES), built(workers, data, IMAGES, wide=[last])
    gain = sqnr_db(data, wide, OTHERS) - sqnr_db(data, plain, OTHERS)
    assert gain > 6
    assert mended_by_other_cures(data, plain, round_weights, correct_biases) < gain / 3
    healthy = [sqnr_db(HEALTHY, built(workers, HEALTHY, IMAGES, wide=some), OTHERS) for some in ((), [last])]
    assert abs(np.subtract(*healthy)) < 3  # even channels: the last operator's 16 bits bring little


def test_one_unusual_image_is_mended_by_the_ranges_alone(workers: LocalEngine) -> None:
    """All filters are positive: a white image gives values that no other image comes near."""
    layers = random_layers(8, 8, 8, seed=1, depthwise=False)
    for layer in layers:
        layer.weights = np.abs(layer.weights)
    random = np.random.default_rng(3)
    usual = [random.uniform(-1, 1, IMAGES[0].shape).astype(np.float32) for _ in range(14)]
    data, images, others = chain(layers), [*usual[:9], np.ones_like(IMAGES[0])], usual[9:]
    mean, minmax = (sqnr_db(data, built(workers, data, images, method=name), others) for name in ("mean", "minmax"))
    assert mean > minmax + 3
    without = (sqnr_db(data, built(workers, data, usual[:9], method=name), others) for name in ("mean", "minmax"))
    assert abs(np.subtract(*without)) < 1.5  # a healthy set: the method hardly matters


def test_names_of_cures() -> None:
    names = ("equalize", "round_weights")
    assert cures_of("round_weights, equalize,") == cures_of(names) == names
    assert cures_of("") == ()
    with pytest.raises(QuantizeError, match=r"'sharpen' is not a cure; choose from .*equalize, split_channels, round"):
        cures_of("sharpen")
    with pytest.raises(QuantizeError, match="at least 2; none is given"):
        check_cures(["equalize"], recipe_of("int8"), 0)
    with pytest.raises(QuantizeError, match="round_weights needs integer weights"):
        check_cures(["round_weights"], recipe_of("float16"), 9)


def test_linear_layers_are_equalized_too() -> None:
    data = chain(uneven_layers(LINEAR))
    assert sqnr_db(data, equalize(data, IMAGES).data, OTHERS) > 100
