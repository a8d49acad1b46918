"""All models of a comparison on one dataset, whose truths are annotated or are what the reference itself finds.

What stands behind the AP of one model, and behind the loss of a variant: errors, thresholds, confusions, images.

Detections as COCO's results format: what COCOeval, FiftyOne and other tools read.

bbox is x, y, width, height in pixels of the original image; image and category ids are the annotation file's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.context import Context
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError
from qviz.features.accuracy.ap import AveragePrecision, Judged, VariantLoss, judge
from qviz.features.accuracy.bootstrap import Bootstrap
from qviz.features.accuracy.confusion import (
    Confusion,
    ImageLoss,
    Taken,
    confusions,
    image_losses,
    taken_for,
    worst_image_of,
)
from qviz.features.accuracy.errors import ErrorCost, error_costs
from qviz.features.accuracy.thresholds import Reliability, ThresholdShift, reliability, threshold_shift
from qviz.features.accuracy.truth import REMARK, as_truths, category_ids, reconcile
from qviz.features.detection.detect import Detected, Reading, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.features.settings import a_few, guess_all, unknown_settings
from qviz.progress import Advance, OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, DatasetImage, Detections, GroundTruth

if TYPE_CHECKING:
    import pandas as pd


TOLD = 20
"""Confusions and images that the JSON lists."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelAccuracy:
    """One model on one dataset: all that a comparison with another needs."""

    judged: Judged
    errors: tuple[ErrorCost, ...]
    reliability: Reliability
    taken: Taken


@dataclass(frozen=True, slots=True)
class LossDetail:
    """One variant against the reference. errors: (reference's, variant's) of each kind; the rest the gravest first.

    worst_image_of: class -> digest of the image on which most of its objects are lost.
    """

    errors: tuple[tuple[ErrorCost, ErrorCost], ...]
    threshold: ThresholdShift
    confusions: tuple[Confusion, ...]
    images: tuple[ImageLoss, ...]
    worst_image_of: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As `qviz evaluate --json` prints it beside the loss; delta is the variant's cost minus the reference's."""
        return {
            "errors": {
                first.kind: {
                    "reference": first.cost,
                    "variant": second.cost,
                    "delta": second.cost - first.cost,
                    "reference_count": first.count,
                    "variant_count": second.count,
                }
                for first, second in self.errors
            },
            "threshold": self.threshold.to_json(),
            "confusions": [asdict(row) for row in self.confusions[:TOLD]],
            "worst_images": [{**asdict(row), "loss": row.loss} for row in self.images[:TOLD] if row.loss > 0],
        }


def model_accuracy(
    name: str, dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]
) -> ModelAccuracy:
    """detections: by image id, in pixels of the original; classes: class id -> category id."""
    judged = judge(name, dataset, detections, classes)
    return ModelAccuracy(
        judged,
        error_costs(dataset, detections, classes),
        reliability(judged.tables),
        taken_for(dataset, detections, classes, PAGE_SCORE),
    )


def loss_detail(
    dataset: Dataset, digests: Mapping[int, str], reference: ModelAccuracy, variant: ModelAccuracy
) -> LossDetail:
    """digests: image id -> the image's digest."""
    labels: Sequence[str] = [row.label for row in reference.judged.figures.per_class]
    return LossDetail(
        tuple(zip(reference.errors, variant.errors, strict=True)),
        threshold_shift(labels, reference.judged.tables, variant.judged.tables),
        confusions(reference.taken, variant.taken),
        image_losses(dataset, digests, reference.taken, variant.taken),
        worst_image_of(dataset, digests, reference.taken, variant.taken),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """models: the reference first; losses, details: a row a variant.

    curves: a model's (classes, 101) interpolated precision at IoU .50 over recall 0 to 1, NaN without truths.
    reference_as_truth: nobody annotated the images; see `reference_truth` for what the figures then mean.
    results: a model's (n, 7) detections, see `Judged`; image_ids: the annotation file's own id of each image in them.
    """

    dataset: str
    images: int
    annotations: int
    skipped: tuple[str, ...]
    models: tuple[AveragePrecision, ...]
    losses: tuple[VariantLoss, ...]
    images_per_second: float
    warnings: tuple[dict[str, Any], ...] = ()
    curves: tuple[np.ndarray, ...] = ()
    reliabilities: tuple[Reliability, ...] = ()
    details: tuple[LossDetail, ...] = ()
    reference_as_truth: bool = False
    results: tuple[np.ndarray, ...] = ()
    image_ids: Mapping[int, int | str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As `qviz evaluate --json` prints it, the gate left out."""
        return {
            "dataset": {
                "name": self.dataset,
                "images": self.images,
                "annotations": self.annotations,
                "skipped": list(self.skipped),
                "reference_as_truth": self.reference_as_truth,
            },
            "models": [
                {**asdict(model), "reliability": asdict(kept)}
                for model, kept in zip(self.models, self.reliabilities, strict=True)
            ],
            "losses": [
                {**loss.to_json(), **detail.to_json()} for loss, detail in zip(self.losses, self.details, strict=True)
            ],
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
    store: Store | None = None,
    cancel: threading.Event | None = None,
    reference_as_truth: bool = False,
) -> Evaluation:
    """AP of every model and the loss of every variant (all but the first). Raises DatasetError, QvizError.

    store, cancel: as `detect_images` takes them. reference_as_truth: what is annotated is left aside.
    """
    if unknown_settings(models[0]):
        models = guess_all(engine, models, [image.encoded() for image in a_few(dataset.images)])
    reading = Reading()
    start = time.monotonic()
    detected = detect_images(Context(engine, store=store, threads=threads, progress=Advance(on_progress), cancel=cancel), models, reading.of(dataset.images), len(dataset.images), score, candidates=False)  # fmt: skip
    detected.skipped.extend(reading.unread)
    found = _evaluation(models, dataset, reading.digests, detected, time.monotonic() - start, reference_as_truth)
    return replace(found, warnings=tuple(warning.to_json() for warning in lint_all(models, threads)))


def _evaluation(
    models: Sequence[LoadedModel],
    dataset: Dataset,
    digests: Mapping[int, str],
    detected: Detected,
    seconds: float,
    reference_as_truth: bool,
) -> Evaluation:
    """What has been detected, judged."""
    complete = _complete(models, dataset, digests, detected)
    found = {model.digest: _detections(model, complete, digests, detected) for model in models}
    classes = {model.digest: _classes(model, complete, found[model.digest], reference_as_truth) for model in models}
    if reference_as_truth:
        complete = as_truths(complete, found[models[0].digest], models[0].inspection)
    results = [model_accuracy(m.name, complete, found[m.digest], classes[m.digest]) for m in models]
    unmatched = (REMARK,) if reference_as_truth else _unmatched(models, complete)
    said = (*dataset.skipped, *detected.skipped, *unmatched)
    return Evaluation(
        dataset=dataset.name,
        images=len(complete.images),
        annotations=complete.annotations,
        skipped=said,
        models=tuple(model.judged.figures for model in results),
        losses=_losses(results),
        images_per_second=len(complete.images) / seconds if seconds > 0 else 0.0,
        curves=tuple(model.judged.curves for model in results),
        reliabilities=tuple(model.reliability for model in results),
        details=tuple(loss_detail(complete, digests, results[0], variant) for variant in results[1:]),
        reference_as_truth=reference_as_truth,
        results=tuple(model.judged.results for model in results),
        image_ids={i.id: i.id if i.source_id is None else i.source_id for i in complete.images},
    )


def _complete(
    models: Sequence[LoadedModel], dataset: Dataset, digests: Mapping[int, str], detected: Detected
) -> Dataset:
    """The images that every model has run."""
    images = tuple(
        image
        for image in dataset.images
        if all((model.digest, digests.get(image.id, "")) in detected.inferences for model in models)
    )
    if not images:
        raise DatasetError("No image could be run by every model. " + " ".join(detected.skipped[:3]))
    return replace(dataset, images=images)


def _detections(
    model: LoadedModel, dataset: Dataset, digests: Mapping[int, str], detected: Detected
) -> dict[int, Detections]:
    return {image.id: detected.inferences[model.digest, digests[image.id]].detections for image in dataset.images}


def _classes(
    model: LoadedModel, dataset: Dataset, found: Mapping[int, Detections], reference_as_truth: bool
) -> Mapping[int, int]:
    """class id -> category id; where the reference is the truth its own classes are the categories."""
    if reference_as_truth:
        return {int(class_id): int(class_id) for seen in found.values() for class_id in seen.class_ids}
    return category_ids(model.inspection.labels, dataset.categories)


def _unmatched(models: Sequence[LoadedModel], dataset: Dataset) -> Iterator[str]:
    """Categories and labels that do not meet, once for all models of the same labels."""
    for labels in dict.fromkeys(model.inspection.labels for model in models):
        yield from reconcile(labels, dataset).sentences()


def _losses(results: Sequence[ModelAccuracy]) -> tuple[VariantLoss, ...]:
    reference, *variants = (model.judged for model in results)
    if not variants:
        return ()
    drawn = Bootstrap(reference.tables)
    return tuple(drawn.loss(reference.figures, variant.figures, variant.tables) for variant in variants)


def truths_as_labelled(image: DatasetImage, dataset: Dataset, labels: Sequence[str]) -> GroundTruth:
    """An image's truths in the model's own classes; those that it cannot name are left out."""
    classes = {category: class_id for class_id, category in category_ids(labels, dataset.categories).items()}
    known = np.isin(image.category_ids, list(classes))
    return GroundTruth(
        image.boxes[known].astype(np.float32),
        np.array([classes[int(category)] for category in image.category_ids[known]], np.int32),
        image.is_crowd[known],
    )


def coco_results(evaluation: Evaluation, model_index: int) -> list[dict[str, Any]]:
    """A row a detection of the model at that place (0: the reference), on the images that every model has run."""
    return [
        {
            "image_id": evaluation.image_ids[int(row[0])],
            "category_id": int(row[6]),
            "bbox": row[1:5],
            "score": row[5],
        }
        for row in evaluation.results[model_index].tolist()
    ]
