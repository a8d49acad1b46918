"""An evaluation in a sentence, and as a page of Markdown for a pull request or the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import ClassLoss, VariantLoss
from qviz.features.accuracy.gate import Gate
from qviz.formatting import UNKNOWN, interval, points, signed_points
from qviz.structures import Loss

WORST = 5


def markdown(result: Evaluation, gate: Gate | None) -> str:
    """Verdict, models, losses and worst classes; AP x100. Names from files cannot add markup of their own."""
    parts = [f"## qviz: {plain(result.dataset)}, {result.images} images, {result.annotations} objects"]
    if gate is not None:
        said = "passed" if gate.passed else f"**failed** by {', '.join(map(plain, gate.failed))}"
        parts.append(f"Gate, at most {100 * gate.max_ap_loss:.1f} AP points lost: {said}.")
        parts += [plain(remark) for remark in gate.remarks]
    if result.reference_as_truth:
        parts.append("The reference's own detections stand for the truth: AP is agreement with it, not accuracy.")
    models = [[plain(model.name), *(points(value) for value in model.figures())] for model in result.models]
    parts.append(_table(["model", "AP", "AP50", "AP75", "small", "medium", "large", "AR"], models))
    losses = [[plain(loss.variant), *_loss(loss.ap)] for loss in result.losses]
    parts.append(_table(["variant", "loss", "95% interval", "significant"], losses))
    worst = [
        [plain(loss.variant), plain(row.label), *_loss(row.loss), str(row.truths)]
        for loss in result.losses
        for row in loss.per_class[:WORST]
        if (row.loss.value or 0) > 0
    ]
    if worst:
        parts.append(_table(["variant", "class", "loss", "95% interval", "significant", "truths"], worst))
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Text from outside on one line, without meaning in Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~&])", r"\\\1", " ".join(text.split()))


def _loss(loss: Loss) -> list[str]:
    bounds = interval(loss.low, loss.high) or UNKNOWN
    return [signed_points(loss.value), bounds, "yes" if loss.significant else ""]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def loss_verdict(
    reference: str, ap: float | None, losses: Mapping[str, VariantLoss], reference_as_truth: bool = False
) -> str:
    """The AP of the reference and the losses, the largest first, with their intervals (x100)."""
    if ap is None or not losses:
        return "Annotated images and at least one variant are needed to tell a loss."
    ranked = sorted(losses.items(), key=lambda item: -(item[1].ap.value or 0.0))
    (name, worst), others = ranked[0], ranked[1:]
    opening = f"Against {reference}'s own detections" if reference_as_truth else f"{reference} reaches {points(ap)} AP"
    if (worst.ap.value or 0.0) <= NOTHING:
        return f"{opening}{', ' if reference_as_truth else '; '}no variant loses AP."
    said = f"{opening}{', ' if reference_as_truth else '; '}{name} loses {_amount(worst.ap)}"
    top = _class_to_name(worst)
    if top is not None:
        said += f", most in {top.label} ({points(top.loss.value)})"
    return f"{said}.{_other_losses(others)}"


def _class_to_name(loss: VariantLoss) -> ClassLoss | None:
    """The worst class that is no chance: a class of one object is nearly always the worst."""
    sure = loss.ap.low is None  # too few images for any interval
    return next((row for row in loss.per_class if (row.loss.value or 0) > 0 and (sure or row.loss.significant)), None)


NOTHING = 5e-4
"""AP that rounds to no tenth of a point."""


def _amount(loss: Loss) -> str:
    """10.0 AP points [4.0, 16.0], significant"""
    said = f"{points(loss.value or 0.0)} AP points"
    if loss.low is None or loss.high is None:
        return said
    sure = "significant" if loss.significant else "not significant"
    return f"{said} {interval(loss.low, loss.high)}, {sure}"


def _other_losses(others: Sequence[tuple[str, VariantLoss]]) -> str:
    """One more is told like the first; of several only what is significant, and the largest of the rest."""
    if len(others) == 1:
        ((name, loss),) = others
        return f" {name} loses {_amount(loss.ap)}." if (loss.ap.value or 0.0) > NOTHING else f" {name} loses none."
    sure = [(name, loss) for name, loss in others if loss.ap.significant and (loss.ap.value or 0.0) > NOTHING]
    rest = [loss.ap.value or 0.0 for name, loss in others if (name, loss) not in sure]
    said = "".join(f" {name} loses {_amount(loss.ap)}." for name, loss in sure)
    if not rest:
        return said
    who = "The other" if len(rest) == 1 else f"The other {len(rest)}"
    verb = "loses" if len(rest) == 1 else "lose"
    if max(rest) <= NOTHING:
        return f"{said} {who} {verb} none."
    return f"{said} {who} {verb} at most {points(max(rest))}, not significant."
