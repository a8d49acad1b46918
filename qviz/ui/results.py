"""Detections and previews computed so far, shared by all sessions of this server.

The work runs in the engine, not in the page's script: a page requests what it needs (`want`), draws what is there
(`inference`) and looks again later. A click does not stop it, and the result of one session serves every other session
that has the same bytes.
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
from qviz.ui.clicks import wait_for_result

REDRAW_SECONDS = 0.7
PREVIEW = "preview"
OVERHEAD_BYTES = 2048
"""Of a result beside its content, measured."""
BYTES_PER_BOX = 24
"""Of a box with its score and class."""
MAX_CRASHES = 64
"""Images on which a model has ended its worker, and models that have done so, that are remembered."""
MAX_READABLE = 20_000


@dataclass(frozen=True, slots=True)
class Preview:
    """An image for the screen: its own size in pixels and a JPEG that may be smaller."""

    width: int
    height: int
    jpeg: bytes

    @property
    def source(self) -> str:
        """For an <img>."""
        return data_uri(self.jpeg)


class Results:
    """The detections and previews used last; thread-safe.

    The bound is in bytes, not in number: 5,000 images with five models are 35,000 results, most of them small. With a
    smaller bound, results could be dropped before the page that waits for them has read them.

    Args:
        max_bytes: Maximum size of all finished results; by default that of `qviz.limits`.
    """

    def __init__(self, engine: Engine, max_bytes: int | None = None) -> None:
        self._engine = engine
        self._lock = threading.RLock()  # `_finish` is called inside it when a job is cancelled
        self._running: dict[Hashable, Future[Any]] = {}
        self._finished: LRUCache[Future[Any]] = LRUCache(
            limits().answers_mb << 20 if max_bytes is None else max_bytes, _bytes_of
        )
        self._crashes = LRUCache[dict[str, tuple[Hashable, str]]](MAX_CRASHES)
        self._readable = LRUCache[bool](MAX_READABLE)

    def want(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage], urgent: bool = False) -> None:
        """Queue detections that are neither computed nor running. urgent: whether a user is waiting for them."""
        for image in images:
            for model in models:
                arguments = (model.blob, model.settings, image, CANDIDATE_FLOOR)
                self._queue(_key(model, image), urgent, detect_job, *arguments)

    def want_previews(self, images: Iterable[EncodedImage], longest: int, urgent: bool = False) -> None:
        """Queue JPEGs for the screen, at most `longest` pixels a side."""
        for image in images:
            self._queue((PREVIEW, image.digest, image.name, longest), urgent, preview_job, image, longest)

    def inference(self, model: LoadedModel, image: EncodedImage, seconds: float = 0.0) -> Inference | QvizError | None:
        """The detections, the error in their place, or None if they are not there within these seconds."""
        result: Inference | QvizError | None = self._result(_key(model, image), seconds)
        return result

    def preview(self, image: EncodedImage, longest: int, seconds: float = 0.0) -> Preview | QvizError | None:
        """The JPEG, the error in its place, or None if it is not there within these seconds."""
        result = self._result((PREVIEW, image.digest, image.name, longest), seconds)
        return Preview(*result) if isinstance(result, tuple) else result

    def pending(self, models: Sequence[LoadedModel], images: Iterable[EncodedImage]) -> int:
        """Number of these detections that are not computed yet."""
        return sum(self.inference(model, image) is None for image in images for model in models)

    def _queue(self, key: Hashable, urgent: bool, function: Any, *arguments: Any) -> None:
        with self._lock:
            job = self._job(key)
            if job is not None and not (urgent and not job.running() and not job.done() and job.cancel()):
                return  # an urgent one that still waits was cancelled here and is queued again in front
            submit = self._engine.submit_urgent if urgent else self._engine.submit
            self._running[key] = job = submit(function, *arguments)
        job.add_done_callback(partial(self._finish, key))  # outside the lock: it may be called at once

    def _finish(self, key: Hashable, job: Future[Any]) -> None:
        with self._lock:
            if self._running.get(key) is job:
                del self._running[key]
                if not job.cancelled():
                    self._finished.put(key, job)
                    self._note(key, job)

    def _note(self, key: Hashable, job: Future[Any]) -> None:
        """Remember images that were read, and models that have ended their worker process."""
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
        """Why this model (its digest) has ended a worker process on one of the images; empty where it has not.

        An image that no other model and no preview could read is the reason itself, and does not count.
        """
        crashes = self._crashes.find(model) or {}
        digests = {image.digest for image in images} if crashes else set()
        texts = (text for image, (_, text) in crashes.items() if image in digests and self._readable.find(image))
        return next(texts, "")

    def forget_crashes(self, model: str) -> None:
        """Allow this model (its digest) to run again after it has ended a worker process."""
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
            return wait_for_result(job, seconds)
        except TimeoutError:
            return None
        except QvizError as error:
            return error  # stays, also after a crash: the same file would crash the next worker too


def _bytes_of(job: Future[Any]) -> int:
    """Size of a finished job's result."""
    result = None if job.exception() is not None else job.result()
    if isinstance(result, tuple):
        return OVERHEAD_BYTES + len(result[2])
    if isinstance(result, Inference):
        boxes = len(result.detections) + (len(result.candidates) if result.candidates is not None else 0)
        return OVERHEAD_BYTES + BYTES_PER_BOX * boxes
    return OVERHEAD_BYTES


def _key(model: LoadedModel, image: EncodedImage) -> Hashable:
    return (model.digest, model.settings, image.digest, image.name)  # an error names the image as its session does


def redraw_while_pending(
    key: str, is_pending: Callable[[], bool], draw: Callable[[], None], seconds: float = REDRAW_SECONDS
) -> None:
    """Draw a part of the page, again and again while results are pending, and the whole page once when all are there.

    Args:
        key: Unique on the page.
    """
    state = f"qviz_pending-{key}"

    @st.fragment(run_every=seconds if is_pending() else None)
    def fragment() -> None:
        pending = is_pending()
        if st.session_state.get(state) and not pending:
            st.session_state[state] = False
            st.rerun()
        st.session_state[state] = pending
        draw()

    fragment()
