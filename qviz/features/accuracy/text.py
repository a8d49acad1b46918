"""An evaluation in a few sentences, and as Markdown for a pull request or the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import TABLE_METRICS, ClassLoss, VariantLoss
from qviz.features.accuracy.dataset_health import DatasetHealth
from qviz.features.accuracy.gate import Gate, flood_sentence
from qviz.features.accuracy.shapes import ShapeAccuracy
from qviz.features.comparison.conversion import converted_file
from qviz.features.comparison.matching import worst_first
from qviz.features.comparison.shapes import COCO_SIGMAS
from qviz.features.comparison.text import NO_LOSS, disagreement
from qviz.features.inspection.text import headline
from qviz.formatting import UNKNOWN, interval, plural, points, signed_points
from qviz.structures import Loss

SHOWN_CLASSES = 5
COCO_POINTS = len(COCO_SIGMAS)


def verdict(result: Evaluation | DatasetHealth) -> str:
    """The AP of the reference and the losses, the largest first; or the worst problem of a dataset."""
    if isinstance(result, DatasetHealth):
        return health_verdict(result)
    return headline(result.warnings, finding(result, [model.name for model in result.models]))


def finding(result: Evaluation, names: Sequence[str]) -> str:
    """The verdict without warnings. `names` are the shown names of all models, the reference first."""
    if problem := undetected_truth(result):
        return problem
    reference, *variants = names
    losses = dict(zip(variants, result.losses, strict=True))
    losses_of_ap = loss_verdict(reference, result.models[0].ap, losses, result.reference_as_truth)
    further = (*shape_sentences(result, names), *conversion_sentences(result, names), *_beside_ap(result, names))
    return " ".join((losses_of_ap, *further))


def shape_sentences(result: Evaluation, names: Sequence[str]) -> list[str]:
    """Sentences on the AP of the reference's keypoints and masks, and on its loss. names: as in `finding`."""
    sentences = []
    for row in result.shapes:
        reference = row.models[0] if row.models else None
        losses = {name: loss for name, loss in zip(names[1:], row.losses, strict=False) if loss is not None}
        if reference is not None and losses:
            sentences.append(f"{row.kind.capitalize()}: {loss_verdict(names[0], reference.ap, losses)}")
        elif reference is not None:
            sentences.append(f"{row.kind.capitalize()}: {names[0]} reaches {points(reference.ap)} AP.")
    return sentences


def shape_caption(row: ShapeAccuracy) -> str:
    """The caption of a table of AP of keypoints or masks: the measure of overlap and the number of objects."""
    if row.kind == "masks":
        measure = "the IoU of masks"
    else:
        deviations = "COCO's deviations" if row.points == COCO_POINTS else f"deviations of 1 / {row.points}"
        measure = f"the similarity of keypoints (OKS, {deviations})"
    return f"AP of {row.kind}, matched by {measure}; {plural(row.objects, 'object')}"


def conversion_sentences(result: Evaluation, names: Sequence[str]) -> list[str]:
    """Sentences that divide each loss against an ONNX reference into the converter's and the quantizer's share.

    The shown shares add up to the shown loss. Empty unless one of the variants is the float32 file that the ONNX model
    was converted to. names: as in `finding`.
    """
    converted = converted_file(result.warnings)
    rows = [(name, model) for name, model in zip(names, result.models, strict=True) if model.ap is not None]
    between = next(((name, model) for name, model in rows[1:] if model.name == converted), None)
    reference = result.models[0].ap
    if between is None or reference is None or between[1].ap is None:
        return []
    by_conversion = _tenths(reference - between[1].ap)
    sentences = []
    for name, model in rows[1:]:
        if model.name != converted and model.ap is not None and reference - model.ap > NO_LOSS:
            total = _tenths(reference - model.ap)
            sentences.append(
                f"Of the {total / 10:.1f} points that {name} loses, {by_conversion / 10:.1f} were lost in the"
                f" conversion ({names[0]} to {between[0]}) and {(total - by_conversion) / 10:.1f} in the quantization."
            )
    return sentences


def _tenths(loss: float) -> int:
    """A loss of AP in [0, 1], rounded to tenths of a point: integers, so that shown shares add up."""
    return round(loss * 1000)


def _beside_ap(result: Evaluation, names: Sequence[str]) -> list[str]:
    """Sentences on what AP does not show: many more false alarms, or an agreement that contradicts the loss of AP.

    names: as in `finding`.
    """
    reference, *variants = names
    sentences = [flood_sentence(result, index, reference, name) for index, name in enumerate(variants)]
    changes = [
        (worst_first(detail.agreement), disagreement(name, detail.agreement, loss.ap, result.images))
        for name, loss, detail in zip(variants, result.losses, result.details, strict=True)
    ]
    explained = [(agreement, text) for agreement, text in changes if text]
    return [*filter(None, sentences), *([min(explained)[1]] if explained else [])]


def health_verdict(result: DatasetHealth) -> str:
    """The numbers of images, objects and categories of a dataset, and its worst problem."""
    counts = f"{plural(result.images, 'image')}, {plural(result.annotations, 'object')}"
    opening = f"{result.dataset}: {counts} in {plural(len(result.categories), 'category')}"
    if not result.problems:
        return f"{opening}; no problem."
    serious = sum(problem.serious for problem in result.problems)
    verb = "makes" if serious == 1 else "make"
    worst = f", {serious} of which {verb} AP meaningless" if serious else "; none makes AP meaningless"
    return f"{opening}; {plural(len(result.problems), 'problem')}{worst}. {result.problems[0].message}"


def undetected_truth(result: Evaluation) -> str:
    """A message if the reference detects (nearly) none of the objects, with the likely reason; else empty."""
    problem = next((problem for problem in result.problems if problem.code == "reference_finds_nothing"), None)
    return problem.message if problem is not None and problem.serious else ""


def loss_verdict(
    reference: str, ap: float | None, losses: Mapping[str, VariantLoss], reference_as_truth: bool = False
) -> str:
    """The AP of the reference and the losses, the largest first, with their intervals (x100).

    `losses` maps the shown name of each variant to its loss.
    """
    if ap is None:
        return "Annotated images are needed to measure accuracy."
    if not losses:
        return f"{reference} reaches {points(ap)} AP. Add a quantized variant to measure its loss."
    ranked = sorted(losses.items(), key=lambda item: -(item[1].ap.value or 0.0))
    (name, worst), others = ranked[0], ranked[1:]
    if reference_as_truth:
        opening = f"Measured against {reference}'s own detections, "
    else:
        opening = f"{reference} reaches {points(ap)} AP; "
    if worst.ap.value is None:
        return f"{opening}the loss of {name} is unknown."
    if worst.ap.value <= NO_LOSS:
        return opening + ("no variant loses AP." if others else f"{name} {loss_phrase(worst.ap)}.")
    top = _class_to_name(worst)
    top_class = f", most in {top.label} ({points(top.loss.value)})" if top is not None else ""
    return f"{opening}{name} {loss_phrase(worst.ap)}{top_class}.{_other_losses(others)}"


def loss_phrase(loss: Loss) -> str:
    """`loses 10.0 AP points [4.0, 16.0], significant`, or `has a loss of -1.7 AP points (better) [-8.9, 0.4], not ...`

    Positive is worse, as in every table.
    """
    if loss.value is None:
        return "has an unknown loss of AP"
    if abs(loss.value) <= NO_LOSS:
        return "loses no AP"
    better = loss.value < 0
    amount = f"{points(loss.value)} AP points"
    amount = f"has a loss of {amount} (better)" if better else f"loses {amount}"
    if loss.low is None or loss.high is None:
        return amount
    return f"{amount} {interval(loss.low, loss.high)}, {'significant' if loss.significant else 'not significant'}"


def _class_to_name(loss: VariantLoss) -> ClassLoss | None:
    """The worst class to mention, or None. If there are intervals, only classes with a significant loss are eligible.

    Without this restriction, it would nearly always be a class with a single object.
    """
    no_intervals = loss.ap.low is None  # too few images
    return next(
        (row for row in loss.per_class if (row.loss.value or 0) > 0 and (no_intervals or row.loss.significant)), None
    )


def _other_losses(others: Sequence[tuple[str, VariantLoss]]) -> str:
    """Sentences on the other variants: their significant losses and, of all others, the largest loss."""
    if len(others) == 1:
        ((name, loss),) = others
        return f" {name} {loss_phrase(loss.ap)}."
    significant = [(name, loss) for name, loss in others if loss.ap.significant and (loss.ap.value or 0.0) > NO_LOSS]
    rest = [loss.ap.value or 0.0 for name, loss in others if (name, loss) not in significant]
    sentences = "".join(f" {name} {loss_phrase(loss.ap)}." for name, loss in significant)
    if not rest:
        return sentences
    subject = "The other variant loses" if len(rest) == 1 else f"The other {len(rest)} variants lose"
    amount = "none" if max(rest) <= NO_LOSS else f"at most {points(max(rest))}, not significant"
    return f"{sentences} {subject} {amount}."


def markdown(result: Evaluation, *gates: Gate) -> str:
    """Gates, models, losses and worst classes as Markdown, with AP x100. Names from files are escaped."""
    counts = f"{plural(result.images, 'image')}, {plural(result.annotations, 'object')}"
    parts = [f"## qviz: {plain(result.dataset)}, {counts}"]
    for gate in gates:
        outcome = f"**failed** by {', '.join(map(plain, gate.failed))}" if gate.failed else gate.outcome
        parts.append(f"Gate, {gate.condition}: {outcome}.")
        parts += [plain(remark) for remark in gate.sentences]
    if result.reference_as_truth:
        parts.append("The reference's own detections serve as the ground truth: AP is agreement with it, not accuracy.")
    models = [[plain(model.name), *(metric.text(model) for metric in TABLE_METRICS)] for model in result.models]
    parts.append(table(["model", *(metric.label for metric in TABLE_METRICS)], models))
    parts += [text for row in result.shapes for text in _shape_markdown(row, [model.name for model in result.models])]
    losses = [[plain(loss.variant), *_loss(loss.ap)] for loss in result.losses]
    if losses:
        parts.append(table(["variant", "loss", "95% interval", "significant"], losses))
    worst = [
        [plain(loss.variant), plain(row.label), *_loss(row.loss), str(row.truths)]
        for loss in result.losses
        for row in loss.per_class[:SHOWN_CLASSES]
        if (row.loss.value or 0) > 0
    ]
    if worst:
        parts.append(table(["variant", "class", "loss", "95% interval", "significant", "truths"], worst))
    return "\n\n".join(parts) + "\n"


def _shape_markdown(row: ShapeAccuracy, names: Sequence[str]) -> list[str]:
    """A caption and a Markdown table of the AP of keypoints or masks, or the reason why there is none."""
    if row.remark:
        return [row.remark]
    losses = [Loss(None), *(Loss(None) if loss is None else loss.ap for loss in row.losses)]
    loss_header = ["loss", "95% interval", "significant"] if row.losses else []
    rows = [
        [
            plain(name),
            *(UNKNOWN if model is None else metric.text(model) for metric in row.metrics),
            *_loss(loss)[: len(loss_header)],
        ]
        for name, model, loss in zip(names, row.models, losses, strict=True)
    ]
    header = ["model", *(metric.label for metric in row.metrics), *loss_header]
    return [f"{shape_caption(row)}.", table(header, rows)]


def plain(text: str) -> str:
    """Text from a file, escaped for Markdown and HTML and put on one line."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~&])", r"\\\1", " ".join(text.split()))


def _loss(loss: Loss) -> list[str]:
    bounds = interval(loss.low, loss.high) or UNKNOWN
    return [signed_points(loss.value), bounds, "yes" if loss.significant else ""]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Cells are inserted without escaping; use `plain` for text from files."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
