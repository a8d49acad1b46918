"""The charts of a report, as JSON for a page without a server, and its pictures with boxes.

The JSON of a figure contains no template, because the page applies its own template and text colour to all figures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import plotly.graph_objects as go

from qviz.chart_style import CHANGES, colours, data_uri
from qviz.features.accuracy.plot import class_heat, class_loss_bars, error_bars, left_out, shown_classes, variant_losses
from qviz.features.accuracy.slice_loss import TraitCurve
from qviz.features.comparison import ComparedObject
from qviz.features.comparison.matching import Change
from qviz.features.corruption_sweep.plot import interaction_heat, severity_curves
from qviz.features.cost.plot import tradeoff_scatter
from qviz.features.layer_error.outliers import outliers, reference_positions
from qviz.features.layer_error.plot import Row, layer_error_chart
from qviz.features.object_risk.plot import figure as reliability
from qviz.features.reporting import Report
from qviz.features.reporting.study import StudiedImage, Study
from qviz.features.reporting.work import study_tradeoff
from qviz.features.slices.plot import figure as curve_figure
from qviz.features.video.plot import figure as timeline
from qviz.formatting import plural


@cache
def plotly_js() -> str:
    """The text of plotly.js, 4.8 MB. It does not contain `</script`, so it can be inlined unchanged."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text.replace("\r\n", "\n")


def figure_json(figure: go.Figure) -> str:
    """A figure's data and layout as JSON for a <script> element: angle brackets and ampersands are escaped."""
    from plotly.io.json import to_json_plotly

    content = figure.to_plotly_json()
    layout = {name: value for name, value in content["layout"].items() if name != "template"}
    text: str = to_json_plotly({"data": content["data"], "layout": layout})
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


MAX_CLASSES = 24
"""Maximum number of classes in a chart, so that the chart fits on a sheet of paper."""
MAX_CURVES = 2
MAX_BAR_CHARTS = 3
"""Maximum number of variants that get a chart of their classes."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: a title (also for screen readers), the figure as JSON for a <script>, and the height in pixels."""

    number: int
    title: str
    json: str
    height: int


class ReportCharts:
    """Draws a study's figures and numbers them."""

    def __init__(self, study: Study) -> None:
        self.study, self.count = study, 0
        self.colours = dict(zip((model.name for model in study.models), colours(len(study.models)), strict=True))

    def chart(self, title: str, figure: Any) -> Chart:
        """Give the figure the next number, and return it as a chart."""
        self.count += 1
        return Chart(self.count, title, figure_json(figure), int(figure.layout.height or 400))

    def accuracy(self) -> list[Chart]:
        """Charts of the loss of each variant, and of the kinds of errors that the worst variant adds."""
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
        """A chart of the loss by class and variant, then one chart with intervals for each of the worst variants."""
        losses = self.study.losses
        names = [name for name, loss in losses.items() if shown_classes([loss])]
        names.sort(key=lambda name: -(losses[name].ap.value or 0.0))
        charts = []
        if len(losses) > 1 and names:
            title = f"AP points lost, by class and variant. {left_out(list(losses.values()), MAX_CLASSES)}"
            charts.append(self.chart(title.rstrip(" ."), class_heat(losses, MAX_CLASSES)))
        for name in names[:MAX_BAR_CHARTS]:
            figure = class_loss_bars(losses[name], self.colours[name], MAX_CLASSES)
            title = f"{name}: AP points lost by class, with 95% intervals. {left_out([losses[name]], MAX_CLASSES)}"
            charts.append(self.chart(title.rstrip(" ."), figure))
        return charts

    def layers(self) -> list[Chart]:
        """One chart of the layer errors of all variants whose layers were run."""
        results = self.study.layers
        rows = [
            Row(
                name,
                errors,
                outliers(errors.layers),
                self.colours[name],
                reference_positions(errors) if len(results) > 1 else {},
            )
            for name, errors in results.items()
        ]
        return [self.chart("Error along the network, SQNR in dB", layer_error_chart(rows))] if rows else []

    def robustness(self) -> list[Chart]:
        """Charts of the value by severity, and of the loss that quantization adds."""
        result = self.study.robustness
        if result is None:
            return []
        names = dict(zip(result.models, (model.name for model in self.study.models), strict=False))
        colours = {model: self.colours[name] for model, name in names.items()}
        charts = [self.chart(f"{result.measure} by severity", severity_curves(result, names, colours))]
        if result.interactions:
            heat = interaction_heat(result, names)
            charts.append(self.chart("What quantization loses beyond FP32 under each corruption", heat))
        return charts

    def slices(self) -> list[Chart]:
        """Charts of the loss over a trait, for the continuous traits whose curves vary most."""
        result = self.study.evaluation.slices if self.study.evaluation is not None else None
        curves = sorted(result.curves if result is not None else (), key=_variation, reverse=True)
        names = [model.name for model in self.study.variants]
        inks = [self.colours[name] for name in names]
        return [
            self.chart(f"Recall lost over {curve.trait}, with 95% intervals", curve_figure(curve, names, inks))
            for curve in curves[:MAX_CURVES]
        ]

    def risk(self) -> list[Chart]:
        """The reliability of the risk of each variant, if one of its risks is shown."""
        return [
            self.chart(f"{name}: observed share of the objects over their mean risk, in tenths", reliability(result))
            for name, result in self.study.risks.items()
            if any(test.shown for test in result.tests)
        ]

    def video(self) -> list[Chart]:
        """The timeline of each variant."""
        reference = self.study.reference.name
        return [
            self.chart(
                f"{result.name}: objects, agreement and brightness of {reference} and {name}",
                timeline(result, [reference, name], [self.colours[reference], self.colours[name]]),
            )
            for name, result in self.study.videos.items()
        ]

    def tradeoff(self) -> list[Chart]:
        """AP or agreement of each model over its latency."""
        figure = tradeoff_scatter(study_tradeoff(self.study), self.colours)
        return [self.chart("Quality of each model against its latency; the area of a bubble is the file size", figure)]


def _variation(curve: TraitCurve) -> float:
    """The largest difference between two losses on a curve, for the variant for which it is largest."""
    by_variant = zip(*([loss.loss.value or 0.0 for loss in point.losses] for point in curve.points), strict=True)
    return max((max(values) - min(values) for values in by_variant), default=0.0)


MAX_ACROSS = 4
MAX_BOXES = 300
"""Maximum number of boxes in one pane, which limits the size of the page."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box on a picture.

    Attributes:
        change: The object's change, which determines the style of the line.
        x, y, width, height: Left, top and size in pixels of the original image.
        tag: Text beside the box; may be empty.
        description: Text of the tooltip.
        pair: Number of the reference's object, the same in all panes; empty for a spurious object.
    """

    change: str
    colour: str
    x: float
    y: float
    width: float
    height: float
    tag: str
    description: str
    pair: str


@dataclass(frozen=True, slots=True)
class Pane:
    """The boxes of one model on a picture. `counts` are its changes in words, e.g. `1 lost · 2 kept`."""

    name: str
    colour: str
    counts: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image with a pane per model.

    Attributes:
        width, height: Size of the original image in pixels.
        source: The JPEG as a data URI.
        unit: Pixels of the original image per pixel of a pane.
    """

    number: int
    name: str
    width: int
    height: int
    source: str
    unit: float
    panes: tuple[Pane, ...]

    @property
    def across(self) -> int:
        """Number of panes per row: at most MAX_ACROSS, with rows of about equal length."""
        rows = -(-len(self.panes) // MAX_ACROSS)
        return -(-len(self.panes) // rows)


def pictures(study: Study, colours: Mapping[str, str]) -> list[Picture]:
    """The images of the study with the boxes of every model."""
    return [_picture(number, study, image, colours) for number, image in enumerate(study.images, start=1)]


def _picture(number: int, study: Study, image: StudiedImage, colours: Mapping[str, str]) -> Picture:
    objects = study.objects(image)
    reference_objects = next(iter(objects.values()), ())
    name = study.reference.name
    panes = [_reference(reference_objects, name, colours[name])]
    panes += [_variant(rows, variant, colours[variant]) for variant, rows in objects.items()]
    source = data_uri(image.jpeg)
    unit = max(image.width / 400, image.height / 400)
    return Picture(number, image.name, image.width, image.height, source, unit, tuple(panes))


def _reference(objects: Sequence[ComparedObject], name: str, colour: str) -> Pane:
    """The pane of the reference. `objects` are those of any variant, because every variant's rows contain them."""
    rows = [row for row in objects if row.reference_box is not None]
    boxes = [
        _box("reference", colour, row.reference_box, row.label, f"{row.label} {row.reference_score:.2f}", row)
        for row in rows[:MAX_BOXES]
    ]
    counts = plural(len(rows), "object") if rows else "no object"
    return Pane(name, colour, counts, tuple(boxes))


def _variant(objects: Sequence[ComparedObject], name: str, colour: str) -> Pane:
    ordered = sorted(objects, key=lambda row: row.change != Change.KEPT)  # changed objects are drawn on top
    return Pane(name, colour, _counts(objects), tuple(_changed(row, colour) for row in ordered[-MAX_BOXES:]))


def _changed(row: ComparedObject, colour: str) -> Box:
    """The box of an object in a variant's pane; for a lost object, the reference's box."""
    shade = colour if row.change == Change.KEPT else CHANGES[row.change]
    tag = (row.variant_label or row.label) if row.change != Change.KEPT else ""
    return _box(row.change, shade, row.variant_box or row.reference_box, tag, _description(row), row)


def _box(
    change: str, colour: str, sides: tuple[float, ...] | None, tag: str, description: str, row: ComparedObject
) -> Box:
    assert sides is not None, "an object has a box in one of the models"
    left, top, right, bottom = (round(side, 1) for side in sides)
    pair = "" if row.reference_index is None else str(row.reference_index)
    return Box(change, colour, left, top, max(right - left, 0), max(bottom - top, 0), tag[:30], description, pair)


def _description(row: ComparedObject) -> str:
    if row.change == Change.LOST:
        return f"lost: {row.label} {row.reference_score:.2f} ({row.lost_because})"
    if row.change == Change.SPURIOUS:
        return f"spurious: {row.variant_label} {row.variant_score:.2f}"
    change = f"{row.reference_score:.2f} → {row.variant_score:.2f}"
    if row.change == Change.RELABELLED:
        return f"relabelled: {row.label} → {row.variant_label}, {change}, IoU {row.iou:.2f}"
    return f"{row.change}: {row.label} {change}, IoU {row.iou:.2f}"


def _counts(objects: Sequence[ComparedObject]) -> str:
    """The number of objects by change, e.g. `1 lost · 2 kept`."""
    counts = Counter(row.change for row in objects)
    order = ("lost", "relabelled", "spurious", "shifted", "kept")
    return " · ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "no object"


def figure(report: Report) -> go.Figure:
    """A chart of the loss of each variant or, if the study has no AP, of the layer errors; may be empty."""
    charts = ReportCharts(report.study)
    drawn = charts.accuracy() or charts.layers()
    return go.Figure(json.loads(drawn[0].json) if drawn else {})
