"""Trainings under way, for all sessions of this server, one at a time: each takes all cores.

They go on when the page is left, can be stopped (and built as they are) or given up, and go on from their checkpoint
when the server was killed: the same training asked for again finds it in the cache folder.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import streamlit as st

from qviz.analysis.models import LoadedModel
from qviz.analysis.qat_gain import QatResult
from qviz.analysis.written import duration
from qviz.api.building import source_of
from qviz.api.training import Hooks, trained
from qviz.errors import Cancelled, QvizError
from qviz.progress import TimeLeft
from qviz.quantize import recipe_of
from qviz.quantize.qat_checkpoint import forget
from qviz.quantize.qat_plan import plan_for
from qviz.store import cache_folder
from qviz.structures import EncodedImage
from qviz.ui import calls
from qviz.ui.calls import Kept

KEPT_CHECKPOINTS = 3
"""Of trainings that were not finished; each is some tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is trained: digests of the reference and of the images, the recipe's name."""

    reference: str
    images: tuple[str, ...] = field(repr=False)
    recipe: str = "int8"
    steps: int = 240

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr((self.reference, self.images, self.recipe, self.steps)).encode()).hexdigest()


@dataclass(slots=True, eq=False)
class TrainJob:
    """Looked at by the page, run by a thread of its own."""

    asked: Asked
    phase: str = "Waiting for another training to end"
    losses: tuple[float, ...] = ()
    seconds_left: float | None = None
    stop: Event = field(default_factory=Event)
    cancel: Event = field(default_factory=Event)
    future: Future[QatResult] = field(default_factory=Future)
    _left: TimeLeft | None = None

    def run(self, model: LoadedModel, images: Sequence[EncodedImage]) -> QatResult:
        """In its thread. Raises Cancelled, QvizError."""
        if self.cancel.is_set():
            raise Cancelled("The training was stopped before it began.")
        kept = _checkpoint(self.asked)
        hooks = Hooks(self._watch, self._enter, stop=self.stop, cancel=self.cancel)
        found = trained(calls.engine(), model, images, self.asked.recipe, self.asked.steps, kept, hooks)
        if not self.stop.is_set():  # asked for again, it goes on
            forget(kept)
        return found

    def _enter(self, words: str) -> None:
        self.phase = words

    def _watch(self, losses: tuple[float, ...]) -> None:
        self._left = self._left or TimeLeft()  # what a checkpoint had says nothing of the pace
        self.losses, self.seconds_left = losses, self._left.after(len(losses), self.asked.steps)

    def progress(self) -> str:
        """How far it is, and how long it will take."""
        if self.cancel.is_set():
            return "Giving up"
        if self.phase != "Training":
            return f"{self.phase} …"
        if not self.losses:
            return "Preparing the network for training; this takes about 20 s …"
        if len(self.losses) >= self.asked.steps:
            return "Building, and trying the file out …"
        said = f"Step {len(self.losses)} of {self.asked.steps}"
        if self.stop.is_set():
            return f"{said}: stopping here, and building"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left"

    @property
    def given_up(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> Kept[TrainJob]:
    return Kept(8)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="qviz-training")


def refusal(reference: LoadedModel, recipe: str, steps: int) -> str:
    """Why this cannot be trained, or nothing. Told before anything runs."""
    try:
        plan_for(source_of(reference).graph, recipe_of(recipe), steps)
    except QvizError as error:
        return str(error)
    return ""


def start(reference: LoadedModel, images: Sequence[EncodedImage], recipe: str, steps: int) -> TrainJob:
    """Begin, or join who began the same. What failed, was stopped or given up before goes on."""
    asked = Asked(reference.digest, tuple(sorted(image.digest for image in images)), recipe, steps)
    key = (asked, reference.settings)

    def begin() -> TrainJob:
        job = TrainJob(asked)
        job.future = _threads().submit(job.run, reference, tuple(images))
        return job

    before = _jobs().get(key, begin)
    if before.future.done() and (before.stop.is_set() or before.future.exception() is not None):
        _jobs().forget(key)
    return _jobs().get(key, begin)


def _checkpoint(asked: Asked) -> Path:
    """Where this training is kept; of those that nobody came back to, the latest stay."""
    try:
        folder = cache_folder() / "training"
    except RuntimeError:  # an account without a home folder
        folder = Path(tempfile.gettempdir()) / "qviz-training"
    found = folder / f"{asked.digest}.npz"
    others = [path for path in folder.glob("*.npz") if path != found]
    others.sort(key=lambda path: path.stat().st_mtime)
    for path in others[: max(len(others) - KEPT_CHECKPOINTS, 0)]:
        forget(path)
    return found
