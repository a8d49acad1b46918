"""Which of the reference's objects a variant will probably lose or relabel: a risk for each object and class.

    result = session.risk(calibration="calibration/", images="photos/")
    result.per_class[0].label, result.per_class[0].lost  # the class with the highest risk

The risk of an object is estimated from the reference's outputs and the noise of the variant's head, see the modules
`margins` and `estimate`. The variant also runs on the images, to test whether the risk predicts what it does. A risk
that does not predict is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qviz.context import Context
from qviz.errors import SettingsError
from qviz.features.comparison.matching import IOU, Change
from qviz.features.detection import check_any_image
from qviz.features.detection.inference import Images, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.features.inspection.warning import Warning
from qviz.features.object_risk.estimate import (
    OUTCOMES,
    RiskTest,
    cross_fitted_risks,
    happened,
    risk_test,
    risks_from,
)
from qviz.features.object_risk.margins import HeadNoise, ImageObjects, head_noise, image_objects
from qviz.formatting import plural
from qviz.result import Result
from qviz.structures import file_digest
from qviz.structures.detections import CANDIDATE_FLOOR


@dataclass(frozen=True, slots=True)
class ObjectRisk:
    """One object of the reference.

    Attributes:
        image, digest: Name and digest of its image.
        score, box: The reference's score, and box xyxy in pixels of the original image.
        threshold_margin: Score minus the threshold.
        runner_up: The other class with the highest score at the object's position; None if there is none.
        runner_up_margin: Score of the object minus the score of `runner_up`; None if there is none.
        nms_margin: IoU threshold of NMS minus the IoU with the stronger object of the same class that overlaps most;
            None if there is none.
        lost, relabelled: Risks in [0, 1]; None if the risk is not shown.
        change: The result of the object in the variant: a value of `Change`.
        reference_index: Index in the reference's detections above the threshold.
    """

    JSON_NAMES: ClassVar[Mapping[str, str | None]] = {"digest": None, "reference_index": None}

    image: str
    digest: str
    label: str
    score: float
    box: tuple[float, ...]
    threshold_margin: float
    runner_up: str | None
    runner_up_margin: float | None
    nms_margin: float | None
    lost: float | None
    relabelled: float | None
    change: str
    reference_index: int

    @property
    def closest(self) -> str:
        """The margin that is smallest: `threshold`, `runner-up` or `NMS`. Scores and IoUs are both in [0, 1]."""
        margins = {"threshold": self.threshold_margin, "runner-up": self.runner_up_margin, "NMS": self.nms_margin}
        return min(((value, name) for name, value in margins.items() if value is not None))[1]


@dataclass(frozen=True, slots=True)
class ClassRisk:
    """One class of the reference: number of objects, mean risks, and the shares that were really lost or relabelled."""

    label: str
    objects: int
    lost: float | None
    relabelled: float | None
    lost_share: float
    relabelled_share: float


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Risks(Result):
    """The risk of each object and class, and whether the risk predicts what the variant does.

    Attributes:
        threshold: Minimum score of an object.
        images: Number of images whose objects have a risk.
        calibration_images: Number of images from which the risk is estimated.
        cross_fitted: Whether both are the same images; the risk on each is then estimated from the others.
        noise: Noise of the variant's head on the calibration images; None if they have no objects.
        objects: All objects of the reference, those with the highest risk first.
        per_class: The classes, those with the highest risk first.
        tests: One entry per outcome.
    """

    ROWS: ClassVar[str] = "objects"

    reference: str
    variant: str
    threshold: float
    images: int
    calibration_images: int
    cross_fitted: bool
    noise: HeadNoise | None
    objects: tuple[ObjectRisk, ...]
    per_class: tuple[ClassRisk, ...]
    tests: tuple[RiskTest, ...]
    skipped: tuple[str, ...] = ()
    warnings: tuple[Warning, ...] = ()


def risk(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Images,
    calibration: Images = (),
    *,
    score: float,
    iou: float = IOU,
) -> Risks:
    """The risk of every object of the reference, and how well it predicts what the variant does.

    Args:
        images: Encoded images whose objects get a risk.
        calibration: Other encoded images, from which the risk is estimated. If there are none, the risk on each of
            `images` is estimated from the rest of `images`.
        score: Minimum confidence of an object, in [0, 1].
        iou: Minimum IoU of a matched pair, in (0, 1].

    Raises:
        ImageError: No image can be read.
        SettingsError: All images are calibration images.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGES, calibration=CALIBRATION) as session:
        ...     session.risk().tests[0].shown
        True
    """
    models = [reference, variant]
    first, skipped = _measured(context, models, calibration, score, iou) if len(calibration) else ([], [])
    rows, left_out = _measured(context, models, images, score, iou)
    digests = {file_digest(image.digest) for image in first}
    rest = [image for image in rows if file_digest(image.digest) not in digests]
    if not rest:
        raise SettingsError("All images are calibration images too; the risk is tested on other ones. Give others.")
    if len(rest) < len(rows):
        left_out.append(f"{plural(len(rows) - len(rest), 'image')} that also calibrate are left out of the test.")
    source = first or rest
    risks, tests = _estimates(first, rest)
    objects = _objects(rest, risks, tests, reference)
    return Risks(
        reference=reference.name,
        variant=variant.name,
        threshold=score,
        images=len(rest),
        calibration_images=len(source),
        cross_fitted=not first,
        noise=head_noise(source),
        objects=objects,
        per_class=_classes(objects),
        tests=tests,
        skipped=(*skipped, *left_out),
        warnings=tuple(lint_all(context, models)),
    )


def _measured(
    context: Context, models: Sequence[LoadedModel], images: Images, score: float, iou: float
) -> tuple[list[ImageObjects], list[str]]:
    """(the objects of each image on which both models have run, sentences about the other images)."""
    reference, variant = models
    context.progress.step("Running both models")
    detected = detect_images(context, models, images, len(images), min(score, CANDIDATE_FLOOR))
    check_any_image(detected)
    rows = []
    for name, digest in {digest: (name, digest) for name, digest in detected.images}.values():
        runs = [detected.inferences.get((model.digest, digest)) for model in (reference, variant)]
        if runs[0] is not None and runs[1] is not None:
            nms_iou = reference.settings.nms_iou
            rows.append(image_objects((name, digest), runs[0], runs[1], score, nms_iou, iou))
    return rows, detected.skipped


def _estimates(
    calibration: Sequence[ImageObjects], images: Sequence[ImageObjects]
) -> tuple[dict[Change, np.ndarray], tuple[RiskTest, ...]]:
    """(risks of all objects of `images` for each outcome, their tests); cross-fitted without `calibration`."""
    risks, tests = {}, []
    for outcome in OUTCOMES:
        one = risks_from(calibration, images, outcome) if calibration else cross_fitted_risks(images, outcome)
        risks[outcome] = one
        tests.append(risk_test(images, one, outcome, int(happened(calibration or images, outcome).sum())))
    return risks, tuple(tests)


def _objects(
    images: Sequence[ImageObjects],
    risks: Mapping[Change, np.ndarray],
    tests: Sequence[RiskTest],
    reference: LoadedModel,
) -> tuple[ObjectRisk, ...]:
    shown = {test.outcome: test.shown for test in tests}
    lost, relabelled = (
        risks[outcome] if shown[outcome] else np.full(len(risks[outcome]), np.nan) for outcome in OUTCOMES
    )
    label = reference.inspection.label
    rows: list[ObjectRisk] = []
    for image in images:
        for index in range(len(image.objects)):
            number, other = len(rows), int(image.runner_up_class[index])
            score = float(image.objects.scores[index])
            rows.append(
                ObjectRisk(
                    image=image.image,
                    digest=image.digest,
                    label=label(int(image.objects.class_ids[index])),
                    score=score,
                    box=tuple(map(float, image.objects.boxes[index])),
                    threshold_margin=score - image.threshold,
                    runner_up=None if other < 0 else label(other),
                    runner_up_margin=None if other < 0 else score - float(image.runner_up[index]),
                    nms_margin=_number(image.nms_margin[index]),
                    lost=_number(lost[number]),
                    relabelled=_number(relabelled[number]),
                    change=str(image.changes[index]),
                    reference_index=index,
                )
            )
    return tuple(sorted(rows, key=_risk_order))


def _risk_order(row: ObjectRisk | ClassRisk) -> float:
    return -((row.lost or 0.0) + (row.relabelled or 0.0))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _classes(objects: Sequence[ObjectRisk]) -> tuple[ClassRisk, ...]:
    by_label: dict[str, list[ObjectRisk]] = {}
    for row in objects:
        by_label.setdefault(row.label, []).append(row)
    rows = [
        ClassRisk(
            label,
            len(members),
            _mean([row.lost for row in members]),
            _mean([row.relabelled for row in members]),
            float(np.mean([row.change == Change.LOST for row in members])),
            float(np.mean([row.change == Change.RELABELLED for row in members])),
        )
        for label, members in by_label.items()
    ]
    return tuple(sorted(rows, key=_risk_order))


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None
