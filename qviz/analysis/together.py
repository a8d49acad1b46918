"""Several models on several images as one job: bytes travel once, an image is decoded once.

Each model has a future of its own for each image. Where the worker is lost on them together, they are asked one by
one, so that a model or image that crashes, hangs or swells takes no other along.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from qviz.analysis.models import LoadedModel
from qviz.detector import decoded, detect_job
from qviz.engine import Blob, Engine
from qviz.errors import QvizError, WorkerError
from qviz.structures import EncodedImage, Inference, Settings

Answer = Inference | QvizError
Model = tuple[Blob, Settings]


@dataclass(frozen=True, slots=True)
class How:
    """score: the threshold; threads: of an interpreter; candidates: whether they are wanted, see `Detector`."""

    score: float
    threads: int = 1
    candidates: bool = True

    def one_job(self, model: Model, image: EncodedImage) -> Inference:
        """One model on one image, in a worker."""
        return detect_job(*model, image, self.score, self.threads, self.candidates)

    def many_job(self, asked: Sequence[tuple[EncodedImage, Sequence[Model]]]) -> list[Answer]:
        """Models on images, in a worker. What fails leaves its error in its place, for all models of a bad image."""
        return [answer for image, models in asked for answer in self._answers(image, models)]

    def _answers(self, image: EncodedImage, models: Sequence[Model]) -> list[Answer]:
        try:
            decoded(image)
        except QvizError as error:
            return [error] * len(models)
        return [self._answer(model, image) for model in models]

    def _answer(self, model: Model, image: EncodedImage) -> Answer:
        try:
            return self.one_job(model, image)
        except QvizError as error:
            return error


def together(
    engine: Engine, asked: Sequence[tuple[EncodedImage, Sequence[LoadedModel]]], how: How
) -> list[Future[Inference]]:
    """A future for each model of each image, in their order."""
    pairs = [(image, [(model.blob, model.settings) for model in models]) for image, models in asked if models]
    single = [(model, image) for image, models in pairs for model in models]
    if len(single) < 2:
        return [engine.submit(how.one_job, *one) for one in single]
    trip = _Trip(engine, how, single, [Future() for _ in single])
    answers = list(trip.answers)
    trip.begin(pairs)
    return answers


@dataclass(slots=True, eq=False)
class _Trip:
    """One job under way, and the answers it owes. Both are let go of when it is over.

    A future keeps its callbacks: what they hold would stay, images and all, until Python looks for cycles.
    """

    engine: Engine
    how: How
    single: list[tuple[Model, EncodedImage]]
    answers: list[Future[Inference]]
    job: Future[list[Answer]] = field(default_factory=Future)

    def begin(self, pairs: Sequence[tuple[EncodedImage, Sequence[Model]]]) -> None:
        self.job = self.engine.submit(self.how.many_job, pairs)
        for answer in self.answers:
            answer.add_done_callback(self._given_up)
        self.job.add_done_callback(self._came)

    def _given_up(self, _: Future[Inference]) -> None:
        if self.answers and all(answer.cancelled() for answer in self.answers):
            self.job.cancel()

    def _came(self, done: Future[list[Answer]]) -> None:
        answers, single = self.answers, self.single
        self.answers, self.single, self.job = [], [], Future()
        error = None if done.cancelled() else done.exception()
        if isinstance(error, WorkerError):
            for answer, one in zip(answers, single, strict=True):
                if not answer.cancelled():
                    self.engine.submit(self.how.one_job, *one).add_done_callback(partial(_hand_on, answer))
        else:
            _share_out(answers, done)


def _share_out(answers: Sequence[Future[Inference]], done: Future[list[Answer]]) -> None:
    if done.cancelled():
        for answer in answers:
            answer.cancel()
    elif (error := done.exception()) is not None:
        for answer in answers:
            _settle(answer, error)
    else:
        for answer, found in zip(answers, done.result(), strict=True):
            _settle(answer, found)


def _hand_on(answer: Future[Inference], done: Future[Inference]) -> None:
    if done.cancelled():
        answer.cancel()
    else:
        _settle(answer, done.exception() or done.result())


def _settle(answer: Future[Inference], found: Inference | BaseException) -> None:
    with suppress(InvalidStateError):  # cancelled meanwhile
        if isinstance(found, BaseException):
            answer.set_exception(found)
        else:
            answer.set_result(found)
