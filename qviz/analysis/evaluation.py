"""All models of a comparison on one annotated dataset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qviz.analysis.average_precision import AveragePrecision, VariantLoss, ap_loss, average_precision, category_ids
from qviz.analysis.detecting import Detected, detect_images
from qviz.analysis.lint import lint_all
from qviz.analysis.models import LoadedModel
from qviz.analysis.settings_guess import a_few, guess_all, unknown_settings
from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError, ImageError
from qviz.progress import OnProgress, silent
from qviz.structures import Dataset, DatasetImage, Detections, EncodedImage, GroundTruth

if TYPE_CHECKING:
    import pandas as pd

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """models: the reference first; losses: a row a variant."""

    dataset: str
    images: int
    annotations: int
    skipped: tuple[str, ...]
    models: tuple[AveragePrecision, ...]
    losses: tuple[VariantLoss, ...]
    images_per_second: float
    warnings: tuple[dict[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `qviz evaluate --json` prints it, the gate left out."""
        return {
            "dataset": {
                "name": self.dataset,
                "images": self.images,
                "annotations": self.annotations,
                "skipped": list(self.skipped),
            },
            "models": [asdict(model) for model in self.models],
            "losses": [loss.to_json() for loss in self.losses],
            "images_per_second": self.images_per_second,
            "warnings": list(self.warnings),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a model and class."""
        import pandas as pd

        rows = [{"model": model.name, **asdict(row)} for model in self.models for row in model.per_class]
        return pd.DataFrame(rows)


def evaluate(
    engine: Engine,
    models: Sequence[LoadedModel],
    dataset: Dataset,
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
) -> Evaluation:
    """AP of every model and the loss of every variant (all but the first). Raises DatasetError, QvizError."""
    if unknown_settings(models[0]):
        models = guess_all(engine, models, [image.encoded() for image in a_few(dataset.images)])
    digests: dict[int, str] = {}  # filled while the images are read: two files may share a name
    unread: list[str] = []

    def encoded() -> Iterator[EncodedImage]:
        for image in dataset.images:
            try:
                read = image.encoded()
            except ImageError as error:
                unread.append(str(error))
                continue
            digests[image.id] = read.digest
            yield read

    start = time.monotonic()
    detected = detect_images(engine, models, encoded(), len(dataset.images), score, on_progress, threads)
    detected.skipped.extend(unread)
    return _evaluation(models, dataset, digests, detected, time.monotonic() - start)


def _evaluation(
    models: Sequence[LoadedModel], dataset: Dataset, digests: dict[int, str], detected: Detected, seconds: float
) -> Evaluation:
    complete = [
        image
        for image in dataset.images
        if all((model.digest, digests.get(image.id, "")) in detected.inferences for model in models)
    ]
    if not complete:
        raise DatasetError("No image could be run by every model. " + " ".join(detected.skipped[:3]))
    judged = Dataset(dataset.name, tuple(complete), dataset.categories)
    results = [_judge(model, judged, digests, detected) for model in models]
    return Evaluation(
        dataset=dataset.name,
        images=len(complete),
        annotations=judged.annotations,
        skipped=(*dataset.skipped, *detected.skipped),
        warnings=tuple(warning.to_json() for warning in lint_all(models)),
        models=tuple(results),
        losses=tuple(ap_loss(results[0], variant) for variant in results[1:]),
        images_per_second=len(complete) / seconds if seconds > 0 else 0.0,
    )


def _judge(model: LoadedModel, dataset: Dataset, digests: dict[int, str], detected: Detected) -> AveragePrecision:
    found: dict[int, Detections] = {
        image.id: detected.inferences[model.digest, digests[image.id]].detections for image in dataset.images
    }
    return average_precision(model.name, dataset, found, category_ids(model.inspection.labels, dataset.categories))


def truths_as_labelled(image: DatasetImage, dataset: Dataset, labels: Sequence[str]) -> GroundTruth:
    """An image's truths in the model's own classes; those that it cannot name are left out."""
    classes = {category: class_id for class_id, category in category_ids(labels, dataset.categories).items()}
    known = np.isin(image.category_ids, list(classes))
    return GroundTruth(
        image.boxes[known].astype(np.float32),
        np.array([classes[int(category)] for category in image.category_ids[known]], np.int32),
        image.is_crowd[known],
    )
