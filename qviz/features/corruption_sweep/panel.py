"""The sweep on the Robustness page: the form, the progress, the verdict and the tabs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import streamlit as st

from qviz.chart_style import variant_colour
from qviz.context import Context
from qviz.corruptions import CORRUPTIONS, SEVERITIES
from qviz.features.corruption_sweep import RobustnessReport, robustness
from qviz.features.corruption_sweep.out_of_range import NO_RANGES
from qviz.features.corruption_sweep.plot import interaction_heat, saturation_heat, severity_curves
from qviz.features.corruption_sweep.result import Robustness
from qviz.features.corruption_sweep.saturation import Explanation, Saturation, explain
from qviz.features.corruption_sweep.text import (
    corruption_title,
    explanation_sentence,
    layers_sentence,
    verdict,
)
from qviz.features.detection.inference import Reading
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import panel as layers
from qviz.formatting import frame_csv, hundred, plural
from qviz.structures import AppliedCorruption, EncodedImage
from qviz.ui import clicks, dataset_choice, glossary, jobs, page, requested, view
from qviz.ui.dataset_choice import Source
from qviz.ui.jobs import Work
from qviz.ui.page import Page

LAYER_IMAGES = 4
DEFAULT_CORRUPTIONS = ("exposure_down", "contrast", "glare", "night")
DEFAULT_SEVERITIES = (1, 3, 5)
DEFAULT_IMAGES = 12
EXPLAINED_LAYERS = 8
REQUEST = "qviz_robustness_request"
DIGEST_LENGTH = 12
REQUEST_TEXT = re.compile(r"([0-9a-f]{12});([0-9]{1,5});([a-z_,]+);([0-9,]{1,20});(.*)")


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A requested sweep.

    Attributes:
        source: Digest of the data.
        images: Number of images to use.
        variants: Short names of the variants.
    """

    source: str
    images: int
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    variants: tuple[str, ...]

    def as_text(self) -> str:
        """The request as it appears in the address, e.g. `1f0c…;12;night,glare;1,3,5;int8`."""
        names, levels = ",".join(self.corruptions), ",".join(map(str, self.severities))
        return ";".join((self.source[:DIGEST_LENGTH], str(self.images), names, levels, ",".join(self.variants)))

    @classmethod
    def from_text(cls, text: str, digests: Sequence[str]) -> SweepRequest | None:
        """The request that `as_text` wrote; None if the text is malformed or its data are not loaded.

        `digests` are the digests of the loaded data.
        """
        match = REQUEST_TEXT.fullmatch(text)
        source = next((digest for digest in digests if match and digest.startswith(match[1])), None)
        if match is None or source is None:
            return None
        corruptions, severities = (
            tuple(match[3].split(",")),
            tuple(sorted({int(level) for level in match[4].split(",")})),
        )
        is_valid = set(corruptions) <= set(CORRUPTIONS) and set(severities) <= set(SEVERITIES)
        variants = tuple(name for name in match[5].split(",") if name)
        return cls(source, max(1, int(match[2])), corruptions, severities, variants) if is_valid else None


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A finished sweep. short names and colours: name of a model -> its short name, its colour."""

    report: RobustnessReport
    request: SweepRequest
    source: Source
    names: dict[str, str]
    colours: dict[str, str]


def sources(here: Page) -> dict[str, Source]:
    """Digest -> data that can be swept.

    The sample's scenes come first, because they have enough objects for intervals.
    """
    by_name = dataset_choice.sources(here)
    order = sorted(by_name, key=lambda name: ("scenes", "annotations", dataset_choice.REFERENCE).index(name))
    return {by_name[name].digest: by_name[name] for name in order}


def form(here: Page) -> tuple[Source, SweepRequest | None]:
    """Draw the form. Returns the chosen data and the requested sweep (see `_requested`), or None without one."""
    by_digest = sources(here)
    source, images, variants = _choose_data(here, by_digest)
    left, middle, right = st.columns([6, 2, 1], vertical_alignment="bottom")
    corruptions = left.multiselect(
        "Corruptions",
        list(CORRUPTIONS),
        default=list(DEFAULT_CORRUPTIONS),
        format_func=corruption_title,
        key="robustness-corruptions",
        persist_state="session",
    )
    severities = middle.pills(
        "Severities",
        list(SEVERITIES),
        selection_mode="multi",
        default=list(DEFAULT_SEVERITIES),
        key="robustness-levels",
        persist_state="session",
        wrap=True,
    )
    request = SweepRequest(source.digest, images, tuple(corruptions), tuple(sorted(severities)), variants)
    if time := jobs.expected_time("sweep", _work(here, request)):
        st.caption(time)
    clicks.button(
        right,
        "Run",
        partial(_request, request),
        "robustness-run",
        disabled=not (corruptions and severities),
        type="primary",
        width="stretch",
        help=f"Images for each model: {images * (1 + len(corruptions) * len(severities))}.",
    )
    last = _requested(by_digest)
    return (by_digest[last.source], last) if last is not None else (source, None)


def _request(request: SweepRequest) -> None:
    requested.get_address()
    st.session_state[REQUEST] = request
    view.change(sweep=request.as_text())


def _requested(by_digest: dict[str, Source]) -> SweepRequest | None:
    """The sweep of the last click on Run, or else the one in the address; None if its data are not loaded."""
    last: SweepRequest | None = st.session_state.get(REQUEST)
    if last is None and view.current().sweep:
        last = SweepRequest.from_text(view.current().sweep, list(by_digest))
        if last is None:
            page.unknown("a sweep on data, corruptions or severities that are not there")
        st.session_state[REQUEST] = last
    return last if last is not None and last.source in by_digest else None


def _choose_data(here: Page, by_digest: dict[str, Source]) -> tuple[Source, int, tuple[str, ...]]:
    """Let the user choose the data. Returns (source, number of its images to use, short names of the variants)."""
    models = here.loaded
    first, second, third = st.columns([3, 4, 2], vertical_alignment="bottom")
    digest = first.selectbox(
        "On",
        list(by_digest),
        format_func=lambda digest: by_digest[digest].label,
        key="robustness-source",
        persist_state="session",
        help="AP where objects are annotated, else agreement with what the reference finds on the clean images.",
    )
    source = by_digest[digest] if digest in by_digest else next(iter(by_digest.values()))
    names = [models.name(variant) for variant in models.variants]
    default, count = layers.default_variants(models, here.view.variants), len(source.dataset.images)
    variants = second.pills(
        "Variants",
        names,
        selection_mode="multi",
        default=default,
        key="robustness-variants",
        persist_state="session",
        wrap=True,
    )
    key, usual = f"robustness-images-{count}", min(DEFAULT_IMAGES, count)
    help_text = f"Evenly spread over the {count}."
    images = third.number_input("Images", 1, count, usual, key=key, persist_state="session", help=help_text)
    return source, int(images), tuple(variants or ())


def _work(here: Page, request: SweepRequest) -> Work:
    """The amount of work, counted in runs of one model on one image."""
    runs = (1 + len(request.variants)) * (1 + len(request.corruptions) * len(request.severities))
    return Work(jobs.subject_of(here.loaded.reference.digest), request.images * runs)


def finding(here: Page, source: Source, request: SweepRequest) -> Finding | None:
    """The finished sweep, or None if it is running, was stopped or has failed."""
    models = here.loaded
    chosen = [models.reference, *(v for v in models.variants if models.name(v) in request.variants)]
    dataset = source.dataset.spread(request.images)
    key = request, tuple(model.identity for model in chosen)

    def run(context: Context) -> RobustnessReport:
        return robustness(
            context,
            chosen,
            dataset,
            corruptions=request.corruptions,
            severities=request.severities,
            layer_images=LAYER_IMAGES,
            alarm_images=0,
        )

    draw, work = partial(_draw_partial, here), _work(here, request)
    report = jobs.result("sweep", key, run, "robustness", "Detecting", "images", draw, work=work)
    return None if report is None else Finding(report, request, source, *_names_and_colours(here, report.sweep))


def _names_and_colours(here: Page, sweep: Robustness) -> tuple[dict[str, str], dict[str, str]]:
    models = here.loaded
    names = {model.name: models.name(model) for model in models.all}
    colours = {model.name: models.colours[model.digest] for model in models.all}
    for number, name in enumerate(sweep.models):  # `sweep.models` numbers files of the same name
        names.setdefault(name, name)
        colours.setdefault(name, variant_colour(number))
    return names, colours


def _draw_partial(here: Page, sweep: object) -> None:
    if isinstance(sweep, Robustness) and sweep.corruptions:
        figure = severity_curves(sweep, *_names_and_colours(here, sweep))
        st.plotly_chart(figure, width="stretch", key=f"robustness-partial-{len(sweep.corruptions)}")


def headline(finding: Finding) -> None:
    """Draw the verdict and what it was measured on."""
    sweep = finding.report.sweep
    value = (
        "AP (pycocotools), ×100, higher is better"
        if sweep.annotated
        else "No annotations: agreement with what the reference finds on the clean images, ×100"
    )
    note = (
        f"{sweep.dataset}: {plural(sweep.images, 'image')}. {value}. Bands and brackets: 95% interval over the images."
    )
    page.verdict(verdict(sweep, finding.names), note)


def curves(finding: Finding) -> None:
    """Draw one panel per corruption, and a table of the means over all of them."""
    sweep = finding.report.sweep
    figure = severity_curves(sweep, finding.names, finding.colours)
    st.plotly_chart(figure, width="stretch", key="robustness-curves")
    rows = [
        {
            "model": finding.names[row.model],
            "P (clean)": hundred(row.p),
            "mPC": hundred(row.mpc),
            "rPC, %": hundred(row.rpc),
            "half gone at": row.breaking_point,
        }
        for row in sweep.summary
    ]
    formats = dict.fromkeys(("P (clean)", "mPC", "rPC, %", "half gone at"), "%.1f")
    glossary.table(pd.DataFrame(rows), formats, {"P (clean)": "clean", "rPC, %": "rPC"})
    st.caption(
        "Severity 5 is the worst. P: on the images without corruption. mPC: mean over corruptions and severities. rPC:"
        " mPC / P. Half gone at: the severity at which a model has lost half of the objects that it finds without"
        " corruption."
    )


def interaction(here: Page, finding: Finding) -> None:
    """Draw the heat map of interactions by corruption and variant."""
    sweep = finding.report.sweep
    if not sweep.interactions:
        st.caption("The sweep has no variant besides the reference.")
        return
    st.plotly_chart(interaction_heat(sweep, finding.names), width="stretch", key="robustness-interaction")
    note = (
        "How much more a corruption costs the variant than the reference, each against its own value without"
        " corruption, averaged over the severities. Above 0 the variant is the more fragile. * significant (Holm"
        " over the corruptions). (floor): one of the models has next to nothing left, so the figure is neither a loss"
        " nor an improvement. ≥: the variant has next to nothing left at some severity, so its loss may be larger."
    )
    if not sweep.annotated:
        note += (
            " Without annotations, the reference's clean value is 100 by definition, which biases these figures"
            " downwards."
        )
    st.caption(note)


_SHARE = st.column_config.NumberColumn(format="percent", width="small")
_LAYER_COLUMNS = {
    "clipped, clean": _SHARE,
    "at worst": _SHARE,
    "tensor": st.column_config.TextColumn(width="large"),
}


def saturation(here: Page, finding: Finding) -> None:
    """Draw the clipped share by layer and severity, the first layers to saturate, and whether they explain the loss."""
    report = finding.report
    if not report.saturations:
        st.caption(NO_RANGES)
        return
    names = list(report.saturations)
    left, right = st.columns(2)
    choice = left.selectbox(
        "Variant", names, format_func=finding.names.__getitem__, key="saturation-variant", persist_state="session"
    )
    variant = choice if choice in names else names[0]
    by_corruption = {name: report.saturations[variant].under(name) for name in report.sweep.corruptions}
    worst = max(by_corruption, key=lambda name: max((x.rise for x in by_corruption[name].layers), default=0))
    corruptions = list(by_corruption)
    corruption = right.selectbox(
        "Corruption",
        corruptions,
        corruptions.index(worst),
        format_func=corruption_title,
        key=f"saturation-corruption-{variant}",
    )
    corruption = corruption or worst
    st.text(layers_sentence(report, variant))
    st.plotly_chart(saturation_heat(by_corruption[corruption]), width="stretch", key="saturation-heat")
    first = by_corruption[corruption].first_layers(EXPLAINED_LAYERS)
    if not first:
        st.caption(f"{corruption_title(corruption)}: no layer leaves its range.")
        return
    glossary.table(_first_layers(by_corruption[corruption]), {}, columns=_LAYER_COLUMNS)
    applied = AppliedCorruption(corruption, max(finding.request.severities))
    loaded = next((v for v in here.loaded.variants if v.name == variant), None)
    if loaded is not None:
        _explanation(here, finding, loaded, applied, tuple(layer.op_index for layer in first))


def _first_layers(saturation: Saturation) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "operator": layer.op_index,
                "type": layer.op_type,
                "from severity": layer.first,
                "clipped, clean": layer.shares[0],
                "at worst": max(layer.shares),
                "tensor": layer.tensor,
            }
            for layer in saturation.first_layers(EXPLAINED_LAYERS)
        ]
    )


def _explanation(
    here: Page, finding: Finding, variant: LoadedModel, corruption: AppliedCorruption, op_indices: tuple[int, ...]
) -> None:
    """Draw a button and, after a click, whether these layers explain the loss."""
    clicked = f"qviz-explain-{variant.digest}-{corruption}"
    clicks.button(st, "Do these layers explain the loss?", partial(requested.keep, clicked, True), "saturation-explain")
    if not requested.last(clicked):
        return
    source, images = finding.source, min(finding.request.images, DEFAULT_IMAGES)
    pair = here.loaded.reference, variant
    key = source.digest, images, tuple(model.identity for model in pair), corruption, op_indices

    def run(context: Context) -> Explanation:
        return explain(context, *pair, readable_images(source, images), corruption, op_indices)

    explanation = jobs.result("explanation", key, run, "explanation", step="Running these layers in float")
    if explanation is not None:
        st.text(explanation_sentence(explanation))


def readable_images(source: Source, count: int) -> list[EncodedImage]:
    """At most `count` images, evenly spread over the source, without unreadable ones (which the sweep reports)."""
    return list(Reading().of(source.dataset.spread(count).images))


def table(here: Page, finding: Finding) -> None:
    """Draw a table of every point, with a download as CSV."""
    frame = finding.report.to_frame()
    frame["model"] = [finding.names[name] for name in frame["model"]]
    glossary.table(frame, {}, key="robustness-table")
    st.download_button("CSV", frame_csv(frame), "robustness.csv", "text/csv", key="robustness-csv")


RESULTS = (interaction, saturation, table)
"""The functions that draw the tabs after the first one, in the order of the tabs."""
