"""Losses by slice. A slice is the objects that share a trait, of their own or of their image. `slices` computes them.

Recall is measured at the operating point. `loss`, in [-1, 1], is the reference's recall in the slice minus the
variant's. `excess`, in [-2, 2], says how much more the variant loses in the slice than elsewhere: it is the loss minus
the loss among all other objects whose trait is known. For both, positive is worse. The 95 % intervals come from the
paired bootstrap over images. Significance uses Holm's correction over all slices of a variant, separately for `loss`
and `excess`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qviz.formatting import csv_text
from qviz.result import to_json
from qviz.structures import Loss


@dataclass(frozen=True, slots=True)
class VariantSliceLoss:
    """One variant in one slice. recalls: recall of (reference, variant) in the slice, in [0, 1]."""

    variant: str
    loss: Loss
    excess: Loss
    recalls: tuple[float | None, float | None]

    def to_json(self) -> dict[str, Any]:
        """The loss in the slice and, under `more`, the excess."""
        loss: dict[str, Any] = to_json(self.loss)
        return {
            "variant": self.variant,
            **loss,
            "more": to_json(self.excess),
            "reference_recall": self.recalls[0],
            "variant_recall": self.recalls[1],
        }


@dataclass(frozen=True, slots=True)
class SliceLoss:
    """One slice.

    Attributes:
        trait, group: The trait and its group, e.g. `brightness` and `dark`.
        meaning: A phrase that describes the slice, e.g. `dark images (brightness < 40)`.
        images, truths: Number of images that have objects in the slice, and number of these objects.
        losses: One entry per variant.
        image_names: Names of all images of the slice, sorted.
    """

    trait: str
    group: str
    meaning: str
    images: int
    truths: int
    losses: tuple[VariantSliceLoss, ...]
    image_names: tuple[str, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether any variant loses significantly more here than elsewhere."""
        return any(loss.excess.significant and (loss.excess.value or 0.0) > 0 for loss in self.losses)

    def to_json(self) -> dict[str, Any]:
        """One entry of `slices` in `qviz evaluate --json`, with image names only if the excess is significant."""
        return {
            "trait": self.trait,
            "group": self.group,
            "meaning": self.meaning,
            "images": self.images,
            "truths": self.truths,
            "losses": [loss.to_json() for loss in self.losses],
            "image_names": list(self.image_names) if self.significant else [],
        }


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The objects whose trait is from `low` to `high`. middle: median of the trait; losses: one entry per variant."""

    low: float
    high: float
    middle: float
    images: int
    truths: int
    losses: tuple[VariantSliceLoss, ...]

    def to_json(self) -> dict[str, Any]:
        """One entry of `slice_curves[].points` in `qviz evaluate --json`."""
        numbers = {name: getattr(self, name) for name in ("low", "high", "middle", "images", "truths")}
        return {**numbers, "losses": [loss.to_json() for loss in self.losses]}


@dataclass(frozen=True, slots=True)
class TraitCurve:
    """The loss over a continuous trait: one point per range of its values, with about equally many objects in each."""

    trait: str
    points: tuple[CurvePoint, ...]

    def to_json(self) -> dict[str, Any]:
        """One entry of `slice_curves` in `qviz evaluate --json`."""
        return {"trait": self.trait, "points": [point.to_json() for point in self.points]}


@dataclass(frozen=True, slots=True)
class Slices:
    """All slices, those with the clearest loss first.

    Attributes:
        remarks: Sentences about traits that could not be used.
        curves: The loss over each continuous trait.
    """

    rows: tuple[SliceLoss, ...]
    remarks: tuple[str, ...] = ()
    curves: tuple[TraitCurve, ...] = ()

    def to_json(self) -> list[dict[str, Any]]:
        """The slices, as `qviz evaluate --json` writes them, without the curves."""
        return [row.to_json() for row in self.rows]

    def images_to_csv(self) -> str:
        """CSV text with a row (trait, group, image) for each image of each slice; no cell can act as a formula."""
        rows = ((row.trait, row.group, name) for row in self.rows for name in row.image_names)
        return csv_text(("trait", "group", "image"), rows)
