"""Measure models on one dataset: their AP if objects are annotated, or else their agreement with the reference.

    evaluator = Evaluator(context, [reference, variant], dataset)
    reference, variant = (evaluator.measure(context, model).result() for model in models)
    loss = mean_loss([reference], [variant], evaluator.images)

AP counts detections with at least the evaluator's `score`; agreement counts those with at least `PAGE_SCORE`. All
measurements on one dataset use the same resamples of its images, so that differences between their draws are paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from qviz.context import Context
from qviz.corruptions import moved_boxes
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.errors import DatasetError, ModelError
from qviz.features.accuracy.ap import tables
from qviz.features.accuracy.bootstrap import RESAMPLES, draws, interval
from qviz.features.accuracy.coco.tables import mean_ap
from qviz.features.accuracy.confusion import model_confusions
from qviz.features.accuracy.mismatch import MAX_AP, mismatch
from qviz.features.accuracy.truth import as_truths, category_ids, with_classes
from qviz.features.comparison.matching import agreed, agreement, agreement_of, confidences, softly_agreed
from qviz.features.detection.inference import Detected, Reading, detect_images
from qviz.features.detection.inferences import ModelDetections
from qviz.features.detection.models import LoadedModel
from qviz.structures import (
    AppliedCorruption,
    Dataset,
    DatasetImage,
    Detections,
    EncodedImage,
    Inference,
    Loss,
)
from qviz.structures.boxes import area
from qviz.structures.detections import CANDIDATE_FLOOR

Corruptions = Sequence[AppliedCorruption | None]
"""Corruptions to measure under; None stands for the image without corruption."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """One model on one dataset, under one corruption or none.

    Attributes:
        ap: AP in [0, 1]; None if nothing is annotated, or if the corruption moved every object out of the picture.
        ap_draws: (resamples,) AP of each resample of the images; None if nothing is annotated.
        agreement: In [0, 1], with the reference's objects on the images without corruption; None if neither has one.
        agreement_draws: (resamples,) agreement of each resample; NaN where it is unknown.
        mean_score: Mean confidence that this model gives to the reference's objects; 0 for an object it does not find.
        still_found: Share of the model's own objects on the images without corruption that it still finds.
        false_alarms: Number per image of objects with a score of at least `PAGE_SCORE` that match no annotated object;
            None if nothing is annotated.
        soft_agreement: Agreement in [0, 1] in which objects count by their confidence (`softly_agreed`), from
            `CANDIDATE_FLOOR` up; None if neither model has an object.
    """

    ap: float | None
    ap_draws: np.ndarray | None
    agreement: float | None
    agreement_draws: np.ndarray
    mean_score: float | None
    still_found: float | None
    false_alarms: float | None = None
    soft_agreement: float | None = None

    @property
    def value(self) -> float | None:
        """AP, or agreement if nothing is annotated."""
        return self.agreement if self.ap_draws is None else self.ap

    @property
    def draws(self) -> np.ndarray:
        """(resamples,) `value` of each resample of the images."""
        return self.agreement_draws if self.ap_draws is None else self.ap_draws

    def in_agreement(self) -> Measurement:
        """The same measurement without AP: its value is the agreement."""
        return replace(self, ap=None, ap_draws=None)


def mean_loss(references: Sequence[Measurement], variants: Sequence[Measurement], images: int) -> Loss:
    """Mean value of the references minus mean value of the variants, with the 95 % interval of the paired bootstrap.

    `images` is the number of images on which both were measured.
    """
    values = [row.value for row in (*references, *variants)]
    if not references or not variants or any(value is None for value in values):
        return Loss(None)
    numbers = np.array(values, np.float64)
    first, second = (np.mean([row.draws for row in rows], axis=0) for rows in (references, variants))
    low, high = interval(first - second, images)
    significant = None if low is None or high is None else low > 0 or high < 0
    return Loss(float(numbers[: len(references)].mean() - numbers[len(references) :].mean()), low, high, significant)


class Evaluator:
    """Measures models on one dataset.

    The constructor runs its models immediately. All measurements use only the images that every one of these models
    could process. `detect` runs further models, or corrupted versions of these images.

    Args:
        context: If it has `classes`, only these categories count.
        models: The models, the reference first.
        score: Minimum confidence of a detection that counts in AP.
        reference_as_truth: Use the reference's own objects as annotations.
        shapes: Whether detections have keypoints and masks, if the models do.

    Attributes:
        dataset: The images that all models of the constructor could process, with their ground truth.
        skipped: One sentence per image that was left out.

    Raises:
        Cancelled, DatasetError: No image could be run with every model.
    """

    def __init__(
        self,
        context: Context,
        models: Sequence[LoadedModel],
        dataset: Dataset,
        score: float = AP_SCORE,
        reference_as_truth: bool = False,
        shapes: bool = False,
    ) -> None:
        self._categories = dataset.categories
        if context.classes and dataset.categories:
            dataset = with_classes(dataset, context.classes)
        self.reference, self.dataset, self._score = models[0], dataset, score
        self._reading, self._reference_as_truth, self._shapes = Reading(), reference_as_truth, shapes
        detected = self.detect(context, models)
        self.skipped = (*dataset.skipped, *detected.skipped, *self._reading.unread)
        self._clean = detected.inferences
        images = tuple(image for image in dataset.images if all(self._has_run(model, image) for model in models))
        if not images:
            raise DatasetError("No image could be run with every model. " + " ".join(self.skipped[:3]))
        self.dataset = replace(dataset, images=images)
        if reference_as_truth:
            self.dataset = as_truths(self.dataset, self.detections(self.reference), self.reference.inspection)

    @property
    def images(self) -> int:
        """Number of images on which models are measured."""
        return len(self.dataset.images)

    @property
    def annotated(self) -> bool:
        """Whether any object is annotated, so that AP is known."""
        return self.dataset.annotations > 0

    def check_truth(self, ap: float | None) -> None:
        """Raise DatasetError if the reference, with this AP, detects (nearly) none of the annotated objects."""
        if ap is None or ap < MAX_AP:
            sizes, name = self.sizes(self.reference), self.reference.name
            label, detections = self.reference.inspection.label, self.detections(self.reference)
            reason = mismatch(self.dataset, detections, label, sizes)
            raise DatasetError(f"{name} detects none of the annotated objects. {reason}")

    @property
    def digests(self) -> Mapping[int, str]:
        """Image id -> digest of the image, for all images that could be read."""
        return self._reading.digests

    @property
    def digest(self) -> str:
        """sha256 of the images and their annotations."""
        hashed = hashlib.sha256()
        for image in self.dataset.images:
            hashed.update(self.digests[image.id].encode())
            for values in (image.boxes, image.category_ids, image.is_crowd, image.areas):
                hashed.update(np.ascontiguousarray(values).tobytes() + b"\n")
        hashed.update(repr([(row.id, row.name) for row in self.dataset.categories]).encode())
        return hashed.hexdigest()

    def detect(self, context: Context, models: Sequence[LoadedModel], corruptions: Corruptions = (None,)) -> Detected:
        """Run models on every image of the dataset under each corruption. Raises Cancelled if the user stops it."""
        images, total = self._read(corruptions), len(self.dataset.images) * len(corruptions)
        return detect_images(context, models, images, total, self._score, candidates=False, shapes=self._shapes)

    def sizes(self, model: LoadedModel) -> dict[int, tuple[int, int]]:
        """Image id -> (width, height) of the decoded image."""
        runs = {image.id: self._clean[model.digest, self.digests[image.id]] for image in self.dataset.images}
        return {number: (run.width, run.height) for number, run in runs.items()}

    def detections(self, model: LoadedModel) -> Mapping[int, Detections]:
        """Image id -> detections of one of the constructor's models, in pixels of the original image."""
        digests = {image.id: self.digests[image.id] for image in self.dataset.images}
        return ModelDetections(self._clean, model.digest, digests)

    def classes(self, model: LoadedModel) -> Mapping[int, int]:
        """Class id of the model -> category id of the dataset."""
        if self._reference_as_truth:  # as_truths uses class ids as category ids
            return {
                int(class_id): int(class_id)
                for detections in self.detections(model).values()
                for class_id in detections.class_ids
            }
        counted = {category.id for category in self.dataset.categories}
        matched = category_ids(model.inspection.labels, self._categories)
        return {class_id: number for class_id, number in matched.items() if number in counted}

    def measure(
        self,
        context: Context,
        model: LoadedModel,
        detected: Detected | None = None,
        corruption: AppliedCorruption | None = None,
        resamples: int = RESAMPLES,
    ) -> Future[Measurement]:
        """Measure a model in a worker.

        Args:
            detected: Result of `detect`; not needed for one of the constructor's models without corruption.
            resamples: Number of resamples for the intervals; 0 for no intervals.

        Raises:
            ModelError: The model failed on some of the images.
        """
        inferences = self._clean if detected is None else detected.inferences
        missing = [image for image in self.dataset.images if not self._has_run(model, image, inferences, corruption)]
        if missing:
            failed = "1 image" if len(missing) == 1 else f"{len(missing)} images"
            reason = " ".join(detected.skipped[-1:]) if detected is not None else ""
            raise ModelError(f"{model.name} failed on {failed}. {reason}".rstrip())
        rows = [self._measured_image(model, image, inferences, corruption) for image in self.dataset.images]
        if not self.annotated:
            return context.engine.submit(measure_job, rows, None, {}, corruption, resamples)
        ground_truth = replace(self.dataset, images=(), skipped=())
        return context.engine.submit(measure_job, rows, ground_truth, self.classes(model), corruption, resamples)

    def agreement_counts(self, model: LoadedModel) -> np.ndarray:
        """(images, 2) counts of one of the constructor's models, in the form that `agreement` takes."""
        reference, variant = self.detections(self.reference), self.detections(model)
        rows = [agreed(reference[image.id], variant[image.id], PAGE_SCORE) for image in self.dataset.images]
        return np.array(rows).reshape(-1, 2)

    def _read(self, corruptions: Corruptions) -> Iterator[EncodedImage]:
        for image in self._reading.of(self.dataset.images):
            yield from (image.under(corruption) for corruption in corruptions)

    def _digest(self, image: DatasetImage, corruption: AppliedCorruption | None) -> str:
        return EncodedImage(image.name, b"", self.digests.get(image.id, "-")).under(corruption).digest

    def _has_run(
        self,
        model: LoadedModel,
        image: DatasetImage,
        inferences: Mapping[tuple[str, str], Inference] | None = None,
        corruption: AppliedCorruption | None = None,
    ) -> bool:
        rows = self._clean if inferences is None else inferences
        return (model.digest, self._digest(image, corruption)) in rows

    def _measured_image(
        self,
        model: LoadedModel,
        image: DatasetImage,
        inferences: Mapping[tuple[str, str], Inference],
        corruption: AppliedCorruption | None,
    ) -> MeasuredImage:
        digest = self.digests[image.id]
        reference = self._clean[self.reference.digest, digest]
        detections = inferences[model.digest, self._digest(image, corruption)].detections
        clean = self._clean.get((model.digest, digest))
        return MeasuredImage(
            image=image.without_bytes(),
            size=(reference.width, reference.height),
            digest=digest,
            reference=reference.detections.above(CANDIDATE_FLOOR),
            clean_objects=(detections if clean is None else clean.detections).above(PAGE_SCORE),
            detections=detections,
        )


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredImage:
    """The data of one image that a measurement needs, without the image's bytes.

    Attributes:
        image: The image without corruption, with its ground truth.
        size: (width, height) of the original image.
        digest: Digest of the image without corruption.
        reference: Objects of the reference on the image without corruption, from `CANDIDATE_FLOOR` up.
        clean_objects: Objects of this model on the image without corruption, from `PAGE_SCORE` up.
        detections: Detections of this model under the corruption.
    """

    image: DatasetImage
    size: tuple[int, int]
    digest: str
    reference: Detections
    clean_objects: Detections
    detections: Detections

    def under(self, corruption: AppliedCorruption | None) -> MeasuredImage:
        """A copy whose boxes are moved as the corruption moves them; objects that leave the picture are dropped."""
        if corruption is None:
            return self
        encoded = EncodedImage(self.image.name, b"", self.digest).under(corruption)
        boxes, inside = moved_boxes(self.image.boxes, self.size, encoded)
        if boxes is self.image.boxes:
            return self
        image = self.image.with_objects(inside)
        image = replace(image, boxes=boxes[inside], areas=_moved_areas(self.image, boxes)[inside])
        reference, clean_objects = (
            _moved(objects, self.size, encoded) for objects in (self.reference, self.clean_objects)
        )
        return replace(self, image=image, reference=reference, clean_objects=clean_objects)


def _moved(objects: Detections, size: tuple[int, int], encoded: EncodedImage) -> Detections:
    boxes, inside = moved_boxes(objects.boxes, size, encoded)
    return replace(objects, boxes=boxes.astype(np.float32))[inside]


def _moved_areas(image: DatasetImage, boxes: np.ndarray) -> np.ndarray:
    """(n,) areas of the objects with moved boxes: a segmentation is assumed to fill the same share of its box."""
    before = np.maximum(area(image.boxes), 1e-9)
    return np.asarray(image.areas * area(boxes) / before, float)


def measure_job(
    images: Sequence[MeasuredImage],
    ground_truth: Dataset | None,
    classes: Mapping[int, int],
    corruption: AppliedCorruption | None,
    resamples: int = RESAMPLES,
) -> Measurement:
    """Measure in a worker. `ground_truth` has categories but no images; it is None if nothing is annotated."""
    rows = [image.under(corruption) for image in images]
    counts = np.array([agreed(row.reference, row.detections, PAGE_SCORE) for row in rows]).reshape(-1, 2)
    soft = np.array([softly_agreed(row.reference, row.detections, CANDIDATE_FLOOR) for row in rows]).reshape(-1, 2)
    weights = _weights(len(rows), resamples)
    ap, ap_draws = (None, None) if ground_truth is None else _ap(rows, ground_truth, classes, weights)
    return Measurement(
        ap=ap,
        ap_draws=ap_draws,
        agreement=agreement_of(counts),
        agreement_draws=agreement(counts, weights),
        mean_score=_mean([confidences(row.reference.above(PAGE_SCORE), row.detections) for row in rows]),
        still_found=_mean([confidences(row.clean_objects, row.detections) >= PAGE_SCORE for row in rows]),
        false_alarms=None if ground_truth is None else _false_alarms(rows, ground_truth, classes),
        soft_agreement=agreement_of(soft),
    )


FLOOD_FACTOR, FLOOD_EXTRA = 1.1, 0.1
"""A variant floods images if it has more than FLOOD_FACTOR times the reference's false alarms per image plus
FLOOD_EXTRA."""


def floods(reference: Measurement, variant: Measurement) -> bool:
    """Whether a variant has many more false alarms than the reference, which AP hardly shows."""
    first, second = reference.false_alarms, variant.false_alarms
    return first is not None and second is not None and is_flood(first, second)


def is_flood(reference: float, variant: float) -> bool:
    """Whether the variant has many more false alarms per image than the reference."""
    return variant > FLOOD_FACTOR * reference + FLOOD_EXTRA


def _false_alarms(rows: Sequence[MeasuredImage], ground_truth: Dataset, classes: Mapping[int, int]) -> float:
    dataset = replace(ground_truth, images=tuple(row.image for row in rows))
    counts = model_confusions(dataset, {row.image.id: row.detections for row in rows}, classes, PAGE_SCORE).false_alarms
    return sum(counts.values()) / max(len(rows), 1)


def _ap(
    rows: Sequence[MeasuredImage], ground_truth: Dataset, classes: Mapping[int, int], weights: np.ndarray
) -> tuple[float | None, np.ndarray]:
    dataset = replace(ground_truth, images=tuple(row.image for row in rows))
    matched = tables(dataset, {row.image.id: row.detections for row in rows}, classes)
    if not matched.classes:
        return None, np.full(len(weights), np.nan)  # the corruption has moved every object out of the picture
    value, *drawn = mean_ap(matched.class_ap(np.vstack([np.ones(len(rows)), weights])))
    return None if np.isnan(value) else float(value), np.array(drawn)


def _mean(rows: Sequence[np.ndarray]) -> float | None:
    values = np.concatenate([np.empty(0), *rows])
    return float(values.mean()) if len(values) else None


@lru_cache(maxsize=2)
def _weights(images: int, resamples: int) -> np.ndarray:
    """(resamples, images) weights. They are the same for every measurement, so that the bootstrap is paired."""
    return draws(images, resamples).astype(np.float64) if resamples else np.empty((0, images))
