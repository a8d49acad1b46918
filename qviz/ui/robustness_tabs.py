"""What a sweep found, tab by tab."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from qviz.analysis.robustness import Robustness
from qviz.analysis.robustness_verdict import layers_sentence
from qviz.analysis.saturation import Saturation
from qviz.errors import QvizError
from qviz.plots.robustness import interaction_heat, severity_curves
from qviz.plots.saturation import saturation_heat
from qviz.structures import Shift
from qviz.ui import clicks, columns, robustness_job
from qviz.ui.page import Page
from qviz.ui.patience import outcome
from qviz.ui.robustness_kinds import title
from qviz.ui.robustness_sweep import Finding

LAYERS = 8
"""Layers whose blame is asked for."""


def curves(finding: Finding) -> None:
    """A panel a corruption, and what is left over all of them."""
    found = finding.report.sweep
    figure = severity_curves(found, finding.names, finding.colours)
    st.plotly_chart(figure, width="stretch", key="robustness-curves")
    st.dataframe(
        _summary(found, finding), hide_index=True, width="stretch", placeholder="–",
        column_config=columns.numbers(
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
        _blame(here, finding, variant, Shift(corruption or worst, max(finding.asked.severities)), under)
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


def _blame(here: Page, finding: Finding, name: str, shift: Shift, under: Saturation) -> None:
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
