"""Sweeps under way, for all sessions of this server. They go on when the page is left, and can be stopped.

Detections are kept as they come, so a sweep that was stopped goes on where it ended.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import streamlit as st

from qviz.analysis.models import LoadedModel
from qviz.analysis.out_of_range import OutOfRange, out_of_range
from qviz.analysis.robustness import Robustness
from qviz.analysis.robustness_report import ALARM_IMAGES, RobustnessReport, report
from qviz.analysis.saturation_cause import Explanation, explained
from qviz.analysis.written import duration
from qviz.errors import Cancelled, ImageError
from qviz.progress import TimeLeft
from qviz.structures import Dataset, DatasetImage, EncodedImage, Shift
from qviz.ui import calls
from qviz.ui.accuracy_data import Source
from qviz.ui.calls import Kept, Models

LAYER_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What is swept: the source's digest, how many of its images, what befalls them, and which models see them."""

    source: str
    images: int
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    models: tuple[str, ...]


@dataclass(slots=True, eq=False)
class SweepJob:
    """Looked at by the page, run by a thread of its own. partial: what is known so far."""

    asked: Asked
    total: int
    done: int = 0
    seconds_left: float | None = None
    partial: Robustness | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[RobustnessReport] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self, models: Sequence[LoadedModel], dataset: Dataset) -> RobustnessReport:
        """In its thread. Raises Cancelled, DatasetError, QvizError."""
        self._left = TimeLeft()
        return report(
            calls.engine(), models, dataset, self.asked.corruptions, self.asked.severities,
            on_progress=self.report, store=calls.kept_detections(), cancel=self.cancel, watch=self.watch,
            layer_images=LAYER_IMAGES, alarm_images=0,
        )  # fmt: skip

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def watch(self, found: Robustness) -> None:
        self.partial = found

    def progress(self) -> str:
        """How far it is, and how long it will take."""
        if self.done >= self.total:
            return "Judging, and watching the layers' ranges"
        said = f"{self.done} of {self.total} shifted images"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left"

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> Kept[SweepJob]:
    return Kept(16)


@st.cache_resource(show_spinner=False)
def _alarms() -> Kept[Future[OutOfRange]]:
    return Kept(32)


@st.cache_resource(show_spinner=False)
def _causes() -> Kept[Future[Explanation]]:
    return Kept(64)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3, thread_name_prefix="qviz-robustness")


def _key(models: Sequence[LoadedModel]) -> tuple[object, ...]:
    return tuple(model.identity for model in models)


def spread(dataset: Dataset, most: int) -> Dataset:
    """At most so many images of a dataset, evenly; its name says so."""
    images = dataset.images
    if len(images) <= most:
        return dataset
    return replace(dataset, images=tuple(images[i * len(images) // most] for i in range(most)))


def sweep(found: Models, source: Source, asked: Asked) -> SweepJob:
    """Started once for the server."""
    models = [found.reference, *(v for v in found.variants if found.name(v) in asked.models)]
    dataset = spread(source.dataset, asked.images)

    def start() -> SweepJob:
        shifts = 1 + len(asked.corruptions) * len(asked.severities)
        job = SweepJob(asked, len(dataset.images) * shifts)
        job.future = _threads().submit(job.run, models, dataset)
        return job

    return _jobs().get((asked, _key(models)), start)


def begin_anew(found: Models, asked: Asked) -> None:
    """One that was stopped or has failed starts again when the page asks for it next."""
    models = [found.reference, *(v for v in found.variants if found.name(v) in asked.models)]
    _jobs().forget((asked, _key(models)))


def alarm(found: Models, variant: LoadedModel, source: Source) -> Future[OutOfRange]:
    """Which images drive the network out of the variant's ranges, started once for the server."""
    images = spread(source.dataset, ALARM_IMAGES).images

    def start() -> Future[OutOfRange]:
        def read() -> OutOfRange:
            return out_of_range(calls.engine(), found.reference, variant, _encoded(images), total=len(images))

        return _threads().submit(read)

    return _alarms().get((source.digest, _key([found.reference, variant])), start)


def cause(
    found: Models, variant: LoadedModel, source: Source, asked: Asked, shift: Shift, layers: Sequence[int]
) -> Future[Explanation]:
    """Whether these layers explain the loss under a shift, started once for the server."""
    images = list(_encoded(spread(source.dataset, min(asked.images, 12)).images))
    pair = found.reference, variant

    def start() -> Future[Explanation]:
        return _threads().submit(explained, calls.engine(), *pair, images, shift, layers)

    return _causes().get((source.digest, asked.images, _key(pair), shift, tuple(layers)), start)


def _encoded(images: Sequence[DatasetImage]) -> list[EncodedImage]:
    read = []
    for image in images:
        try:
            read.append(image.encoded())
        except ImageError:
            continue  # the sweep says so
    return read
