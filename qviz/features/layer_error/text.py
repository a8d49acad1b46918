"""Errors of layers in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.noise import NoiseBudget
from qviz.features.layer_error.outliers import MAX_CLIPPED, end_sqnr_db, worst_layer, worst_variant
from qviz.formatting import plural


def verdict(result: LayerErrors | NoiseBudget) -> str:
    """Where the variant loses most; or what other kernels change."""
    if isinstance(result, NoiseBudget):
        return " ".join(noise.sentence for noise in result.sets)
    return layers_verdict({result.variant: result})


def layers_verdict(results: Mapping[str, LayerErrors]) -> str:
    """Where the worst variant loses most: the quantizer that clips most, else the largest fall of cumulative SQNR."""
    name = worst_variant(results)
    if name is None:
        return "No layer differs from the reference."
    layers = results[name].layers
    start = f"{name} ends at {end_sqnr_db(results[name]) or 0:.0f} dB"
    worst = worst_layer(layers)
    if worst is not None and (worst.clipped_share or 0.0) > MAX_CLIPPED:
        where = "the input quantizer" if worst.order == layers[0].order else f"operator {worst.order}"
        clips = f"clips {worst.clipped_share:.0%} of its values{over_images(results[name])}"
        return f"{start}; {where} ({worst.op_kind}) {clips}."
    if worst is None or (worst.fall_db or 0.0) <= 0:
        return start + "."
    return f"{start}; the largest fall, {worst.fall_db:.0f} dB, is at operator {worst.order} ({worst.op_kind})."


def over_images(errors: LayerErrors) -> str:
    """` on 8 images`: a share differs from image to image, so its images are named."""
    return f" on {plural(errors.images, 'image')}"
