"""Cards of models and of the worst images, as HTML with everything from outside escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from qviz.analysis import written
from qviz.analysis.changes import Summary
from qviz.analysis.lint import Warning
from qviz.analysis.models import LoadedModel
from qviz.analysis.verdict import level
from qviz.plots.colours import CHANGES

LEVELS = {"unchanged": "ok", "slightly changed": "ok", "damaged": "some", "broken": "bad"}


def model_card(
    model: LoadedModel,
    name: str,
    colour: str,
    reference: LoadedModel,
    summary: Summary | None,
    warnings: Sequence[Warning],
) -> str:
    """What a file really is, its size against the reference, its damage and its warnings."""
    is_reference = model.digest == reference.digest
    role = "reference" if is_reference else ""
    parts = [
        f'<span class="role">{role}</span><h4>{escape(name)}</h4>',
        f'<div class="facts">{escape(_facts(model, reference))}</div>',
        _damage(summary) if summary is not None else "",
        *(f'<div class="warning">{escape(w.message)} {escape(w.cure)}</div>' for w in warnings),
    ]
    return f'<div class="qviz-card" style="--swatch:{colour}" title="{escape(model.name)}">{"".join(parts)}</div>'


def _facts(model: LoadedModel, reference: LoadedModel) -> str:
    facts = model.inspection.facts
    size = written.megabytes(model.bytes)
    if model.digest != reference.digest and reference.bytes:
        size += f" ({written.share(model.bytes / reference.bytes)})"
    said = [str(model.scheme), size, f"{facts.weight_bits}-bit weights"]
    if facts.quantized_operators:
        said.append(f"{facts.quantized_operators} of {facts.operators} operators quantized")
        said.append(f"{len(facts.float_islands)} float islands")
        said.append("per channel" if facts.per_channel else "per tensor")
    tensor = model.inspection.graph.input_tensors()[0]
    said.append(f"input {'×'.join(str(side) for side in tensor.shape[1:])} {tensor.dtype}")
    return " · ".join(said)


def _damage(summary: Summary) -> str:
    word = level(summary.agreement)
    counts = {name: getattr(summary, name) for name in CHANGES}
    total = sum(counts.values()) or 1
    bar = "".join(
        f'<i style="width:{100 * count / total:.2f}%;background:{CHANGES[name]}" title="{count} {name}"></i>'
        for name, count in counts.items()
        if count
    )
    told = " · ".join(f"{count} {name}" for name, count in counts.items() if count) or "no object on either side"
    return (
        f'<div class="damage"><span class="agreement">{written.score(summary.agreement)}</span> agreement'
        f'<span class="level {LEVELS[word]}">{word}</span></div>'
        f'<div class="facts">{told}</div><div class="bar">{bar}</div>'
    )


def cards(rows: Sequence[str]) -> str:
    """Cards in a grid."""
    return f'<div class="qviz qviz-cards" style="--count:{len(rows)}">{"".join(rows)}</div>'


def worst_card(jpeg: bytes, name: str, variant: str, summary: Summary) -> str:
    """An image with what one variant did to it."""
    picture = base64.b64encode(jpeg).decode()
    lines = f"<b>{escape(variant)}</b>: {' · '.join(_told(summary)) or badge(summary)}<br>{escape(name)}"
    return f'<div class="qviz qviz-worst"><img alt="" src="data:image/jpeg;base64,{picture}"><p>{lines}</p></div>'


def badge(summary: Summary) -> str:
    """The damage of one image in a few characters' room: the gravest alone."""
    told = _told(summary) or ([f"{summary.kept} kept"] if summary.kept else ["empty"])
    return told[0]


def _told(summary: Summary) -> list[str]:
    """What became of the objects, the gravest first; kept ones are not told."""
    counts = (
        (summary.lost, "lost"),
        (summary.relabelled, "relabelled"),
        (summary.spurious, "spurious"),
        (summary.shifted, "shifted"),
    )
    return [f"{count} {word}" for count, word in counts if count]


def damage_level(summary: Summary) -> str:
    """ok, some or bad, for a badge's colour."""
    if summary.lost or summary.relabelled or summary.spurious:
        return "bad"
    return "some" if summary.shifted else "ok"
