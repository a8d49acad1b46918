"""Detections computed so far, for all sessions of this server, by (model, settings, image).

Work runs in the engine, outside the page's script: a page asks for what it needs (`want`), draws what is there
(`found`) and looks again. A click never kills it, and what one session computed serves another that holds the same
bytes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from qviz.detector import detect_job, preview_job
from qviz.engine import Engine
from qviz.errors import QvizError, WorkerError
from qviz.features.detection.models import LoadedModel
from qviz.limits import limits
from qviz.structures import EncodedImage, Inference
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui.clicks import outcome

KEPT_SHARE = 0.9
"""How much of the bound stays when the oldest go, so that this is not done at every answer."""
OVERHEAD, ROW = 2048, 24
"""Bytes of an answer beside its content, measured; of a box with its score and class."""


@dataclass(frozen=True, slots=True)
class Preview:
    """An image for the screen: its own size in pixels and a JPEG that may be smaller."""

    width: int
    height: int
    jpeg: bytes


class Results:
    """Thread-safe; keeps the latest answers, of at most `most` bytes (by default as `qviz.limits` says).

    By bytes and not by number: 5,000 images with five models are 35,000 answers, most of them small. Too few of them
    kept would have a page wait for ever for what was thrown out.
    """

    def __init__(self, engine: Engine, most: int | None = None) -> None:
        self._engine, self._most = engine, most if most is not None else limits().answers_mb << 20
        self._lock = threading.RLock()  # a job that is cancelled under it calls `_weigh`
        self._jobs: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._held = 0

    def want(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage], urgent: bool = False) -> None:
        """Queue what is neither there nor under way, image by image. Urgent: somebody looks at it now."""
        for image in images:
            for model in models:
                arguments = (model.blob, model.settings, image, CANDIDATE_FLOOR)
                self._queue(_key(model, image), urgent, detect_job, *arguments)

    def want_previews(self, images: Iterable[EncodedImage], longest: int, urgent: bool = False) -> None:
        """Queue the JPEGs for the screen, at most `longest` pixels a side."""
        for image in images:
            self._queue(("preview", image.digest, image.name, longest), urgent, preview_job, image, longest)

    def _queue(self, key: Hashable, urgent: bool, function: Any, *arguments: Any) -> None:
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not (urgent and not job.running() and not job.done() and job.cancel()):
                self._jobs.move_to_end(key)
                return  # there or under way; one that waits far back is taken out and put in front
            submit = self._engine.submit_urgent if urgent else self._engine.submit
            self._jobs[key] = job = submit(function, *arguments)
            self._jobs.move_to_end(key)
        job.add_done_callback(partial(self._weigh, key))  # outside of the lock: it may be called at once

    def _weigh(self, key: Hashable, job: Future[Any]) -> None:
        """An answer has come: it counts from now on, and the oldest that are over the bound go."""
        if job.cancelled():
            return
        size = OVERHEAD + (0 if job.exception() is not None else _bytes_of(job.result()))
        with self._lock:
            if self._jobs.get(key) is not job:
                return
            self._sizes[key] = size
            self._held += size
            for old in list(self._jobs) if self._held > self._most else ():
                if self._held <= self._most * KEPT_SHARE:
                    break
                if old in self._sizes:  # what is under way stays
                    del self._jobs[old]
                    self._held -= self._sizes.pop(old)

    def found(self, model: LoadedModel, image: EncodedImage) -> Inference | QvizError | None:
        """The answer, the error that stands for it, or None while it is under way."""
        answer: Inference | QvizError | None = self._answer(_key(model, image))
        return answer

    def wait(self, model: LoadedModel, image: EncodedImage, seconds: float) -> Inference | QvizError | None:
        """As `found`, after waiting for it a little."""
        answer: Inference | QvizError | None = self._answer(_key(model, image), seconds)
        return answer

    def preview(self, image: EncodedImage, longest: int, seconds: float = 0.0) -> Preview | QvizError | None:
        """The JPEG for the screen, the error that stands for it, or None while it is under way."""
        answer = self._answer(("preview", image.digest, image.name, longest), seconds)
        return Preview(*answer) if isinstance(answer, tuple) else answer

    def _answer(self, key: Hashable, seconds: float = 0.0) -> Any:
        with self._lock:
            job = self._jobs.get(key)
        if job is None or (not job.done() and seconds <= 0):
            return None
        try:
            return outcome(job, seconds)
        except TimeoutError:
            return None
        except WorkerError as error:
            return error  # stays: the same file would crash the next worker too
        except QvizError as error:
            return error

    def pending(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage]) -> int:
        """How many of these answers are still under way."""
        return sum(self.found(model, image) is None for image in images for model in models)


def _bytes_of(answer: Inference | tuple[int, int, bytes]) -> int:
    if isinstance(answer, tuple):
        return len(answer[2])
    rows = len(answer.detections) + (len(answer.candidates) if answer.candidates is not None else 0)
    return rows * ROW


def _key(model: LoadedModel, image: EncodedImage) -> Hashable:
    return (model.digest, model.settings, image.digest, image.name)  # an error names the image as its session does
