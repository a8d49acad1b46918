"""What a study says in words: the finding, and a line a variant. What to do next: `study_steps`.

AP in points (x100), losses reference minus variant with their 95 % intervals. Each sentence says no more than
its figures show.
"""

from __future__ import annotations

from dataclasses import dataclass

from qviz.analysis.changes import Summary
from qviz.analysis.layer_error import CLIPPED, LayerError, LayerErrors
from qviz.analysis.outliers import worst_layer
from qviz.analysis.study import Study
from qviz.analysis.verdict import (
    HURT,
    LEVELS,
    NOTHING,
    damage_verdict,
    image_verdict,
    level,
    loss_verdict,
    nothing_seen,
    over_images,
)
from qviz.analysis.written import interval, points
from qviz.structures import Loss

UNHURT = LEVELS[0][0]
"""Agreement from which a variant counts as unchanged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One variant: level is the word for its agreement, sentence what it lost, place where (empty: not known)."""

    name: str
    level: str
    sentence: str
    place: str


def headline(study: Study) -> str:
    """The finding in a sentence or two, as the pages say it."""
    found = study.evaluation
    if found is not None:
        return loss_verdict(study.reference.name, found.models[0].ap, study.losses, found.reference_as_truth)
    images = max((len(variant.images) for variant in study.comparison.variants), default=0)
    return damage_verdict(study.reference.name, study.summaries, images)


def findings(study: Study) -> list[Finding]:
    """A line a variant, in the order of loading."""
    losses = study.losses
    return [
        Finding(
            name,
            level(summary.agreement),
            _lost(losses[name].ap) if name in losses else _seen(summary),
            _place(study, name, summary),
        )
        for name, summary in study.summaries.items()
    ]


def _seen(summary: Summary) -> str:
    """of 5 objects 1 lost (agreement 0.89)."""
    return (
        "finds nothing, as the reference." if nothing_seen(summary) else image_verdict("", summary).removeprefix(": ")
    )


def _lost(loss: Loss) -> str:
    """loses 0.3 AP points [-0.4, 1.1]: not significant"""
    if loss.value is None:
        return "has no AP to compare: no object is annotated."
    if abs(loss.value) <= NOTHING:
        said = "loses no AP"
    else:
        said = f"{'loses' if loss.value > 0 else 'gains'} {points(abs(loss.value))} AP points"
    if loss.low is None or loss.high is None:
        return said + ": too few images for an interval."
    low, high = (loss.low, loss.high) if loss.value > -NOTHING else (-loss.high, -loss.low)
    return f"{said} {interval(low, high)}: {'significant' if loss.significant else 'not significant'}."


def _place(study: Study, name: str, summary: Summary) -> str:
    """Where a variant that is hurt is broken, if its layers were run."""
    errors = study.layers.get(name)
    layer = broken_layer(errors) if errors is not None and summary.agreement < HURT else None
    if errors is None or layer is None:
        return ""
    where = layer_name(errors, layer)
    if (layer.clipped_share or 0.0) > CLIPPED:
        clips = f"clips {layer.clipped_share:.0%} of its values{over_images(errors)}"
        return f"{level(summary.agreement)} at {where}, which {clips}"
    return f"falls most, by {layer.fall_db:.0f} dB, at {where}" if layer.fall_db else ""


def broken_layer(errors: LayerErrors) -> LayerError | None:
    """The layer to look at first."""
    order = worst_layer(errors.layers)
    return next((layer for layer in errors.layers if layer.order == order), None)


def layer_name(errors: LayerErrors, layer: LayerError) -> str:
    """In words: the input's quantizer by what it is, others by their order and kind."""
    if layer.order == errors.layers[0].order and layer.op_kind == "QUANTIZE":
        return "the input quantizer"
    return f"operator {layer.order} ({layer.op_kind})"
