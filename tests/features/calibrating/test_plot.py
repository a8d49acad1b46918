"""The lab's charts show the result's numbers; insignificant points are faded; markup in names is escaped."""

from __future__ import annotations

from dataclasses import replace

from qviz.features.calibrating.plot import calibration_curve, layer_changes, mistake_bars, stability_curve
from tests.features.calibrating.labs import CHANGED, LAB

COLOUR = "#009E73"


def test_curve_by_number_of_images() -> None:
    figure = calibration_curve(LAB, COLOUR)
    spread, mean, draws = figure.data
    assert (list(mean.x), list(mean.y)) == ([1, 2, 5], [25, 49.25, 49.6])
    assert list(spread.y) == [20, 49, 49.6, 49.6, 49.5, 30]
    assert (list(draws.x), list(draws.y)) == ([1, 1, 2, 2, 5], [20, 30, 49, 49.5, 49.6])
    assert figure.layout.shapes[0].y0 == 50
    assert figure.layout.yaxis.title.text == "AP ×100 (higher is better)"
    agreement = calibration_curve(replace(LAB, annotated=False), COLOUR)
    assert list(agreement.data[2].y) == [90] * 5


def test_mistakes_with_the_worst_on_top() -> None:
    (bars,) = mistake_bars(LAB, LAB.mismatch, COLOUR).data
    assert list(bars.y) == ["one class only", "random numbers in [0, 1)"]  # a refused calibration has no bar
    assert list(bars.x) == [0.1, 25]
    assert list(bars.marker.opacity) == [0.35, 1]
    assert list(bars.error_x.array)[1] == 100 * (0.3 - 0.25)


def test_range_chart() -> None:
    assert LAB.stability is not None
    largest, median = stability_curve(LAB.stability, COLOUR).data
    assert (list(largest.x), list(largest.y), list(median.y)) == ([1, 2], [60, 35], [10, 4])
    (bars,) = layer_changes([CHANGED], COLOUR).data
    assert (list(bars.y), list(bars.x)) == (["7 CONV_2D"], [35])
    assert list(bars.customdata[0]) == ["&lt;b&gt;conv", "[0, 4]", "[0, 6]"]
