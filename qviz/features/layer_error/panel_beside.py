"""Figures of the operators from other features, shown beside the errors: a device's recording, and cost on an NPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from qviz.features.backends import panel_recording
from qviz.features.backends.recorded_layers import RecordedLayers
from qviz.features.backends.text import recorded_sentence
from qviz.features.cost import panel_npu
from qviz.features.cost.npu import NpuCost
from qviz.features.cost.text import npu_sentence
from qviz.features.detection.models import LoadedModel
from qviz.formatting import plural, shortened
from qviz.ui import page
from qviz.ui.page import Page

MAX_REASON = 40
"""Maximum number of characters of the reason why an operator is left to the CPU."""
DEVICE, BETWEEN, CYCLES = "device dB", "device to here dB", "NPU cycles"


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of each operator.

    Attributes:
        label: Header in the table.
        number_format: A printf format for the values.
        values, texts: Operator index -> the figure, and the figure as text. Unknown figures are left out.
    """

    label: str
    number_format: str
    values: Mapping[int, float]
    texts: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Beside:
    """Columns with further figures of the operators, and sentences about them."""

    columns: tuple[Column, ...] = ()
    sentences: tuple[str, ...] = ()

    def figures(self, order: int) -> list[tuple[str, str]]:
        """(label of the figure, its value as text) for one operator."""
        return [(column.label, column.texts[order]) for column in self.columns if order in column.texts]


def controls() -> None:
    """Draw the choice of the NPU and the drop zone for a recording."""
    panel_npu.choose(st.container())
    panel_recording.drop_zone()


def measured(here: Page, name: str, variant: LoadedModel) -> Beside:
    """The chosen figures that are already measured for a variant. Draws the progress of the others.

    Args:
        name: The variant's name, for sentences.
    """
    columns: list[Column] = []
    sentences: list[str] = []
    recorded = panel_recording.result(here, variant)
    if recorded is not None:
        columns += _of_recording(recorded)
        text = recorded_sentence(recorded).replace(recorded.variant, name)
        sentences += [text.replace(recorded.reference, here.loaded.name(here.loaded.reference)), *recorded.skipped]
    estimate = (panel_npu.estimates([variant], panel_npu.chosen(), "layers-npu") or {}).get(variant.digest)
    if estimate is not None and estimate.cost is not None:
        columns.append(_of_npu(estimate.cost))
        sentences.append(npu_sentence(name, estimate.cost))
    elif estimate is not None:
        sentences.append(estimate.reason)
    return Beside(tuple(columns), tuple(sentences))


def show_sentences(beside: Beside) -> None:
    """Draw the sentences."""
    for sentence in beside.sentences:
        page.small_text(sentence)


def _of_recording(recorded: RecordedLayers) -> list[Column]:
    rows = recorded.layers
    device = {row.order: row.recorded_sqnr_db for row in rows if row.recorded_sqnr_db is not None}
    between = {row.order: row.kernel_sqnr_db for row in rows if row.kernel_sqnr_db is not None}
    texts = {row.order: _between(row.kernel_sqnr_db, row.local_steps) for row in rows}
    return [
        Column(DEVICE, "%.1f", device, {order: f"{value:.1f}" for order, value in device.items()}),
        Column(BETWEEN, "%.1f", between, texts),
    ]


def _between(sqnr_db: float | None, steps: int | None) -> str:
    alone = "" if steps is None else f", {plural(steps, 'step')} given the same inputs"
    return "equal" if sqnr_db is None else f"{sqnr_db:.1f}{alone}"


def _of_npu(cost: NpuCost) -> Column:
    rows = cost.by_order
    cycles = {order: float(row.cycles) for order, row in rows.items() if row.runs_on != "cpu"}
    total = max(cost.cycles, 1)
    texts = {
        order: f"{row.cycles:,} ({row.cycles / total:.1%})"
        if order in cycles
        else "left to the CPU" + (f": {shortened(row.reason, MAX_REASON)}" if row.reason else "")
        for order, row in rows.items()
    }
    return Column(CYCLES, "localized", cycles, texts)
