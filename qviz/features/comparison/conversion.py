"""Which losses against an ONNX reference are the converter's, and which the quantizer's.

The float32 .tflite file lies between the ONNX reference and a quantized variant. What the float32 file loses is the
converter's share; the rest of the variant's loss is the quantizer's. This holds for objects and for AP.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qviz.features.comparison import ComparedVariant, Comparison
from qviz.features.comparison.matching import Change
from qviz.features.inspection.lint import CONVERTED_FILE
from qviz.features.inspection.warning import Warning


@dataclass(frozen=True, slots=True)
class LostShares:
    """The objects of an ONNX reference that a variant loses or gives another class.

    Attributes:
        variant: Name of the variant.
        by_conversion: Number of these objects that the float32 file also loses or gives another class.
        by_quantization: Number of the other objects.
    """

    variant: str
    by_conversion: int
    by_quantization: int


def converted_file(warnings: Iterable[Warning]) -> str | None:
    """Name of the float32 file that separates the two shares, or None if there is no such file."""
    return next((warning.model for warning in warnings if warning.code == CONVERTED_FILE), None)


def lost_shares(result: Comparison) -> list[LostShares]:
    """The shares of every variant but the float32 file; empty if there is no such file."""
    name = converted_file(result.warnings)
    converted = next((variant for variant in result.variants if variant.name == name), None)
    if converted is None:
        return []
    before = _lost(converted)
    shares = []
    for variant in result.variants:
        if variant is not converted:
            lost = _lost(variant)
            shares.append(LostShares(variant.name, len(lost & before), len(lost - before)))
    return shares


def _lost(variant: ComparedVariant) -> set[tuple[str, int | None]]:
    """(digest of the image, index in the reference) of each object that is lost or has another class."""
    return {
        (image.digest, row.reference_index)
        for image in variant.images
        for row in image.objects
        if row.change in (Change.LOST, Change.RELABELLED)
    }
