"""The trace of one object: its end points are verified independently, its culprit is the planted wrong range."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.datasets.images import read_image
from qviz.decoders.post_process import KIND
from qviz.detector import detect_job
from qviz.engine import LocalEngine
from qviz.errors import ImageError, SettingsError
from qviz.features.detection.models import LoadedModel
from qviz.features.tracing import Trace, trace
from qviz.features.tracing.culprits import full, gains, quick_scores
from qviz.features.tracing.takeover import Takeover, ancestors
from qviz.session import Session
from qviz.structures import EncodedImage
from qviz.tflite.paired_networks import PairedNetworks
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Step
from tests.conftest import ROOT, Sample

Models = dict[str, LoadedModel]
SHARED = ROOT.parent / "shared" / "models"


@pytest.fixture(scope="module")
def image(sample: Sample) -> EncodedImage:
    (encoded,) = load_images([sample.images / "dog_shepherd.jpg"])
    return encoded


@pytest.fixture(scope="module")
def biplane(sample: Sample) -> EncodedImage:
    (encoded,) = load_images([sample.images / "biplane.jpg"])
    return encoded


@pytest.fixture(scope="module")
def networks(sample: Sample, loaded: Models) -> PairedNetworks:
    files = (sample.models[name].read_bytes() for name in ("float32", "int8"))
    first, second = files
    return PairedNetworks(first, second, (loaded["float32"].settings, loaded["int8"].settings))


@pytest.fixture(scope="module")
def wrong_range_trace(engine: LocalEngine, loaded: Models, image: EncodedImage) -> Trace:
    return trace(Context(engine), loaded["float32"], loaded["int8_wrong_range"], image)


def test_the_wrong_range_is_named(wrong_range_trace: Trace) -> None:
    first = wrong_range_trace.culprits[0]
    assert (first.order, first.op_kind, first.cause) == (0, "QUANTIZE", "input_range")
    assert first.sentence.startswith("The input quantizer covers [0, 1]; this image spans [-1, 1]: ")
    assert first.clipped_share is not None and first.clipped_share > 0.3
    scores = {point.order: point.score for point in wrong_range_trace.points}
    assert (
        first.gain == scores[2] - scores[1]
    )  # attributed to the first reader, since FP32's values pass through the same range
    assert scores[0] == scores[1] == wrong_range_trace.object.variant_score < 0.1
    assert all(score > 0.9 * wrong_range_trace.object.reference_score for order, score in scores.items() if order >= 2)
    assert "falls from" in wrong_range_trace.sentence


def test_every_operator_has_its_point(wrong_range_trace: Trace, loaded: Models) -> None:
    ops = loaded["int8_wrong_range"].inspection.graph.ops
    assert wrong_range_trace.complete
    assert [(point.order, point.op_kind) for point in wrong_range_trace.points] == [(op.order, op.kind) for op in ops]
    assert wrong_range_trace.points[-1].score == wrong_range_trace.end_score == wrong_range_trace.object.reference_score


def test_the_first_point_is_the_variants_score(
    engine: LocalEngine, loaded: Models, sample: Sample, networks: PairedNetworks, biplane: EncodedImage
) -> None:
    result = trace(Context(engine), loaded["float32"], loaded["int8"], biplane, object_number=1)
    runner = Runner(sample.models["int8"].read_bytes())
    runner.run([networks.inputs(read_image(biplane))[1]])
    graph = loaded["int8"].inspection.graph
    scores = runner.tensor(next(op for op in graph.ops if op.kind == KIND).inputs[1])[0, :, result.object.class_id + 1]
    assert result.points[0].score == result.object.variant_score
    assert result.points[0].score in scores.tolist()


def test_a_takeover_equals_either_network_at_its_ends(networks: PairedNetworks, biplane: EncodedImage) -> None:
    truth, variant_tensors = networks.run(read_image(biplane))
    graph = networks.variant.graph
    score = next(op for op in graph.ops if op.kind == KIND).inputs[1]
    assert score is not None
    takeover = Takeover(networks, truth, variant_tensors, [score])
    last = len(takeover.steps)
    assert np.array_equal(takeover.run(0)[score], variant_tensors[score])
    assert np.array_equal(takeover.run(last)[score], truth[networks.partners[score]])
    assert {graph.ops[networks.variant.steps[n].orders[0]].kind for n in takeover.steps} >= {"QUANTIZE", "ADD_N"}
    # skipped steps do not matter: the same cut with every later step
    cut = last // 2
    rest = {t: takeover.entering(t) for step in networks.variant.steps for t in step.inputs if t in networks.partners}
    whole = networks.variant.run([], start=takeover.steps[cut], tensors=rest, keep=[score])
    assert np.array_equal(takeover.run(cut)[score], whole[score])


def test_steps_that_change_nothing_are_skipped(networks: PairedNetworks, biplane: EncodedImage) -> None:
    truth, variant_tensors = networks.run(read_image(biplane))
    score = next(op for op in networks.variant.graph.ops if op.kind == KIND).inputs[1]
    assert score is not None
    takeover = Takeover(networks, truth, variant_tensors, [score])
    same = [cut for cut in range(1, len(takeover.steps)) if takeover.changes_nothing(cut)]
    assert 0 < len(same) < len(takeover.steps) // 2
    cut = same[-2]
    assert np.array_equal(takeover.run(cut)[score], takeover.run(cut + 1)[score])


def test_a_quick_trace_finds_the_same_culprit(
    engine: LocalEngine, loaded: Models, image: EncodedImage, wrong_range_trace: Trace
) -> None:
    result = trace(Context(engine), loaded["float32"], loaded["int8_wrong_range"], image, quick=True)
    assert not result.complete and len(result.points) <= 22
    assert result.culprits[0] == wrong_range_trace.culprits[0]
    every = {point.order: point.score for point in wrong_range_trace.points}
    assert all(every[point.order] == point.score for point in result.points)


def test_objects_are_numbered_as_they_are_detected(engine: LocalEngine, loaded: Models, biplane: EncodedImage) -> None:
    model = loaded["float32"]
    detections = engine.submit(detect_job, model.blob, model.settings, biplane, 0.25).result().detections
    traced = partial(trace, Context(engine), model, loaded["int8"], biplane, quick=True)
    traces = [traced(object_number=number) for number in range(len(detections))]
    assert [result.objects for result in traces] == [len(detections)] * len(detections)
    for number, result in enumerate(traces):
        assert result.object.reference_score == pytest.approx(float(detections.scores[number]))
        assert result.object.box == pytest.approx(detections.boxes[number].tolist(), abs=1e-3)
        assert result.object.label == model.inspection.label(int(detections.class_ids[number]))
        assert result.end_score == pytest.approx(result.object.reference_score, abs=1e-5)
    usual = trace(Context(engine), model, loaded["int8"], biplane, quick=True)
    falls = [result.object.reference_score - result.object.variant_score for result in traces]
    assert usual.object.number == int(np.argmax(falls))


def test_an_unknown_object_number_is_refused_with_the_count(
    engine: LocalEngine, loaded: Models, image: EncodedImage
) -> None:
    models = loaded["float32"], loaded["int8"]
    with pytest.raises(SettingsError, match=r"no object 7: the reference finds 1 object in .* up to 0"):
        trace(Context(engine), *models, image, object_number=7)
    with pytest.raises(SettingsError, match="no object -1"):
        trace(Context(engine), *models, image, object_number=-1)
    with pytest.raises(SettingsError, match=r"no object in dog_shepherd\.jpg at a confidence of 0\.99"):
        trace(Context(engine), *models, image, score=0.99)
    with pytest.raises(ImageError):
        trace(Context(engine), *models, EncodedImage("bad.jpg", b"no image"))


def test_a_trace_follows_one_image(engine: LocalEngine, loaded: Models, sample: Sample) -> None:
    with pytest.raises(ImageError, match="27 images"):
        Session(loaded["float32"], loaded["int8"], images=sample.images, engine=engine, cache=False).trace()


def test_a_network_against_itself_has_no_culprit(engine: LocalEngine, loaded: Models, biplane: EncodedImage) -> None:
    result = trace(Context(engine), loaded["float32"], loaded["float32"], biplane, object_number=0)
    assert {point.score for point in result.points} == {result.object.reference_score}
    assert result.culprits == ()
    assert "does not lose confidence" in result.sentence


@pytest.mark.parametrize("name", ["float16", "dynamic_range"])
def test_other_schemes_are_traced(engine: LocalEngine, loaded: Models, biplane: EncodedImage, name: str) -> None:
    result = trace(Context(engine), loaded["float32"], loaded[name], biplane, object_number=0, quick=True)
    assert abs(result.end_score - result.object.reference_score) < 1e-5
    json.dumps(result.to_json(), allow_nan=False)
    assert list(result.to_frame().columns) == ["order", "tensor", "op_kind", "score", "iou", "gain", "cause"]
    assert len(result.to_frame()) == len(result.points)


STEP_CURVES = [
    ([0.1] * 5 + [0.9] * 15, 4),
    ([0.0] + [0.8] * 30, 0),
    ([0.3] * 30 + [0.9], 29),
    ([0.2, 0.1, 0.3, 0.2] * 4 + [0.9] * 9, 15),
]


@pytest.mark.parametrize(("curve", "steepest"), STEP_CURVES)
def test_bisection_ends_at_the_steepest_step(curve: list[float], steepest: int) -> None:
    tried = quick_scores(curve.__getitem__, len(curve) - 1)
    rises = gains(tried)
    assert max(rises, key=lambda cut: rises[cut]) == steepest
    assert len(tried) < len(curve)


def test_bisection_replaces_a_full_curve_out_of_time() -> None:
    curve = [0.1] * 40 + [0.9] * 40
    tried = full(curve.__getitem__, lambda cut: False, len(curve) - 1, seconds=-1)
    assert 39 in gains(tried) and len(tried) < 15
    assert len(full(curve.__getitem__, lambda cut: cut == 5, len(curve) - 1, seconds=60)) == len(curve)


def test_ancestors_are_only_the_steps_a_tensor_depends_on() -> None:
    steps = [Step((0,), (0,), (1,)), Step((1,), (1,), (2,)), Step((2,), (1,), (3,)), Step((3,), (3,), (4,))]
    assert ancestors(steps, [4]) == (0, 2, 3)
    assert ancestors(steps, [4], lambda tensor: tensor == 3) == (3,)
    assert ancestors(steps, [2, 4]) == (0, 1, 2, 3)


HEADS_OUTSIDE = [
    ("yolox_nano_float32", "yolox_nano_integer_quant", 0.3),
    ("nanodet_m_320_float32", "nanodet_m_320_int8_full", 0.0),
]


@pytest.mark.parametrize(("reference", "variant", "fall"), HEADS_OUTSIDE)
def test_heads_without_nms_in_the_model(
    engine: LocalEngine, sample: Sample, reference: str, variant: str, fall: float
) -> None:
    paths: list[Path] = [SHARED / f"{name}.tflite" for name in (reference, variant)]
    if not all(path.exists() for path in paths):
        pytest.skip("the models beside the project are not there")
    session = Session(*paths, images=sample.images / "horses_nokota.jpg", engine=engine, cache=False)
    result = session.trace(quick=True)
    assert result.object.label == "horse" or result.object.class_id == 17
    assert result.end_score == pytest.approx(result.object.reference_score, abs=0.02)
    assert result.object.reference_score - result.object.variant_score >= fall
    assert result.points[0].score == result.object.variant_score
