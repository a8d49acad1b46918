"""The loss curve: every step, their running mean, and room for the steps to come."""

from __future__ import annotations

import pytest

from qviz.features.training import QatResult
from qviz.features.training.plot import SMOOTHED, figure


def test_the_running_mean_of_the_loss() -> None:
    losses = [float(40 - step) for step in range(30)]
    chart = figure(QatResult(tuple(losses), 240), "#d55e00")
    points, line = chart.data
    assert list(points.y) == losses
    assert line.y[0] == 40.0 and line.y[1] == 39.5
    assert line.y[29] == pytest.approx(sum(losses[-SMOOTHED:]) / SMOOTHED)
    assert tuple(chart.layout.xaxis.range) == (0, 240)
    assert chart.layout.yaxis.type == "log"
