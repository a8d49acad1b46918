"""The Diagnosis page: the finding, the network as a strip, causes with what each brings back, pictures, and cures."""

from __future__ import annotations

from functools import partial
from html import escape

import streamlit as st

from qviz.errors import QvizError
from qviz.features.backends import panel as backends
from qviz.features.building import panel as building
from qviz.features.building import panel_images
from qviz.features.building.recipes import Options, recipe_of
from qviz.features.cost import panel_npu
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis import panel
from qviz.features.diagnosis.plot import colour_of
from qviz.features.diagnosis.price import priced
from qviz.features.diagnosis.result import Cause, Cure, Diagnosis
from qviz.features.diagnosis.text import (
    best_cure,
    brings_back,
    built_price,
    cure_figures,
    figure_text,
    measured_sentence,
    note,
)
from qviz.features.tracing import Trace
from qviz.formatting import as_text, plural, score
from qviz.structures.operators import orders_text, stretches
from qviz.ui import clicks, jobs, page, requested, server
from qviz.ui.page import Page
from qviz.ui.results import Preview, redraw_while_pending

STATE = "qviz_cure"
"""Key in the session state of the cure that this browser session builds, a `building.panel.NewVariant`."""
PICTURE = 480
"""Length of a picture's longer side in pixels."""
MAX_ORDERS = 60
"""Maximum number of characters for operator numbers beside a cause."""


def show(here: Page, variant: LoadedModel) -> None:
    """Draw everything below the choice of a variant."""
    if not panel.can_diagnose(here, variant):
        page.verdict(
            "Only TensorFlow Lite files have operators that can be tried.", "Compare and Accuracy show what is lost."
        )
        return
    job = panel.started(here, variant)
    again = partial(jobs.forget, panel.KIND, panel.key_of(here, variant))
    if jobs.wait(job, "diagnosis", again, partial(draw, here, variant)):
        draw(here, variant, job.future.result())


def draw(here: Page, variant: LoadedModel, result: Diagnosis) -> None:
    """Draw a result, which may still be partial."""
    page.verdict(panel.with_short_names(here, result.verdict), note(result))
    backends.kernel_losses(here, [variant])
    if result.causes and any(cause.operators for cause in result.causes):
        st.html(_strip(result))
    left, right = st.columns([11, 5], gap="medium")
    with left:
        if result.causes:
            st.html(_causes(result))
        if result.cures and result.complete:
            st.markdown("**What helps**")
            _cures(here, variant, result)
        _suspects(result)
    with right:
        if result.traces:
            st.markdown("**Shows it best**")
            images = [image for trace in result.traces if (image := here.workspace.image_named(trace.image))]
            server.results().want_previews(images, PICTURE)
            redraw_while_pending(
                "diagnosis-pictures",
                lambda: any(server.results().preview(image, PICTURE) is None for image in images),
                lambda: _pictures(here, variant, result),
            )


def _strip(result: Diagnosis) -> str:
    """HTML of the network from input to output, with one coloured element per stretch of a cause's operators."""
    parts, total = [], max(result.operators, 1)
    for number, cause in reversed(list(enumerate(result.causes))):  # the largest cause lies on top
        title = f"{cause.title}: operators {orders_text(cause.operators)}"
        for first, last in stretches(cause.operators):
            style = f"left:{100 * first / total:.3f}%;width:{100 * (last - first + 1) / total:.3f}%"
            parts.append(f'<i style="{style};--swatch:{colour_of(number)}" title="{escape(title)}"></i>')
    label = "; ".join(f"{cause.title}: operators {orders_text(cause.operators)}" for cause in result.causes)
    return (
        f'<div class="qviz qviz-network-strip"><div role="img" aria-label="{escape(label)}">{"".join(parts)}</div>'
        f"<p><span>operator 0, the input</span><span>operator {result.operators - 1}, the output</span></p></div>"
    )


def _causes(result: Diagnosis) -> str:
    rows = [_cause(number, cause) for number, cause in enumerate(result.causes)]
    return f'<div class="qviz qviz-causes">{"".join(rows)}</div>'


def _cause(number: int, cause: Cause) -> str:
    back = 100 * max(cause.explained or 0.0, 0.0)
    operators = orders_text(cause.operators)
    if len(operators) > MAX_ORDERS:
        operators = f"{operators[: MAX_ORDERS - 1]}…"
    count = f" · {plural(len(cause.operators), 'operator')}" if cause.operators else ""
    figures = " · ".join(figure_text(row) for row in cause.evidence[1:])
    return (
        f'<div class="cause" style="--swatch:{colour_of(number)}"><b class="number">{number + 1}</b>'
        f"<div><h4>{escape(cause.title)}</h4><p>{escape(cause.sentence)}</p>"
        f'<p class="facts">{escape(figures)}</p></div>'
        f'<div class="back" title="operators {escape(operators)}">'
        f'<div class="bar"><i style="width:{back:.0f}%"></i></div>'
        f"<span>{escape(brings_back(cause))}{count}</span></div></div>"
    )


def _suspects(result: Diagnosis) -> None:
    if result.suspects:
        lines = "".join(f"<li>{escape(suspect.sentence)}</li>" for suspect in result.suspects)
        st.html(f'<div class="qviz qviz-suspects"><b>Looks wrong, but is not a cause</b><ul>{lines}</ul></div>')


def _pictures(here: Page, variant: LoadedModel, result: Diagnosis) -> None:
    for trace in result.traces:
        image = here.workspace.image_named(trace.image)
        if image is None:
            continue
        preview = server.results().preview(image, PICTURE)
        if isinstance(preview, Preview):
            st.html(_picture(preview, trace))
        label = f"{trace.object.label} in {trace.image}: trace it →"
        page.link(
            "pages/compare.py",
            label,
            st,
            help=as_text(trace.sentence),
            image=trace.image,
            variants=(here.loaded.name(variant),),
        )


def _picture(preview: Preview, trace: Trace) -> str:
    """HTML of the image, with a dashed box around the object that is lost."""
    x1, y1, x2, y2 = trace.object.box
    left, top = 100 * max(x1, 0.0) / preview.width, 100 * max(y1, 0.0) / preview.height
    right, bottom = 100 * min(x2 / preview.width, 1.0), 100 * min(y2 / preview.height, 1.0)
    box = f"left:{left:.1f}%;top:{top:.1f}%;width:{right - left:.1f}%;height:{bottom - top:.1f}%"
    scores = f"{score(trace.object.reference_score)} → {score(trace.object.variant_score)}"
    return (
        '<div class="qviz qviz-shows">'
        f'<div class="frame"><img alt="" src="{preview.source}"><i style="{box}"></i></div>'
        f"<p>{escape(trace.object.label)} {scores}</p></div>"
    )


# ---- cures ----------------------------------------------------------------------------------------------------------

WIDTHS = (11, 5)


def _cures(here: Page, variant: LoadedModel, result: Diagnosis) -> None:
    """Draw one row per cure: what is done, its figures, and a button that builds it."""
    if (cost := panel_npu.known_cost(variant)) is not None:
        result = priced(result, cost)
    best = best_cure(result)
    for cure in result.cures:
        left, right = st.columns(WIDTHS, vertical_alignment="center")
        left.html(_cure(result, cure))
        if cure.plan is not None:
            _button(here, right, cure, cure is best)
    new = requested.last(STATE)
    if isinstance(new, building.NewVariant) and new.reference == here.loaded.reference.digest:
        _built(here, variant, new)


def _cure(result: Diagnosis, cure: Cure) -> str:
    figures = cure_figures(result, cure)
    command = f' title="{escape(cure.command)}"' if cure.command else ""
    return (
        f'<div class="qviz qviz-cure"{command}><p>{escape(cure.sentence)}</p>'
        f'<p class="facts">{escape(" · ".join(figures))}</p></div>'
    )


def _button(here: Page, column: object, cure: Cure, primary: bool) -> None:
    plan = cure.plan
    assert plan is not None, "only a cure with a plan has a button"
    choice = building.Choice(
        recipe_of(plan.recipe), Options.of(**plan.options), plan.ranges, panel_images.usual_images(here), plan.cures
    )
    problem = building.refusal(here.loaded.reference, choice) or building.full(here.workspace)

    def begin() -> None:
        requested.keep(STATE, building.start(here.loaded.reference, choice))

    clicks.button(
        column,
        "Build and compare",
        begin,
        f"cure-{cure.code}",
        st.rerun,
        disabled=bool(problem),
        help=problem or None,
        type="primary" if primary else "secondary",
        width="stretch",
    )


def _built(here: Page, variant: LoadedModel, new: building.NewVariant) -> None:
    """Draw the progress of a cure and, once it is built, its agreement beside the variant's on the loaded images."""
    try:
        building.follow(here, new)
    except QvizError as error:
        st.text(str(error))
        return
    model = building.joined_model(here, new)
    if model is None:
        return
    panel_npu.estimates([variant, model], panel_npu.chosen(), "cure-npu")
    models, images = [here.loaded.reference, variant, model], here.workspace.images
    server.results().want(models, images)
    redraw_while_pending(
        "cure-measured",
        lambda: server.results().pending(models, images) > 0,
        lambda: _measured(here, variant, model),
    )


def _measured(here: Page, variant: LoadedModel, model: LoadedModel) -> None:
    """Draw the agreement of a built cure beside the variant's, once all images have been run."""
    images = here.workspace.images
    if pending := server.results().pending([here.loaded.reference, variant, model], images):
        page.small_text(f"Running {here.loaded.name(model)} on {plural(len(images), 'image')}: {pending} to go.")
        return
    before, after = (server.compared(here.loaded, one, images, here.view.score) for one in (variant, model))
    values = before.summary.agreement, after.summary.agreement
    costs = panel_npu.known_cost(variant), panel_npu.known_cost(model)
    price = built_price((variant.bytes, model.bytes), costs)
    page.small_text(f"{measured_sentence((before.name, after.name), values, len(after.images))} {price}")
