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
from typing import Any

from qviz.analysis.models import LoadedModel
from qviz.api import SEEN_FROM
from qviz.detector import detect_job, preview_job
from qviz.engine import Engine
from qviz.errors import QvizError, WorkerError
from qviz.structures import EncodedImage, Inference

MAX_KEPT = 4000


@dataclass(frozen=True, slots=True)
class Preview:
    """An image for the screen: its own size in pixels and a JPEG that may be smaller."""

    width: int
    height: int
    jpeg: bytes


class Results:
    """Thread-safe; keeps the latest `MAX_KEPT` answers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Hashable, Future[Any]] = OrderedDict()

    def want(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage], urgent: bool = False) -> None:
        """Queue what is neither there nor under way, image by image. Urgent: somebody looks at it now."""
        for image in images:
            for model in models:
                arguments = (model.blob, model.settings, image, SEEN_FROM)
                self._queue(_key(model, image), urgent, detect_job, *arguments)

    def want_previews(self, images: Iterable[EncodedImage], longest: int, urgent: bool = False) -> None:
        """Queue the JPEGs for the screen, at most `longest` pixels a side."""
        for image in images:
            self._queue(("preview", image.digest, longest), urgent, preview_job, image, longest)

    def _queue(self, key: Hashable, urgent: bool, function: Any, *arguments: Any) -> None:
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not (urgent and not job.running() and not job.done() and job.cancel()):
                self._jobs.move_to_end(key)
                return  # there or under way; one that waits far back is taken out and put in front
            submit = self._engine.submit_urgent if urgent else self._engine.submit
            self._jobs[key] = submit(function, *arguments)
            self._jobs.move_to_end(key)
            while len(self._jobs) > MAX_KEPT:
                self._jobs.popitem(last=False)

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
        answer = self._answer(("preview", image.digest, longest), seconds)
        return Preview(*answer) if isinstance(answer, tuple) else answer

    def _answer(self, key: Hashable, seconds: float = 0.0) -> Any:
        with self._lock:
            job = self._jobs.get(key)
        if job is None or (not job.done() and seconds <= 0):
            return None
        try:
            return job.result(timeout=seconds)
        except TimeoutError:
            return None
        except WorkerError as error:
            return error  # stays: the same file would crash the next worker too
        except QvizError as error:
            return error

    def pending(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage]) -> int:
        """How many of these answers are still under way."""
        return sum(self.found(model, image) is None for image in images for model in models)


def _key(model: LoadedModel, image: EncodedImage) -> Hashable:
    return (model.digest, model.settings, image.digest)
