"""Errors of layers in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from qviz.features.layer_error import CLIPPED, LayerErrors


def layers_verdict(results: Mapping[str, LayerErrors]) -> str:
    """Where the worst variant loses most, by the fall of its cumulative SQNR or by what its quantizers clip."""
    ends = {name: end for name, errors in results.items() if (end := _end(errors)) is not None}
    if not ends:
        return "No layer differs from the reference."
    name = min(ends, key=lambda key: ends[key])
    layers = results[name].layers
    said = f"{name} ends at {ends[name]:.0f} dB"
    clipped = max(layers, key=lambda layer: layer.clipped_share or 0.0)
    if (clipped.clipped_share or 0.0) > CLIPPED:
        place = "the input quantizer" if clipped.order == layers[0].order else f"operator {clipped.order}"
        clips = f"clips {clipped.clipped_share:.0%} of its values{over_images(results[name])}"
        return f"{said}; {place} ({clipped.op_kind}) {clips}."
    steepest = max(layers, key=lambda layer: layer.fall_db or 0.0)
    if not steepest.fall_db:
        return said + "."
    return f"{said}; it falls most, by {steepest.fall_db:.0f} dB, at operator {steepest.order} ({steepest.op_kind})."


def over_images(errors: LayerErrors) -> str:
    """Other images, other shares: what a share was counted on."""
    return f" on {errors.images} image{'' if errors.images == 1 else 's'}"


def _end(errors: LayerErrors) -> float | None:
    """The cumulative SQNR of the last layer that differs."""
    known = [layer.cumulative_sqnr_db for layer in errors.layers if layer.cumulative_sqnr_db is not None]
    return known[-1] if known else None
