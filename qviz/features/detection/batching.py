"""Several models on several images as one job: bytes travel once, an image is decoded once.

Each model has a future of its own for each image. Where the worker is lost on them together, they are asked one by
one, so that a model or image that crashes, hangs or swells takes no other along.

How many images go to a worker in one job.

A trip to a worker and back costs a millisecond; quick models take a few an image, so several images share a trip. A
slow model gets its images one by one: progress is seen, and a limit of seconds holds for an image. So do the last
images: no worker should wait long for another one's bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from qviz.detector import decoded, detect_job
from qviz.engine import Blob, Engine
from qviz.errors import QvizError, WorkerError
from qviz.features.detection.models import LoadedModel
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


MOST = 16
"""Images a trip: more gain little. A picture under several shifts is not split, so that it is decoded once."""
SECONDS = 0.25
"""What a trip may take: a person's image waits for the one under way."""
SHARE = 1.5
"""A trip takes at most this part of what is left: of a worker's share two thirds."""
BYTES = 4 << 20
"""Large photographs take their time to be decoded; nor are many held at once."""


@dataclass(slots=True)
class Bundles:
    """Cuts a stream of about `total` images into jobs for `workers`.

    milliseconds: what the models take on one image, None until one has run.
    """

    total: int
    workers: int
    milliseconds: float | None = None

    def learn(self, answers: Sequence[Inference]) -> None:
        """One image's answers have come, or none."""
        if answers:
            self.milliseconds = sum(answer.milliseconds for answer in answers)

    def cut(self, images: Iterable[EncodedImage]) -> Iterator[list[EncodedImage]]:
        """The images in their order; what was learned meanwhile holds from the next one on."""
        bundle: list[EncodedImage] = []
        left = self.total
        for image in images:
            if bundle and self._is_full(bundle, image, left):
                yield bundle
                left -= len(bundle)
                bundle = []
            bundle.append(image)
        if bundle:
            yield bundle

    def _is_full(self, bundle: list[EncodedImage], following: EncodedImage, left: int) -> bool:
        most = min(self._most(), max(1, int(left / (SHARE * self.workers))))
        if len(bundle) < most and sum(len(image.data) for image in bundle) < BYTES:
            return False
        return most == 1 or len(bundle) >= 2 * most or following.plain.digest != bundle[-1].plain.digest

    def _most(self) -> int:
        if self.milliseconds is None:
            return 1
        return max(1, min(MOST, int(SECONDS * 1e3 / max(self.milliseconds, 1e-3))))
