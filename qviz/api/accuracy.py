"""Accuracy on annotated images, or against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qviz.api.session import PathIn, engine_or_own
from qviz.datasets.annotated import read_dataset
from qviz.datasets.files import find_images, unannotated
from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy import evaluate as evaluate_models
from qviz.features.detection.models import LoadedModel
from qviz.progress import OnProgress, silent
from qviz.store import Store


def evaluate(
    models: Sequence[LoadedModel],
    dataset: PathIn | None,
    images: PathIn | None = None,
    engine: Engine | None = None,
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    reference_as_truth: bool = False,
) -> Evaluation:
    """AP and its loss on annotated images (see `read_dataset`; `images` is their folder). Raises DatasetError.

    reference_as_truth: the first model's detections stand for the truth; `dataset` may then be None.
    """
    folder = Path(images) if images is not None else None
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; give the one that holds the annotated images.")
    if dataset is not None:
        annotated = read_dataset(Path(dataset), folder)
    elif folder is not None:
        annotated = unannotated(folder, find_images([folder]))
    else:
        raise DatasetError("Neither a dataset nor a folder of images is given.")
    with engine_or_own(engine) as running:
        return evaluate_models(
            running, models, annotated, score, on_progress, threads, store, reference_as_truth=reference_as_truth
        )
