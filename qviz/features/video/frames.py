"""Run models on the frames of a clip; each job decodes its frames in a worker and runs all models on them there.

No frame leaves the worker, except one per second if requested: to encode, send and decode every frame would take a
fifth of the time of a small model. The detections are stored under the digest of the file and the index of the frame,
so that a run continues an interrupted one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from qviz.context import Context
from qviz.datasets.images import read_image
from qviz.datasets.video import brightness_of, decode_frames, encoded_frame, frame_name
from qviz.engine import Blob
from qviz.errors import ImageError, WorkerError
from qviz.features.detection.cache import from_bytes, key_of, to_bytes
from qviz.features.detection.inference import (
    BATCHES_AHEAD,
    Answer,
    Batcher,
    counted_classes,
    detect_batch_job,
    in_order,
    only_classes,
)
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage, Image, Inference, Settings


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame. seconds: its time; brightness: mean grey level, 0 to 255; image: its pixels."""

    index: int
    seconds: float
    brightness: float
    image: Image


class Part(ABC):
    """Consecutive frames for one job."""

    @property
    @abstractmethod
    def digests(self) -> tuple[str, ...]:
        """Identify the frames; more than the clip has if it ends within the part."""

    @abstractmethod
    def one(self, position: int) -> Part:
        """The part with only this frame."""

    @abstractmethod
    def pictures(self) -> Iterator[Picture | ImageError]:
        """Decode the frames in a worker."""

    @abstractmethod
    def encoded(self, picture: Picture) -> EncodedImage:
        """The image file of a frame, with the same pixels."""


@dataclass(frozen=True, slots=True)
class ClipPart(Part):
    """Frames of a video file: frame `start` and every `every`-th one after it. digest: of the file."""

    path: str
    digest: str
    start: int
    count: int
    every: int

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(f"{self.digest}#{self.start + self.every * position}" for position in range(self.count))

    def one(self, position: int) -> ClipPart:
        return replace(self, start=self.start + self.every * position, count=1)

    def pictures(self) -> Iterator[Picture | ImageError]:
        for index, seconds, pixels in decode_frames(self.path, self.start, self.count, self.every):
            name, digest = frame_name(self.path, index), f"{self.digest}#{index}"
            image = Image(name, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), digest)
            yield Picture(index, seconds, brightness_of(pixels), image)

    def encoded(self, picture: Picture) -> EncodedImage:
        return encoded_frame(self.path, picture.index, _bgr(picture.image))


@dataclass(frozen=True, slots=True)
class FolderPart(Part):
    """Image files in a folder; the first is frame `start`, and each further one `every` frames later."""

    images: tuple[EncodedImage, ...]
    start: int
    every: int
    rate: float

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(image.digest for image in self.images)

    def one(self, position: int) -> FolderPart:
        return replace(self, images=self.images[position : position + 1], start=self.start + self.every * position)

    def pictures(self) -> Iterator[Picture | ImageError]:
        for position, encoded in enumerate(self.images):
            index = self.start + position * self.every
            try:
                image = read_image(encoded)
            except ImageError as error:
                yield error
            else:
                yield Picture(index, index / self.rate, brightness_of(_bgr(image)), image)

    def encoded(self, picture: Picture) -> EncodedImage:
        return next(image for image in self.images if image.digest == picture.image.digest)


def _bgr(image: Image) -> np.ndarray:
    return cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR)


@dataclass(frozen=True, slots=True, eq=False)
class RanFrame:
    """A frame on which models ran.

    Attributes:
        name: The name of the frame as an image.
        answers: Position of a model -> its detections or its error.
        image: The frame as an image file, if requested.
    """

    index: int
    seconds: float
    brightness: float
    name: str
    answers: Mapping[int, Answer] = field(default_factory=dict)
    image: EncodedImage | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PartTask:
    """What a job does with the frames of a part.

    Attributes:
        models: The models with their settings.
        missing: For each frame, the positions of the models that have not run on it.
        seconds: Time between the frames that are returned as images as well; None for none.
    """

    models: Sequence[tuple[Blob, Settings]]
    missing: Sequence[Sequence[int]]
    score: float
    threads: int
    seconds: float | None


def run_part(part: Part, task: PartTask) -> list[RanFrame | ImageError]:
    """Decode the frames of a part and run the models on them, in a worker. Shorter than the part at the clip's end."""
    rows: list[RanFrame | ImageError] = []
    before: float | None = None
    for picture, missing in zip(part.pictures(), task.missing, strict=False):
        if isinstance(picture, ImageError):
            rows.append(picture)
            continue
        tasks = [(*task.models[number], picture.image) for number in missing]
        answers = dict(zip(missing, detect_batch_job(tasks, task.score, task.threads, False, False), strict=True))
        image = part.encoded(picture) if _is_due(picture.seconds, before, task.seconds) else None
        before = picture.seconds
        rows.append(RanFrame(picture.index, picture.seconds, picture.brightness, picture.image.name, answers, image))
    return rows


def _is_due(seconds: float, before: float | None, step: float | None) -> bool:
    """Whether a multiple of `step` lies between the frame before and this one. The first frame of a part is due."""
    return step is not None and (before is None or int(seconds / step) > int(before / step))


@dataclass(frozen=True, slots=True, eq=False)
class FrameRunner:
    """Runs models on the frames of a clip. seconds: see `PartTask`."""

    context: Context
    models: Sequence[LoadedModel]
    score: float
    seconds: float | None = None

    def run(self, parts: Callable[[Batcher], Iterator[Part]]) -> Iterator[list[RanFrame | ImageError]]:
        """Yield the frames of each part, with the answers of all models, until the clip ends.

        Args:
            parts: Yields the parts in order, each with as many frames as the batcher then says.

        Raises:
            Cancelled, ImageError: The clip cannot be decoded.
            WorkerError: Its decoder crashes.
        """
        batcher = Batcher(0, self.context.engine.workers)
        looked_up = map(self._look_up, parts(batcher))
        for (part, stored), jobs in in_order(self.context, looked_up, self._submit, BATCHES_AHEAD):
            rows = self._finished(part, stored, jobs[0])
            for row in rows:
                if isinstance(row, RanFrame):
                    batcher.observe([one for one in row.answers.values() if isinstance(one, Inference)])
            yield rows
            if len(rows) < len(part.digests):
                return

    def _look_up(self, part: Part) -> tuple[Part, list[dict[int, Inference]]]:
        """(the part, for each of its frames the inferences in the store, by position of the model)."""
        rows: list[dict[int, Inference]] = [{} for _ in part.digests]
        if self.context.store is None:
            return part, rows
        keys = {
            (position, number): self._key(model, digest)
            for position, digest in enumerate(part.digests)
            for number, model in enumerate(self.models)
            if not model.is_recorded  # recorded results depend on the name of a frame
        }
        stored = self.context.store.get_many(list(keys.values()))
        for (position, number), key in keys.items():
            if key in stored and (inference := from_bytes(stored[key])) is not None:
                rows[position][number] = inference
        return part, rows

    def _key(self, model: LoadedModel, digest: str) -> str:
        return key_of(model, digest, self.score, self.context.threads, candidates=False, shapes=False)

    def _submit(self, looked_up: tuple[Part, list[dict[int, Inference]]]) -> list[Future[list[RanFrame | ImageError]]]:
        part, stored = looked_up
        missing = [[number for number in range(len(self.models)) if number not in row] for row in stored]
        return [self._job(part, missing)]

    def _job(self, part: Part, missing: Sequence[Sequence[int]]) -> Future[list[RanFrame | ImageError]]:
        models = [(model.blob, model.settings) for model in self.models]
        task = PartTask(models, missing, self.score, self.context.threads, self.seconds)
        return self.context.engine.submit(run_part, part, task)

    def _finished(
        self, part: Part, stored: Sequence[Mapping[int, Inference]], job: Future[list[RanFrame | ImageError]]
    ) -> list[RanFrame | ImageError]:
        """The frames with stored and new answers, of which only the classes that count remain. New ones are stored."""
        try:
            rows = job.result()
        except WorkerError:
            rows = self._one_by_one(part, stored)
        counted = [counted_classes(model, self.context.classes) for model in self.models]
        complete: list[RanFrame | ImageError] = []
        for row, earlier, digest in zip(rows, stored, part.digests, strict=False):
            if isinstance(row, RanFrame):
                self._store(digest, row.answers)
                answers = {**earlier, **row.answers}
                row = replace(
                    row, answers={number: only_classes(answer, counted[number]) for number, answer in answers.items()}
                )
            complete.append(row)
        return complete

    def _one_by_one(self, part: Part, stored: Sequence[Mapping[int, Inference]]) -> list[RanFrame | ImageError]:
        """Run each model on each frame in a job of its own, so that only the one that ends its worker fails."""
        rows: list[RanFrame | ImageError] = []
        for position, earlier in enumerate(stored):
            decoded = self.context.wait(self._job(part.one(position), [[]]))
            if not decoded:
                break
            (frame,) = decoded
            if isinstance(frame, RanFrame):
                missing = [number for number in range(len(self.models)) if number not in earlier]
                frame = replace(frame, answers={number: self._answer(part.one(position), number) for number in missing})
            rows.append(frame)
        return rows

    def _answer(self, part: Part, number: int) -> Answer:
        """The answer of one model on the only frame of a part."""
        try:
            (row,) = self.context.wait(self._job(part, [[number]]))
        except WorkerError as error:
            return error
        return row if isinstance(row, ImageError) else row.answers[number]

    def _store(self, digest: str, answers: Mapping[int, Answer]) -> None:
        for number, answer in answers.items():
            model = self.models[number]
            if self.context.store is not None and isinstance(answer, Inference) and not model.is_recorded:
                self.context.store.put(self._key(model, digest), to_bytes(answer))


def clip_parts(path: Path, every: int, batcher: Batcher) -> Iterator[Part]:
    """The parts of a video file, without end."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    start = 0
    while True:
        count = batcher.max_images()
        yield ClipPart(str(path.resolve()), digest, start, count, every)
        start += count * every


def folder_parts(files: Sequence[Path], every: int, rate: float, batcher: Batcher) -> Iterator[Part]:
    """The parts of a folder; `files` are the frames to run. rate: frames per second."""
    start = 0
    while start < len(files):
        chosen = files[start : start + batcher.max_images()]
        images = tuple(EncodedImage(file.name, file.read_bytes()) for file in chosen)
        yield FolderPart(images, start * every, every, rate)
        start += len(chosen)
