"""Evaluations in the background: they report, stop when asked to, and go on where they ended."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from qviz.datasets.coco import read_coco
from qviz.errors import Cancelled
from qviz.features.accuracy import panel as evaluations
from qviz.features.accuracy.panel import EvaluationJob
from qviz.features.detection.models import LoadedModel, short_names
from qviz.formatting import as_text
from qviz.structures import Dataset
from qviz.ui.dataset_choice import digest
from qviz.ui.server import Models
from tests.conftest import Sample


@pytest.fixture
def found(loaded: dict[str, LoadedModel]) -> Models:
    models = loaded["float32"], loaded["int8"]
    return Models(models[0], models[1:], short_names(models))


@pytest.fixture
def dataset(sample: Sample) -> Dataset:
    return read_coco(sample.annotations, sample.images)


def test_one_that_was_stopped_goes_on(found: Models, dataset: Dataset) -> None:
    job = evaluations.evaluation(found, dataset, "stopped")
    assert evaluations.evaluation(found, dataset, "stopped") is job
    job.cancel.set()  # at once: other tests may have run these images before, and then nothing takes long
    assert isinstance(job.future.exception(timeout=120), Cancelled)
    assert job.stopped
    stopped_at = job.done
    assert stopped_at < len(dataset.images)
    assert evaluations.evaluation(found, dataset, "stopped") is job  # until somebody wants it to go on
    evaluations.begin_anew(job)
    again = evaluations.evaluation(found, dataset, "stopped")
    assert again.future.result(timeout=120).images == len(dataset.images) == again.done
    assert not again.stopped


def test_what_is_another_evaluation(found: Models, dataset: Dataset) -> None:
    few = replace(dataset, images=dataset.images[:1])
    job = evaluations.evaluation(found, few, "few")
    other = evaluations.evaluation(found, few, "few", reference_as_truth=True)
    assert other is not job
    assert other.future.result(timeout=120).reference_as_truth
    assert not job.future.result(timeout=120).reference_as_truth


def test_progress_is_told_in_words() -> None:
    job = EvaluationJob("key", 100)
    assert job.progress() == "Waiting for another evaluation"
    job.begun = time.monotonic() - 10
    job.done = 40
    assert job.progress() == "40 of 100 images · 4.0 images/s"
    for seconds, said in ((0.2, "1 s left"), (61, "61 s left"), (600, "10 min left"), (7200, "2.0 h left")):
        job.seconds_left = seconds
        assert job.progress().endswith(f" · {said}")
    job.report(100, 100)
    assert job.progress().startswith("Matching")


def test_a_dataset_is_known_by_all_that_it_says(dataset: Dataset) -> None:
    first, *rest = dataset.images
    assert digest(dataset) == digest(replace(dataset))
    for other in (
        replace(first, boxes=first.boxes + 1),
        replace(first, category_ids=first.category_ids + 1),
        replace(first, is_crowd=~first.is_crowd),
        replace(first, areas=np.zeros(len(first.areas))),
        replace(first, data=b"x"),
    ):
        assert digest(replace(dataset, images=(other, *rest))) != digest(dataset)


def test_names_have_no_meaning_in_markdown() -> None:
    assert as_text("![x](http://y) **b**") == r"\!\[x\]\(http\://y\) \*\*b\*\*"
    assert as_text("teddy bear") == "teddy bear"
