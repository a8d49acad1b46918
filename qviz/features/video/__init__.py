"""Run a reference and a variant on the frames of a video: which objects flicker or are found late, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qviz.context import Context
from qviz.datasets.files import ImageFiles, find_images
from qviz.datasets.video import DEFAULT_RATE, check_video, read_frames
from qviz.errors import ImageError, QvizError
from qviz.features.comparison.matching import agreement_of
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.features.inspection.warning import Warning
from qviz.features.settings import guess_for
from qviz.features.video.alarms import SECONDS_BETWEEN, FrameAlarm, RangeWatch
from qviz.features.video.frames import FrameRunner, RanFrame, clip_parts, folder_parts
from qviz.features.video.losses import UNKNOWN_LOSSES, VideoLosses, video_losses
from qviz.features.video.tracks import OpenTrack, Tracker
from qviz.result import Result, to_json
from qviz.structures import Detections, EncodedImage, Inference

FIRST = 16
"""Number of frames at the start from which unknown settings are found out."""
MAX_FRAMES = 100_000
"""Maximum number of frames that are run. If a video has more, a remark says so."""


@dataclass(frozen=True, slots=True)
class FrameModel:
    """One model on one frame. `agreement` with the reference is in [0, 1], or None if neither model has an object."""

    name: str
    objects: int
    agreement: float | None


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One frame that was run.

    Attributes:
        index: Index of the frame in the file, from 0.
        seconds: Time from the start of the video.
        brightness: Mean grey level, 0 to 255.
        models: The reference and the variant on this frame.
    """

    index: int
    seconds: float
    brightness: float
    models: tuple[FrameModel, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """One object over time, see `tracks`.

    Attributes:
        first, last: Frame indices in the file.
        frames: Number of frames that were run from the first to the last one.
        reference_presence, variant_presence: Presence in each model, in [0, 1].
        blinks, reference_blinks: Number of blinks in the variant and in the reference.
        late: Number of frames by which the variant reports the object later than the reference; None if one of the
            models never reports it.
    """

    label: str
    first: int
    last: int
    frames: int
    reference_presence: float
    variant_presence: float
    blinks: int
    reference_blinks: int
    late: int | None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model on the whole video.

    Attributes:
        blinks_per_minute: Number of blinks per minute, of all objects together.
        presence: Share of the frames in all tracks of the reference in which the model reports the object; None if
            there are no tracks.
        jitter, size_jitter: See `tracks`, as a share of the object's size; None if no object is in three frames.
    """

    model: str
    blinks: int
    blinks_per_minute: float
    presence: float | None
    jitter: float | None
    size_jitter: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VideoResult(Result):
    """Every frame that was run, every track, and a summary of each model, the reference first.

    Attributes:
        every: Step between the frames that were run; 2 means every second frame.
        seconds: Length of the part that was run.
        agreement: Agreement over all frames; None if neither model has an object.
        remarks: Sentences about what was left out.
        losses: What the variant loses against the reference, with intervals over the tracks.
        out_of_range: The frames that were examined for activations outside the variant's ranges; empty if none were.
    """

    ROWS: ClassVar = "frames"

    name: str
    every: int
    seconds: float
    agreement: float | None
    frames: tuple[FrameRow, ...]
    tracks: tuple[Track, ...]
    summary: tuple[ModelSummary, ...]
    remarks: tuple[str, ...] = ()
    warnings: tuple[Warning, ...] = ()
    losses: VideoLosses = UNKNOWN_LOSSES
    out_of_range: tuple[FrameAlarm, ...] = ()

    def to_frame(self) -> Any:
        """One row per frame and model."""
        import pandas as pd

        rows = [
            {"index": row.index, "seconds": row.seconds, "brightness": row.brightness, **to_json(model)}
            for row in self.frames
            for model in row.models
        ]
        return pd.DataFrame(rows)

    @property
    def worst_second(self) -> tuple[int, float] | None:
        """(second, mean agreement) of the second in which the models agree least; None if agreement is never known."""
        by_second: dict[int, list[float]] = {}
        for row in self.frames:
            if (value := row.models[1].agreement) is not None:
                by_second.setdefault(int(row.seconds), []).append(value)
        means = {second: float(np.mean(values)) for second, values in by_second.items()}
        return min(means.items(), key=lambda item: item[1]) if means else None


def video(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    path: Path,
    *,
    every: int = 1,
    score: float = 0.25,
    rate: float = DEFAULT_RATE,
    out_of_range: bool = False,
) -> VideoResult:
    """Run both models on the frames of a video. Detections are stored, so that a run continues an interrupted one.

    Args:
        path: A video file, or a folder of frames, which are sorted by name with numbers sorted by value.
        every: Step between frames; 2 runs every second frame.
        score: Minimum confidence of an object.
        rate: Frames per second, for a folder of frames.
        out_of_range: Examine about one frame per second for activations outside the variant's calibrated ranges.

    Raises:
        Cancelled, ImageError: No frame can be read.
    """
    context.progress.step("Running frames")
    files = sorted(find_images([path]), key=lambda file: natural(file.name))[::every] if path.is_dir() else None
    models = guess_for(context, [reference, variant], _first_images(context, path, files, every))
    tracker, run = Tracker(), _Run(score, [reference.name, variant.name])
    watch = RangeWatch(context, models) if out_of_range else None
    runner = FrameRunner(context, models, score, SECONDS_BETWEEN if watch is not None else None)
    expected = 0 if files is None else len(files)
    for rows in runner.run(
        partial(clip_parts, path, every) if files is None else partial(folder_parts, files, every, rate)
    ):
        for row in rows:
            run.add(row, tracker)
        if watch is not None:
            watch.examine([row for row in rows if isinstance(row, RanFrame)])
        context.progress.advance(len(run.frames), max(expected, len(run.frames)))
        if len(run.frames) >= MAX_FRAMES:
            run.skipped.append(f"Only the first {MAX_FRAMES:,} frames were run; --every 2 covers twice the time.")
            break
    if not run.frames:
        raise ImageError(f"{path.name} has no frame that both models could run. " + " ".join(run.skipped[:2]))
    run.skipped += watch.remarks if watch is not None else []
    warnings = tuple(lint_all(context, models))
    result = run.result(path.name, every, tracker.finish(), reference.inspection.label, warnings)
    return result if watch is None else replace(result, out_of_range=watch.result())


def _first_images(
    context: Context, path: Path, files: Sequence[Path] | None, every: int
) -> Sequence[EncodedImage] | ImageFiles:
    """Some of the first frames as images, to find out unknown settings. Raises ImageError."""
    if files is not None:
        return ImageFiles(tuple(files[:FIRST]))
    check_video(path)
    context.engine.allow_reading(path)
    frames = context.wait(context.engine.submit(read_frames, str(path.resolve()), 0, FIRST, every))
    return [frame.image for frame in frames]


class _Run:
    """The results of the frames that were run so far."""

    def __init__(self, score: float, names: Sequence[str]) -> None:
        self.frames: list[FrameRow] = []
        self.skipped: list[str] = []
        self._counts: list[tuple[int, int]] = []
        self._score, self._names = score, names

    def add(self, row: RanFrame | ImageError, tracker: Tracker) -> None:
        """Add a frame if both models could run it, else the reason why not."""
        if isinstance(row, ImageError):
            self.skipped.append(str(row))
            return
        answers = [row.answers[number] for number in range(len(self._names))]
        errors = zip(self._names, answers, strict=True)
        self.skipped += [f"{name} on {row.name}: {one}" for name, one in errors if isinstance(one, QvizError)]
        first, second = answers
        if isinstance(first, Inference) and isinstance(second, Inference):
            self._add(row, first.detections.above(self._score), second.detections.above(self._score), tracker)

    def _add(self, frame: RanFrame, reference: Detections, variant: Detections, tracker: Tracker) -> None:
        counts = tracker.add(reference, variant), len(reference) + len(variant)
        self._counts.append(counts)
        agreements = None if counts[1] == 0 else 1.0, agreement_of(np.array([counts]))
        models = zip(self._names, (reference, variant), agreements, strict=True)
        rows = tuple(FrameModel(name, len(one), agreement) for name, one, agreement in models)
        self.frames.append(FrameRow(frame.index, frame.seconds, frame.brightness, rows))

    def result(
        self, name: str, every: int, tracks: Sequence[OpenTrack], label: Any, warnings: tuple[Warning, ...]
    ) -> VideoResult:
        times = [row.seconds for row in self.frames]
        step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else every / DEFAULT_RATE
        seconds = times[-1] - times[0] + step
        return VideoResult(
            name=name,
            every=every,
            seconds=seconds,
            agreement=agreement_of(np.array(self._counts)),
            frames=tuple(self.frames),
            tracks=tuple(self._track(track, label) for track in tracks),
            summary=tuple(_summary(model, number, tracks, seconds) for number, model in enumerate(self._names)),
            remarks=tuple(dict.fromkeys(self.skipped[:5])),
            warnings=warnings,
            losses=video_losses(tracks, seconds),
        )

    def _track(self, track: OpenTrack, label: Any) -> Track:
        frames = track.last - track.first + 1
        reference, variant = track.models
        return Track(
            label=label(track.class_id),
            first=self.frames[track.first].index,
            last=self.frames[track.last].index,
            frames=frames,
            reference_presence=reference.count / frames,
            variant_presence=variant.count / frames,
            blinks=variant.blinks,
            reference_blinks=reference.blinks,
            late=variant.first - reference.first if reference.count and variant.count else None,
        )


def _summary(name: str, number: int, tracks: Sequence[OpenTrack], seconds: float) -> ModelSummary:
    rows = [track.models[number] for track in tracks]
    blinks, triples = sum(row.blinks for row in rows), sum(row.triples for row in rows)
    of_reference = [track for track in tracks if track.models[0].count]
    frames = sum(track.last - track.first + 1 for track in of_reference)
    return ModelSummary(
        model=name,
        blinks=blinks,
        blinks_per_minute=60 * blinks / seconds,
        presence=sum(track.models[number].count for track in of_reference) / frames if frames else None,
        jitter=sum(row.jitter for row in rows) / triples if triples else None,
        size_jitter=sum(row.size_jitter for row in rows) / triples if triples else None,
    )


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which frame_2 comes before frame_10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d{1,18})", name) if part]
