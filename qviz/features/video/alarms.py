"""When the frames of a clip exceed the variant's calibrated ranges: about one frame per second is examined.

The reference's activations on a frame are compared with the variant's ranges. Score and alarm are those of
`corruption_sweep.out_of_range`, with the frames of the clip in place of images. If more than `MAX_EXAMINED` frames have
been examined, every second one is dropped and the time between examined frames is doubled, so that memory does not
grow with the length of the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qviz.context import Context
from qviz.errors import ImageError
from qviz.features.corruption_sweep.out_of_range import NO_RANGES, RangeReach, has_ranges, rank_images, reach_job
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.features.video.frames import RanFrame

MAX_EXAMINED = 120
SECONDS_BETWEEN = 1.0


@dataclass(frozen=True, slots=True)
class FrameAlarm:
    """One examined frame. score: higher is farther outside the ranges; alarm: whether the score is an alarm."""

    index: int
    seconds: float
    score: float
    alarm: bool


class RangeWatch:
    """Examines frames while the models run on them.

    Attributes:
        remarks: A sentence if the variant has no calibrated ranges.
    """

    def __init__(self, context: Context, models: Sequence[LoadedModel]) -> None:
        reference, variant = models
        can_examine = has_ranges(reference, variant)
        self.remarks = [] if can_examine else [f"{variant.name}: {NO_RANGES}"]
        self._pair = pair_of(reference, variant) if can_examine else None
        self._context, self._variant = context, variant.name
        self._step, self._next = SECONDS_BETWEEN, 0.0
        self._rows: list[tuple[int, float, str, tuple[RangeReach, ...]]] = []

    def examine(self, frames: Iterable[RanFrame]) -> None:
        """Examine the frames that are due, among these consecutive ones with an image. Raises Cancelled."""
        jobs = []
        for frame in frames:
            if self._pair is not None and frame.image is not None and frame.seconds >= self._next:
                self._next = frame.seconds + self._step
                jobs.append(
                    (frame, frame.image.digest, self._context.engine.submit(reach_job, self._pair, frame.image))
                )
        for frame, digest, job in jobs:
            try:
                self._rows.append((frame.index, frame.seconds, digest, self._context.wait(job)))
            except ImageError:
                continue  # detection reports it
        while len(self._rows) > MAX_EXAMINED:
            self._rows, self._step = self._rows[::2], 2 * self._step

    def result(self) -> tuple[FrameAlarm, ...]:
        """The examined frames in order."""
        if not self._rows:
            return ()
        names = [(str(index), digest) for index, _, digest, _ in self._rows]
        ranked = {row.image: row for row in rank_images(self._variant, names, [row[3] for row in self._rows]).images}
        return tuple(
            FrameAlarm(index, seconds, ranked[str(index)].score, ranked[str(index)].alarm)
            for index, seconds, _, _ in self._rows
        )
