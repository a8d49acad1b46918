"""What a study says in words: the finding, a line a variant, and what to do next.

AP in points (x100), losses reference minus variant with their 95 % intervals. Each rule says no more than its figures
show; a step that a command takes names the command.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qviz.analysis.ap_figures import Loss
from qviz.analysis.changes import Summary
from qviz.analysis.layer_error import LayerError, LayerErrors
from qviz.analysis.outliers import worst_layer
from qviz.analysis.study import StudiedModel, Study
from qviz.analysis.verdict import CLIPPED, LEVELS, NOTHING, damage_verdict, image_verdict, level, loss_verdict
from qviz.analysis.written import interval, points, share

HARMLESS = 0.01
"""AP that a variant may lose and still stand in for the reference: one point."""
RECOVERED = 0.2
"""Share of the F1 lost that another threshold must give back to be worth saying."""
F1_LOST = 0.01
"""F1 lost at the reference's threshold from which another one is worth saying."""
UNHURT, HURT = LEVELS[0][0], LEVELS[1][0]
"""Agreement from which a variant counts as unchanged, and below which it is damaged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One variant: level is the word for its agreement, sentence what it lost, place where (empty: not known)."""

    name: str
    level: str
    sentence: str
    place: str


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next. name: the model it is about, "" for all; command: that takes it, where one does."""

    name: str
    reason: str
    cure: str
    command: str = ""


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
            _lost(losses[name].ap) if name in losses else image_verdict("", summary).removeprefix(": "),
            _place(study, name, summary),
        )
        for name, summary in study.summaries.items()
    ]


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
    layer = _broken_layer(errors) if errors is not None and summary.agreement < HURT else None
    if errors is None or layer is None:
        return ""
    where = _layer_name(errors, layer)
    if (layer.clipped_share or 0.0) > CLIPPED:
        return f"{level(summary.agreement)} at {where}, which clips {layer.clipped_share:.0%} of its values"
    return f"falls most, by {layer.fall_db:.0f} dB, at {where}" if layer.fall_db else ""


def _broken_layer(errors: LayerErrors) -> LayerError | None:
    order = worst_layer(errors.layers)
    return next((layer for layer in errors.layers if layer.order == order), None)


def _layer_name(errors: LayerErrors, layer: LayerError) -> str:
    if layer.order == errors.layers[0].order and layer.op_kind == "QUANTIZE":
        return "the input quantizer"
    return f"operator {layer.order} ({layer.op_kind})"


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
        layer = _broken_layer(errors) if errors is not None else None
        if errors is not None and layer is not None and summary.agreement < HURT:
            yield Step(
                model.name,
                f"The layer to look at first is {_layer_name(errors, layer)}.",
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
        same = study.summaries[model.name].agreement >= UNHURT and (loss is None or not loss.ap.significant)
        if sure or same:
            why = f"It loses less than {100 * HARMLESS:.0f} AP point" if sure else "Its objects are the reference's"
            yield Step(model.name, f"{why}, with {_size(study, model)}.", "It can stand in for the reference.")


def _size(study: Study, model: StudiedModel) -> str:
    return f"{share(model.bytes / max(study.reference.bytes, 1))} of its bytes"


def _unknown(study: Study) -> Iterator[Step]:
    files = [model.file for model in study.models]
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


def told_apart(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """The steps by the model they are about, in their order."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.name, []).append(step)
    return found
