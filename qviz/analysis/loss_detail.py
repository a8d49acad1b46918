"""What stands behind the AP of one model, and behind the loss of a variant: errors, thresholds, confusions, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qviz.analysis.average_precision import Judged, judge
from qviz.analysis.confusion import (
    Confusion,
    ImageLoss,
    Taken,
    confusions,
    image_losses,
    taken_for,
    worst_image_of,
)
from qviz.analysis.error_types import ErrorCost, error_costs
from qviz.analysis.thresholds import Reliability, ThresholdShift, reliability, threshold_shift
from qviz.detector import PAGE_SCORE
from qviz.structures import Dataset, Detections

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
