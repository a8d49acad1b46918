"""The main question: each object of the reference against the variants', image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qviz.datasets.labels import label_of
from qviz.features.comparison.matching import Change, Summary, changes, summarise
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, Inference

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ComparedObject:
    """One object of one image; boxes are x1, y1, x2, y2 in pixels of the original, deltas variant minus reference."""

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

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in JSON_NAMES}


JSON_NAMES = (
    "change",
    "label",
    "variant_label",
    "reference_score",
    "variant_score",
    "score_delta",
    "iou",
    "reference_box",
    "variant_box",
    "lost_because",
)


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """All objects of one image for one variant."""

    image: str
    digest: str
    objects: tuple[ComparedObject, ...]

    @property
    def summary(self) -> Summary:
        return _summary([self])

    def to_json(self) -> dict[str, Any]:
        return {"image": self.image, "objects": [found.to_json() for found in self.objects]}


@dataclass(frozen=True, slots=True, eq=False)
class ComparedVariant:
    """One variant over all images."""

    name: str
    scheme: str
    digest: str
    images: tuple[ComparedImage, ...]

    @property
    def summary(self) -> Summary:
        return _summary(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A reference against its variants. warnings: what differs beside quantization; skipped: what could not be run."""

    reference: str
    variants: tuple[ComparedVariant, ...]
    warnings: tuple[dict[str, Any], ...] = ()
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `qviz compare --json` prints it."""
        return {
            "reference": self.reference,
            "variants": [
                {
                    "name": variant.name,
                    "scheme": variant.scheme,
                    "images": [image.to_json() for image in variant.images],
                    "summary": variant.summary.to_json(),
                }
                for variant in self.variants
            ],
            "warnings": list(self.warnings),
            "skipped": list(self.skipped),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row an object and variant."""
        import pandas as pd

        rows = [
            {"variant": variant.name, "image": image.image, **found.to_json()}
            for variant in self.variants
            for image in variant.images
            for found in image.objects
        ]
        return pd.DataFrame(rows, columns=["variant", "image", *JSON_NAMES])


def compare_image(
    name: str,
    digest: str,
    reference: Inference,
    variant: Inference,
    labels: tuple[tuple[str, ...], tuple[str, ...]],
    score: float,
    iou: float,
) -> ComparedImage:
    """One image, one variant; `labels` are the reference's and the variant's."""
    rows = changes(reference.detections, variant.detections, variant.candidates, score, iou)
    sides = reference.detections.above(score), variant.detections.above(score)
    objects = tuple(
        _object(row.change, (row.reference, row.variant), sides, labels, row.iou, row.lost_because) for row in rows
    )
    return ComparedImage(name, digest, objects)


def _object(
    change: Change,
    indices: tuple[int | None, int | None],
    sides: tuple[Detections, Detections],
    labels: tuple[tuple[str, ...], tuple[str, ...]],
    iou: float | None,
    why: str | None,
) -> ComparedObject:
    facts = [_facts(side, index, names) for side, index, names in zip(sides, indices, labels, strict=True)]
    (label, score, box), (other_label, other_score, other_box) = facts
    delta = other_score - score if score is not None and other_score is not None else None
    return ComparedObject(
        change=str(change),
        label=label or other_label or "",
        variant_label=other_label,
        reference_score=score,
        variant_score=other_score,
        score_delta=delta,
        iou=iou,
        reference_box=box,
        variant_box=other_box,
        lost_because=str(why) if why is not None else None,
        reference_index=indices[0],
        variant_index=indices[1],
    )


def _facts(
    side: Detections, index: int | None, names: tuple[str, ...]
) -> tuple[str | None, float | None, tuple[float, ...] | None]:
    """(label, score, box) of one object of one side, or three times None."""
    if index is None:
        return None, None, None
    box = tuple(float(value) for value in side.boxes[index])
    return label_of(names, int(side.class_ids[index])), float(side.scores[index]), box


def _summary(images: Sequence[ComparedImage]) -> Summary:
    objects = [found for image in images for found in image.objects]
    deltas = [
        found.score_delta
        for found in objects
        if found.score_delta is not None and found.change in (Change.KEPT, Change.SHIFTED)
    ]
    return summarise((Change(found.change) for found in objects), deltas)


def compare_variant(
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[tuple[str, str]],
    inferences: Mapping[tuple[str, str], Inference],
    score: float,
    iou: float = 0.5,
) -> ComparedVariant:
    """Over the images, as (name, digest), that both models have run: inferences by (model digest, image digest)."""
    labels = reference.inspection.labels, variant.inspection.labels
    done = [
        compare_image(
            name, digest, inferences[reference.digest, digest], inferences[variant.digest, digest], labels, score, iou
        )
        for name, digest in images
        if (reference.digest, digest) in inferences and (variant.digest, digest) in inferences
    ]
    return ComparedVariant(variant.name, str(variant.scheme), variant.digest, tuple(done))


def with_remarks(comparison: Comparison, warnings: Sequence[dict[str, Any]], skipped: Sequence[str]) -> Comparison:
    """The comparison with what has to be said beside it."""
    return replace(comparison, warnings=tuple(warnings), skipped=tuple(skipped))
