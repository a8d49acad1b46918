"""Compare the objects of each variant with those of the reference, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from qviz.context import Context
from qviz.datasets.labels import label_of
from qviz.features.comparison.matching import Change, ObjectChange, Summary, changes, summarise
from qviz.features.comparison.shapes import ShapeSimilarity, shape_similarity
from qviz.features.detection import check_any_image
from qviz.features.detection.dark import dark_remarks
from qviz.features.detection.inference import Images, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.features.inspection.warning import Warning
from qviz.formatting import encodable
from qviz.result import Result, to_json
from qviz.structures import Detections, Inference
from qviz.structures.detections import CANDIDATE_FLOOR

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ComparedObject:
    """One object of one image. Boxes are x1, y1, x2, y2 in pixels of the original; deltas are variant minus reference.

    Attributes:
        change: A value of `Change`.
        label: Class in the reference; for a spurious object, class in the variant.
        lost_because: A value of `LostBecause` for a lost object, else None.
        reference_index, variant_index: Index in the model's detections above the threshold, or None.
        keypoint_similarity, mask_iou: Similarity of the keypoints and of the masks of a pair, in [0, 1], see
            `qviz.features.comparison.shapes`; None if the models have no keypoints or masks, or if there is no pair.
    """

    JSON_NAMES: ClassVar[Mapping[str, str | None]] = {"reference_index": None, "variant_index": None}

    change: str
    label: str
    variant_label: str | None
    reference_score: float | None
    variant_score: float | None
    score_delta: float | None
    iou: float | None
    reference_box: tuple[float, ...] | None
    variant_box: tuple[float, ...] | None
    lost_because: str | None
    reference_index: int | None
    variant_index: int | None
    keypoint_similarity: float | None = None
    mask_iou: float | None = None


OBJECT_COLUMNS = tuple(name for name in ComparedObject.__slots__ if name not in ComparedObject.JSON_NAMES)


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """All objects of one image for one variant, the reference's objects first. digest: digest of the image."""

    JSON_NAMES: ClassVar[Mapping[str, str | None]] = {"digest": None}

    image: str
    digest: str
    objects: tuple[ComparedObject, ...]

    @property
    def summary(self) -> Summary:
        """Counts for this image."""
        return _summary([self])


@dataclass(frozen=True, slots=True, eq=False)
class ComparedVariant:
    """The comparison of one variant on all images. digest: sha256 of the model."""

    JSON_NAMES: ClassVar[Mapping[str, str | None]] = {"digest": None}
    JSON_ALSO: ClassVar[tuple[str, ...]] = ("summary",)

    name: str
    scheme: str
    digest: str
    images: tuple[ComparedImage, ...]

    @property
    def summary(self) -> Summary:
        """Counts over all images."""
        return _summary(self.images)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Comparison(Result):
    """The comparison of a reference with each of its variants.

    Attributes:
        reference: Name of the reference.
        variants: One entry per variant.
        warnings: Reasons to doubt a model or the comparison, e.g. settings that differ.
        skipped: One sentence for each image or model that could not be run, and about images that are nearly black.
    """

    ROWS: ClassVar[str] = "variants"

    reference: str
    variants: tuple[ComparedVariant, ...]
    warnings: tuple[Warning, ...] = ()
    skipped: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """A table with one row per variant and object."""
        import pandas as pd

        rows = [
            {"variant": variant.name, "image": encodable(image.image), **to_json(row)}
            for variant in self.variants
            for image in variant.images
            for row in image.objects
        ]
        return pd.DataFrame(rows, columns=["variant", "image", *OBJECT_COLUMNS])


def compare(
    context: Context, models: Sequence[LoadedModel], images: Images, *, score: float, iou: float = 0.5
) -> Comparison:
    """Compare the objects of the first model with those of each of the others.

    Args:
        images: Encoded images, for example `ImageFiles`.
        score: Minimum confidence of an object, in [0, 1].
        iou: Minimum IoU of a matched pair, in (0, 1].

    Raises:
        ImageError: No image can be read.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGES) as session:
        ...     session.compare().variants[0].summary.agreement > 0.8
        True
    """
    reference, *variants = models
    # below the threshold, so that a lost object can be found to have only a lower score
    detected = detect_images(context, models, images, len(images), min(score, CANDIDATE_FLOOR))
    check_any_image(detected)
    compared = tuple(
        compare_variant(reference, variant, detected.images, detected.inferences, score, iou) for variant in variants
    )
    warnings = tuple(lint_all(context, models))
    dark = dark_remarks(context, images, detected, reference, score)
    return Comparison(reference.name, compared, warnings, (*detected.skipped, *dark))


Labels = tuple[tuple[str, ...], tuple[str, ...]]
"""Class names of the reference and of the variant."""


def compare_variant(
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[tuple[str, str]],
    inferences: Mapping[tuple[str, str], Inference],
    score: float,
    iou: float = 0.5,
) -> ComparedVariant:
    """Compare one variant with the reference on the images on which both have run.

    Args:
        images: (name, digest) of each image.
        inferences: (model digest, image digest) -> inference.
    """
    labels = reference.inspection.labels, variant.inspection.labels
    pairs = [
        (name, digest, inferences.get((reference.digest, digest)), inferences.get((variant.digest, digest)))
        for name, digest in images
    ]
    rows = tuple(
        compare_image(name, digest, first, second, labels, score, iou)
        for name, digest, first, second in pairs
        if first is not None and second is not None
    )
    return ComparedVariant(variant.name, str(variant.scheme), variant.digest, rows)


def compare_image(
    name: str, digest: str, reference: Inference, variant: Inference, labels: Labels, score: float, iou: float
) -> ComparedImage:
    """Compare one variant with the reference on one image."""
    rows = changes(reference.detections, variant.detections, variant.candidates, score, iou)
    first, second = reference.detections.above(score), variant.detections.above(score)
    objects = tuple(_object(row, first, second, labels) for row in rows)
    return ComparedImage(name, digest, objects)


def _object(row: ObjectChange, reference: Detections, variant: Detections, labels: Labels) -> ComparedObject:
    label, score, box = _side(reference, row.reference, labels[0])
    variant_label, variant_score, variant_box = _side(variant, row.variant, labels[1])
    shapes = ShapeSimilarity()
    if row.reference is not None and row.variant is not None:
        shapes = shape_similarity(reference, variant, (row.reference, row.variant))
    return ComparedObject(
        change=str(row.change),
        label=label or variant_label or "",
        variant_label=variant_label,
        reference_score=score,
        variant_score=variant_score,
        score_delta=None if score is None or variant_score is None else variant_score - score,
        iou=row.iou,
        reference_box=box,
        variant_box=variant_box,
        lost_because=str(row.lost_because) if row.lost_because is not None else None,
        reference_index=row.reference,
        variant_index=row.variant,
        keypoint_similarity=shapes.keypoints,
        mask_iou=shapes.masks,
    )


def _side(
    detections: Detections, index: int | None, labels: tuple[str, ...]
) -> tuple[str, float, tuple[float, ...]] | tuple[None, None, None]:
    """(label, score, box) of one detection; three times None if there is no index."""
    if index is None:
        return None, None, None
    box = tuple(float(value) for value in detections.boxes[index])
    return label_of(labels, int(detections.class_ids[index])), float(detections.scores[index]), box


def _summary(images: Sequence[ComparedImage]) -> Summary:
    objects = [row for image in images for row in image.objects]
    deltas = [
        row.score_delta
        for row in objects
        if row.score_delta is not None and row.change in (Change.KEPT, Change.SHIFTED)
    ]
    return summarise((Change(row.change) for row in objects), deltas)
