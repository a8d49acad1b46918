"""Objects over time: tracks by IoU, and how steadily each model reports them.

In each frame the objects of both models are matched (`comparison.matching`); a pair of one class is one observation,
and so is an object without a partner. An observation continues the track of its class whose last box it overlaps most,
if their IoU reaches `LINK_IOU`; else it begins a track. A track ends after `MAX_GAP` frames in which neither model saw
it.

presence   share of the frames from a track's first to its last in which a model reports it
blink      a run of such frames in which a model misses the object between two in which it reports it
late       frames from the track's first to a model's first
jitter     mean over three frames in a row of the distance between the middle box's centre and the mean of its
           neighbours' centres, divided by the square root of its area: no motion and steady motion give 0
size jitter  the same of the logarithm of the square root of the area
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from qviz.features.comparison.matching import match_detections
from qviz.structures import Detections
from qviz.structures.boxes import iou_matrix

LINK_IOU = 0.3
MAX_GAP = 5
"""Frames."""
MODELS = 2


@dataclass(frozen=True, slots=True)
class Observation:
    """One object in one frame. boxes: of (reference, variant), xyxy pixels; None where a model has none."""

    class_id: int
    boxes: tuple[np.ndarray | None, np.ndarray | None]

    @property
    def box(self) -> np.ndarray:
        """The reference's box, else the variant's."""
        box = self.boxes[0] if self.boxes[0] is not None else self.boxes[1]
        assert box is not None, "an observation has a box"
        return box


@dataclass(slots=True, eq=False)
class _ModelTrack:
    """What one model reports of one object.

    Attributes:
        count, first, last: Frames with the object (positions, not indices in the file); -1 before the first.
        blinks: Runs of missing frames that have ended.
        recent: The last two (position, centre x, centre y, log of the size).
        jitter, size_jitter, triples: Sums, and number of terms.
    """

    count: int = 0
    first: int = -1
    last: int = -1
    blinks: int = 0
    recent: list[tuple[int, np.ndarray]] = field(default_factory=list)
    jitter: float = 0.0
    size_jitter: float = 0.0
    triples: int = 0

    def add(self, position: int, box: np.ndarray) -> None:
        if self.count == 0:
            self.first = position
        elif position > self.last + 1:
            self.blinks += 1
        self.count += 1
        self.last = position
        self._move(position, box.astype(np.float64))

    def _move(self, position: int, box: np.ndarray) -> None:
        sides = np.maximum(box[2:] - box[:2], 1e-6)
        size = float(np.sqrt(sides.prod()))
        state = np.array([*(box[:2] + box[2:]) / 2, np.log(size)])
        if len(self.recent) == 2 and [row[0] for row in self.recent] == [position - 2, position - 1]:
            bend = self.recent[1][1] - (self.recent[0][1] + state) / 2
            middle_size = float(np.exp(self.recent[1][1][2]))
            self.jitter += float(np.hypot(*bend[:2])) / middle_size
            self.size_jitter += abs(float(bend[2]))
            self.triples += 1
        self.recent = [*self.recent[-1:], (position, state)]


@dataclass(slots=True, eq=False)
class OpenTrack:
    """One object. first, last: positions of its first and last frame."""

    class_id: int
    first: int
    last: int
    box: np.ndarray
    models: tuple[_ModelTrack, _ModelTrack] = field(default_factory=lambda: (_ModelTrack(), _ModelTrack()))

    def add(self, position: int, observation: Observation) -> None:
        """Continue the track with a frame."""
        self.last, self.box = position, observation.box
        for model, box in zip(self.models, observation.boxes, strict=True):
            if box is not None:
                model.add(position, box)


class Tracker:
    """Links the objects of frames that come one after the other.

    Example:
        >>> tracker = Tracker()
        >>> for frame in frames:
        ...     tracker.add(reference_detections, variant_detections)
        >>> tracker.finish()[0].models[1].blinks
        2
    """

    def __init__(self, max_gap: int = MAX_GAP) -> None:
        self._max_gap = max_gap
        self._position = 0
        self._active: list[OpenTrack] = []
        self._ended: list[OpenTrack] = []

    def add(self, reference: Detections, variant: Detections) -> None:
        """The objects of both models in the next frame, above the confidence that counts."""
        position = self._position
        still_active: list[OpenTrack] = []
        for track in self._active:
            (still_active if position - track.last <= self._max_gap + 1 else self._ended).append(track)
        self._active = still_active
        observations = list(_observations(reference, variant))
        continued = _linked(self._active, observations)
        for observation, linked in zip(observations, continued, strict=True):
            track = linked or OpenTrack(observation.class_id, position, position, observation.box)
            if linked is None:
                self._active.append(track)
            track.add(position, observation)
        self._position += 1

    def finish(self) -> list[OpenTrack]:
        """All tracks, by their first frame."""
        return sorted([*self._ended, *self._active], key=lambda track: (track.first, track.class_id))


def _observations(reference: Detections, variant: Detections) -> Iterable[Observation]:
    matches = match_detections(reference, variant)
    for i, j in matches.pairs:
        first, second = int(reference.class_ids[i]), int(variant.class_ids[j])
        if first == second:
            yield Observation(first, (reference.boxes[i], variant.boxes[j]))
        else:
            yield Observation(first, (reference.boxes[i], None))
            yield Observation(second, (None, variant.boxes[j]))
    for i in matches.only_reference:
        yield Observation(int(reference.class_ids[i]), (reference.boxes[i], None))
    for j in matches.only_variant:
        yield Observation(int(variant.class_ids[j]), (None, variant.boxes[j]))


def _linked(tracks: Sequence[OpenTrack], observations: Sequence[Observation]) -> list[OpenTrack | None]:
    """The track that each observation continues: pairs by falling IoU, each track and observation once."""
    linked: list[OpenTrack | None] = [None] * len(observations)
    if not tracks or not observations:
        return linked
    overlaps = iou_matrix(np.array([track.box for track in tracks]), np.array([one.box for one in observations]))
    same = np.array([track.class_id for track in tracks])[:, None] == [one.class_id for one in observations]
    overlaps = np.where(same, overlaps, 0)
    rows, columns = np.nonzero(overlaps >= LINK_IOU)
    used: set[int] = set()
    for pair in np.argsort(-overlaps[rows, columns], kind="stable"):
        i, j = int(rows[pair]), int(columns[pair])
        if i not in used and linked[j] is None:
            used.add(i)
            linked[j] = tracks[i]
    return linked
