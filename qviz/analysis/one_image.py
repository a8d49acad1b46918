"""Several models on one image as one job: its bytes travel once and are decoded once.

Each model has a future of its own. Where the worker is lost on them together, they are asked one by one, so that a
model that crashes, hangs or swells takes no other along.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial

from qviz.analysis.models import LoadedModel
from qviz.detector import decoded, detect_job
from qviz.engine import Blob, Engine
from qviz.errors import QvizError, WorkerError
from qviz.structures import EncodedImage, Inference, Settings

Answer = Inference | QvizError


def detect_all_job(
    models: Sequence[tuple[Blob, Settings]], image: EncodedImage, score: float, threads: int, candidates: bool
) -> list[Answer]:
    """Several models on one image, which is decoded once. A model that fails leaves its error in its place.

    Raises ImageError where the image itself cannot be read.
    """
    decoded(image)
    found: list[Answer] = []
    for blob, settings in models:
        try:
            found.append(detect_job(blob, settings, image, score, threads, candidates))
        except QvizError as error:
            found.append(error)
    return found


def together(
    engine: Engine,
    models: Sequence[LoadedModel],
    image: EncodedImage,
    score: float,
    threads: int,
    candidates: bool = True,
) -> list[Future[Inference]]:
    """A future a model, in their order. candidates: whether they are wanted; see `Detector`."""
    how = image, score, threads, candidates
    if len(models) < 2:
        return [engine.submit(detect_job, model.blob, model.settings, *how) for model in models]
    answers: list[Future[Inference]] = [Future() for _ in models]
    pairs = [(model.blob, model.settings) for model in models]
    job = engine.submit(detect_all_job, pairs, *how)

    def came(done: Future[list[Answer]]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, WorkerError):
            for answer, (blob, settings) in zip(answers, pairs, strict=True):
                if not answer.cancelled():
                    engine.submit(detect_job, blob, settings, *how).add_done_callback(partial(_hand_on, answer))
        else:
            _share_out(answers, done)

    for answer in answers:
        answer.add_done_callback(lambda _: all(one.cancelled() for one in answers) and job.cancel())
    job.add_done_callback(came)
    return answers


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
