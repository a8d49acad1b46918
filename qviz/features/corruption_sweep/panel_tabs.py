"""What a sweep found, tab by tab.

Images out of a variant's calibrated range, without any corruption, and those to add to the calibration.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import PurePosixPath

import pandas as pd
import streamlit as st

from qviz.errors import ImageError, QvizError
from qviz.features.corruption_sweep import has_ranges
from qviz.features.corruption_sweep import panel as robustness_job
from qviz.features.corruption_sweep.out_of_range import Addition, OutOfRange
from qviz.features.corruption_sweep.panel import Finding, title
from qviz.features.corruption_sweep.plot import interaction_heat, saturation_heat, severity_curves
from qviz.features.corruption_sweep.result import Robustness
from qviz.features.corruption_sweep.saturation import Saturation
from qviz.features.corruption_sweep.text import layers_sentence, range_sentence
from qviz.structures import AppliedCorruption, Dataset
from qviz.ui import clicks, glossary
from qviz.ui.clicks import outcome
from qviz.ui.dataset_choice import Source
from qviz.ui.page import Page

LAYERS = 8
"""Layers whose blame is asked for."""


def curves(finding: Finding) -> None:
    """A panel a corruption, and what is left over all of them."""
    found = finding.report.sweep
    figure = severity_curves(found, finding.names, finding.colours)
    st.plotly_chart(figure, width="stretch", key="robustness-curves")
    st.dataframe(
        _summary(found, finding), hide_index=True, width="stretch", placeholder="–",
        column_config=glossary.numbers(
            {"P (clean)": "%.1f", "mPC": "%.1f", "rPC, %": "%.1f", "half gone at": "%.1f"},
            {"P (clean)": "clean", "rPC, %": "rPC"},
        ),
    )  # fmt: skip
    st.caption(
        "Severity 5 is the worst. P: on the clean images. mPC: mean over corruptions and severities. rPC: mPC / P. Half"
        " gone at: the severity at which half of the model's own clean objects are no longer found."
    )


def _summary(found: Robustness, finding: Finding) -> pd.DataFrame:
    rows = [
        {
            "model": finding.names[row.model],
            "P (clean)": _hundred(row.p),
            "mPC": _hundred(row.mpc),
            "rPC, %": _hundred(row.rpc),
            "half gone at": row.breaking_point,
        }
        for row in found.summary
    ]
    return pd.DataFrame(rows)


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def interaction(finding: Finding) -> None:
    """Corruption by variant."""
    found = finding.report.sweep
    if not found.interactions:
        st.caption("No variant was swept beside the reference.")
        return
    st.plotly_chart(interaction_heat(found, finding.names), width="stretch", key="robustness-interaction")
    note = (
        "What a variant loses under a corruption beyond what it loses when clean, averaged over the severities; above 0"
        " it breaks where the reference holds. * significant (Holm over the corruptions)."
    )
    if not found.annotated:
        note += " Without annotations the reference agrees with itself by 100 when clean, so figures lie low."
    st.caption(note)


def saturation(here: Page, finding: Finding) -> None:
    """Layer by severity, the first layers to saturate, and whether they explain the loss."""
    known = finding.report.saturations
    if not known:
        st.caption("No activation of these variants is quantized: nothing can leave its range.")
        return
    left, right = st.columns(2)
    variant = left.selectbox("Variant", list(known), format_func=finding.names.__getitem__, key="saturation-variant")
    variant = variant if variant in known else next(iter(known))
    corruptions = finding.report.sweep.corruptions
    worst = max(corruptions, key=lambda name: max((x.rise for x in known[variant].under(name).layers), default=0))
    corruption = right.selectbox(
        "Corruption", corruptions, corruptions.index(worst), format_func=title, key=f"saturation-corruption-{variant}"
    )
    under = known[variant].under(corruption or worst)
    st.text(layers_sentence(finding.report, variant))
    st.plotly_chart(saturation_heat(under), width="stretch", key="saturation-heat")
    first = under.first(most=LAYERS)
    if first:
        st.dataframe(_first(under), hide_index=True, width="stretch", column_config=_FIRST)
        _blame(here, finding, variant, AppliedCorruption(corruption or worst, max(finding.asked.severities)), under)
    else:
        st.caption(f"Under {title(under.shifts[-1].name).lower() if under.shifts[-1] else 'it'} no layer saturates.")


_SHARE = st.column_config.NumberColumn(format="percent", width="small")
_FIRST = {"clipped, clean": _SHARE, "at worst": _SHARE, "tensor": st.column_config.TextColumn(width="large")}


def _first(found: Saturation) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "operator": layer.order,
                "kind": layer.op_kind,
                "from severity": layer.first,
                "clipped, clean": layer.shares[0],
                "at worst": max(layer.shares),
                "tensor": layer.tensor,
            }
            for layer in found.first(most=LAYERS)
        ]
    )


def _blame(here: Page, finding: Finding, name: str, shift: AppliedCorruption, under: Saturation) -> None:
    """A button, then the sentence."""
    assert here.models is not None, "pages without a model stop before"
    variant = next((v for v in here.models.variants if v.name == name), None)
    if variant is None:
        return
    orders = tuple(layer.order for layer in under.first(most=LAYERS))
    key = f"qviz-blame-{variant.digest}-{shift}"
    ask = clicks.keep(key, True)
    clicks.button(st, "Do these layers explain the loss?", ask, "saturation-blame")
    if st.session_state.get(key):
        job = robustness_job.cause(here.models, variant, finding.source, finding.asked, shift, orders)
        try:
            with st.spinner("Running these layers in float …"):
                st.text(outcome(job, 120).sentence)
        except QvizError as error:
            st.text(str(error))


def table(finding: Finding) -> None:
    """Every point."""
    frame = finding.report.sweep.to_frame()
    frame["model"] = [finding.names[name] for name in frame["model"]]
    st.dataframe(frame, hide_index=True, width="stretch", placeholder="–", key="robustness-table")
    st.download_button("CSV", frame.to_csv(index=False).encode(), "robustness.csv", "text/csv", key="robustness-csv")


BEAT = 0.5


def show(here: Page, source: Source) -> None:
    """The ranking of one variant, and its zip."""
    assert here.models is not None, "pages without a model stop before"
    found = here.models
    ranged = {found.name(v): v for v in found.variants if has_ranges(found.reference, v)}
    st.subheader("Images outside of the calibration")
    if not ranged:
        st.caption("No activation of these variants is quantized: nothing can leave its range.")
        return
    asked = next((name for name in here.view.variants if name in ranged), next(iter(ranged)))
    name = st.segmented_control("Variant", list(ranged), default=asked, key="alarm-variant") or asked
    job = robustness_job.alarm(found, ranged[name], source)
    if not job.done():
        _waiting(job)
        return
    try:
        _ranking(job.result(), source.dataset, name)
    except QvizError as error:
        st.text(str(error))


@st.fragment(run_every=BEAT)
def _waiting(job: Future[OutOfRange]) -> None:
    if job.done():
        st.rerun()
    st.caption("Running FP32 over the images, and its activations against the variant's ranges …")


def _ranking(found: OutOfRange, dataset: Dataset, name: str) -> None:
    st.text(range_sentence(found))
    st.dataframe(_table(found), hide_index=True, width="stretch", height=300, placeholder="–", column_config=_FORMATS)
    st.caption(
        "Out of range: how far FP32's activations go beyond the variant's ranges, in widths of the range, averaged over"
        " all layers and both ends (each capped at 1), plus the largest share that any one layer clips."
        " Clipped %: of all layers' activations together."
    )
    if found.add:
        data = zip_of(dataset, found.add)
        label = f"Download {len(found.add)} images to add to the calibration (zip)"
        st.download_button(label, data, f"calibration_{name}.zip", "application/zip", key="alarm-zip")


_FORMATS = {
    **glossary.numbers({"out of range": "%.4f", "clipped %": "%.1f"}),
    "covers %": st.column_config.NumberColumn(format="%.1f", width="small", help="Of all excess, with those before."),
    "farthest layer": st.column_config.TextColumn(width="large"),
}


def _table(found: OutOfRange) -> pd.DataFrame:
    """Those to add first, in their order, then the others by how far they are out."""
    add = {row.digest: (number, row.covered) for number, row in enumerate(found.add)}
    ranked = sorted(found.images, key=lambda image: add.get(image.digest, (len(add), 0.0))[0])
    return pd.DataFrame(
        [
            {
                "image": image.image,
                "alarm": "●" if image.alarm else "",
                "out of range": image.score,
                "clipped %": 100 * image.clipped_share,
                "layers outside": image.outside,
                "to add": add[image.digest][0] + 1 if image.digest in add else None,
                "covers %": 100 * add[image.digest][1] if image.digest in add else None,
                "farthest layer": _layer(image.layers[0].order, image.layers[0].op_kind, image.layers[0].tensor)
                if image.layers
                else "",
            }
            for image in ranked
        ]
    )


def _layer(order: int, kind: str, tensor: str) -> str:
    return f"{order} {kind} {tensor[:80]}"


def zip_of(dataset: Dataset, add: Sequence[Addition]) -> bytes:
    """The image files as they are, in one folder; names from outside become mere names."""
    wanted = {row.digest for row in add}
    names = {row.image for row in add}
    buffer, taken = io.BytesIO(), set[str]()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for image in dataset.images:
            if image.name not in names:
                continue
            try:
                encoded = image.encoded()
            except ImageError:
                continue
            if encoded.digest in wanted:
                archive.writestr(f"calibration/{_free(image.name, taken)}", encoded.data)
    return buffer.getvalue()


def _free(name: str, taken: set[str]) -> str:
    """A file name that is not in the archive yet."""
    plain = PurePosixPath(name.replace("\\", "/")).name.replace("..", "_") or "image"
    found, number = plain, 2
    while found in taken:
        found, number = f"{number}_{plain}", number + 1
    taken.add(found)
    return found
