"""What a variant loses on a clip: differences and intervals over the tracks, on made detections."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.features.video.losses import MIN_TRACKS, video_losses
from qviz.features.video.tracks import OpenTrack, Tracker
from qviz.structures import Detections

FRAMES = 20


def tracks(patterns: list[str], shake: float = 0.0) -> list[OpenTrack]:
    """One object per pattern that the reference finds in every frame, and the variant where the pattern has a 1.

    shake: how far every second box of the variant lies to the right, in pixels; boxes have sides of 40 pixels.
    """
    tracker = Tracker()
    for frame in range(FRAMES):
        boxes = np.array([[100.0 * k, 0, 100.0 * k + 40, 40] for k in range(len(patterns))])
        shown = [k for k, pattern in enumerate(patterns) if pattern[frame % len(pattern)] == "1"]
        ids = np.zeros(len(patterns), int)
        moved = boxes[shown] + [shake * (frame % 2), 0, shake * (frame % 2), 0]
        tracker.add(
            Detections.of(boxes, np.full(len(boxes), 0.9), ids),
            Detections.of(moved, np.full(len(shown), 0.9), ids[shown]) if shown else Detections.none(),
        )
    return tracker.finish()


def test_differences_are_those_of_the_counts() -> None:
    losses = video_losses(tracks(["1"] * 6 + ["1101"] * 2), seconds=10.0)
    assert losses.blinks_per_minute.value == pytest.approx(60 * 2 * 5 / 10)  # five gaps of each of two objects
    assert losses.presence.value == pytest.approx(2 * 5 / (8 * FRAMES))
    assert losses.jitter.value == 0
    low, high = losses.presence.low, losses.presence.high
    assert low is not None and high is not None and low <= 2 * 5 / (8 * FRAMES) <= high
    assert losses.presence.significant is False  # only two of eight objects flicker


def test_a_loss_of_most_objects_is_significant() -> None:
    losses = video_losses(tracks(["1101", "11011", "110111", "1101", "11101", "1"]), seconds=2.0)
    assert losses.blinks_per_minute.significant and losses.presence.significant
    shaken = video_losses(tracks(["1"] * 6, shake=2.0), seconds=2.0)
    assert shaken.jitter.value == pytest.approx(2 / 40)
    assert (shaken.blinks_per_minute.value, shaken.presence.value) == (0, 0)
    assert shaken.jitter.significant


def test_few_objects_have_no_interval() -> None:
    losses = video_losses(tracks(["1101"] * (MIN_TRACKS - 1)), seconds=2.0)
    assert losses.blinks_per_minute.value and losses.blinks_per_minute.low is None
    assert losses.presence.low is None and losses.presence.significant is False
    assert video_losses([], 1.0).presence.value is None
