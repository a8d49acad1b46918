"""AP of every model on one dataset, what each variant loses, and the errors, thresholds and images behind the loss.

The ground truth is the annotations or, if requested, the reference's own detections (see `truth`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qviz.context import Context
from qviz.datasets.labels import UNNAMED
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.errors import DatasetError
from qviz.features.accuracy.ap import AveragePrecision, VariantLoss, coco_lines
from qviz.features.accuracy.bootstrap import Bootstrap
from qviz.features.accuracy.confusion import (
    Confusion,
    ImageLoss,
    confusions,
    image_losses,
    worst_image_of,
)
from qviz.features.accuracy.dataset_checks import ImageFacts
from qviz.features.accuracy.dataset_health import problems_of, sentences_of
from qviz.features.accuracy.errors import ErrorCost
from qviz.features.accuracy.evaluator import Evaluator, is_flood
from qviz.features.accuracy.judging import ModelAccuracy, model_accuracy
from qviz.features.accuracy.mismatch import MAX_AP50, MISREAD, finds_nothing, mismatch
from qviz.features.accuracy.operating import Operating, operate_models
from qviz.features.accuracy.operating_at import BEST, At
from qviz.features.accuracy.shapes import ShapeAccuracy, has_shapes, shape_accuracies, shape_figures, shape_losses
from qviz.features.accuracy.slice_loss import Slices
from qviz.features.accuracy.thresholds import Reliability, ThresholdShift, threshold_shift
from qviz.features.accuracy.truth import REMARK, reconcile
from qviz.features.comparison.matching import agreement_of
from qviz.features.detection.dark import dark_images, suspects
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.features.inspection.warning import Warning
from qviz.result import Result, to_json
from qviz.structures import Dataset, DatasetProblem, file_digest

if TYPE_CHECKING:
    import pandas as pd

MAX_LISTED = 20
"""Maximum number of confusions, and of images, in the JSON."""


@dataclass(frozen=True, slots=True)
class LossDetail:
    """The errors, thresholds and images behind the loss of one variant.

    Attributes:
        errors: For each kind of error, its cost in (the reference, the variant).
        threshold: Best confidence thresholds of both models.
        confusions: Confused pairs of classes, the largest change first.
        images: Objects found and false alarms of each model, per image, the worst first.
        worst_image_of: Class -> digest of the image on which most of its objects are lost.
        agreement: Agreement with the reference, in [0, 1], on objects with a score of at least `PAGE_SCORE`; None if
            neither model has such an object, or if a study was saved by an older version.
    """

    errors: tuple[tuple[ErrorCost, ErrorCost], ...]
    threshold: ThresholdShift
    confusions: tuple[Confusion, ...]
    images: tuple[ImageLoss, ...]
    worst_image_of: Mapping[str, str]
    agreement: float | None = None

    @property
    def false_alarms(self) -> tuple[float, float]:
        """(reference's, variant's) false alarms per image with a score of at least `PAGE_SCORE`."""
        count = max(len(self.images), 1)
        reference, variant = (row.reference_false for row in self.images), (row.variant_false for row in self.images)
        return sum(reference) / count, sum(variant) / count

    @property
    def objects(self) -> tuple[float, float]:
        """(reference's, variant's) detections per image, right or wrong, with a score of at least `PAGE_SCORE`."""
        count = max(len(self.images), 1)
        correct = sum(row.reference_found for row in self.images), sum(row.variant_found for row in self.images)
        reference, variant = self.false_alarms
        return correct[0] / count + reference, correct[1] / count + variant

    def to_json(self) -> dict[str, Any]:
        """The details, as `qviz evaluate --json` writes them. `delta` is the variant's cost minus the reference's."""
        return {
            "errors": {
                reference.kind: {
                    "reference": reference.cost,
                    "variant": variant.cost,
                    "delta": variant.cost - reference.cost,
                    "reference_count": reference.count,
                    "variant_count": variant.count,
                }
                for reference, variant in self.errors
            },
            "threshold": self.threshold.to_json(),
            "agreement": self.agreement,
            "false_alarms_per_image": dict(zip(("reference", "variant"), self.false_alarms, strict=True)),
            "confusions": to_json(self.confusions[:MAX_LISTED]),
            "worst_images": to_json([row for row in self.images[:MAX_LISTED] if row.loss > 0]),
        }


def loss_detail(
    dataset: Dataset,
    digests: Mapping[int, str],
    reference: ModelAccuracy,
    variant: ModelAccuracy,
    agreement: float | None = None,
) -> LossDetail:
    """The details of one variant's loss. `digests` maps image ids to digests of the images."""
    labels: Sequence[str] = [row.label for row in reference.ap.figures.per_class]
    pair = reference.confusions, variant.confusions
    return LossDetail(
        tuple(zip(reference.errors, variant.errors, strict=True)),
        threshold_shift(labels, reference.ap.tables, variant.ap.tables),
        confusions(*pair),
        image_losses(dataset, digests, *pair),
        worst_image_of(dataset, digests, *pair),
        agreement,
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation(Result):
    """AP of every model and the loss of every variant.

    Attributes:
        dataset: Name of the dataset.
        images, annotations: Number of images and annotated objects that were evaluated.
        skipped: One sentence per image or category that was left out.
        models: AP of every model, the reference first.
        losses, details: One entry per variant.
        images_per_second: Speed of all models together.
        warnings: Lint warnings about the models.
        curves: For each model, (classes, 101) interpolated precision at an IoU of .50, for 101 levels of recall from 0
            to 1; NaN for a class without ground truth.
        reliabilities: One entry per model.
        reference_as_truth: Whether the ground truth is the reference's detections; `truth` says what AP then means.
        results: For each model, (n, 7) detections, see `APResult`.
        image_ids: Image id in `results` -> id in the annotation file.
        problems: Reasons to doubt the annotations, those that make AP meaningless first.
        operating: The models at the confidence in use; None in a study saved by an older version.
        slices: Situations in which variants lose more than elsewhere; None if they were not requested.
        shapes: AP of keypoints and of masks; empty if no model has them.
    """

    ROWS: ClassVar = "models"

    dataset: str
    images: int
    annotations: int
    skipped: tuple[str, ...]
    models: tuple[AveragePrecision, ...]
    losses: tuple[VariantLoss, ...]
    images_per_second: float
    warnings: tuple[Warning, ...] = ()
    curves: tuple[np.ndarray, ...] = ()
    reliabilities: tuple[Reliability, ...] = ()
    details: tuple[LossDetail, ...] = ()
    reference_as_truth: bool = False
    results: tuple[np.ndarray, ...] = ()
    image_ids: Mapping[int, int | str] = field(default_factory=dict)
    problems: tuple[DatasetProblem, ...] = ()
    operating: Operating | None = None
    slices: Slices | None = None
    shapes: tuple[ShapeAccuracy, ...] = ()

    def floods(self, detail: LossDetail) -> bool:
        """Whether a variant has many more false alarms than the reference. AP hardly shows false alarms.

        If the reference's detections are the ground truth, the reference has none, so the numbers of all detected
        objects are compared instead.
        """
        return is_flood(*(detail.objects if self.reference_as_truth else detail.false_alarms))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences to show with the figures: problems of the annotations, and what else was left out."""
        return (*sentences_of(self.problems), *self.other_remarks)

    @property
    def other_remarks(self) -> tuple[str, ...]:
        """Sentences about what was left out for a reason that is not listed in `problems`."""
        known_reasons = [problem.message for problem in self.problems]
        return tuple(text for text in self.skipped if not any(text.startswith(one[:30]) for one in known_reasons))

    def to_json(self) -> dict[str, Any]:
        """The document that `qviz evaluate --json` writes, without the gate."""
        return {
            "dataset": {
                "name": self.dataset,
                "images": self.images,
                "annotations": self.annotations,
                "skipped": list(self.skipped),
                "reference_as_truth": self.reference_as_truth,
                "problems": to_json(self.problems),
            },
            "models": [
                {**to_json(model), "coco_lines": coco_lines(model), "reliability": to_json(row), **shapes}
                for model, row, shapes in zip(
                    self.models, self.reliabilities, shape_figures(self.shapes, len(self.models)), strict=True
                )
            ],
            "losses": [
                {**to_json(loss), **detail.to_json(), **point, **shapes}
                for loss, detail, point, shapes in zip(
                    self.losses,
                    self.details,
                    self._operating_losses(),
                    shape_losses(self.shapes, len(self.losses)),
                    strict=True,
                )
            ],
            "shapes": [row.to_json() for row in self.shapes],
            "operating_points": [model.to_json() for model in self.operating.models] if self.operating else [],
            "slices": self.slices.to_json() if self.slices else [],
            "slice_curves": to_json(self.slices.curves) if self.slices else [],
            "images_per_second": self.images_per_second,
            "warnings": to_json(self.warnings),
        }

    def _operating_losses(self) -> list[dict[str, Any]]:
        if self.operating is None:
            return [{} for _ in self.losses]
        return [{"operating_point": loss.to_json()} for loss in self.operating.losses]

    def to_frame(self) -> pd.DataFrame:
        """One row per model and class."""
        import pandas as pd

        rows = [{"model": model.name, **asdict(row)} for model in self.models for row in model.per_class]
        return pd.DataFrame(rows)


def evaluate(
    context: Context,
    models: Sequence[LoadedModel],
    dataset: Dataset,
    *,
    score: float = AP_SCORE,
    reference_as_truth: bool = False,
    at: At = BEST,
) -> Evaluation:
    """AP of every model and the loss of every variant (all models but the first).

    Args:
        context: If it has `classes`, only these categories count.
        dataset: Annotated images, or images without annotations if `reference_as_truth` is set.
        score: Minimum confidence of a detection that counts.
        reference_as_truth: Use the reference's own detections in place of annotations.
        at: Confidence in use: a threshold, `best` (the reference's highest F1), or label -> threshold.

    Raises:
        Cancelled, SettingsError: `at` does not fit the classes.
        DatasetError: Nothing is annotated, or there is no image that every model could process.

    Example:
        >>> with qviz.open(FLOAT32, INT8, dataset=ANNOTATIONS, dataset_images=IMAGES) as session:
        ...     evaluation = session.evaluate()
        >>> round(evaluation.models[0].ap, 3)
        0.383
    """
    _check_annotated(dataset, reference_as_truth)
    start = time.monotonic()
    evaluator = Evaluator(context, models, dataset, score, reference_as_truth, shapes=has_shapes(dataset))
    seconds = time.monotonic() - start
    context.progress.step("Matching objects and resampling the images")
    complete = evaluator.dataset
    _check_truth(complete, models[0])
    results = [
        model_accuracy(row.name, complete, evaluator.detections(row), evaluator.classes(row), context) for row in models
    ]
    return Evaluation(
        dataset=dataset.name,
        images=evaluator.images,
        annotations=complete.annotations,
        skipped=(*evaluator.skipped, *((REMARK,) if reference_as_truth else _unmatched(models, complete))),
        models=tuple(model.ap.figures for model in results),
        losses=_losses(context, results),
        images_per_second=evaluator.images / seconds if seconds > 0 else 0.0,
        warnings=tuple(lint_all(context, models)),
        curves=tuple(model.ap.curves for model in results),
        reliabilities=tuple(model.reliability for model in results),
        details=_details(evaluator, models, results),
        reference_as_truth=reference_as_truth,
        results=tuple(model.ap.results for model in results),
        image_ids={row.id: row.id if row.source_id is None else row.source_id for row in complete.images},
        problems=() if reference_as_truth else _problems(context, evaluator, dataset, results[0].ap.figures),
        operating=operate_models([model.ap for model in results], at),
        shapes=() if reference_as_truth else shape_accuracies(context, evaluator, models),
    )


def _check_annotated(dataset: Dataset, reference_as_truth: bool) -> None:
    if not dataset.categories and not reference_as_truth:
        raise DatasetError(
            f"Nothing is annotated in {dataset.name}; give annotated images, or use the reference's own detections"
            " as the ground truth (--reference-as-truth)."
        )


def _check_truth(dataset: Dataset, reference: LoadedModel) -> None:
    """Raise DatasetError if the reference's detections are the ground truth and there are none."""
    if not dataset.categories:
        raise DatasetError(
            f"{reference.name} detects no object with a confidence of {PAGE_SCORE:.2f} or more on these images, so"
            " there is no ground truth: check how images are prepared (mean, std) and the decoder."
        )


def _details(
    evaluator: Evaluator, models: Sequence[LoadedModel], results: Sequence[ModelAccuracy]
) -> tuple[LossDetail, ...]:
    """The loss details of every variant."""
    dataset, digests = evaluator.dataset, evaluator.digests
    return tuple(
        loss_detail(dataset, digests, results[0], row, agreement_of(evaluator.agreement_counts(model)))
        for model, row in zip(models[1:], results[1:], strict=True)
    )


def _problems(
    context: Context, evaluator: Evaluator, dataset: Dataset, reference: AveragePrecision
) -> tuple[DatasetProblem, ...]:
    """Problems of the annotations. If the reference finds (nearly) nothing, the likely reason is included."""
    model = evaluator.reference
    detections, sizes = evaluator.detections(model), evaluator.sizes(model)
    empty = {evaluator.digests[number] for number, one in detections.items() if not (one.scores >= PAGE_SCORE).any()}
    names = [(image.name, evaluator.digests[image.id]) for image in evaluator.dataset.images]
    dark = dark_images(context, (image.encoded() for image in evaluator.dataset.images), suspects(names, empty))
    facts = ImageFacts(
        sizes={number: (size,) for number, size in sizes.items()},
        digests={number: file_digest(digest) for number, digest in evaluator.digests.items()},
        dark={number: dark[digest] for number, digest in evaluator.digests.items() if digest in dark},
    )
    counted = evaluator.classes(model)
    labels = [label if number in counted else UNNAMED for number, label in enumerate(model.inspection.labels)]
    annotated = replace(evaluator.dataset, problems=dataset.problems)
    problems = problems_of(annotated, facts, labels if context.classes else model.inspection.labels)
    if reference.ap50 is not None and reference.ap50 >= MAX_AP50:
        return tuple(replace(row, serious=row.serious and row.code != "other_image_sizes") for row in problems)
    misread = [problem.message for problem in problems if problem.code in MISREAD]
    if 2 * len(dark) > evaluator.images:
        misread.append("The images are nearly black: " + next(iter(dark.values())))
    reason = misread[0] if misread else mismatch(evaluator.dataset, detections, model.inspection.label, sizes)
    return (finds_nothing(reference, reason, evaluator.dataset.annotations), *problems)


def _unmatched(models: Sequence[LoadedModel], dataset: Dataset) -> Iterator[str]:
    """Sentences about categories and labels that do not match. Models with the same labels are reported once."""
    for labels in dict.fromkeys(model.inspection.labels for model in models):
        yield from reconcile(labels, dataset).sentences()


def _losses(context: Context, results: Sequence[ModelAccuracy]) -> tuple[VariantLoss, ...]:
    reference, *variants = (model.ap for model in results)
    if not variants:
        return ()
    bootstrap = Bootstrap(reference.tables, context=context)
    return tuple(bootstrap.loss(reference.figures, variant.figures, variant.tables) for variant in variants)
