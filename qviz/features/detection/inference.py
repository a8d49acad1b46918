"""Run models on images in the workers; only inferences that are not in the store are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from operator import length_hint
from typing import TypeVar

import numpy as np

from qviz.context import Context
from qviz.datasets.files import ImageFiles
from qviz.datasets.labels import canonical_name
from qviz.detector import detect_job
from qviz.engine import Blob
from qviz.errors import ImageError, QvizError, SettingsError, WorkerError
from qviz.features.detection.cache import from_bytes, key_of, to_bytes
from qviz.features.detection.inferences import Inferences
from qviz.features.detection.models import LoadedModel
from qviz.formatting import listed
from qviz.structures import DatasetImage, EncodedImage, Image, Inference, Settings

Images = ImageFiles | Sequence[EncodedImage]
Answer = Inference | QvizError
Task = tuple[Blob, Settings, EncodedImage | Image]
Item = TypeVar("Item")
T = TypeVar("T")

AHEAD = 4
"""Number of items queued per worker: enough to keep it busy, but few enough to limit memory."""
MAX_BATCH = 16
"""Maximum number of images in a batch; larger batches gain little."""
MAX_BATCH_SECONDS = 0.25
"""Maximum duration of a batch; an interactive request waits for at most one running batch."""
MAX_BATCH_BYTES = 4 << 20
"""Maximum bytes in a batch: large photographs take long to decode, and only a few should be in memory at once."""
FAIR_SHARE = 2 / 3
"""Maximum size of a batch as a share of each worker's part of the remaining images, so that at the end no worker is
idle for long while another finishes its last batch."""
BATCHES_AHEAD = 2
POLL_SECONDS = 0.2
"""How often a waiting computation checks whether it was cancelled."""


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """The detections of all models on all images.

    Attributes:
        inferences: (model digest, image digest) -> inference; those of many images are in a temporary file.
        images: (name, digest) of the images on which at least one model has run, in order.
        skipped: One sentence for each image or model that failed.
    """

    inferences: MutableMapping[tuple[str, str], Inference] = field(default_factory=Inferences)
    images: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, image: EncodedImage, models: Sequence[LoadedModel], answers: Sequence[Answer]) -> list[Inference]:
        """Add the answers for one image, one per model, and return those that are inferences."""
        inferences: list[Inference] = []
        for model, answer in zip(models, answers, strict=True):
            if isinstance(answer, Inference):
                inferences.append(answer)
                self.inferences[model.digest, image.digest] = answer
            elif isinstance(answer, ImageError):
                self.skipped.append(str(answer))  # the sentence is the same for every model
                return []
            else:
                self.skipped.append(f"{model.name} on {image.name}: {answer}")
        if inferences:
            self.images.append((image.name, image.digest))
        return inferences


@dataclass(slots=True)
class Batcher:
    """Divides images into batches whose size depends on the measured time per image.

    A round trip to a worker takes about 1 ms and a fast model needs a few ms per image, so fast models get several
    images per job. Slow models get one image per job, so that progress is visible and the time limit applies to each
    image.

    Attributes:
        total: Expected number of images.
        workers: Number of worker processes.
        ms_per_image: Total time of all models on one image, or None before the first result.
    """

    total: int
    workers: int
    ms_per_image: float | None = None

    def observe(self, inferences: Sequence[Inference]) -> None:
        """Update the time per image from the inferences of one image; empty if it could not be run."""
        if inferences:
            self.ms_per_image = sum(inference.milliseconds for inference in inferences)

    def batches(self, images: Iterable[EncodedImage]) -> Iterator[list[EncodedImage]]:
        """Batches of the images, in order. Corrupted versions of a picture stay together, so it is decoded once."""
        batch: list[EncodedImage] = []
        left = self.total
        for image in images:
            if batch and self._is_full(batch, image, left):
                yield batch
                left -= len(batch)
                batch = []
            batch.append(image)
        if batch:
            yield batch

    def _is_full(self, batch: list[EncodedImage], following: EncodedImage, left: int) -> bool:
        max_images = min(self.max_images(), max(1, int(FAIR_SHARE * left / self.workers)))
        if len(batch) < max_images and sum(len(image.data) for image in batch) < MAX_BATCH_BYTES:
            return False
        same_picture = following.plain.digest == batch[-1].plain.digest
        return max_images == 1 or len(batch) >= 2 * max_images or not same_picture

    def max_images(self) -> int:
        """Number of images that take about `MAX_BATCH_SECONDS`; 1 before the first result."""
        if self.ms_per_image is None:
            return 1
        return max(1, min(MAX_BATCH, int(1e3 * MAX_BATCH_SECONDS / max(self.ms_per_image, 1e-3))))


def detect_images(
    context: Context,
    models: Sequence[LoadedModel],
    images: Iterable[EncodedImage],
    total: int,
    score: float,
    candidates: bool = True,
    shapes: bool = False,
) -> Detected:
    """Run every model on every image. An image or a model that fails is skipped with a sentence.

    Args:
        images: May be a generator; only a few images are in memory at a time.
        total: Expected number of images, for progress reports and batch sizes.
        score: Minimum confidence in [0, 1].
        candidates: Whether to return the candidates before NMS as well; keypoints and masks come with them.
        shapes: Whether to return keypoints and masks even without candidates.

    Raises:
        Cancelled: The context was cancelled.
        SettingsError: A model has none of the context's classes.
    """
    detected, batcher = Detected(), Batcher(total, context.engine.workers)
    runner = _BatchRunner(context, models, score, candidates, shapes or candidates)
    counted = {model.digest: counted_classes(model, context.classes) for model in models}
    done = 0
    batches = map(runner.look_up, batcher.batches(images))
    for batch, jobs in in_order(context, batches, runner.submit, BATCHES_AHEAD):
        runner.finish(batch, jobs)
        for image in batch.images:
            answers = [
                only_classes(batch.answers[model.digest, image.digest], counted[model.digest]) for model in models
            ]
            batcher.observe(detected.add(image, models, answers))
            done += 1
            context.progress.advance(done, max(total, done))
    return detected


def counted_classes(model: LoadedModel, names: Sequence[str]) -> np.ndarray | None:
    """The class ids with one of these names or a synonym; None (all) without names or labels. Raises SettingsError."""
    if not names:
        return None
    labels = model.inspection.labels
    chosen = {canonical_name(name) for name in names}
    numbers = [number for number, label in enumerate(labels) if canonical_name(label) in chosen]
    if labels and not numbers:
        raise SettingsError(f"{model.name} has no class {listed(names, 3)}; it has {listed(labels, 10)}.")
    return np.array(numbers, np.int32) if labels else None


def only_classes(answer: Answer, classes: np.ndarray | None) -> Answer:
    """The answer with only the detections and candidates of these classes; None for all classes."""
    if classes is None or not isinstance(answer, Inference):
        return answer
    detections, candidates = answer.detections, answer.candidates
    return replace(
        answer,
        detections=detections[np.isin(detections.class_ids, classes)],
        candidates=None if candidates is None else candidates[np.isin(candidates.class_ids, classes)],
    )


@dataclass(slots=True, eq=False)
class _Batch:
    """Images with their known answers and the tasks still to be computed, by (model digest, image digest)."""

    images: Sequence[EncodedImage]
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    store_keys: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _BatchRunner:
    """Looks up detections in the store and computes the missing ones of a batch in one job.

    If the worker is lost, its images and models are run one by one, so that only the one that crashes, hangs or needs
    too much memory fails.
    """

    context: Context
    models: Sequence[LoadedModel]
    score: float
    candidates: bool
    shapes: bool

    def look_up(self, images: Sequence[EncodedImage]) -> _Batch:
        """A batch of these images with the answers found in the store."""
        batch = _Batch(images)
        pairs = [(model, image) for image in images for model in self.models]
        for model, image in pairs:
            batch.tasks[model.digest, image.digest] = (model.blob, model.settings, image)
        if self.context.store is None:
            return batch
        for model, image in pairs:
            if model.is_recorded:
                continue  # recorded results depend on the names of the images, not only on their bytes
            key = key_of(model, image.digest, self.score, self.context.threads, self.candidates, self.shapes)
            batch.store_keys[model.digest, image.digest] = key
        stored = self.context.store.get_many(list(batch.store_keys.values()))
        for pair, key in batch.store_keys.items():
            if key in stored and (inference := from_bytes(stored[key])) is not None:
                batch.answers[pair] = inference
                del batch.tasks[pair]
        return batch

    def submit(self, batch: _Batch) -> list[Future[list[Answer]]]:
        """A job for all missing answers; no job if there are none."""
        return [self._job(list(batch.tasks.values()))] if batch.tasks else []

    def finish(self, batch: _Batch, jobs: Sequence[Future[list[Answer]]]) -> None:
        """Add the computed answers to the batch and to the store. Errors are not stored, as they may be transient."""
        for job in jobs:
            tasks = list(batch.tasks.values())
            answers = _answers(job, len(tasks))
            if len(tasks) > 1 and any(isinstance(answer, WorkerError) for answer in answers):
                alone = in_order(self.context, tasks, lambda task: [self._job([task])])
                answers = [answer for _, (one,) in alone for answer in _answers(one, 1)]
            batch.answers |= dict(zip(batch.tasks, answers, strict=True))
            for pair in batch.tasks:
                answer = batch.answers[pair]
                if self.context.store is not None and isinstance(answer, Inference) and pair in batch.store_keys:
                    self.context.store.put(batch.store_keys[pair], to_bytes(answer))

    def _job(self, tasks: Sequence[Task]) -> Future[list[Answer]]:
        threads, parts = self.context.threads, (self.candidates, self.shapes)
        return self.context.engine.submit(detect_batch_job, tasks, self.score, threads, *parts)


def detect_batch_job(tasks: Sequence[Task], score: float, threads: int, candidates: bool, shapes: bool) -> list[Answer]:
    """Run tasks in a worker. Returns one answer per task, which is an error if the task failed."""
    return [_answer(task, score, threads, candidates, shapes) for task in tasks]


def _answer(task: Task, score: float, threads: int, candidates: bool, shapes: bool) -> Answer:
    try:
        inference = detect_job(*task, score, threads, candidates)
    except QvizError as error:
        return error
    if candidates:
        return inference
    detections = inference.detections
    if not shapes:  # there may be hundreds of detections per image
        detections = replace(detections, keypoints=None, masks=None)
    return replace(inference, candidates=None, detections=detections)


def _answers(job: Future[list[Answer]], count: int) -> list[Answer]:
    """The answers of a job; if its worker was lost, that error for each of its `count` tasks."""
    try:
        return job.result()
    except WorkerError as error:
        return [error] * count


def in_order(
    context: Context, items: Iterable[Item], submit: Callable[[Item], list[Future[T]]], ahead: int = AHEAD
) -> Iterator[tuple[Item, list[Future[T]]]]:
    """Submit jobs for each item, and yield (item, its jobs) in order, each once all its jobs are done.

    Args:
        submit: Returns the jobs for an item; there may be none.
        ahead: Maximum number of items queued per worker.

    Raises:
        Cancelled: The context was cancelled; jobs that have not begun are then cancelled.
    """
    waiting: deque[tuple[Item, list[Future[T]]]] = deque()
    try:
        for item in items:
            waiting.append((item, submit(item)))
            while waiting and (len(waiting) > ahead * context.engine.workers or _done(waiting[0][1])):
                _wait_for(context, waiting[0][1])
                yield waiting.popleft()
        while waiting:
            _wait_for(context, waiting[0][1])
            yield waiting.popleft()
    finally:  # it was cancelled, or the caller stopped iterating
        for _, jobs in waiting:
            for job in jobs:
                job.cancel()


def results_in_order(
    context: Context,
    images: Iterable[EncodedImage],
    submit: Callable[[EncodedImage], list[Future[T]]],
    skipped: list[str],
    no_image: str,
    total: int | None = None,
) -> Iterator[tuple[EncodedImage, list[T]]]:
    """Yield (image, results of its jobs) in order, and report progress. Images that cannot be read are left out.

    Args:
        submit: Returns the jobs for an image.
        skipped: Receives a sentence about each image that is left out.
        no_image: Message of the error if `images` is empty.
        total: Expected number of images; needed if `images` has no length.

    Raises:
        ImageError: No image can be read.
    """
    expected, done = length_hint(images) if total is None else total, 0
    for done, (image, jobs) in enumerate(in_order(context, images, submit), start=1):
        try:
            results = [job.result() for job in jobs]
        except ImageError as error:
            skipped.append(str(error))
        else:
            yield image, results
        context.progress.advance(done, max(expected, done))
    if len(skipped) == done:
        raise ImageError(" ".join(skipped[:3]) or no_image)


def _done(jobs: Sequence[Future[T]]) -> bool:
    return all(job.done() for job in jobs)


def _wait_for(context: Context, jobs: Sequence[Future[T]]) -> None:
    """Wait until all jobs are done. Raises Cancelled."""
    context.check_cancelled()
    while not _done(jobs):
        wait(jobs, timeout=POLL_SECONDS)
        context.check_cancelled()


@dataclass(slots=True, eq=False)
class Reading:
    """A record of the images of a dataset that could be read.

    Attributes:
        digests: Image id -> digest, for the images read so far; ids are used because two files may have the same name.
        unread: Sentences about the images that cannot be read.
    """

    digests: dict[int, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def of(self, images: Iterable[DatasetImage]) -> Iterator[EncodedImage]:
        """Yield the images that can be read, and record their digests. An unreadable image is reported only once."""
        for image in images:
            try:
                encoded = image.encoded()
            except ImageError as error:
                if str(error) not in self.unread:
                    self.unread.append(str(error))
                continue
            self.digests[image.id] = encoded.digest
            yield encoded
