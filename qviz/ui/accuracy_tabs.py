"""What stands behind a loss, a tab each: classes, curves, error types, thresholds, confusions."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from qviz.analysis.error_types import KINDS_TOLD
from qviz.analysis.thresholds import ThresholdShift
from qviz.detector import PAGE_SCORE
from qviz.plots.class_loss import class_heat, class_loss_bars, shown_classes
from qviz.plots.error_costs import error_bars
from qviz.plots.precision_recall import precision_recall
from qviz.plots.reliability import reliability_curves
from qviz.plots.thresholds import threshold_moves
from qviz.ui import accuracy, accuracy_images, accuracy_tables
from qviz.ui.accuracy import Finding
from qviz.ui.page import Page

MOST_ROWS = 300
INK = {"light": "#1f2328", "dark": "#e6e8ea"}
"""Text on a chart's own colours, as in `.streamlit/config.toml`."""


def show(here: Page, finding: Finding, variant: str, label: str) -> None:
    """All tabs; where there is one variant, its bars say all that a heat map could."""
    tabs: dict[str, Callable[[], None]] = {
        "Loss by class": lambda: by_class(here, finding, variant, label),
        "All variants": lambda: heat(finding),
        "Precision and recall": lambda: curves(finding, label),
        "Error types": lambda: errors(finding, variant),
        "Thresholds": lambda: thresholds(finding, variant),
        "Confusions": lambda: confusions(finding, variant),
        "Worst images": lambda: accuracy_images.worst(here, finding, variant),
    }
    if len(finding.losses) == 1:
        del tabs["All variants"]
    for tab, draw in zip(st.tabs(list(tabs)), tabs.values(), strict=True):
        with tab:
            draw()


def by_class(here: Page, finding: Finding, variant: str, label: str) -> None:
    """Ranked bars, and the class in view beside them; a click on a bar chooses the class."""
    loss, key = finding.losses[variant], f"class-loss-{variant}"
    shown = shown_classes([loss])
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if shown:
            figure = class_loss_bars(loss, finding.colour(variant), chosen=label)
            st.plotly_chart(figure, width="stretch", key=key, on_select=lambda: _clicked(key), selection_mode="points")
        rest = len(loss.per_class) - len(shown)
        st.caption(
            "Faded: may be noise (Holm-corrected over the classes; fewer than 5 images: no interval)."
            " Behind a name: its objects."
            + (f" {rest} of {len(loss.per_class)} classes lose and gain nothing and are left out." if rest else "")
        )
    with right:
        _class_in_view(here, finding, variant, label)
    with st.expander(f"AP of all {len(loss.per_class)} classes"):
        accuracy_tables.show(accuracy_tables.class_rows(finding.evaluation, finding.names), key="accuracy-classes")


def _clicked(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        accuracy.take(str(points[-1]["customdata"][0]))


def _class_in_view(here: Page, finding: Finding, variant: str, label: str) -> None:
    losses = {name: next(row for row in loss.per_class if row.label == label) for name, loss in finding.losses.items()}
    thresholds = {
        name: next(row for row in detail.threshold.per_class if row.label == label)
        for name, detail in finding.details.items()
    }
    row = losses[variant]
    st.text(f"{label}: {_many(row.truths, 'object')} on {_many(row.images, 'image')}")
    accuracy_tables.show(
        accuracy_tables.one_class(finding.evaluation, finding.names, losses, thresholds), key="accuracy-class"
    )
    accuracy_images.class_link(here, finding, variant, label)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def heat(finding: Finding) -> None:
    """Classes by variants."""
    losses = finding.losses
    if not shown_classes(list(losses.values())):
        st.text("No class loses or gains AP in any variant.")
        return
    st.plotly_chart(
        class_heat(losses, INK.get(st.context.theme.type or "", INK["light"])), width="stretch", key="accuracy-heat"
    )
    st.caption("AP points lost (×100); green is gained. * significant, Holm-corrected over the classes of a variant.")


def curves(finding: Finding, label: str) -> None:
    """Precision over recall of the class in view."""
    models = finding.evaluation.models
    place = next(i for i, row in enumerate(models[0].per_class) if row.label == label)
    lines = {name: curve[place] for name, curve in zip(finding.names, finding.evaluation.curves, strict=True)}
    ap50 = {name: model.per_class[place].ap50 for name, model in zip(finding.names, models, strict=True)}
    st.text(f"{label}, {_many(models[0].per_class[place].truths, 'object')}")
    st.plotly_chart(precision_recall(lines, ap50, finding.colours), width="stretch", key="accuracy-curves")


def errors(finding: Finding, variant: str) -> None:
    """TIDE's dAP of both."""
    figure = error_bars(finding.details[variant].errors, finding.names[0], variant, finding.colour(variant))
    st.plotly_chart(figure, width="stretch", key=f"errors-{variant}")
    st.caption(
        f"{KINDS_TOLD} dAP is the AP at an IoU of .50 that correcting all errors of one kind would bring (TIDE). dAPs"
        " do not simply subtract: the same error costs more in a better model, and those of two kinds do not add up."
    )


def thresholds(finding: Finding, variant: str) -> None:
    """Where to cut, and whether confidences still mean what they meant."""
    shifts = {name: detail.threshold for name, detail in finding.details.items()}
    st.text(_moved(variant, shifts[variant]))
    left, right = st.columns(2, gap="medium")
    with left:
        st.plotly_chart(threshold_moves(shifts, finding.colours[1:]), width="stretch", key="accuracy-thresholds")
        st.caption(
            "Open: F1 at the reference's best threshold; filled: at the variant's own; dashed: the reference's F1."
            " All classes pooled, IoU .50."
        )
        accuracy_tables.show(accuracy_tables.threshold_rows(shifts, finding.names[0]), key="accuracy-cuts")
    with right:
        found = dict(zip(finding.names, finding.evaluation.reliabilities, strict=True))
        st.plotly_chart(reliability_curves(found, finding.colours), width="stretch", key="accuracy-reliability")
        st.caption(
            "Below the diagonal a model is surer than it should be. ECE: mean distance from it, lower is better;"
            " detections from a confidence of .05."
        )
    with st.expander("Thresholds by class"):
        accuracy_tables.show(accuracy_tables.class_thresholds(shifts[variant]), key=f"cuts-{variant}")


def _moved(variant: str, shift: ThresholdShift) -> str:
    first, own = shift.reference.score, shift.variant.score
    if first is None or own is None:
        return f"{variant if own is None else 'The reference'} finds nothing right, so there is no threshold to choose."
    lost, gain = shift.reference.f1 - shift.variant_f1_unmoved, shift.variant.f1 - shift.variant_f1_unmoved
    if shift.recovered is None or lost < 5e-4:
        return f"{variant} loses no F1 at the reference's threshold of {first:.2f}; there is nothing to bring back."
    said = f"At the reference's threshold of {first:.2f}, {variant} loses {100 * lost:.1f} points of F1"
    if gain < 5e-4:
        return f"{said}; another threshold brings none of them back."
    return f"{said}; cut at {own:.2f} it has {100 * gain:.1f} of them back ({shift.recovered:.0%})."


def confusions(finding: Finding, variant: str) -> None:
    """What objects are taken for, the largest change first."""
    rows = finding.details[variant].confusions
    only = st.toggle("Only what changed", value=True, key="accuracy-changed")
    shown = [row for row in rows if row.change or not only]
    if not shown:
        st.text("The reference and the variant make the same mistakes.")
        return
    accuracy_tables.show(accuracy_tables.confusion_rows(shown[:MOST_ROWS]), key=f"confusions-{variant}")
    st.caption(f"From a confidence of {PAGE_SCORE:.2f}, IoU .50. now: by the variant; a change above 0 is worse.")
