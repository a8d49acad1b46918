"""What-if: no operator in float equals the variant, all equal FP32, set outputs are quantized."""

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
from qviz.features.layer_error import pair_of
from qviz.features.what_if import WhatIf, outcomes, what_if
from qviz.features.what_if.measure import Measure
from qviz.features.what_if.mixed import Float, MixedNetwork
from qviz.features.what_if.outcomes import Matching
from qviz.structures import EncodedImage
from qviz.tflite.paired_networks import PairedNetworks, activations, as_real, as_variant, paired_networks
from tests.conftest import Sample

Models = dict[str, LoadedModel]
MATCHING = Matching(0.25, 0.5, 0.05)
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


def test_the_base_equals_compare(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> None:
    reference = loaded["float32"]
    for name in ("int8", "int8_wrong_range", "dynamic_range"):
        result = what_if(Context(engine), reference, loaded[name], images, sets=[frozenset({0})])
        detected = detect_images(Context(engine), [reference, loaded[name]], images, len(images), 0.05)
        compared = compare_variant(reference, loaded[name], detected.images, detected.inferences, 0.25).summary
        assert (result.base, result.base_mean_score_delta) == (compared.agreement, compared.mean_score_delta)


def test_all_operators_in_float_equal_the_reference(
    networks: PairedNetworks, runs: tuple[dict[int, np.ndarray], dict[int, np.ndarray]]
) -> None:
    truth, variant_tensors = runs
    mixed = MixedNetwork(networks)
    graphs = networks.reference.graph, networks.variant.graph
    outputs = mixed.run(variant_tensors, range(len(graphs[1].ops)), graphs[1].outputs)
    for reference_output, variant_output in zip(*(graph.outputs for graph in graphs), strict=True):
        np.testing.assert_allclose(outputs[variant_output], truth[reference_output], rtol=1e-4, atol=1e-4)


def test_adjacent_float_operators_exchange_floats_and_the_set_ends_quantized(
    networks: PairedNetworks, runs: tuple[dict[int, np.ndarray], dict[int, np.ndarray]]
) -> None:
    _, variant_tensors = runs
    graph, steps = networks.variant.graph, networks.reference.steps
    first, second = graph.ops[1], graph.ops[2]
    assert (first.kind, second.kind) == ("CONV_2D", "DEPTHWISE_CONV_2D")
    outputs = first.outputs[0], second.outputs[0]
    tensors = MixedNetwork(networks).run(variant_tensors, {1, 2}, outputs)

    values = as_real(
        variant_tensors[first.inputs[0] or 0], graph.tensors[first.inputs[0] or 0]
    )  # clipped, since operator 0 is not in the set
    between = networks.reference.run_step(0, {steps[0].inputs[0]: values})
    after = networks.reference.run_step(1, between)
    for tensor, real in zip(outputs, (between, after), strict=True):
        np.testing.assert_array_equal(tensors[tensor], as_variant(next(iter(real.values())), graph.tensors[tensor]))
    rounded = {steps[1].inputs[0]: as_real(tensors[outputs[0]], graph.tensors[outputs[0]])}
    in_steps = as_variant(next(iter(networks.reference.run_step(1, rounded).values())), graph.tensors[outputs[1]])
    assert (in_steps != tensors[outputs[1]]).any()  # rounding between the two would change the second


def test_tensors_before_the_set_are_unchanged(
    networks: PairedNetworks, runs: tuple[dict[int, np.ndarray], dict[int, np.ndarray]]
) -> None:
    _, variant_tensors = runs
    every = activations(networks.variant)
    all_quantized = MixedNetwork(networks).run(variant_tensors, (), every)
    assert all(np.array_equal(all_quantized[tensor], variant_tensors[tensor]) for tensor in every)
    last = networks.variant.graph.ops[-4].order
    mixed = MixedNetwork(networks).run(variant_tensors, {last}, every)
    before = {tensor for op in networks.variant.graph.ops[:last] for tensor in op.outputs}
    assert all(np.array_equal(mixed[tensor], variant_tensors[tensor]) for tensor in before)


def test_the_input_quantizer_in_the_set_passes_pixels_through(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    sets = [frozenset(orders) for orders in ({0}, {1}, {0, 1}, range(158))]
    result = what_if(Context(engine), loaded["float32"], loaded["int8_wrong_range"], images, sets=sets)
    quantizer, convolution, both, every = (row.explained or 0 for row in result.sets)
    assert quantizer == 0  # alone it only passes values to an operator that quantizes them again
    assert convolution < 0.2 and both > 0.6
    assert (every, result.sets[3].agreement, result.sets[3].score_share) == (1, 1, 1)
    assert result.base_score_share is not None and result.base_score_share < 0.5


@pytest.fixture(scope="module")
def searched(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> WhatIf:
    return what_if(Context(engine), loaded["float32"], loaded["int8_wrong_range"], images[:2])


def test_parts_that_run_at_once_have_the_bits_of_single_operators(loaded: Models, images: list[EncodedImage]) -> None:
    pair = pair_of(loaded["float32"], loaded["int8_wrong_range"])
    networks = paired_networks(pair)
    heads = networks.reference.graph.outputs, networks.variant.graph.outputs
    fast, plain = MixedNetwork(networks, heads), MixedNetwork(networks)
    exact, variant_tensors = networks.run(read_image(images[0]))
    orders = sorted(fast.orders)
    random = np.random.default_rng(1)
    sets = [orders, orders[:40], orders[40:], orders[20:90], *(random.choice(orders, 100, replace=False),) * 2]
    for chosen in (frozenset(map(int, one)) for one in sets):
        one_by_one = plain.run(variant_tensors, chosen, heads[1], exact)
        at_once = fast.run(variant_tensors, chosen, heads[1], exact)
        assert set(at_once) == set(one_by_one)
        assert all(np.array_equal(at_once[tensor], value) for tensor, value in one_by_one.items())
    exact_stretches = fast.stretches[0]
    assert exact_stretches is not None
    assert sum(exact_stretches.between(bounds) is not None for bounds in exact_stretches.orders) >= 4, "few were used"


def test_a_job_that_takes_long_returns_what_it_has(
    monkeypatch: pytest.MonkeyPatch, loaded: Models, images: list[EncodedImage]
) -> None:
    monkeypatch.setattr(outcomes, "JOB_SECONDS", 0.0)
    sets = [Float(frozenset({order})) for order in (1, 2, 3)]
    pair = pair_of(loaded["float32"], loaded["int8_wrong_range"])
    assert list(outcomes.outcomes_job(pair, images[0], sets, MATCHING)) == sets[:1]


def test_a_goal_is_refused_early_only_where_the_whole_refuses_it(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    measure = Measure(Context(engine), loaded["float32"], loaded["int8_wrong_range"], images, MATCHING)
    base = measure([frozenset()])[0].agreement
    tried = [frozenset({order}) for order in (0, 1, 40)]
    early = [[measure.reaches(one, images, goal) for goal in (base, 0.6, 0.95)] for one in tried]
    whole = [[tally.agreement >= goal for goal in (base, 0.6, 0.95)] for tally in measure(tried)]
    assert early == whole and not all(row[-1] for row in early)


def test_the_search_finds_the_input_operators(searched: WhatIf) -> None:
    best = next(row for row in searched.smallest if (row.explained or 0) > 0.5)
    assert len(best.orders) <= 6 and {0, 1} <= set(best.orders)
    sizes = [len(row.orders) for row in searched.smallest]
    agreements = [row.agreement for row in searched.smallest]
    assert sizes == sorted(set(sizes)) and agreements == sorted(set(agreements))
    assert {row.kind for row in searched.sets} >= {"all", "layer", "block", "prefix", "suffix"}
    assert agreements[-1] == max(row.agreement for row in searched.sets)
    json.dumps(searched.to_json())
    assert list(searched.to_frame()["agreement"]) == [row.agreement for row in searched.sets]


def test_a_variant_without_loss_has_no_explained_share(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    result = what_if(Context(engine), loaded["float32"], loaded["float32"], images[:1], sets=[frozenset({3})])
    assert (result.base, result.sets[0].explained) == (1, None)


def test_operators_that_cannot_run_in_float_are_listed(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    half = loaded["float16"]
    folded = next(op.order for op in half.inspection.graph.ops if op.kind == "DEQUANTIZE")
    result = what_if(Context(engine), loaded["float32"], half, images[:1], sets=[frozenset({folded})])
    assert result.sets[0].stayed == (folded,)
    with pytest.raises(SettingsError, match="has no operator 9999"):
        what_if(Context(engine), loaded["float32"], half, images[:1], sets=[frozenset({9999})])


def test_a_broken_image_is_skipped_with_a_reason(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    models = loaded["float32"], loaded["int8"]
    bad = EncodedImage("bad.jpg", b"no image")
    result = what_if(Context(engine), *models, [bad, images[0]], sets=[frozenset({0, 1})])
    assert (result.images, len(result.skipped)) == (1, 1)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        what_if(Context(engine), *models, [bad], sets=[frozenset({0, 1})])
