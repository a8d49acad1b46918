"""Judge the detections of a model image by image: matches, kinds of errors and confusions.

Images are judged independently of each other, so large datasets are judged in parts, in the workers. A worker returns
some 70 bytes per detection, and the figures are computed from the merged parts: they are the same for any number of
parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.errors import WorkerError
from qviz.features.accuracy.ap import APResult, ap_result
from qviz.features.accuracy.coco.matching import CocoMatches, in_parts, result_rows
from qviz.features.accuracy.confusion import ModelConfusions, model_confusions
from qviz.features.accuracy.errors import DetectionErrors, ErrorCost, error_costs
from qviz.features.accuracy.thresholds import Reliability, reliability
from qviz.features.detection.inference import in_order
from qviz.structures import Dataset, Detections


@dataclass(frozen=True, slots=True, eq=False)
class ModelAccuracy:
    """One model on one dataset: everything needed to compare it with another model."""

    ap: APResult
    errors: tuple[ErrorCost, ...]
    reliability: Reliability
    confusions: ModelConfusions


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The matches, errors and confusions of one model on some images, whose ids rise."""

    matches: CocoMatches
    errors: DetectionErrors
    confusions: ModelConfusions

    @classmethod
    def merged(cls, parts: Sequence[Judgement]) -> Judgement:
        """The judgement on all images of the parts; the ids of each part's images exceed those of the part before."""
        return cls(
            CocoMatches.merged([part.matches for part in parts]),
            DetectionErrors.merged([part.errors for part in parts]),
            ModelConfusions.merged([part.confusions for part in parts]),
        )


def model_accuracy(
    name: str,
    dataset: Dataset,
    detections: Mapping[int, Detections],
    classes: Mapping[int, int],
    context: Context | None = None,
) -> ModelAccuracy:
    """The AP, errors, reliability and confusions of one model.

    Args:
        name: Name of the model.
        detections: Image id -> detections in pixels of the original image.
        classes: Class id -> category id.
        context: If given, its workers judge the images of large datasets.

    Raises:
        Cancelled: The context was cancelled.
    """
    judgement = judge(dataset, detections, classes, context)
    ap = ap_result(name, dataset.categories, judgement.matches, detections, classes)
    return ModelAccuracy(ap, error_costs(judgement.errors), reliability(ap.tables), judgement.confusions)


def judge(
    dataset: Dataset,
    detections: Mapping[int, Detections],
    classes: Mapping[int, int],
    context: Context | None = None,
) -> Judgement:
    """Judge one model on all images of a dataset; the arguments are those of `model_accuracy`."""
    parts = in_parts(dataset)
    if context is None or len(parts) == 1:
        return Judgement.merged([judge_part(part, _of(part, detections), classes) for part in parts])
    engine, few = context.engine, map(_without_bytes, parts)
    judged = []
    for part, (job,) in in_order(
        context, few, lambda part: [engine.submit(judge_part, part, _of(part, detections), classes)]
    ):
        try:
            judged.append(job.result())
        except WorkerError:  # the worker was lost, or the machine is too busy for the time limit of jobs
            judged.append(judge_part(part, _of(part, detections), classes))
    return Judgement.merged(judged)


def _of(part: Dataset, detections: Mapping[int, Detections]) -> dict[int, Detections]:
    """The boxes of the part's images; keypoints and masks are not judged here."""
    chosen = ((image.id, detections[image.id]) for image in part.images if image.id in detections)
    return {number: Detections(one.boxes, one.scores, one.class_ids, corners=one.corners) for number, one in chosen}


def _without_bytes(part: Dataset) -> Dataset:
    """The part with what a worker needs of it."""
    return replace(part, images=tuple(image.without_bytes() for image in part.images), skipped=(), problems=())


def judge_part(dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]) -> Judgement:
    """Judge one model on a few images; a job of a worker."""
    return Judgement(
        CocoMatches.of(dataset, result_rows(detections, classes)),
        DetectionErrors.of(dataset, detections, classes),
        model_confusions(dataset, detections, classes, PAGE_SCORE),
    )
