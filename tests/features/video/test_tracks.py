"""Tracks on made detections: blinks counted exactly, no jitter without motion or with steady motion."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.features.video.tracks import MAX_GAP, OpenTrack, Tracker
from qviz.structures import Detections


def one(left: float, class_id: int = 0, size: float = 100.0) -> Detections:
    return Detections.of([[left, 50, left + size, 50 + size]], [0.9], [class_id])


NONE = Detections.none()


def tracked(reference: list[Detections], variant: list[Detections]) -> list[OpenTrack]:
    tracker = Tracker()
    for pair in zip(reference, variant, strict=True):
        tracker.add(*pair)
    return tracker.finish()


@pytest.mark.parametrize("step", [0.0, 4.0])
def test_no_motion_and_steady_motion_have_no_jitter(step: float) -> None:
    frames = [one(step * n) for n in range(20)]
    (track,) = tracked(frames, frames)
    for model in track.models:
        assert (model.count, model.blinks, model.triples) == (20, 0, 18)
        assert model.jitter == pytest.approx(0, abs=1e-9) and model.size_jitter == 0


def test_jitter_is_the_distance_from_the_middle_of_the_neighbours() -> None:
    """Every second frame is 2 pixels to the right: each middle box is 2 of 100 pixels off."""
    frames = [one(2.0 * (n % 2)) for n in range(10)]
    (track,) = tracked([one(0)] * 10, frames)
    assert track.models[1].jitter / track.models[1].triples == pytest.approx(0.02)
    assert track.models[0].jitter == 0


BLINKS = [
    ("1111111111", 0, 10, 0),
    ("1101110111", 2, 8, 0),
    ("1100011111", 1, 7, 0),  # a run of frames is one blink
    ("0011111111", 0, 8, 2),  # late, not a blink
    ("1111100000", 0, 5, 0),  # it does not come back
    ("0101010101", 4, 5, 1),
]


@pytest.mark.parametrize(("pattern", "blinks", "present", "late"), BLINKS)
def test_blinks_are_counted_exactly(pattern: str, blinks: int, present: int, late: int) -> None:
    variant = [one(0) if digit == "1" else NONE for digit in pattern]
    (track,) = tracked([one(0)] * 10, variant)
    model = track.models[1]
    assert (model.blinks, model.count, model.first - track.models[0].first) == (blinks, present, late)
    assert track.models[0].blinks == 0


def test_a_track_ends_after_a_gap_of_both_and_classes_do_not_mix() -> None:
    gap = [NONE] * (MAX_GAP + 1)
    frames = [one(0), *gap, one(0), one(0, class_id=1)]
    tracks = tracked(frames, frames)
    assert [(track.first, track.class_id) for track in tracks] == [(0, 0), (MAX_GAP + 2, 0), (MAX_GAP + 3, 1)]
    short = [one(0), *gap[1:], one(0)]
    (track,) = tracked(short, short)
    assert [model.blinks for model in track.models] == [1, 1]


def test_two_objects_that_cross_the_frame_stay_apart() -> None:
    frames = [
        Detections.of(np.array([[n, 0, n + 50, 50], [200 - n, 200, 250 - n, 250]], float), [0.9, 0.8], [0, 0])
        for n in range(0, 100, 5)
    ]
    tracks = tracked(frames, frames)
    assert [track.models[1].count for track in tracks] == [20, 20]
