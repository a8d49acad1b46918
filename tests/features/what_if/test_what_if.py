"""What if float: none in float is the variant, all is FP32, the border is quantized, the culprit is found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.datasets.images import read_image
from qviz.engine import LocalEngine
from qviz.errors import ImageError, SettingsError
from qviz.features.comparison import compare_variant
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.what_if import WhatIf, what_if
from qviz.features.what_if.mixed import MixedNetwork
from qviz.structures import EncodedImage
from qviz.tflite.paired_networks import PairedNetworks, activations, as_real, as_variant
from tests.conftest import Sample

Models = dict[str, LoadedModel]
NAMES = ("hens.jpg", "dog_shepherd.jpg", "astronaut.jpg", "berlin_street.jpg")


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return list(load_images([sample.images / name for name in NAMES]))


@pytest.fixture(scope="module")
def networks(sample: Sample, loaded: Models) -> PairedNetworks:
    files = [sample.models[name].read_bytes() for name in ("float32", "int8_wrong_range")]
    return PairedNetworks(files[0], files[1], (loaded["float32"].settings, loaded["int8_wrong_range"].settings))


@pytest.fixture(scope="module")
def runs(networks: PairedNetworks, images: list[EncodedImage]) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    return networks.run(read_image(images[0]))


def test_nothing_in_float_is_what_compare_measures(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    reference = loaded["float32"]
    for name in ("int8", "int8_wrong_range", "dynamic_range"):
        found = what_if(Context(engine), reference, loaded[name], images, sets=[frozenset({0})])
        detected = detect_images(Context(engine), [reference, loaded[name]], images, len(images), 0.05)
        compared = compare_variant(reference, loaded[name], detected.images, detected.inferences, 0.25).summary
        assert (found.base, found.base_mean_score_delta) == (compared.agreement, compared.mean_score_delta)


def test_all_in_float_is_the_reference(
    networks: PairedNetworks, runs: tuple[dict[int, np.ndarray], dict[int, np.ndarray]]
) -> None:
    truth, own = runs
    mixed = MixedNetwork(networks)
    graphs = networks.reference.graph, networks.variant.graph
    found = mixed.run(own, range(len(graphs[1].ops)), graphs[1].outputs)
    for mine, theirs in zip(*(graph.outputs for graph in graphs), strict=True):
        np.testing.assert_allclose(found[theirs], truth[mine], rtol=1e-4, atol=1e-4)


def test_two_convolutions_hand_floats_on_and_the_border_is_quantized(
    networks: PairedNetworks, runs: tuple[dict[int, np.ndarray], dict[int, np.ndarray]]
) -> None:
    _, own = runs
    graph, steps = networks.variant.graph, networks.reference.steps
    first, second = graph.ops[1], graph.ops[2]
    assert (first.kind, second.kind) == ("CONV_2D", "DEPTHWISE_CONV_2D")
    wanted = first.outputs[0], second.outputs[0]
    found = MixedNetwork(networks).run(own, {1, 2}, wanted)

    values = as_real(own[first.inputs[0] or 0], graph.tensors[first.inputs[0] or 0])  # clipped, since 0 is not in
    between = networks.reference.run_step(0, {steps[0].inputs[0]: values})
    after = networks.reference.run_step(1, between)
    for tensor, real in zip(wanted, (between, after), strict=True):
        np.testing.assert_array_equal(found[tensor], as_variant(next(iter(real.values())), graph.tensors[tensor]))
    rounded = {steps[1].inputs[0]: as_real(found[wanted[0]], graph.tensors[wanted[0]])}
    in_steps = as_variant(next(iter(networks.reference.run_step(1, rounded).values())), graph.tensors[wanted[1]])
    assert (in_steps != found[wanted[1]]).any()  # had the first been rounded, the second would differ


def test_what_a_set_does_not_reach_stays_bit_for_bit(
    networks: PairedNetworks, runs: tuple[dict[int, np.ndarray], dict[int, np.ndarray]]
) -> None:
    _, own = runs
    every = activations(networks.variant)
    nothing = MixedNetwork(networks).run(own, (), every)
    assert all(np.array_equal(nothing[tensor], own[tensor]) for tensor in every)
    last = networks.variant.graph.ops[-4].order
    found = MixedNetwork(networks).run(own, {last}, every)
    before = {tensor for op in networks.variant.graph.ops[:last] for tensor in op.outputs}
    assert all(np.array_equal(found[tensor], own[tensor]) for tensor in before)


def test_the_pixels_pass_where_the_input_quantizer_is_in_the_set(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    sets = [frozenset(orders) for orders in ({0}, {1}, {0, 1}, range(158))]
    found = what_if(Context(engine), loaded["float32"], loaded["int8_wrong_range"], images, sets=sets)
    quantizer, convolution, both, every = (row.explained or 0 for row in found.sets)
    assert quantizer == 0  # alone it only hands on to a reader that quantizes again
    assert convolution < 0.2 and both > 0.6
    assert (every, found.sets[3].agreement, found.sets[3].score_share) == (1, 1, 1)
    assert found.base_score_share is not None and found.base_score_share < 0.5


@pytest.fixture(scope="module")
def searched(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> WhatIf:
    return what_if(Context(engine), loaded["float32"], loaded["int8_wrong_range"], images[:2])


def test_the_search_finds_the_input(searched: WhatIf) -> None:
    best = next(row for row in searched.smallest if (row.explained or 0) > 0.5)
    assert len(best.orders) <= 6 and {0, 1} <= set(best.orders)
    sizes = [len(row.orders) for row in searched.smallest]
    agreements = [row.agreement for row in searched.smallest]
    assert sizes == sorted(set(sizes)) and agreements == sorted(set(agreements))
    assert {row.kind for row in searched.sets} >= {"all", "layer", "block", "prefix", "suffix"}
    assert agreements[-1] == max(row.agreement for row in searched.sets)
    json.dumps(searched.to_json())
    assert list(searched.to_frame()["agreement"]) == [row.agreement for row in searched.sets]


def test_a_variant_that_lost_nothing_explains_nothing(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    found = what_if(Context(engine), loaded["float32"], loaded["float32"], images[:1], sets=[frozenset({3})])
    assert (found.base, found.sets[0].explained) == (1, None)


def test_what_cannot_run_in_float_is_said(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> None:
    half = loaded["float16"]
    folded = next(op.order for op in half.inspection.graph.ops if op.kind == "DEQUANTIZE")
    found = what_if(Context(engine), loaded["float32"], half, images[:1], sets=[frozenset({folded})])
    assert found.sets[0].stayed == (folded,)
    with pytest.raises(SettingsError, match="has no operator 9999"):
        what_if(Context(engine), loaded["float32"], half, images[:1], sets=[frozenset({9999})])


def test_a_broken_image_is_left_out_and_said(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> None:
    models = loaded["float32"], loaded["int8"]
    bad = EncodedImage("bad.jpg", b"no image")
    found = what_if(Context(engine), *models, [bad, images[0]], sets=[frozenset({0, 1})])
    assert (found.images, len(found.skipped)) == (1, 1)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        what_if(Context(engine), *models, [bad], sets=[frozenset({0, 1})])
