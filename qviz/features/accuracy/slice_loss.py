"""Losses by slice, i.e. of objects that share a trait, either their own or their image's. `slices` computes them.

Recall is measured at the operating point. `loss`, in [-1, 1], is the reference's recall in the slice minus the
variant's. `excess`, in [-2, 2], is that loss minus the loss among all other objects for which the trait is known: how
much more the variant loses here than elsewhere. For both, positive is worse. The 95 % intervals come from the paired
bootstrap over images; significance uses Holm's correction over all slices of a variant, separately for each of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qviz.result import to_json
from qviz.structures import Loss


@dataclass(frozen=True, slots=True)
class VariantSliceLoss:
    """One variant in one slice. `recalls` are the recalls of (reference, variant) in the slice, in [0, 1]."""

    variant: str
    loss: Loss
    excess: Loss
    recalls: tuple[float | None, float | None]

    def to_json(self) -> dict[str, Any]:
        """The loss in the slice, and under `more` the difference from the other objects."""
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
        meaning: The slice in words, e.g. `dark images (brightness < 40)`.
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
class Slices:
    """Every slice, the one with the clearest loss first, and sentences about traits that could not be used."""

    rows: tuple[SliceLoss, ...]
    remarks: tuple[str, ...] = ()

    def to_json(self) -> list[dict[str, Any]]:
        return [row.to_json() for row in self.rows]
