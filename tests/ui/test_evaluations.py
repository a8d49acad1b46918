"""Evaluations in the background: started once, cancelled, and continued from cached detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.datasets.coco import read_coco
from qviz.errors import Cancelled
from qviz.features.accuracy import panel
from qviz.features.detection.models import LoadedModel, short_names
from qviz.formatting import as_text
from qviz.structures import Dataset
from qviz.ui import jobs
from qviz.ui.dataset_choice import digest
from qviz.ui.server import Models
from tests.conftest import Sample


@pytest.fixture
def models(loaded: dict[str, LoadedModel]) -> Models:
    pair = loaded["float32"], loaded["int8"]
    return Models(pair[0], pair[1:], short_names(pair))


@pytest.fixture
def dataset(sample: Sample) -> Dataset:
    return read_coco(sample.annotations, sample.images)


def test_a_cancelled_evaluation_continues(models: Models, dataset: Dataset) -> None:
    job = panel.evaluation(models, dataset, "stopped")
    assert panel.evaluation(models, dataset, "stopped") is job
    job.cancel.set()  # immediately: with cached images of other tests the evaluation is short
    assert isinstance(job.future.exception(timeout=120), Cancelled)
    assert job.cancelled
    assert job.done < len(dataset.images)
    assert panel.evaluation(models, dataset, "stopped") is job  # until the user continues
    jobs.forget(panel.KIND, panel.evaluation_key(models, "stopped"))
    again = panel.evaluation(models, dataset, "stopped")
    assert again.future.result(timeout=120).images == len(dataset.images)
    assert not again.cancelled


def test_inputs_that_start_another_evaluation(models: Models, dataset: Dataset) -> None:
    few = replace(dataset, images=dataset.images[:1])
    job = panel.evaluation(models, few, "few")
    other = panel.evaluation(models, few, "few", reference_as_truth=True)
    assert other is not job
    assert other.future.result(timeout=120).reference_as_truth
    assert not job.future.result(timeout=120).reference_as_truth


def test_the_digest_of_a_dataset_covers_all_annotations(dataset: Dataset) -> None:
    first, *rest = dataset.images
    assert digest(dataset) == digest(replace(dataset))
    for other in (
        replace(first, boxes=first.boxes + 1),
        replace(first, category_ids=first.category_ids + 1),
        replace(first, is_crowd=~first.is_crowd),
        replace(first, areas=np.zeros(len(first.areas))),
        replace(first, source=b"x"),
    ):
        assert digest(replace(dataset, images=(other, *rest))) != digest(dataset)


def test_markdown_in_names_is_escaped() -> None:
    assert as_text("![x](http://y) **b**") == r"\!\[x\]\(http\://y\) \*\*b\*\*"
    assert as_text("teddy bear") == "teddy bear"
