"""The viewer shows the changes that the analysis computes, at every threshold."""

import numpy as np
import pytest

from qviz.features.comparison.matching import changes
from qviz.features.comparison.panel_viewer import GRID, threshold_steps
from qviz.structures import Detections, Inference


def run(seed: int) -> Inference:
    draw = np.random.default_rng(seed)
    corners = draw.uniform(0, 80, (12, 2))
    boxes = np.concatenate([corners, corners + draw.uniform(5, 60, (12, 2))], axis=1)
    detections = Detections.of(boxes, draw.uniform(0.05, 1, 12), draw.integers(0, 3, 12)).by_score()
    return Inference(detections, detections, 100, 100, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_visible_rows_equal_the_analysis_at_every_threshold(seed: int) -> None:
    reference, variant = run(seed), run(seed + 100)
    steps = threshold_steps(reference, variant, 0.5)
    for threshold in GRID:
        rows = next(rows for start, rows in reversed(steps) if start <= threshold)
        fresh = changes(reference.detections, variant.detections, variant.candidates, float(threshold), 0.5)
        assert [(row[0], row[1], row[2]) for row in rows] == [
            (
                -1 if row.reference is None else row.reference,
                -1 if row.variant is None else row.variant,
                str(row.change),
            )
            for row in fresh
        ]


def test_only_thresholds_with_changes_are_sent() -> None:
    detections = Detections.of([[0, 0, 10, 10]], [0.5], [1])
    steps = threshold_steps(Inference(detections, None, 20, 20, 1.0), Inference(detections, None, 20, 20, 1.0), 0.5)
    assert [start for start, _ in steps] == [0.05, 0.51]
