from __future__ import annotations

import numpy as np
import pytest

from qviz.structures import Detections, GroundTruth

BOXES = [[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]
THREE = Detections.of(BOXES, [0.2, 0.9, 0.5], [7, 8, 9])


def test_fields_are_filtered_together() -> None:
    chosen = THREE[THREE.scores > 0.4]
    assert (chosen.boxes[:, 2].tolist(), chosen.class_ids.tolist()) == ([2, 3], [8, 9])
    assert chosen.scores == pytest.approx([0.9, 0.5])


def test_a_score_equal_to_the_threshold_is_included() -> None:
    half = Detections.of(BOXES, [0.25, 0.5, 0.75], [0, 1, 2])  # exact in float32
    assert half.above(0.5).class_ids.tolist() == [1, 2]


def test_by_score_is_a_stable_descending_sort() -> None:
    assert THREE.by_score().class_ids.tolist() == [8, 9, 7]
    assert Detections.of(BOXES, [0.5, 0.5, 0.5], [3, 1, 2]).by_score().class_ids.tolist() == [3, 1, 2]


def test_array_types() -> None:
    for chosen in (THREE, Detections.none(), THREE.above(2)):
        assert (chosen.boxes.dtype, chosen.scores.dtype, chosen.class_ids.dtype) == (
            np.float32,
            np.float32,
            np.int32,
        )
        assert chosen.boxes.shape == (len(chosen), 4)


def test_ground_truth_is_filtered_like_detections() -> None:
    truth = GroundTruth(np.array(BOXES, np.float32), np.array([1, 2, 3]), np.array([False, True, False]))
    single = truth[~truth.is_crowd]
    assert (len(single), single.class_ids.tolist()) == (2, [1, 3])
