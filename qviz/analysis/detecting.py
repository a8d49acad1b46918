"""Models over images, through the engine: who runs what, what was run before, and what could not be run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import TypeVar

from qviz.analysis.models import LoadedModel
from qviz.analysis.one_image import together
from qviz.analysis.stored import from_bytes, key_of, to_bytes
from qviz.engine import Engine
from qviz.errors import Cancelled, ImageError, QvizError
from qviz.progress import OnProgress, silent
from qviz.store import Store
from qviz.structures import EncodedImage, Inference

T = TypeVar("T")

AHEAD = 4
"""Images queued a worker: enough to keep it busy, few enough that memory does not grow with their number."""
LOOK_EVERY = 0.2
"""Seconds after which a waiting run looks whether it was cancelled."""


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """inferences by (model digest, image digest); skipped: a sentence for each image or model that failed."""

    inferences: dict[tuple[str, str], Inference] = field(default_factory=dict)
    images: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def detect_images(
    engine: Engine,
    models: Sequence[LoadedModel],
    images: Iterable[EncodedImage],
    total: int,
    score: float,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    cancel: threading.Event | None = None,
    candidates: bool = True,
) -> Detected:
    """Every model on every image. A broken image is skipped with its sentence; the others go on.

    `images` may be a generator: only a few are held at a time. store: where answers are looked for first, and kept as
    they come; cancel: set it to stop; candidates: whether they are wanted. Raises Cancelled.
    """
    found = Detected()
    answers = _Answers(engine, models, score, threads, store, candidates)
    waited = in_order(engine, images, answers.begin, answers.keep, cancel)
    for done, (image, jobs) in enumerate(waited, start=1):
        _take(found, models, image, jobs, candidates)
        on_progress(done, max(total, done))
    return found


def in_order(
    engine: Engine,
    images: Iterable[EncodedImage],
    submit: Callable[[EncodedImage], list[Future[T]]],
    came: Callable[[Future[T]], object] = lambda job: None,
    cancel: threading.Event | None = None,
) -> Iterator[tuple[EncodedImage, list[Future[T]]]]:
    """Images in their order, each when all its jobs are done, with a bounded number under way.

    came: called once with each job as soon as it is seen to be done, whatever its turn. Raises Cancelled.
    """
    waiting: deque[tuple[EncodedImage, list[Future[T]]]] = deque()
    under_way: set[Future[T]] = set()
    try:
        for image in images:
            waiting.append((image, submit(image)))
            under_way.update(waiting[-1][1])
            while waiting and (len(waiting) > AHEAD * engine.workers or under_way.isdisjoint(waiting[0][1])):
                _wait_for(waiting[0][1], under_way, came, cancel)
                yield waiting.popleft()
        while waiting:
            _wait_for(waiting[0][1], under_way, came, cancel)
            yield waiting.popleft()
    finally:  # cancelled, or whoever reads the answers has gone: what still queues is let go
        for job in under_way:
            job.cancel()


def _wait_for(
    jobs: Sequence[Future[T]],
    under_way: set[Future[T]],
    came: Callable[[Future[T]], object],
    cancel: threading.Event | None,
) -> None:
    """Until these jobs are done; those of other images that finish meanwhile are told of too. Raises Cancelled."""
    while True:
        for job in [job for job in under_way if job.done()]:
            under_way.remove(job)
            came(job)
        if cancel is not None and cancel.is_set():
            raise Cancelled("The work was stopped before it was done.")
        if under_way.isdisjoint(jobs):
            return
        wait(under_way, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)


@dataclass(slots=True, eq=False)
class _Answers:
    """Asks the store, then the engine. keys: of what the engine was asked for, until it is kept."""

    engine: Engine
    models: Sequence[LoadedModel]
    score: float
    threads: int
    store: Store | None
    candidates: bool
    keys: dict[Future[Inference], str] = field(default_factory=dict)

    def begin(self, image: EncodedImage) -> list[Future[Inference]]:
        """An answer a model: there already, or under way."""
        if self.store is None:
            return self._asked(self.models, image)
        keys = [key_of(model, image, self.score, self.threads, self.candidates) for model in self.models]
        kept = self.store.get_many(keys)
        answers = {key: answer for key in keys if (answer := self._known(kept.get(key))) is not None}
        missing = [(model, key) for model, key in zip(self.models, keys, strict=True) if key not in answers]
        asked = self._asked([model for model, _ in missing], image)
        for (_, key), answer in zip(missing, asked, strict=True):
            answers[key] = answer
            self.keys[answer] = key
        return [answers[key] for key in keys]

    def _asked(self, models: Sequence[LoadedModel], image: EncodedImage) -> list[Future[Inference]]:
        return together(self.engine, models, image, self.score, self.threads, self.candidates)

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
        if self.store is not None and key and not answer.cancelled() and answer.exception() is None:
            self.store.put(key, to_bytes(_trimmed(answer.result(), self.candidates)))


def _take(
    found: Detected,
    models: Sequence[LoadedModel],
    image: EncodedImage,
    jobs: Sequence[Future[Inference]],
    candidates: bool,
) -> None:
    kept = 0
    for model, job in zip(models, jobs, strict=True):
        try:
            found.inferences[model.digest, image.digest] = _trimmed(job.result(), candidates)
            kept += 1
        except ImageError as error:
            found.skipped.append(str(error))  # the same sentence for every model
            return
        except QvizError as error:
            found.skipped.append(f"{model.name} on {image.name}: {error}")
    if kept:
        found.images.append((image.name, image.digest))


def _trimmed(inference: Inference, candidates: bool) -> Inference:
    """Without its candidates where nobody wants them: there may be hundreds an image."""
    return inference if candidates else replace(inference, candidates=None)
