"""Models over images, through the engine: who runs what, what was run before, and what could not be run.

The images of a dataset as they are read, one at a time: which bytes they were, and which could not be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import TypeVar

from qviz.context import Context
from qviz.datasets.files import ImageFiles
from qviz.errors import ImageError, QvizError
from qviz.features.detection.batching import Bundles, How, together
from qviz.features.detection.cache import from_bytes, key_of, to_bytes
from qviz.features.detection.models import LoadedModel
from qviz.structures import DatasetImage, EncodedImage, Inference

Images = ImageFiles | Sequence[EncodedImage]
Item = TypeVar("Item")
T = TypeVar("T")

AHEAD = 4
"""Images queued a worker: enough to keep it busy, few enough that memory does not grow with their number."""
BUNDLES_AHEAD = 2
LOOK_EVERY = 0.2
"""Seconds after which a waiting run looks whether it was cancelled."""


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """inferences by (model digest, image digest); skipped: a sentence for each image or model that failed."""

    inferences: dict[tuple[str, str], Inference] = field(default_factory=dict)
    images: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def detect_images(
    context: Context,
    models: Sequence[LoadedModel],
    images: Iterable[EncodedImage],
    total: int,
    score: float,
    candidates: bool = True,
) -> Detected:
    """Run every model on every image. A broken image is skipped with a sentence; the others go on.

    Args:
        images: May be a generator: only a few are in memory at a time.
        total: Expected number of images, for the progress and the batch size.
        score: Minimum confidence.
        candidates: Whether the candidates before NMS are wanted too.

    Raises:
        Cancelled: The context was cancelled.
    """
    detected, batches = Detected(), Bundles(total, context.engine.workers)
    answers = _Answers(context, models, How(score, context.threads, candidates))
    done = 0
    for batch, jobs in in_order(context, batches.cut(images), answers.begin, answers.keep, BUNDLES_AHEAD):
        for position, image in enumerate(batch):
            own = jobs[position * len(models) : (position + 1) * len(models)]
            batches.learn(_take(detected, models, image, own, candidates))
            done += 1
            context.progress.advance(done, max(total, done))
    return detected


def in_order(
    context: Context,
    images: Iterable[Item],
    submit: Callable[[Item], list[Future[T]]],
    came: Callable[[Future[T]], object] = lambda job: None,
    ahead: int = AHEAD,
) -> Iterator[tuple[Item, list[Future[T]]]]:
    """Images (or bundles of them) in their order, each when all its jobs are done, with a bounded number under way.

    came: called once with each job as soon as it is seen to be done, whatever its turn; ahead: how many queue a worker.
    Raises Cancelled.
    """
    waiting: deque[tuple[Item, list[Future[T]]]] = deque()
    under_way: set[Future[T]] = set()
    try:
        for image in images:
            waiting.append((image, submit(image)))
            under_way.update(waiting[-1][1])
            while waiting and (len(waiting) > ahead * context.engine.workers or under_way.isdisjoint(waiting[0][1])):
                _wait_for(context, waiting[0][1], under_way, came)
                yield waiting.popleft()
        while waiting:
            _wait_for(context, waiting[0][1], under_way, came)
            yield waiting.popleft()
    finally:  # cancelled, or whoever reads the answers has gone: what still queues is let go
        for job in under_way:
            job.cancel()


def _wait_for(
    context: Context,
    jobs: Sequence[Future[T]],
    under_way: set[Future[T]],
    came: Callable[[Future[T]], object],
) -> None:
    """Until these jobs are done; those of other images that finish meanwhile are told of too. Raises Cancelled."""
    while True:
        for job in [job for job in under_way if job.done()]:
            under_way.remove(job)
            came(job)
        context.check_cancelled()
        if under_way.isdisjoint(jobs):
            return
        wait(under_way, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)


@dataclass(slots=True, eq=False)
class _Answers:
    """Asks the store, then the engine. keys: of what the engine was asked for, until it is kept."""

    context: Context
    models: Sequence[LoadedModel]
    how: How
    keys: dict[Future[Inference], str] = field(default_factory=dict)

    def begin(self, bundle: Sequence[EncodedImage]) -> list[Future[Inference]]:
        """For each image an answer a model: there already, or under way."""
        if self.context.store is None:
            return together(self.context.engine, [(image, self.models) for image in bundle], self.how)
        keys = [[self._key(model, image) for model in self.models] for image in bundle]
        kept = self.context.store.get_many([key for row in keys for key in row])
        answers = {key: answer for key, data in kept.items() if (answer := self._known(data)) is not None}
        asked: list[tuple[EncodedImage, list[LoadedModel]]] = []
        missing: dict[str, None] = {}
        for image, row in zip(bundle, keys, strict=True):
            new = {key: model for key, model in zip(row, self.models, strict=True) if key not in answers | missing}
            asked.append((image, list(new.values())))
            missing |= dict.fromkeys(new)
        for key, answer in zip(missing, together(self.context.engine, asked, self.how), strict=True):
            answers[key] = answer
            self.keys[answer] = key
        return [answers[key] for row in keys for key in row]

    def _key(self, model: LoadedModel, image: EncodedImage) -> str:
        return key_of(model, image, self.how.score, self.how.threads, self.how.candidates)

    def _known(self, data: bytes | None) -> Future[Inference] | None:
        inference = from_bytes(data) if data is not None else None
        if inference is None:
            return None
        answer: Future[Inference] = Future()
        answer.set_result(inference)
        return answer

    def keep(self, answer: Future[Inference]) -> None:
        """Into the store, unless it comes from there. Errors are not kept: they may be of the day."""
        key = self.keys.pop(answer, None)
        if self.context.store is not None and key and not answer.cancelled() and answer.exception() is None:
            self.context.store.put(key, to_bytes(_trimmed(answer.result(), self.how.candidates)))


def _take(
    found: Detected,
    models: Sequence[LoadedModel],
    image: EncodedImage,
    jobs: Sequence[Future[Inference]],
    candidates: bool,
) -> list[Inference]:
    """The image's answers, which are kept; a sentence for what failed."""
    kept: list[Inference] = []
    for model, job in zip(models, jobs, strict=True):
        try:
            kept.append(_trimmed(job.result(), candidates))
            found.inferences[model.digest, image.digest] = kept[-1]
        except ImageError as error:
            found.skipped.append(str(error))  # the same sentence for every model
            return []
        except QvizError as error:
            found.skipped.append(f"{model.name} on {image.name}: {error}")
    if kept:
        found.images.append((image.name, image.digest))
    return kept


def _trimmed(inference: Inference, candidates: bool) -> Inference:
    """Without its candidates where nobody wants them: there may be hundreds an image."""
    return inference if candidates else replace(inference, candidates=None)


@dataclass(slots=True, eq=False)
class Reading:
    """digests: image id -> digest of those read (two files may share a name); unread: a sentence for each other one."""

    digests: dict[int, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def of(self, images: Iterable[DatasetImage]) -> Iterator[EncodedImage]:
        """Those that can be read, noted as they come; one that is read again is said once."""
        for image in images:
            try:
                encoded = image.encoded()
            except ImageError as error:
                if str(error) not in self.unread:
                    self.unread.append(str(error))
                continue
            self.digests[image.id] = encoded.digest
            yield encoded
