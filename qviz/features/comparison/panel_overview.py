"""Parts of the Overview page: the verdict, the reference, and a card for each variant. Text from files is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import streamlit as st

from qviz import formatting
from qviz.chart_style import CHANGES
from qviz.features.backends import panel as backends
from qviz.features.comparison import ComparedVariant, panel_worst
from qviz.features.comparison.matching import MIN_SAME_IOU, Summary, worst_first
from qviz.features.comparison.text import COLOURS, damage_verdict, is_damaged, level, level_meaning
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis import panel as diagnosis
from qviz.features.inspection.text import headline
from qviz.features.inspection.warning import Warning
from qviz.features.settings import panel as settings_panel
from qviz.features.what_if import panel as naming
from qviz.features.what_if.text import culprit_sentence
from qviz.formatting import plural
from qviz.structures.graph import Scheme
from qviz.ui import page, server
from qviz.ui.page import Page
from qviz.ui.results import redraw_while_pending

MAX_FAILURES = 20
REDRAW_SECONDS = 0.4
MEANINGS = {
    "kept": f"the same class at an IoU of {MIN_SAME_IOU:.2f} or more",
    "shifted": f"the same class at an IoU below {MIN_SAME_IOU:.2f}",
    "relabelled": "another class in the same place",
    "lost": "an object of the reference that the variant does not detect",
    "spurious": "an object that the reference does not detect",
}
"""Change -> what it means, as a tooltip."""


def verdict(here: Page) -> None:
    """Show the verdict on all models for the images that have been run; it is redrawn as results arrive."""
    _request(here)
    redraw_while_pending("overview-verdict", lambda: _is_pending(here), lambda: _verdict(here), REDRAW_SECONDS)


def show(here: Page) -> None:
    """Show the reference, a card for each variant, why the worst one is damaged, what helps, and the worst images."""

    def is_pending() -> bool:
        return _is_pending(here)

    redraw_while_pending("overview", is_pending, lambda: _cards(here), REDRAW_SECONDS)
    if not is_pending():  # an experiment would slow down the first results
        backends.kernel_losses(here, here.loaded.variants)
        _why(here)
    panel_worst.show(here, lambda: _compared(here), is_pending)
    _failures(here)


def empty() -> None:
    """Say what this page will show, as long as no model is loaded."""
    rows = (
        "Drop a float32 .tflite file and its quantized variants. A card for each one shows what became of the objects.",
        "Drop photos: the worst images come first, with what each model detects in them.",
        "Drop annotations with their images: Accuracy shows the loss of AP by class.",
    )
    st.html(f'<ul class="qviz qviz-coming">{"".join(f"<li>{row}</li>" for row in rows)}</ul>')


def _request(here: Page) -> None:
    """Queue the detections, those on the first dozen images before the rest."""
    results, images = server.results(), here.workspace.images
    for part in (images[: server.FIRST_IMAGES], images[server.FIRST_IMAGES :]):
        results.want(here.loaded.all, part)


def _pending(here: Page) -> int:
    """How many inferences are still to be run."""
    return server.results().pending(here.loaded.all, here.workspace.images)


def _is_pending(here: Page) -> bool:
    """Whether inferences, or measurements for warnings, are still to be run."""
    return _pending(here) > 0 or server.warnings_pending(here.loaded, here.workspace.images)


def _compared(here: Page) -> dict[str, ComparedVariant]:
    """Short name of a variant -> its comparison on the images that have been run."""
    models, images, score = here.loaded, here.workspace.images, here.view.score
    return {models.name(v): server.compared(models, v, images, score) for v in models.variants}


def _verdict(here: Page) -> None:
    models, images, score, compared = here.loaded, here.workspace.images, here.view.score, _compared(here)
    summaries = {name: variant.summary for name, variant in compared.items()}
    finished = min((len(variant.images) for variant in compared.values()), default=0)
    failures = server.failures(models, images)
    if failures and not finished and not _pending(here):
        page.verdict("No image could be run.", failures[0])
        return
    note = (
        f"At confidence {score:.2f} and above, over {plural(finished, 'image')}. Agreement: 1.00 is best. An object"
        " whose score falls below this confidence is lost for agreement, but not for AP."
        if finished
        else ""
    )
    if compared and _pending(here):
        note = f"At confidence {score:.2f} and above, over {finished} of {plural(len(images), 'image')} so far."
    elif compared and not images:
        note = "Drop photos to see what each model detects in them."
    is_quantized = models.reference.scheme != Scheme.FLOAT32
    finding = damage_verdict(models.name(models.reference), summaries, finished, is_quantized)
    page.verdict(headline(_file_warnings(here), f"{finding}{_confirmed(here, summaries)}"), note)


def _file_warnings(here: Page) -> list[Warning]:
    """The warnings about the files; those that need measurements come after the first images, which users wait for."""
    has_results = not _pending(here) or any(variant.images for variant in _compared(here).values())
    return server.warnings(here.loaded, here.workspace.images, measure=has_results)


def _cards(here: Page) -> None:
    st.html(_reference_row(here) + _model_cards(here, _compared(here)) + _warnings(here))


def _warnings(here: Page) -> str:
    """The complete warnings about the files, with their cures, as HTML."""
    names = {model.name: here.loaded.name(model) for model in here.loaded.all}
    rows = [
        f'<p class="qviz qviz-warning"><b>{escape(names.get(warning.model, ""))}</b> {_text(warning.message)}'
        f" {_text(warning.cure)}</p>"
        for warning in _file_warnings(here)
        if not warning.advice
    ]
    return "".join(rows)


def _why(here: Page) -> None:
    """Show why the worst variant is damaged and what helps, if it is damaged."""
    summaries = {name: variant.summary for name, variant in _compared(here).items()}
    worst = min(summaries, key=lambda name: worst_first(summaries[name].agreement), default=None)
    variant = here.loaded.variant_named(worst) if worst is not None else None
    if worst is not None and variant is not None and is_damaged(summaries[worst].agreement):
        diagnosis.why(here, variant)


def _confirmed(here: Page, summaries: dict[str, Summary]) -> str:
    """A sentence on what an experiment on the worst variant found; empty if the Layers page has not run one."""
    models = here.loaded
    worst = min(summaries, key=lambda name: worst_first(summaries[name].agreement), default=None)
    variant = next((model for model in models.variants if models.name(model) == worst), None)
    if variant is None or worst is None or not is_damaged(summaries[worst].agreement):
        return ""
    experiment = naming.finished(here, variant)
    return f" {culprit_sentence(experiment)}" if experiment is not None else ""


def _reference_row(here: Page) -> str:
    """A line about the reference, as HTML: its file, what kind of model it is, and how its images are prepared."""
    models = here.loaded
    reference = models.reference
    settings = settings_panel.in_words(reference, len(here.workspace.images))
    facts = " · ".join(escape(text) for text in (_facts(reference, reference), settings) if text)
    swatch = models.colours[reference.digest]
    name = f"<b>{escape(models.name(reference))}</b> reference · {escape(reference.name)}"
    return f'<p class="qviz qviz-reference" style="--swatch:{swatch}">{name} · <span>{facts}</span></p>'


def _model_cards(here: Page, compared: dict[str, ComparedVariant]) -> str:
    """A card for each variant, and the legend of their bars, as HTML."""
    models = here.loaded
    warnings = [warning for warning in _file_warnings(here) if not warning.advice]
    cards = [
        model_card(
            model,
            models.name(model),
            models.colours[model.digest],
            models.reference,
            compared.get(models.name(model)),
            [warning for warning in warnings if warning.model == model.name],
            settings_panel.difference(model, models.reference),
        )
        for model in models.variants
    ]
    if not cards:
        return ""
    return f'<div class="qviz qviz-cards" style="--count:{len(cards)}">{"".join(cards)}</div>{_legend()}'


def _legend() -> str:
    """The legend of the changes' colours, as HTML; a tooltip says what each change means."""
    entries = "".join(
        f'<span style="--swatch:{colour}" title="{escape(f"{name}: {MEANINGS[name]}")}">{name}</span>'
        for name, colour in CHANGES.items()
    )
    return f'<p class="qviz qviz-key">{entries}</p>'


def model_card(
    model: LoadedModel,
    name: str,
    colour: str,
    reference: LoadedModel,
    compared: ComparedVariant | None,
    warnings: Sequence[Warning],
    settings: str = "",
) -> str:
    """A card with a model's file, scheme and size, its damage and the short forms of its warnings, as HTML.

    settings: how the preparation of its images differs from the reference's, in words.
    """
    texts = " · ".join(escape(text) for text in (_facts(model, reference), settings) if text)
    parts = [
        f'<h4>{_breakable(name)}</h4><div class="file">{_breakable(model.name)}</div>',
        model_damage(compared.summary, len(compared.images)) if compared is not None else "",
        *(f'<div class="warning" title="{escape(w.message)} {escape(w.cure)}">{_head(w)}</div>' for w in warnings),
        f'<div class="facts">{texts}</div>',
    ]
    return f'<div class="qviz-card" style="--swatch:{colour}">{"".join(parts)}</div>'


def _text(sentence: str) -> str:
    """A sentence as HTML. Options such as `--mean` are not broken behind their hyphens."""
    return re.sub(r"--[a-z][a-z-]*", r'<span class="option">\g<0></span>', escape(sentence))


def _breakable(name: str) -> str:
    """The name as HTML that can be wrapped after underscores."""
    return escape(name).replace("_", "_<wbr>")


def _head(warning: Warning) -> str:
    """The short form of a warning, e.g. `Wrong input range`; the complete warning is shown below the cards."""
    first = warning.message.partition(":")[0]
    words = first if len(first) < len(warning.message) and len(first) <= MAX_HEAD else warning.code.replace("_", " ")
    return escape(words[0].upper() + words[1:])


MAX_HEAD = 40
"""Maximum length of the words before a warning's colon, in characters, to be used as its short form."""


def _facts(model: LoadedModel, reference: LoadedModel) -> str:
    facts = model.inspection.facts
    if model.is_recorded:
        return "recorded results, no network"
    size = formatting.megabytes(model.bytes)
    if model.digest != reference.digest and reference.bytes:
        size += f" ({formatting.share(model.bytes / reference.bytes)})"
    parts = [str(model.scheme), size, f"{facts.weight_bits}-bit weights"]
    if facts.quantized_operators:
        parts.append(f"{facts.quantized_operators} of {plural(facts.operators, 'operator')} quantized")
        parts.append(plural(len(facts.float_islands), "float island"))
        parts.append("per channel" if facts.per_channel else "per tensor")
    if tensors := model.inspection.graph.input_tensors():
        parts.append(f"input {'×'.join(str(side) for side in tensors[0].shape[1:])} {tensors[0].dtype}")
    return " · ".join(parts)


NO_OBJECT = "no object in either model at this confidence"


def model_damage(summary: Summary, images: int) -> str:
    """The agreement with the word for it and a bar of all changes, as HTML; a dash as long as no image has been run."""
    if not images:
        return '<div class="damage">–</div><div class="facts">no image has been run yet</div>'
    word = level(summary.agreement)
    badge = f'<span class="level {COLOURS[word]}" title="{escape(level_meaning(word))}">{word}</span>' if word else ""
    counts = {name: count for name in CHANGES if (count := getattr(summary, name))}
    total = sum(counts.values())
    bar = "".join(
        f'<i style="width:{100 * count / total:.2f}%;background:{CHANGES[name]}" title="{count} {name}"></i>'
        for name, count in counts.items()
    )
    texts = (f'<span title="{MEANINGS[name]}">{count} {name}</span>' for name, count in counts.items())
    text = " · ".join(texts) or NO_OBJECT
    agreement = f'<span class="agreement">{formatting.score(summary.agreement)}</span> agreement'
    return f'<div class="damage">{agreement}{badge}</div><div class="bar">{bar}</div><div class="facts">{text}</div>'


def _failures(here: Page) -> None:
    """Show a sentence about each image or model that could not be run."""
    sentences = server.failures(here.loaded, here.workspace.images)
    if sentences:
        with st.expander(plural(len(sentences), "failure"), expanded=True):
            for sentence in sentences[:MAX_FAILURES]:
                st.text(sentence)
