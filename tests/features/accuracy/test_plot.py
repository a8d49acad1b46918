"""The charts of the Accuracy page show the results' numbers, x100, in the right colours and order."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.chart_style import REFERENCE, bracket, faded, sureness
from qviz.features.accuracy.ap import ClassLoss, VariantLoss
from qviz.features.accuracy.errors import KINDS, ErrorCost
from qviz.features.accuracy.plot import (
    class_heat,
    class_loss_bars,
    error_bars,
    left_out,
    precision_recall,
    reliability_curves,
    shown_classes,
    threshold_moves,
    variant_losses,
)
from qviz.features.accuracy.thresholds import BestThreshold, Reliability, ReliabilityBin, ThresholdShift
from qviz.formatting import points, signed_points
from qviz.structures import Loss

COLOUR = "#009E73"
SURE = ClassLoss("dog", Loss(0.3, 0.2, 0.45, True), 9, 7)
NOISE = ClassLoss("cat", Loss(0.1, -0.1, 0.2, False), 5, 5)
FEW = ClassLoss("<b>bus", Loss(0.5), 1, 1)
GAIN = ClassLoss("car", Loss(-0.2, -0.3, -0.1, True), 8, 6)
SAME = ClassLoss("boat", Loss(0.0, 0.0, 0.0, False), 8, 6)
LOSS = VariantLoss("v", Loss(0.2, 0.1, 0.3, True), (FEW, SURE, NOISE, SAME, GAIN))


def test_numbers_as_text() -> None:
    assert (points(0.315), points(None)) == ("31.5", "–")
    assert [signed_points(value) for value in (0.1234, -0.001, 0.0004, None)] == ["+12.3", "-0.1", "0.0", "–"]
    assert (bracket(SURE.loss), bracket(FEW.loss)) == ("[20.0, 45.0]", "")
    assert [sureness(row.loss) for row in (SURE, NOISE, FEW)] == [
        "significant",
        "not significant",
        "too few images for an interval",
    ]


def test_bars_are_sorted_by_evidence_and_insignificant_ones_faded() -> None:
    bars, whiskers = class_loss_bars(LOSS, COLOUR, chosen="dog").data
    assert list(bars.y) == ["&lt;b&gt;bus · 1", "cat · 5", "car · 8", "<b>dog · 9</b>"]  # Plotly counts from below
    assert list(bars.x) == pytest.approx([50, 10, -20, 30])
    assert [row[0] for row in bars.customdata] == ["<b>bus", "cat", "car", "dog"]
    full, pale = faded(COLOUR, 1.0), faded(COLOUR, 0.35)
    assert list(bars.marker.color) == [pale, pale, full, full]
    assert list(whiskers.y) == ["cat · 5", "car · 8", "<b>dog · 9</b>"]  # one object has no interval
    assert list(whiskers.error_x.array) == pytest.approx([10, 10, 15])
    assert list(whiskers.error_x.arrayminus) == pytest.approx([20, 10, 10])


def test_classes_without_loss_are_omitted_and_long_lists_truncated() -> None:
    assert shown_classes([LOSS]) == ["dog", "car", "cat", "<b>bus"]
    assert shown_classes([LOSS], limit=2) == ["dog", "car"]
    other = VariantLoss("w", Loss(0.0), (ClassLoss("boat", Loss(0.9), 8, 6),))
    assert shown_classes([LOSS, other])[-2:] == ["boat", "<b>bus"]  # large losses, but too few images for an interval


def _losses(*values: float) -> VariantLoss:
    return VariantLoss("v", Loss(0.0), tuple(ClassLoss(f"c{i}", Loss(v), 8, 6) for i, v in enumerate(values)))


LEFT_OUT = [
    ([_losses(0.3, 0.2, 0.1)], 3, ""),
    (
        [_losses(0.3, 0.2, 0.126, 0.1)],
        2,
        "Not shown (of 4 classes): 2 with less evidence, losing up to 12.6 AP points.",
    ),
    ([_losses(0.3, 0.0, 0.0)], 3, "Not shown (of 3 classes): 2 without a change of AP."),
    (
        [_losses(0.3, 0.2, 0.1, 0.0)],
        1,
        "Not shown (of 4 classes): 2 with less evidence, losing up to 20.0 AP points and 1 without a change of AP.",
    ),
    ([_losses(0.3, -0.2)], 1, "Not shown (of 2 classes): 1 with a loss below 0 (better)."),
    # a class counts as unchanged only where no variant changes it
    ([_losses(0.3, 0.0, 0.0), _losses(0.3, 0.1, 0.0)], 5, "Not shown (of 3 classes): 1 without a change of AP."),
    ([_losses(*([0.01] * 80))], 40, "Not shown (of 80 classes): 40 with less evidence, losing up to 1.0 AP points."),
]


@pytest.mark.parametrize(("losses", "limit", "expected"), LEFT_OUT)
def test_classes_behind_the_limit_are_not_called_unchanged(
    losses: list[VariantLoss], limit: int, expected: str
) -> None:
    assert left_out(losses, limit) == expected


def test_losses_are_dots_with_their_intervals() -> None:
    figure = variant_losses({"a": LOSS.ap, "b": Loss(-0.01)}, [COLOUR, "#123456"])
    first, second = figure.data
    assert (list(first.x), list(first.y), first.marker.color) == ([pytest.approx(20)], ["a"], COLOUR)
    assert (first.error_x.array[0], first.error_x.arrayminus[0]) == (pytest.approx(10), pytest.approx(10))
    assert (first.marker.opacity, second.marker.opacity < 1) == (1, True)
    assert figure.layout.yaxis.autorange == "reversed"


def test_the_colour_scale_is_symmetric_around_zero() -> None:
    other = VariantLoss("w", Loss(0.0), (SAME, ClassLoss("dog", Loss(0.05, 0.01, 0.1, True), 9, 7)))
    heat, texts = class_heat({"v": LOSS, "w": other}).data
    assert (heat.zmin, heat.zmax) == (pytest.approx(-50), pytest.approx(50))
    assert list(heat.y) == ["&lt;b&gt;bus", "cat", "car", "dog"]
    assert heat.z[3] == pytest.approx((30, 5))
    assert heat.z[0][1] is None  # the other variant has no value for bus
    assert list(heat.text[3]) == ["+30.0*", "+5.0*"]
    assert list(heat.text[0]) == ["+50.0", "–"]
    assert heat.texttemplate is None and texts.textfont.color is None, "the page colours them, in both themes"
    assert list(texts.text) == [cell for row in heat.text for cell in row]


def test_curves_have_their_models_colours() -> None:
    curve = np.linspace(1, 0, 101)
    figure = precision_recall({"r": curve, "<v>": curve / 2}, {"r": 0.5, "<v>": None}, [REFERENCE, COLOUR])
    first, second = figure.data
    assert (first.name, second.name) == ("r · AP50 50.0", "&lt;v&gt; · AP50 –")
    assert (first.line.color, second.line.color) == (REFERENCE, COLOUR)
    assert list(second.y) == pytest.approx(curve / 2)
    assert (first.x[0], first.x[-1]) == (0, 1)


def test_error_types_are_grouped_bars() -> None:
    errors = [(ErrorCost(kind, i, i / 100), ErrorCost(kind, 2 * i, i / 50)) for i, kind in enumerate(KINDS)]
    first, second = error_bars(errors, "r", "v", COLOUR).data
    assert list(first.x) == list(second.x) == list(KINDS)
    assert list(first.y) == pytest.approx([0, 1, 2, 3, 4, 5])
    assert list(second.y) == pytest.approx([0, 2, 4, 6, 8, 10])
    assert list(second.customdata) == [0, 2, 4, 6, 8, 10]
    assert (first.marker.color, second.marker.color) == (REFERENCE, COLOUR)


def test_lines_join_reference_and_best_thresholds() -> None:
    shifts = {
        "v": ThresholdShift(BestThreshold(0.4, 0.6), BestThreshold(0.25, 0.55), 0.3, 0.8, ()),
        "w": ThresholdShift(BestThreshold(0.4, 0.6), BestThreshold(None, 0.0), 0.0, 0.0, ()),
    }
    figure = threshold_moves(shifts, [COLOUR, "#123456"])
    first, second = figure.data
    assert list(first.x) == pytest.approx([30, 55])
    assert list(first.customdata) == ["at 0.40", "at 0.25"]
    assert second.customdata[1] == "nowhere"
    (line,) = figure.layout.shapes
    assert line.x0 == pytest.approx(60)
    low, high = figure.layout.xaxis.range
    assert low < 0 and high > 60


def test_reliability_diagram() -> None:
    bins = (ReliabilityBin(0.15, 0.1, 40), ReliabilityBin(0.95, 0.9, 10))
    curves = {"r": Reliability(bins, 0.05), "v": Reliability((), None)}
    first, second = reliability_curves(curves, [REFERENCE, COLOUR]).data
    assert (list(first.x), list(first.y)) == ([0.15, 0.95], [0.1, 0.9])
    assert list(first.customdata) == [40, 10]
    assert (first.name, second.name) == ("r · ECE 0.050", "v · ECE –")
