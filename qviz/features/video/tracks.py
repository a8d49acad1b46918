"""Objects over time: tracks linked by IoU, and how steadily each model reports the objects.

In each frame, the objects of both models are matched (`comparison.matching`). A pair of the same class is one
observation, and so is an object without a partner. An observation continues the track of the same class whose last box
it overlaps most, if the IoU is at least `LINK_IOU`; otherwise it starts a new track. A track ends after `MAX_GAP`
frames in which neither model finds the object.

presence   share of the frames, from the first to the last of a track, in which a model reports the object
blink      one or more consecutive frames in which a model misses the object, between two frames in which the model
           reports it
late       number of frames from the first frame of the track to the first frame in which a model reports the object
jitter     distance between the centre of a box and the mean of its centres in the frames before and after, divided by
           the square root of its area, averaged over all triples of consecutive frames. It is 0 for an object that is
           still or moves steadily
size jitter  the same for the logarithm of the square root of the area
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
"""A track ends after this many frames without the object."""
MODELS = 2


@dataclass(frozen=True, slots=True)
class Observation:
    """One object in one frame. `boxes` of (reference, variant) are xyxy in pixels, or None if a model misses it."""

    class_id: int
    boxes: tuple[np.ndarray | None, np.ndarray | None]

    @property
    def box(self) -> np.ndarray:
        """The reference's box or, without one, the variant's."""
        box = self.boxes[0] if self.boxes[0] is not None else self.boxes[1]
        assert box is not None, "an observation has a box"
        return box


@dataclass(slots=True, eq=False)
class _ModelTrack:
    """The frames in which one model reports one object.

    Attributes:
        count, first, last: Number of frames with the object, and positions of the first and last one (counted over the
            frames that were run, not indices in the file); -1 if there is none yet.
        blinks: Number of gaps that have ended.
        recent: The last two observations: (position, centre x, centre y, log of the size).
        jitter, size_jitter, triples: Sums of the jitters, and the number of their terms.
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
    """The track of one object. `first` and `last` are the positions of its first and last frame."""

    class_id: int
    first: int
    last: int
    box: np.ndarray
    models: tuple[_ModelTrack, _ModelTrack] = field(default_factory=lambda: (_ModelTrack(), _ModelTrack()))

    def add(self, position: int, observation: Observation) -> None:
        """Continue the track with an observation in the frame at this position."""
        self.last, self.box = position, observation.box
        for model, box in zip(self.models, observation.boxes, strict=True):
            if box is not None:
                model.add(position, box)


class Tracker:
    """Links the objects of consecutive frames to tracks.

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

    def add(self, reference: Detections, variant: Detections) -> int:
        """Add the detections of the next frame, and return how many objects both models report as the same class.

        All detections must be at or above the confidence threshold.
        """
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
        return sum(all(box is not None for box in observation.boxes) for observation in observations)

    def finish(self) -> list[OpenTrack]:
        """End all open tracks, and return all tracks sorted by their first frame."""
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
    """The track that each observation continues, or None.

    Pairs are linked in the order of falling IoU; each track and each observation is used once.
    """
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
