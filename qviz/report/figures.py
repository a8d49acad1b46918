"""The charts of a report, in the colours of the house. `Drawn` counts them: plotly.js is inlined where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qviz.analysis.layer_axis import reference_places
from qviz.analysis.outliers import outliers
from qviz.analysis.study import Study
from qviz.analysis.study_extras import weighed
from qviz.plots.alone import INK, figure_json
from qviz.plots.class_loss import class_heat, class_loss_bars, shown_classes, variant_losses
from qviz.plots.colours import REFERENCE, variant_colour
from qviz.plots.error_costs import error_bars
from qviz.plots.layer_error import Row, layer_error_chart
from qviz.plots.robustness import interaction_heat, severity_curves
from qviz.plots.tradeoff import tradeoff_scatter

MOST_CLASSES = 24
"""Rows of a chart, so that it stands on one sheet of paper."""
MOST_BARS = 3
"""Variants whose classes have a chart of their own."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure: json for a <script>; title: what it shows, read out where it cannot be seen; height in pixels."""

    number: int
    title: str
    json: str
    height: int


class Drawn:
    """Draws a study's figures and numbers them."""

    def __init__(self, study: Study) -> None:
        self.study, self.count = study, 0
        self.colours = {study.reference.name: REFERENCE}
        self.colours |= {model.name: variant_colour(place) for place, model in enumerate(study.variants)}

    def chart(self, title: str, figure: Any) -> Chart:
        """A figure with its number; safe inside of a <script>."""
        self.count += 1
        return Chart(self.count, title, figure_json(figure), int(figure.layout.height or 400))

    def accuracy(self) -> list[Chart]:
        """The loss of each variant, and what kinds of errors the worst one adds."""
        study, losses = self.study, self.study.losses
        if study.evaluation is None or not losses:
            return []
        figure = variant_losses({name: loss.ap for name, loss in losses.items()}, [self.colours[n] for n in losses])
        charts = [self.chart("AP points lost by each variant, with 95% intervals", figure)]
        worst = max(losses, key=lambda name: losses[name].ap.value or 0.0)
        detail = study.evaluation.details[list(losses).index(worst)]
        errors = error_bars(detail.errors, study.reference.name, worst, self.colours[worst])
        return [*charts, self.chart(f"What each kind of error costs: {study.reference.name} and {worst}", errors)]

    def classes(self) -> list[Chart]:
        """Classes by variants, then those of the worst variants with their intervals."""
        losses = self.study.losses
        hurt = [name for name, loss in losses.items() if shown_classes([loss])]
        hurt.sort(key=lambda name: -(losses[name].ap.value or 0.0))
        charts = []
        if len(losses) > 1 and hurt:
            charts.append(self.chart("AP points lost, by class and variant", class_heat(losses, INK, MOST_CLASSES)))
        for name in hurt[:MOST_BARS]:
            figure = class_loss_bars(losses[name], self.colours[name], MOST_CLASSES)
            charts.append(self.chart(f"{name}: AP points lost by class, with 95% intervals", figure))
        return charts

    def layers(self) -> list[Chart]:
        """All variants whose layers were run, over one another."""
        results = self.study.layers
        rows = [
            Row(
                name,
                errors,
                outliers(errors.layers),
                self.colours[name],
                reference_places(errors) if len(results) > 1 else {},
            )
            for name, errors in results.items()
        ]
        return [self.chart("Error along the network, SQNR in dB", layer_error_chart(rows))] if rows else []

    def robustness(self) -> list[Chart]:
        """Value by severity, and what quantization adds to it."""
        found = self.study.robustness
        if found is None:
            return []
        names = dict(zip(found.models, (model.name for model in self.study.models), strict=False))
        colours = {model: self.colours[name] for model, name in names.items()}
        charts = [self.chart(f"{found.measure} by severity", severity_curves(found, names, colours))]
        if found.interactions:
            heat = interaction_heat(found, names)
            charts.append(self.chart("What quantization loses beyond FP32 under each corruption", heat))
        return charts

    def tradeoff(self) -> list[Chart]:
        """What each model keeps, over its latency."""
        figure = tradeoff_scatter(weighed(self.study), self.colours)
        return [self.chart("What each model keeps, by its latency; a bubble's area is its size", figure)]
