"""How much less steadily a variant follows objects than the reference: differences with intervals over the tracks.

For all three, positive is worse: blinks per minute and jitter are variant minus reference, presence is reference minus
variant. The 95 % intervals are computed as in `accuracy.bootstrap`, but tracks are drawn instead of images, so that an
object that flickers for a minute counts once and not once per frame. With fewer than `MIN_TRACKS` tracks, there is no
interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.accuracy.bootstrap import draws, interval
from qviz.features.video.tracks import OpenTrack
from qviz.structures import Loss

MIN_TRACKS = 5
MAX_TRACKS = 20_000
"""With more tracks, no interval is computed: it would be narrow, and computing it would take much memory."""


@dataclass(frozen=True, slots=True)
class VideoLosses:
    """What the variant loses against the reference; positive is worse.

    Attributes:
        blinks_per_minute: The variant's blinks per minute minus the reference's, over all objects.
        presence: The reference's presence minus the variant's, in [-1, 1], on the tracks of the reference.
        jitter: The variant's jitter minus the reference's, as a share of the object's size.
    """

    blinks_per_minute: Loss
    presence: Loss
    jitter: Loss


UNKNOWN_LOSSES = VideoLosses(Loss(None), Loss(None), Loss(None))


def video_losses(tracks: Sequence[OpenTrack], seconds: float) -> VideoLosses:
    """The losses on all tracks of a clip. seconds: length of the clip."""
    if not tracks:
        return UNKNOWN_LOSSES
    blinks, counts, jitters, triples = (
        np.array([[getattr(model, name) for model in track.models] for track in tracks], np.float64)
        for name in ("blinks", "count", "jitter", "triples")
    )
    of_reference = counts[:, 0] > 0
    frames = np.array([track.last - track.first + 1 for track in tracks], np.float64) * of_reference
    present = counts * of_reference[:, None]
    weights = np.ones((1, len(tracks)))
    if MIN_TRACKS <= len(tracks) <= MAX_TRACKS:
        weights = np.vstack([weights, draws(len(tracks))])
    return VideoLosses(
        _loss((weights @ (blinks[:, 1] - blinks[:, 0])) * 60 / seconds, len(tracks)),
        _loss(_ratio(weights @ (present[:, 0] - present[:, 1]), weights @ frames), int(of_reference.sum())),
        _loss(_jitter(weights, jitters, triples, 1) - _jitter(weights, jitters, triples, 0), len(tracks)),
    )


def _jitter(weights: np.ndarray, jitters: np.ndarray, triples: np.ndarray, model: int) -> np.ndarray:
    return _ratio(weights @ jitters[:, model], weights @ triples[:, model])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)


def _loss(values: np.ndarray, tracks: int) -> Loss:
    """The loss from (1 + resamples,) values: the first one is the loss itself, the others give its interval."""
    if np.isnan(values[0]):
        return Loss(None)
    if len(values) == 1 or tracks < MIN_TRACKS:
        return Loss(float(values[0]), None, None, False)
    low, high = interval(values[1:], tracks)
    significant = low is not None and high is not None and (low > 0 or high < 0)
    return Loss(float(values[0]), low, high, significant)
