"""What a study says in words: the finding, and a line a variant. What to do next: `study_steps`.

AP in points (x100), losses reference minus variant with their 95 % intervals. Each sentence says no more than
its figures show.

What to do next, from what a study shows. Each rule says no more than its figures show; a step that a command takes
names the command.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from qviz.features.accuracy.text import NOTHING, loss_verdict
from qviz.features.comparison.matching import Summary
from qviz.features.comparison.text import (
    LEVELS,
    MIN_UNDAMAGED,
    damage_verdict,
    has_no_objects,
    image_verdict,
    level,
)
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.metrics import LayerError
from qviz.features.layer_error.outliers import MAX_CLIPPED, worst_layer
from qviz.features.layer_error.text import over_images
from qviz.features.reporting import Report
from qviz.features.reporting.study import StudiedModel, Study
from qviz.formatting import interval, points, score, share
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
        "finds nothing, as the reference." if has_no_objects(summary) else image_verdict("", summary).removeprefix(": ")
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
    layer = broken_layer(errors) if errors is not None and summary.agreement < MIN_UNDAMAGED else None
    if errors is None or layer is None:
        return ""
    where = layer_name(errors, layer)
    if (layer.clipped_share or 0.0) > MAX_CLIPPED:
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


HARMLESS = 0.01
"""AP that a variant may lose and still stand in for the reference: one point."""
RECOVERED = 0.2
"""Share of the F1 lost that another threshold must give back to be worth saying."""
F1_LOST = 0.01
"""F1 lost at the reference's threshold from which another one is worth saying."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next. name: the model it is about, "" for all; command: that takes it, where one does."""

    name: str
    reason: str
    cure: str
    command: str = ""


def next_steps(study: Study) -> list[Step]:
    """What to do, the gravest first: files at fault, variants that are hurt, thresholds, what is not known yet."""
    return [*_warned(study), *_hurt(study), *_thresholds(study), *_undecided(study), *_good(study), *_unknown(study)]


def _warned(study: Study) -> Iterator[Step]:
    for model in study.models:
        for warning in model.warnings:
            if not warning.advice:
                yield Step(model.name, warning.message, warning.cure)


def _hurt(study: Study) -> Iterator[Step]:
    """Follow what is lost, and try the worst layer in float."""
    for model in study.variants:
        summary, errors = study.summaries[model.name], study.layers.get(model.name)
        if summary.agreement >= UNHURT or not study.images:
            continue
        image = _worst_image(study, model.name)
        pair = [study.reference.file, model.file]
        if image:
            yield Step(
                model.name,
                f"Its worst image here is {image}.",
                "Trace the object that fell most: where its confidence is lost, and why.",
                _shell("trace", *pair, "--image", image),
            )
        layer = broken_layer(errors) if errors is not None else None
        if errors is not None and layer is not None and summary.agreement < MIN_UNDAMAGED:
            yield Step(
                model.name,
                f"The layer to look at first is {layer_name(errors, layer)}.",
                "See what comes back with it in float, without rebuilding.",
                _shell("what-if", *pair, "--images", "IMAGES", "--float", str(layer.order)),
            )


def _worst_image(study: Study, name: str) -> str:
    compared = next(c for m, c in zip(study.variants, study.comparison.variants, strict=True) if m.name == name)
    worst = max(compared.images, key=lambda image: image.summary.damage, default=None)
    return worst.image if worst is not None and worst.summary.damage else ""


def _thresholds(study: Study) -> Iterator[Step]:
    if study.evaluation is None:
        return
    for model, detail in zip(study.variants, study.evaluation.details, strict=True):
        first, second = detail.threshold.reference.score, detail.threshold.variant.score
        back = detail.threshold.recovered
        lost = detail.threshold.reference.f1 - detail.threshold.variant_f1_unmoved
        if first is None or second is None or first == second:
            continue
        if lost >= F1_LOST and (back or 0.0) >= RECOVERED:
            yield Step(
                model.name,
                f"Its best threshold is {second:.2f}, where the reference's is {first:.2f}.",
                f"Move it there: that alone gives back {min(back or 0.0, 1.0):.0%} of the F1 lost.",
            )


def _undecided(study: Study) -> Iterator[Step]:
    for name, loss in study.losses.items():
        if loss.ap.low is None or loss.ap.high is None or loss.ap.significant or loss.ap.high <= HARMLESS:
            continue
        images = study.evaluation.images if study.evaluation is not None else 0
        yield Step(
            name,
            f"{images} images cannot tell: it may lose up to {points(loss.ap.high)} AP points.",
            "More annotated images narrow the interval; four times as many halve it.",
        )


def _good(study: Study) -> Iterator[Step]:
    for model in study.variants:
        loss = study.losses.get(model.name)
        sure = loss is not None and loss.ap.high is not None and loss.ap.high <= HARMLESS
        seen = study.summaries[model.name]
        same = not has_no_objects(seen) and seen.agreement >= UNHURT and (loss is None or not loss.ap.significant)
        if sure or same:
            why = f"It loses less than {100 * HARMLESS:.0f} AP point" if sure else "Its objects are the reference's"
            yield Step(model.name, f"{why}, with {_size(study, model)}.", "It can stand in for the reference.")


def _size(study: Study, model: StudiedModel) -> str:
    return f"{share(model.bytes / max(study.reference.bytes, 1))} of its bytes"


def _unknown(study: Study) -> Iterator[Step]:
    files = [model.file for model in study.models]
    if study.summaries and all(has_no_objects(summary) for summary in study.summaries.values()):
        yield Step(
            "",
            f"No model finds an object from a confidence of {score(study.made.score)} on, so nothing is compared.",
            "Lower the confidence, or take images that show what the models know.",
        )
    if study.evaluation is None:
        yield Step(
            "",
            "AP is not known: no annotated images were given.",
            "Annotated images tell the loss and its interval, by class.",
            _shell("report", *files, "--dataset", "FILE", "-o", "report.html"),
        )
    if study.robustness is None:
        yield Step(
            "",
            "Only these images were seen, in the light they were taken in.",
            "Sweep light and other shifts before the variant ships.",
            _shell("robustness", *files, "--images", "IMAGES"),
        )


def _shell(*words: str) -> str:
    return shlex.join(["qviz", *words])


def verdict(report: Report) -> str:
    """The headline of the report."""
    return headline(report.study)
