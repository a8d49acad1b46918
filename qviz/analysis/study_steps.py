"""What to do next, from what a study shows. Each rule says no more than its figures show; a step that a command takes
names the command.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from qviz.analysis.study import StudiedModel, Study
from qviz.analysis.study_verdict import UNHURT, broken_layer, layer_name
from qviz.analysis.verdict import HURT, nothing_seen
from qviz.analysis.written import points, score, share

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
        if errors is not None and layer is not None and summary.agreement < HURT:
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
        same = not nothing_seen(seen) and seen.agreement >= UNHURT and (loss is None or not loss.ap.significant)
        if sure or same:
            why = f"It loses less than {100 * HARMLESS:.0f} AP point" if sure else "Its objects are the reference's"
            yield Step(model.name, f"{why}, with {_size(study, model)}.", "It can stand in for the reference.")


def _size(study: Study, model: StudiedModel) -> str:
    return f"{share(model.bytes / max(study.reference.bytes, 1))} of its bytes"


def _unknown(study: Study) -> Iterator[Step]:
    files = [model.file for model in study.models]
    if study.summaries and all(nothing_seen(summary) for summary in study.summaries.values()):
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
