"""An evaluation as a page of Markdown, for a pull request or the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from qviz.features.accuracy import Evaluation
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
