"""The Overview page: cards of the models and of the worst images. Text from files is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import streamlit as st

from qviz import formatting
from qviz.chart_style import CHANGES
from qviz.features.comparison import ComparedImage, ComparedVariant
from qviz.features.comparison.matching import Summary, worst_first
from qviz.features.comparison.text import COLOURS, damage_verdict, is_damaged, level
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.text import headline
from qviz.features.inspection.warning import Warning
from qviz.features.settings import panel as settings_panel
from qviz.features.what_if import panel as naming
from qviz.features.what_if.text import culprit_sentence
from qviz.formatting import as_text, plural
from qviz.structures.graph import Scheme
from qviz.ui import clicks, page, server, workspace
from qviz.ui.page import Page
from qviz.ui.results import Preview, redraw_while_pending

THUMBNAIL = 360
"""Pixels of a thumbnail's longer side."""
MAX_WORST = 8
FIRST_IMAGES = 12
"""Images that are run before the rest: enough for first results within seconds."""
MAX_FAILURES = 20


def show(here: Page) -> None:
    """Everything below the title, for a session with models."""
    _request(here)
    redraw_while_pending("overview", lambda: _pending(here) > 0, lambda: _findings(here), seconds=0.6)
    _failures(here)


def _request(here: Page) -> None:
    """Queue detections and previews: of a dozen images first, then of the rest."""
    results, images = server.results(), here.workspace.images
    for part in (images[:FIRST_IMAGES], images[FIRST_IMAGES:]):
        results.want(here.loaded.all, part)
        results.want_previews(part, THUMBNAIL)


def _pending(here: Page) -> int:
    """How many detections and previews are not there yet."""
    results, images = server.results(), here.workspace.images
    previews = sum(results.preview(image, THUMBNAIL) is None for image in images)
    return results.pending(here.loaded.all, images) + previews


def _findings(here: Page) -> None:
    """What is known so far: the verdict, a card per model, next steps and the worst images."""
    models, images, score = here.loaded, here.workspace.images, here.view.score
    compared = {models.name(v): server.compared(models, v, images, score) for v in models.variants}
    summaries = {name: variant.summary for name, variant in compared.items()}
    finished = min((len(variant.images) for variant in compared.values()), default=0)
    note = (
        f"At confidence {score:.2f} and above, over {plural(finished, 'image')}. Agreement 1.00 is best; it counts"
        " objects that cross this confidence, AP does not."
        if finished
        else ""
    )
    if compared and _pending(here):
        note = f"At confidence {score:.2f} and above, over {finished} of {plural(len(images), 'image')} so far."
    is_quantized = models.reference.scheme != Scheme.FLOAT32
    finding = damage_verdict(models.name(models.reference), summaries, finished, is_quantized)
    page.verdict(headline(server.warnings(models), f"{finding}{_confirmed(here, summaries)}"), note)
    st.html(_model_cards(here, compared))
    if finished:
        _next_steps(min(summaries, key=lambda name: worst_first(summaries[name].agreement)))
        st.subheader("Worst images first")
        _worst_images(here, compared)


def _confirmed(here: Page, summaries: dict[str, Summary]) -> str:
    """What an experiment on the worst variant found, where the Layers page has made it."""
    models = here.loaded
    worst = min(summaries, key=lambda name: worst_first(summaries[name].agreement), default=None)
    variant = next((model for model in models.variants if models.name(model) == worst), None)
    if variant is None or worst is None or not is_damaged(summaries[worst].agreement):
        return ""
    experiment = naming.finished(here, variant)
    return f" {culprit_sentence(experiment)}" if experiment is not None else ""


def _model_cards(here: Page, compared: dict[str, ComparedVariant]) -> str:
    """One card per model, the reference first."""
    models = here.loaded
    warnings = [warning for warning in server.warnings(models) if not warning.advice]
    cards = [
        model_card(
            model,
            models.name(model),
            models.colours[model.digest],
            models.reference,
            compared.get(models.name(model)),
            [warning for warning in warnings if warning.model == model.name],
        )
        for model in models.all
    ]
    return f'<div class="qviz qviz-cards" style="--count:{len(cards)}">{"".join(cards)}</div>'


def model_card(
    model: LoadedModel,
    name: str,
    colour: str,
    reference: LoadedModel,
    compared: ComparedVariant | None,
    warnings: Sequence[Warning],
) -> str:
    """Scheme and size of a file, its damage and its warnings, as HTML."""
    role = "reference" if model.digest == reference.digest else ""
    parts = [
        f'<span class="role">{role}</span><h4>{escape(name)}</h4>',
        f'<div class="facts">{escape(_facts(model, reference))}</div>',
        model_damage(compared.summary, len(compared.images)) if compared is not None else "",
        *(f'<div class="warning">{escape(w.message)} {escape(w.cure)}</div>' for w in warnings),
    ]
    return f'<div class="qviz-card" style="--swatch:{colour}" title="{escape(model.name)}">{"".join(parts)}</div>'


def _facts(model: LoadedModel, reference: LoadedModel) -> str:
    facts = model.inspection.facts
    size = formatting.megabytes(model.bytes)
    if model.digest != reference.digest and reference.bytes:
        size += f" ({formatting.share(model.bytes / reference.bytes)})"
    parts = [str(model.scheme), size, f"{facts.weight_bits}-bit weights"]
    if facts.quantized_operators:
        parts.append(f"{facts.quantized_operators} of {plural(facts.operators, 'operator')} quantized")
        parts.append(plural(len(facts.float_islands), "float island"))
        parts.append("per channel" if facts.per_channel else "per tensor")
    tensor = model.inspection.graph.input_tensors()[0]
    parts.append(f"input {'×'.join(str(side) for side in tensor.shape[1:])} {tensor.dtype}")
    return " · ".join(parts)


NO_OBJECT = "no object in either model at this confidence"


def model_damage(summary: Summary, images: int) -> str:
    """The agreement with its word, and a bar of all changes; a dash and no word before an image has run."""
    if not images:
        return '<div class="damage">–</div><div class="facts">no image has been run yet</div>'
    word = level(summary.agreement)
    badge = f'<span class="level {COLOURS[word]}">{word}</span>' if word else ""
    counts = {name: count for name in CHANGES if (count := getattr(summary, name))}
    total = sum(counts.values())
    bar = "".join(
        f'<i style="width:{100 * count / total:.2f}%;background:{CHANGES[name]}" title="{count} {name}"></i>'
        for name, count in counts.items()
    )
    text = " · ".join(f"{count} {name}" for name, count in counts.items()) or NO_OBJECT
    agreement = f'<span class="agreement">{formatting.score(summary.agreement)}</span> agreement'
    return f'<div class="damage">{agreement}{badge}</div><div class="facts">{text}</div><div class="bar">{bar}</div>'


def _next_steps(worst: str) -> None:
    """Links to the other pages, about the worst variant."""
    steps = (
        ("pages/layers.py", "Where it is lost →", f"The layers of {worst}."),
        ("pages/accuracy.py", "How much in AP →", "AP, its loss by class, and the intervals."),
        ("pages/variants.py", "What to do →", "Build variants and compare their costs."),
        ("pages/report.py", "For the meeting →", "Everything on one page."),
    )
    with st.container(horizontal=True, gap="medium"):
        for target, label, text in steps:
            page.link(target, label, help=as_text(text), variants=(worst,))


def _worst_images(here: Page, compared: dict[str, ComparedVariant]) -> None:
    """The images with the most damage in any variant; a click opens them on Compare."""
    rows = [(image, name) for name, variant in compared.items() for image in variant.images if image.summary.damage]
    worst: dict[str, tuple[ComparedImage, str]] = {}
    for image, name in sorted(rows, key=lambda row: -row[0].summary.damage):
        worst.setdefault(image.digest, (image, name))
    if not worst:
        st.caption("No image is damaged: every variant has every object of the reference, and no others.")
    columns = st.columns(4)
    for i, (image, name) in enumerate(list(worst.values())[:MAX_WORST]):
        encoded = next(other for other in here.workspace.images if other.digest == image.digest)
        picture = server.results().preview(encoded, THUMBNAIL)
        with columns[i % len(columns)]:
            if isinstance(picture, Preview):
                st.html(_image_card(picture.source, encoded.name, name, image.summary))
            page.link("pages/compare.py", as_text(f"Compare {encoded.name}"), image=encoded.name, variants=(name,))


def _image_card(source: str, name: str, variant: str, summary: Summary) -> str:
    lines = f"<b>{escape(variant)}</b>: {' · '.join(_changed(summary)) or badge(summary)}<br>{escape(name)}"
    return f'<div class="qviz qviz-worst"><img alt="" src="{source}"><p>{lines}</p></div>'


def badge(summary: Summary) -> str:
    """The most serious change of one image in a few characters."""
    return [*_changed(summary), f"{summary.kept} kept" if summary.kept else "empty"][0]


def _changed(summary: Summary) -> list[str]:
    """The counts of changed objects, the most serious first."""
    return [f"{count} {name}" for name, count in zip(SEVERITY, by_severity(summary), strict=True) if count]


SEVERITY = ("lost", "relabelled", "spurious", "shifted")
"""Changes, the most serious first."""


def by_severity(summary: Summary) -> tuple[int, ...]:
    """The number of objects with each of these changes."""
    return tuple(getattr(summary, name) for name in SEVERITY)


def damage_level(summary: Summary) -> str:
    """ok, some or bad, for the colour of a badge, by the same rule as the word of a variant; none without objects."""
    return COLOURS.get(level(summary.agreement), "none")


def _failures(here: Page) -> None:
    """One sentence per image or model that could not be run."""
    sentences = server.failures(here.loaded, here.workspace.images)
    if sentences:
        with st.expander(plural(len(sentences), "failure"), expanded=True):
            for sentence in sentences[:MAX_FAILURES]:
                st.text(sentence)


def manage(here: Page) -> None:
    """Choose the reference, change settings, remove models."""
    models = here.loaded
    with st.expander("Models: reference and settings"):
        names = {model.digest: models.name(model) for model in models.all}
        chosen = st.selectbox(
            "Reference (by default the least quantized model)",
            list(names),
            index=list(names).index(models.reference.digest),
            format_func=lambda digest: names[digest],
            # the reference is in the key, so that a widget that outlives its models does not choose another one
            key=f"qviz_reference-{models.reference.digest}",
        )
        if chosen != models.reference.digest:
            workspace.keep(replace(here.workspace, reference=chosen))
            st.rerun()
        for model in models.all:
            _settings_row(model, names[model.digest], len(names) > 1)


def _settings_row(model: LoadedModel, name: str, removable: bool) -> None:
    left, middle, right = st.columns([5, 1, 1], vertical_alignment="center")
    left.text(f"{name}: {settings_panel.as_text(model)}")
    with middle.popover("Settings"):
        settings_panel.form(model)

    def remove() -> None:
        workspace.keep(workspace.current().without_model(model.digest))

    clicks.button(right, "Remove", remove, f"remove-{model.digest}", st.rerun, disabled=not removable)
