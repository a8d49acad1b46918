"""The parts of the overview.

Cards of models and of the worst images, as HTML with everything from outside escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape

import streamlit as st

from qviz import formatting
from qviz.chart_style import CHANGES, REFERENCE, variant_colour
from qviz.features.comparison import ComparedVariant
from qviz.features.comparison.matching import Summary
from qviz.features.comparison.text import level
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.warning import Warning
from qviz.formatting import as_text
from qviz.ui import clicks, server, workspace
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.server import Models

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
    size = formatting.megabytes(model.bytes)
    if model.digest != reference.digest and reference.bytes:
        size += f" ({formatting.share(model.bytes / reference.bytes)})"
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
        f'<div class="damage"><span class="agreement">{formatting.score(summary.agreement)}</span> agreement'
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


THUMB = 360
"""Pixels of a thumbnail's longest side."""
WORST = 8
BEAT = 0.6
"""Seconds between two looks at work that is under way."""


FIRST = 12
"""Images that are run before the rest: enough for first figures within seconds."""


def start(here: Page) -> None:
    """Queue what the page needs: a dozen images whole, with their pictures, then the rest."""
    results, images = server.results(), here.workspace.images
    for part in (images[:FIRST], images[FIRST:]):
        results.want(_models(here).all, part)
        results.want_previews(part, THUMB)


def beat(here: Page) -> float | None:
    """How often to look again: not at all once everything is there."""
    return BEAT if _models(here) and _pending(here) else None


def _models(here: Page) -> Models:
    assert here.models is not None, "pages without a model stop before"
    return here.models


def reference_name(here: Page) -> str:
    """The reference's short name."""
    return _models(here).name(_models(here).reference)


def _pending(here: Page) -> int:
    results, images = server.results(), here.workspace.images
    return results.pending(_models(here).all, images) + sum(results.preview(image, THUMB) is None for image in images)


def _compared(here: Page) -> dict[str, ComparedVariant]:
    found = _models(here)
    return {
        found.name(variant): server.compared(found, variant, here.workspace.images, here.view.score)
        for variant in found.variants
    }


def summaries(here: Page) -> tuple[dict[str, Summary], int]:
    """(short name -> damage over the images run so far, how many images all models have run)."""
    compared = _compared(here)
    done = min((len(variant.images) for variant in compared.values()), default=0)
    return {name: variant.summary for name, variant in compared.items()}, done


def progress_note(here: Page, done: int) -> str:
    """What the figures stand on."""
    total = len(here.workspace.images)
    said = f"At confidence {here.view.score:.2f} and above, over {done} of {total} images"
    if not _pending(here):
        return f"At confidence {here.view.score:.2f} and above, over {done} images. Agreement 1.00 is best."
    return said + "; the rest is running."


def finish(here: Page, done: int) -> None:
    """When the last answer has come, the page is drawn once more, without the timer."""
    key = "qviz_home_running"
    running = bool(_pending(here))
    if st.session_state.get(key) and not running:
        st.session_state[key] = False
        st.rerun()
    st.session_state[key] = running


def model_cards(here: Page, damage: dict[str, Summary]) -> str:
    """A card a model, the reference first."""
    found = _models(here)
    remarks = [warning for warning in server.warnings(found) if not warning.advice]

    def card(model: LoadedModel, colour: str) -> str:
        own = [warning for warning in remarks if warning.model == model.name]
        name = found.name(model)
        return model_card(model, name, colour, found.reference, damage.get(name), own)

    rows = [card(found.reference, REFERENCE)]
    return cards(rows + [card(variant, variant_colour(i)) for i, variant in enumerate(found.variants)])


def worst_images(here: Page) -> None:
    """The images most hit by any variant; a click opens them on Compare."""
    ranked = sorted(
        ((image.summary.damage, image, name) for name, variant in _compared(here).items() for image in variant.images),
        key=lambda row: -row[0],
    )
    seen: set[str] = set()
    shown = []
    for damage, image, name in ranked:
        if damage and image.digest not in seen:
            seen.add(image.digest)
            shown.append((image, name))
    if not shown:
        st.caption("No image is hit: every object of the reference is there in every variant.")
    columns = st.columns(4)
    for i, (image, name) in enumerate(shown[:WORST]):
        encoded = next(m for m in here.workspace.images if m.digest == image.digest)
        picture = server.results().preview(encoded, THUMB)
        with columns[i % len(columns)]:
            if isinstance(picture, Preview):
                st.html(worst_card(picture.jpeg, encoded.name, name, image.summary))
            st.page_link(
                "pages/compare.py",
                label=f"Compare {encoded.name}",
                query_params={"image": encoded.name, "variant": name},
            )


def next_steps(here: Page, damage: dict[str, Summary]) -> None:
    """From the finding to where it comes from, how sure it is, and what to do: a link each, about the worst variant."""
    worst = min(damage, key=lambda name: damage[name].agreement, default=None)
    if worst is None:
        return
    steps = (
        ("pages/layers.py", "Where it is lost →", f"The layers of {worst}."),
        ("pages/accuracy.py", "How much in AP →", "AP, its loss by class, and how sure that is."),
        ("pages/variants.py", "What to do →", "Build variants, and weigh them."),
        ("pages/report.py", "For the meeting →", "All of it on one page."),
    )
    with st.container(horizontal=True, gap="medium"):
        for target, label, told in steps:
            st.page_link(target, label=label, help=as_text(told), query_params={"variant": worst})


def failures(here: Page) -> None:
    """What could not be run, a sentence each."""
    said = server.failures(_models(here), here.workspace.images)
    if said:
        with st.expander(f"{len(said)} could not be run", expanded=True):
            for sentence in said[:20]:
                st.text(sentence)


def manage(here: Page) -> None:
    """Choose the reference, remove models."""
    found = _models(here)
    with st.expander("Models: reference and settings"):
        names = {model.digest: found.name(model) for model in found.all}
        chosen = st.selectbox(
            "Reference (chosen by scheme: the least quantized)",
            list(names),
            index=list(names).index(found.reference.digest),
            format_func=lambda digest: names[digest],
            # the reference is in the key: a widget that outlives the models would choose one that nobody chose
            key=f"qviz_reference-{found.reference.digest}",
        )
        if chosen != found.reference.digest:
            workspace.keep(replace(here.workspace, reference=chosen))
            st.rerun()
        for model in found.all:
            _settings_row(here, model, names[model.digest])


def _settings_row(here: Page, model: LoadedModel, name: str) -> None:
    from qviz.features.settings import panel as settings_form

    left, middle, right = st.columns([5, 1, 1], vertical_alignment="center")
    left.text(f"{name}: {settings_form.as_text(model)}")
    with middle.popover("Settings"):
        settings_form.form(model)

    def remove() -> None:
        workspace.keep(workspace.current().without_model(model.digest))

    last = len(_models(here).all) < 2
    clicks.button(right, "Remove", remove, f"remove-{model.digest}", st.rerun, disabled=last)
