"""Detections and previews computed so far, shared by all sessions of this server.

The work runs in the engine, not in the page's script. A page requests the results that it needs (`want`), draws those
that exist (`inference`), and checks again later. A click does not stop the work, and every session with the same files
uses the same results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from qviz.cache import LRUCache
from qviz.chart_style import data_uri
from qviz.detector import detect_job, preview_job
from qviz.engine import Engine
from qviz.errors import QvizError, WorkerCrashed, WorkerOutOfMemory
from qviz.features.detection.models import LoadedModel
from qviz.limits import limits
from qviz.structures import EncodedImage, Inference
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import clicks

REDRAW_SECONDS = 0.7
PREVIEW = "preview"
OVERHEAD_BYTES = 2048
"""Measured size of a result in memory, without its boxes."""
BYTES_PER_BOX = 24
"""Size of a box with its score and class."""
MAX_CRASHES = 64
"""Maximum number of models whose crashes are remembered, and of images per model."""
MAX_READABLE = 20_000


@dataclass(frozen=True, slots=True)
class Preview:
    """An image for the screen: the size of the original in pixels, and a JPEG that may be smaller."""

    width: int
    height: int
    jpeg: bytes

    @property
    def source(self) -> str:
        """The JPEG as a data URI for the `src` of an <img>."""
        return data_uri(self.jpeg)


class Results:
    """A thread-safe cache of the most recently used detections and previews.

    The cache is bounded by bytes and not by the number of results: 5,000 images with five models give 35,000 results,
    most of them small. If the bound were too small, results could be dropped before the waiting page has read them.

    Args:
        max_bytes: Maximum total size of the finished results; by default the limit from `qviz.limits`.
    """

    def __init__(self, engine: Engine, max_bytes: int | None = None) -> None:
        self._engine = engine
        self._lock = threading.RLock()  # reentrant: cancelling a job while the lock is held calls `_finish`
        self._running: dict[Hashable, Future[Any]] = {}
        self._finished: LRUCache[Future[Any]] = LRUCache(
            limits().answers_mb << 20 if max_bytes is None else max_bytes, _bytes_of
        )
        self._crashes = LRUCache[dict[str, tuple[Hashable, str]]](MAX_CRASHES)
        self._readable = LRUCache[bool](MAX_READABLE)

    def want(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage], urgent: bool = False) -> None:
        """Queue detections, unless they are computed or running already. urgent: whether a user is waiting for them."""
        for image in images:
            for model in models:
                arguments = (model.blob, model.settings, image, CANDIDATE_FLOOR)
                self._queue(_key(model, image), urgent, detect_job, *arguments)

    def want_previews(self, images: Iterable[EncodedImage], longest: int, urgent: bool = False) -> None:
        """Queue JPEGs for the screen, with at most `longest` pixels per side."""
        for image in images:
            self._queue((PREVIEW, image.digest, image.name, longest), urgent, preview_job, image, longest)

    def inference(self, model: LoadedModel, image: EncodedImage, seconds: float = 0.0) -> Inference | QvizError | None:
        """The detections, or the error if the model failed, or None if neither is available within `seconds`."""
        result: Inference | QvizError | None = self._result(_key(model, image), seconds)
        return result

    def preview(self, image: EncodedImage, longest: int, seconds: float = 0.0) -> Preview | QvizError | None:
        """The JPEG, or the error if the image cannot be read, or None if neither is available within `seconds`."""
        result = self._result((PREVIEW, image.digest, image.name, longest), seconds)
        return Preview(*result) if isinstance(result, tuple) else result

    def pending(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage]) -> int:
        """Number of (model, image) pairs whose detections are not computed yet."""
        return sum(self.inference(model, image) is None for image in images for model in models)

    def _queue(self, key: Hashable, urgent: bool, function: Any, *arguments: Any) -> None:
        with self._lock:
            job = self._job(key)
            if job is not None and not (urgent and not job.running() and not job.done() and job.cancel()):
                return  # otherwise the job is new, or it waited, was cancelled just now and is queued as urgent
            submit = self._engine.submit_urgent if urgent else self._engine.submit
            self._running[key] = job = submit(function, *arguments)
        job.add_done_callback(partial(self._finish, key))  # outside the lock, because it may call back immediately

    def _finish(self, key: Hashable, job: Future[Any]) -> None:
        with self._lock:
            if self._running.get(key) is job:
                del self._running[key]
                if not job.cancelled():
                    self._finished.put(key, job)
                    self._note(key, job)

    def _note(self, key: Hashable, job: Future[Any]) -> None:
        """Remember which images could be read, and which models crashed their worker process."""
        if not isinstance(key, tuple):
            return
        model, *_, image, _ = key
        error = job.exception()
        if error is None:
            self._readable.put(key[1] if model == PREVIEW else image, True)
        elif model != PREVIEW and isinstance(error, (WorkerCrashed, WorkerOutOfMemory)):
            crashes = self._crashes.get(model, dict)
            if len(crashes) < MAX_CRASHES:
                crashes[image] = key, str(error)

    def crash(self, model: str, images: Iterable[EncodedImage]) -> str:
        """Why the model with this digest crashed a worker process on one of the images; empty if it did not.

        If no model and no preview could read an image, a crash on it does not count: the image is the likely cause.
        """
        crashes = self._crashes.find(model) or {}
        digests = {image.digest for image in images} if crashes else set()
        texts = (text for image, (_, text) in crashes.items() if image in digests and self._readable.find(image))
        return next(texts, "")

    def forget_crashes(self, model: str) -> None:
        """Allow the model with this digest to run again after it crashed a worker process."""
        for key, _ in (self._crashes.find(model) or {}).values():
            self._finished.forget(key)
        self._crashes.forget(model)

    def _job(self, key: Hashable) -> Future[Any] | None:
        with self._lock:
            return self._running.get(key) or self._finished.find(key)

    def _result(self, key: Hashable, seconds: float) -> Any:
        job = self._job(key)
        if job is None or (not job.done() and seconds <= 0):
            return None
        try:
            return clicks.wait_for_result(job, seconds)
        except TimeoutError:
            return None
        except QvizError as error:
            return error  # kept even after a crash, because the same file would crash the next worker too


def _bytes_of(job: Future[Any]) -> int:
    """Estimated size of a finished job's result in bytes."""
    result = None if job.exception() is not None else job.result()
    if isinstance(result, tuple):
        return OVERHEAD_BYTES + len(result[2])
    if isinstance(result, Inference):
        boxes = len(result.detections) + (len(result.candidates) if result.candidates is not None else 0)
        return OVERHEAD_BYTES + BYTES_PER_BOX * boxes
    return OVERHEAD_BYTES


def _key(model: LoadedModel, image: EncodedImage) -> Hashable:
    return (model.digest, model.settings, image.digest, image.name)  # errors contain the name, which differs by session


def redraw_while_pending(
    key: str, is_pending: Callable[[], bool], draw: Callable[[], None], seconds: float = REDRAW_SECONDS
) -> None:
    """Draw a part of the page repeatedly while results are pending, then rerun the whole page once.

    Args:
        key: Name of this part, unique on the page.
        is_pending: Returns whether results are still pending.
        draw: Draws the part.
        seconds: Time between two redraws.
    """
    state = f"qviz_pending-{key}"

    @clicks.fragment(run_every=seconds if is_pending() else None)
    def fragment() -> None:
        pending = is_pending()
        if st.session_state.get(state) and not pending:
            st.session_state[state] = False
            st.rerun()
        st.session_state[state] = pending
        draw()

    fragment()
