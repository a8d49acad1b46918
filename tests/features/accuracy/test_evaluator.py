"""The Evaluator: AP and agreement as a full evaluation gives them, on the images that every model has run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import unannotated_images
from qviz.detector import PAGE_SCORE
from qviz.engine import LocalEngine
from qviz.errors import DatasetError, ModelError
from qviz.features.accuracy import evaluate
from qviz.features.accuracy.evaluator import Evaluator, Measurement, mean_loss
from qviz.features.comparison import compare_variant
from qviz.features.detection.inference import Detected, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.structures import Dataset, EncodedImage
from tests.conftest import Sample


@pytest.fixture(scope="module")
def models(loaded: dict[str, LoadedModel]) -> list[LoadedModel]:
    return [loaded["float32"], loaded["int8_wrong_range"]]


@pytest.fixture(scope="module")
def dataset(sample: Sample) -> Dataset:
    """Seven images; the first cannot be read."""
    annotated = read_coco(sample.annotations, sample.images)
    broken = replace(annotated.images[0], source=b"not an image")
    return replace(annotated, images=(broken, *annotated.images[1:7]))


@pytest.fixture(scope="module")
def evaluator(engine: LocalEngine, models: list[LoadedModel], dataset: Dataset) -> Evaluator:
    return Evaluator(Context(engine), models[:1], dataset)


def test_candidate_figures_equal_a_full_evaluation(
    engine: LocalEngine, models: list[LoadedModel], dataset: Dataset, evaluator: Evaluator
) -> None:
    context = Context(engine)
    assert (evaluator.images, evaluator.annotated, len(evaluator.skipped)) == (6, True, 1)
    reference = evaluator.measure(context, models[0]).result()
    variant = evaluator.measure(context, models[1], evaluator.detect(context, models[1:])).result()
    whole = evaluate(context, models, dataset)
    assert (reference.ap, variant.ap) == pytest.approx((whole.models[0].ap, whole.models[1].ap), abs=1e-12)
    loss, expected = mean_loss([reference], [variant], evaluator.images), whole.losses[0].ap
    assert (loss.value, loss.low, loss.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-9)
    assert loss.significant == expected.significant


def test_agreement_equals_a_comparison(
    engine: LocalEngine, models: list[LoadedModel], dataset: Dataset, evaluator: Evaluator
) -> None:
    context = Context(engine)
    images = [image.encoded() for image in dataset.images[1:]]
    detected = detect_images(context, models, images, len(images), PAGE_SCORE)
    compared = compare_variant(*models, detected.images, detected.inferences, PAGE_SCORE)
    variant = evaluator.measure(context, models[1], evaluator.detect(context, models[1:])).result()
    reference = evaluator.measure(context, models[0]).result()
    assert (reference.agreement, reference.still_found) == (1, 1)
    assert variant.agreement == pytest.approx(compared.summary.agreement)
    bare = Evaluator(context, models, unannotated_images("photographs", images))
    counts = bare.agreement_counts(models[1])
    assert 2 * counts[:, 0].sum() / counts[:, 1].sum() == pytest.approx(variant.agreement)
    measured = bare.measure(context, models[1]).result()
    assert (measured.ap, measured.value) == (None, variant.agreement)
    np.testing.assert_array_equal(measured.draws, variant.in_agreement().draws)


def test_intervals_can_be_left_out(engine: LocalEngine, models: list[LoadedModel], evaluator: Evaluator) -> None:
    quick = evaluator.measure(Context(engine), models[0], resamples=0).result()
    full = evaluator.measure(Context(engine), models[0]).result()
    assert (quick.ap, quick.agreement, len(quick.draws)) == (full.ap, full.agreement, 0)
    loss = mean_loss([quick], [quick], evaluator.images)
    assert (loss.value, loss.low, loss.significant) == (0, None, None)


def test_a_candidate_that_fails_on_an_image_is_not_measured(
    engine: LocalEngine, models: list[LoadedModel], evaluator: Evaluator
) -> None:
    with pytest.raises(ModelError, match=r"failed on 6 images\. It crashed\.$"):
        evaluator.measure(Context(engine), models[1], Detected(skipped=["It crashed."]))


def test_no_readable_image_is_an_error(engine: LocalEngine, models: list[LoadedModel]) -> None:
    broken = unannotated_images("broken", [EncodedImage("a.jpg", b"not an image")])
    with pytest.raises(DatasetError, match=r"No image could be run with every model\. .*a\.jpg"):
        Evaluator(Context(engine), models, broken)


def test_digest_depends_on_annotations(evaluator: Evaluator, engine: LocalEngine, dataset: Dataset) -> None:
    moved = replace(dataset, images=tuple(replace(image, boxes=image.boxes + 1) for image in dataset.images))
    same, other = (Evaluator(Context(engine), [evaluator.reference], data) for data in (dataset, moved))
    assert same.digest == evaluator.digest != other.digest


def _measurement(value: float, draws: list[float]) -> Measurement:
    return Measurement(value, np.array(draws), 1.0, np.ones(len(draws)), None, None)


def test_mean_losses_are_compared_on_the_same_draws() -> None:
    """The figures of each variant vary much between draws, their mean loss does not."""
    first = [_measurement(0.5, [0.4, 0.6, 0.5]), _measurement(0.7, [0.8, 0.6, 0.7])]
    loss = mean_loss(first, [_measurement(0.5, [0.5, 0.5, 0.5])], 20)
    assert (loss.value, loss.low, loss.high, loss.significant) == (
        pytest.approx(0.1),
        *([pytest.approx(0.1)] * 2),
        True,
    )
    assert mean_loss([], first, 20).value is None
    assert mean_loss(first, [replace(first[0], ap=None)], 20).value is None
