"""A study in sentences: the finding, one line per variant, and what to do next.

AP is in points (x100). Losses are the reference's value minus the variant's, with 95 % intervals. Each step is based on
a figure of the study and, if possible, has a command.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qviz.features.accuracy.text import finding as accuracy_finding
from qviz.features.accuracy.text import loss_phrase
from qviz.features.comparison.matching import Summary
from qviz.features.comparison.text import (
    MIN_UNCHANGED,
    damage_verdict,
    image_verdict,
    is_damaged,
    level,
)
from qviz.features.inspection.text import headline as with_origin
from qviz.features.layer_error.outliers import worst_layer
from qviz.features.layer_error.text import clears, largest
from qviz.features.reporting import Report
from qviz.features.reporting.card import Card
from qviz.features.reporting.study import Diagnosed, StudiedModel, Study
from qviz.features.what_if.text import culprit_sentence
from qviz.formatting import plural, points, score, share
from qviz.structures import Loss


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding on one variant.

    Attributes:
        name: Short name of the variant.
        level: Word for its agreement, see `comparison.text.LEVELS`.
        sentence: What it loses.
        layer: Sentence on the cause or the layer with the largest fall; may be empty.
    """

    name: str
    level: str
    sentence: str
    layer: str


def verdict(report: Report | Card) -> str:
    """The headline of the report, or of the model card."""
    return headline(report.study)


def headline(study: Study) -> str:
    """The finding in a sentence or two, the same as on the pages."""
    warnings = [warning for model in study.models for warning in model.warnings]
    return with_origin(warnings, _finding(study))


def _finding(study: Study) -> str:
    evaluation = study.evaluation
    if evaluation is not None:
        return accuracy_finding(evaluation, [model.name for model in study.models])
    images = max((len(variant.images) for variant in study.comparison.variants), default=0)
    return damage_verdict(study.reference.name, study.summaries, images)


def findings(study: Study) -> list[Finding]:
    """One line per variant, in the order of loading."""
    losses = study.losses
    return [
        Finding(
            name,
            level(summary.agreement),
            _loss_sentence(losses[name].ap) if name in losses else _damage_sentence(summary),
            _broken_at(study, name, summary),
        )
        for name, summary in study.summaries.items()
    ]


def _damage_sentence(summary: Summary) -> str:
    """`of 5 objects 1 lost (agreement 0.89).`"""
    if summary.agreement is None:
        return "finds nothing at this confidence, like the reference."
    return image_verdict("", summary).removeprefix(": ")


def _loss_sentence(loss: Loss) -> str:
    """`loses 0.3 AP points [-0.4, 1.1], not significant.`"""
    if loss.value is None:
        return "has no AP to compare: no object is annotated."
    few = loss.low is None or loss.high is None
    return f"{loss_phrase(loss)}{': too few images for an interval' if few else ''}."


def _broken_at(study: Study, name: str, summary: Summary) -> str:
    """Why a variant loses objects: its largest cause or, if it was not diagnosed, what its layers show.

    The latter is e.g. `The largest fall, 21 dB, is at operator 12 (CONV_2D).`, and what an experiment brought back.
    Empty if the variant is not damaged, if no layers were run, or if the two models cannot be compared.
    """
    if name in study.diagnoses:
        return cause_sentence(study.diagnoses[name])
    errors = study.layers.get(name)
    layer = worst_layer(errors.layers) if errors is not None and is_damaged(summary.agreement) else None
    if errors is None or layer is None or errors.warnings:
        return ""
    fact = largest(errors, layer)
    experiment = study.experiments.get(name)
    confirmed = "" if experiment is None else culprit_sentence(experiment)
    return confirmed if clears(experiment, layer) else f"{fact[0].upper()}{fact[1:]}. {confirmed}".strip()


def cause_sentence(diagnosed: Diagnosed) -> str:
    """The sentence of the largest cause of a diagnosis, with the number of images on which it was measured."""
    others = len(diagnosed.causes) - 1
    further = f" {plural(others, 'further cause')}." if others else ""
    return f"{diagnosed.causes[0].sentence}{further} Diagnosed on {plural(diagnosed.images, 'image')}."


HARMLESS = 0.01
"""A variant can replace the reference if the upper end of the interval of its AP loss is at most this (one point)."""
MIN_RECOVERED = 0.2
"""Another threshold is suggested only if it recovers at least this share of the lost F1."""
MIN_F1_LOST = 0.01
"""Another threshold is suggested only if the variant loses at least this much F1 at the reference's threshold."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do next.

    Attributes:
        name: Short name of the model; empty if the step concerns all models.
        reason: The figure on which the step is based.
        cure: What to do.
        command: Command that does it, or that measures what is needed to decide; may be empty.
    """

    name: str
    reason: str
    cure: str
    command: str


MAX_FIRST = 5
"""Maximum number of steps on the first sheet of a report."""


def first_steps(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """(at most MAX_FIRST steps to begin with, the other steps).

    The most serious step of every model comes first, then the second one of every model, and so on.
    """
    ranks = Counter[str]()
    rounds = []
    for position, step in enumerate(steps):
        ranks[step.name] += 1
        rounds.append((ranks[step.name], position))
    order = [position for _, position in sorted(rounds)]
    first = sorted(order[:MAX_FIRST])
    return [steps[i] for i in first], [steps[i] for i in sorted(order[MAX_FIRST:])]


def next_steps(study: Study) -> list[Step]:
    """What to do next, by kind: first faulty files, then damaged variants, thresholds, and missing measurements."""
    return [
        *_warnings(study),
        *_damaged(study),
        *_thresholds(study),
        *_undecided(study),
        *_harmless(study),
        *_unknown(study),
    ]


def _warnings(study: Study) -> Iterator[Step]:
    for model in study.models:
        for warning in model.warnings:
            if not warning.advice:
                pair = (study.reference.file, model.file)
                is_variant = model.sha256 != study.reference.sha256
                command = _shell("diagnose", *pair, "--images", "IMAGES") if is_variant else _shell("info", model.file)
                yield Step(model.name, warning.message, warning.cure, command)


def _damaged(study: Study) -> Iterator[Step]:
    """Steps for damaged variants: build a diagnosis's cure, or trace the worst object and try operators in float."""
    for model in study.variants:
        summary, errors = study.summaries[model.name], study.layers.get(model.name)
        if summary.agreement is None or summary.agreement >= MIN_UNCHANGED or not study.images:
            continue
        image = _worst_image(study, model.name)
        pair = [study.reference.file, model.file]
        if image:
            yield Step(
                model.name,
                f"Its worst image here is {image}.",
                "Trace the object whose confidence fell most, to see where it is lost and why.",
                _shell("trace", *pair, "--image", image),
            )
        if model.name in study.diagnoses:
            yield _cure_step(study, model)
            continue
        experiment = study.experiments.get(model.name)
        named = None if experiment is None else experiment.named
        if named is not None and experiment is not None:
            yield Step(
                model.name,
                culprit_sentence(experiment),
                "Build it with these operators in float or with 16-bit activations, after measuring it on more images.",
                _shell("what-if", *pair, "--images", "IMAGES", "--float", named.text),
            )
            continue
        layer = worst_layer(errors.layers) if errors is not None and not errors.warnings else None
        if errors is not None and layer is not None and is_damaged(summary.agreement):
            yield Step(
                model.name,
                f"Of its layers, {largest(errors, layer)}.",
                "Measure how much it recovers with this layer in float, without building a file.",
                _shell("what-if", *pair, "--images", "IMAGES", "--float", str(layer.order)),
            )


def _cure_step(study: Study, model: StudiedModel) -> Step:
    """The step for a diagnosed variant: its largest cause as the reason, and its first cure."""
    diagnosed = study.diagnoses[model.name]
    command = ["diagnose", study.reference.file, model.file, "--images", "IMAGES"]
    if diagnosed.cure:
        command += ["--fix", "-o", "cured.tflite", "--calibration", "CALIBRATION_IMAGES"]
    cure = diagnosed.cure or "Diagnose it on more images."
    return Step(model.name, cause_sentence(diagnosed), cure, _shell(*command))


def _worst_image(study: Study, name: str) -> str:
    rows = zip(study.variants, study.comparison.variants, strict=True)
    images = next(compared.images for model, compared in rows if model.name == name)
    worst = max(images, key=lambda image: image.summary.damage, default=None)
    return worst.image if worst is not None and worst.summary.damage else ""


def _thresholds(study: Study) -> Iterator[Step]:
    if study.evaluation is None:
        return
    for model, detail in zip(study.variants, study.evaluation.details, strict=True):
        reference, variant = detail.threshold.reference.score, detail.threshold.variant.score
        recovered = min(detail.threshold.recovered or 0.0, 1.0)
        f1_lost = detail.threshold.reference.f1 - detail.threshold.variant_f1_unmoved
        if reference is None or variant is None or reference == variant:
            continue
        if f1_lost >= MIN_F1_LOST and recovered >= MIN_RECOVERED:
            yield Step(
                model.name,
                f"Its best confidence threshold is {variant:.2f}; the reference's is {reference:.2f}.",
                f"Use {variant:.2f} for it: this alone recovers {recovered:.0%} of the lost F1.",
                _shell("compare", study.reference.file, model.file, "--images", "IMAGES", "--score", f"{variant:.2f}"),
            )


def _undecided(study: Study) -> Iterator[Step]:
    images = study.evaluation.images if study.evaluation is not None else 0
    files = {model.name: model.file for model in study.models}
    for name, loss in study.losses.items():
        if loss.ap.low is None or loss.ap.high is None or loss.ap.significant or loss.ap.high <= HARMLESS:
            continue
        yield Step(
            name,
            f"With {plural(images, 'image')} the loss is uncertain: it may be up to {points(loss.ap.high)} AP points.",
            "More annotated images narrow the interval; four times as many halve it.",
            _shell("evaluate", study.reference.file, files[name], "--dataset", "FILE"),
        )


def _harmless(study: Study) -> Iterator[Step]:
    for model in study.variants:
        loss = study.losses.get(model.name)
        is_small = loss is not None and loss.ap.high is not None and loss.ap.high <= HARMLESS
        summary = study.summaries[model.name]
        agrees = summary.agreement is not None and summary.agreement >= MIN_UNCHANGED
        if is_damaged(summary.agreement) or _floods(study, model.name):
            continue
        if is_small or (agrees and (loss is None or not loss.ap.significant)):
            reason = f"It loses less than {100 * HARMLESS:.0f} AP point" if is_small else "It finds the same objects"
            command = _shell("profile", study.reference.file, model.file)
            yield Step(model.name, f"{reason}, with {_size(study, model)}.", "It can replace the reference.", command)


def _floods(study: Study, name: str) -> bool:
    """Whether the evaluation shows that a variant floods the images with false alarms."""
    if study.evaluation is None or name not in study.losses:
        return False
    return study.evaluation.floods(study.evaluation.details[list(study.losses).index(name)])


def _size(study: Study, model: StudiedModel) -> str:
    return f"{share(model.bytes / max(study.reference.bytes, 1))} of the bytes"


def _unknown(study: Study) -> Iterator[Step]:
    files = [model.file for model in study.models]
    if study.summaries and all(summary.agreement is None for summary in study.summaries.values()):
        yield Step(
            "",
            f"No model finds an object at a confidence of {score(study.made.score)}, so nothing is compared.",
            "Lower the confidence, or use images that show objects of the models' classes.",
            _shell("compare", *files, "--images", "IMAGES", "--score", "0.1"),
        )
    if study.evaluation is None:
        yield Step(
            "",
            "AP is not known: no annotated images were given.",
            "Annotated images give the loss of AP and its interval, by class.",
            _shell("report", *files, "--dataset", "FILE", "-o", "report.html"),
        )
    if study.robustness is None:
        yield Step(
            "",
            "The models were compared on these images only, without changes of light.",
            "Measure them under other light and other corruptions before the variant ships.",
            _shell("robustness", *files, "--images", "IMAGES"),
        )


def _shell(*words: str) -> str:
    return shlex.join(["qviz", *words])
