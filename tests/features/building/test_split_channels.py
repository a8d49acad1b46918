"""Quiet and loud channels in two parts: what only that mends, what stays as it is, and what cannot be split."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building import quantize
from qviz.features.building.bias_correction import correct_biases
from qviz.features.building.channel_parts import in_parts, whole_name
from qviz.features.building.channel_regions import find_regions
from qviz.features.building.conditions import operators_in_float
from qviz.features.building.cures import check_cures
from qviz.features.building.equalize import TOLERANCE, equalize
from qviz.features.building.error_measures import end_tensors, largest_difference
from qviz.features.building.recipes import Options, recipe_of
from qviz.features.building.rounding import round_weights
from qviz.features.building.split_channels import MIN_GAIN_DB, split_channels
from qviz.structures import EncodedImage
from qviz.tensorflow_models import SourceKind
from qviz.tflite.constants import operator_options
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import wide_orders
from tests.conftest import Sample
from tests.features.building.chains import SILU, Layer, built, chain, noise, random_layers, sqnr_db
from tests.features.conftest import source_of

IMAGES, OTHERS = noise(6), noise(4, seed=2)


def silu_layers(quietness: float) -> list[Layer]:
    """Two convolutions with SiLU between them; five of its eight channels are this many times quieter than the others.

    The second convolution reads the quiet channels with weights as many times larger.
    """
    layers = random_layers(8, 8, 8, seed=1, depthwise=False)
    layers[0].activation = layers[1].activation = SILU
    layers[0].weights /= np.sqrt(np.square(layers[0].weights).mean((1, 2, 3), keepdims=True))
    loudness = np.array([1, 1 / quietness] * 3 + [1 / quietness] * 2, np.float32)
    layers[0].weights *= loudness[:, None, None, None]
    layers[0].bias *= loudness
    layers[1].weights /= loudness
    return layers


UNEVEN = chain(silu_layers(100))


def test_quiet_channels_before_silu_are_mended_by_the_split_alone(workers: LocalEngine) -> None:
    result = split_channels(UNEVEN, IMAGES)
    (split,) = result.splits
    assert (split.convolutions, split.ends, split.quiet, split.channels) == ((0,), (3,), 5, 8)
    assert split.gain_db > 6 and result.difference <= TOLERANCE
    assert sqnr_db(UNEVEN, result.data, OTHERS) > 100  # float32's outputs stay as they are
    plain = built(workers, UNEVEN, IMAGES)
    before, after = (sqnr_db(UNEVEN, file, OTHERS) for file in (plain, built(workers, result.data, IMAGES)))
    assert after > before + 6
    assert equalize(UNEVEN, IMAGES).data is UNEVEN
    for cure in (round_weights, correct_biases):
        assert sqnr_db(UNEVEN, cure(plain, UNEVEN, IMAGES).data, OTHERS) - before < (after - before) / 3


def test_the_cost_of_a_split_is_counted() -> None:
    result = split_channels(UNEVEN, IMAGES)
    (split,) = result.splits
    kinds = [op.kind for op in read_graph(result.data).ops]
    assert len(kinds) - len(read_graph(UNEVEN).ops) == split.operators == 5
    assert kinds[:9] == ["CONV_2D"] * 2 + ["LOGISTIC"] * 2 + ["MUL"] * 2 + ["CONV_2D"] * 2 + ["ADD"]
    assert result.origins[:9] == (0, 0, 1, 1, 2, 2, 3, 3, 3)
    assert split.additions == 24 * 24 * 8 and 0 < split.bytes < 5000
    assert str(result).startswith("Quiet and loud channels of 1 of 3 convolutions were split (no gain expected: ")
    assert "They cost 5 operators, 4,608 additions per image and about" in str(result)


def test_even_channels_are_left_alone() -> None:
    data = chain(silu_layers(1))
    result = split_channels(data, IMAGES)
    assert result.data is data and not result.splits and not result.origins
    assert {0, 3} == {*result.even, *result.declined}
    assert all(gain < MIN_GAIN_DB for gain in result.declined.values())


def test_two_parts_compute_the_same_as_the_whole(sample: Sample) -> None:
    """All regions of a real network at once, divided at random; two regions may share a convolution."""
    data = sample.models["float32"].read_bytes()
    graph, random = read_graph(data), np.random.default_rng(0)
    regions, refused = find_regions(graph, operator_options(data))
    ends = {op.order for region in regions for op in region.ends}
    assert len(regions) > 20 and any(region.first.order in ends for region in regions)
    assert any(op.kind == "DEPTHWISE_CONV_2D" for region in regions for op in region.inner)
    assert {"ADD_N follows", "RESHAPE follows"} <= set(refused.values())
    quiet = []
    for region in regions:
        channels = random.permutation(graph.tensors[region.first.outputs[0]].shape[-1])
        quiet.append((region, channels < random.integers(1, len(channels))))
    changed, origins = in_parts(data, graph, quiet)
    assert set(origins) == set(range(len(graph.ops)))
    other = read_graph(changed)
    inputs = [random.uniform(-1, 1, graph.input_tensors()[0].shape).astype(np.float32)]
    assert largest_difference(data, changed, inputs, end_tensors(graph), end_tensors(other)) <= TOLERANCE
    assert {whole_name(tensor.name) for tensor in other.tensors} <= {tensor.name for tensor in graph.tensors}


def test_operators_are_numbered_and_named_as_before_the_split(
    engine: LocalEngine, workers: LocalEngine, images: list[EncodedImage]
) -> None:
    layers = silu_layers(100)
    data = chain(layers)
    source = source_of(SourceKind.TFLITE, data, data)
    options = Options(wide_orders=(0, 3))
    result = quantize(Context(engine), source, "int8", calibration=images, options=options, cures=["split_channels"])
    graph = read_graph(result.data)
    assert result.wide == (0, 3) and "of 3 convolutions were split" in result.changes[0]
    names = {whole_name(tensor.name) for order in wide_orders(graph) for tensor in graph.op_outputs(graph.ops[order])}
    assert names == {"layer0", "layer1"}
    split = read_graph(split_channels(data, IMAGES).data)
    assert set(operators_in_float(split, Options(keep_float=("layer0$",)))) == {0, 1}


def test_recipes_without_8_bit_activations_are_refused() -> None:
    for recipe in ("dynamic_range", "int16x8"):
        with pytest.raises(QuantizeError, match=f"recipe {recipe} has no 8-bit activations; use it with int8"):
            check_cures(["split_channels"], recipe_of(recipe), 9)
    with pytest.raises(ValueError, match="at least two images"):
        split_channels(UNEVEN, IMAGES[:1])
