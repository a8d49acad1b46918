"""Models over images, through the engine: who runs what, and what could not be run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from qviz.analysis.models import LoadedModel
from qviz.detector import detect_job
from qviz.engine import Engine
from qviz.errors import ImageError, QvizError
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage, Inference

AHEAD = 4
"""Images queued a worker: enough to keep it busy, few enough that memory does not grow with their number."""


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
) -> Detected:
    """Every model on every image. A broken image is skipped with its sentence; the others go on.

    `images` may be a generator: only a few are held at a time.
    """
    found = Detected()
    for done, (image, results) in enumerate(_in_order(engine, models, images, score, threads), start=1):
        _keep(found, models, image, results)
        on_progress(done, max(total, done))
    return found


def _in_order(
    engine: Engine, models: Sequence[LoadedModel], images: Iterable[EncodedImage], score: float, threads: int
) -> Iterator[tuple[EncodedImage, list[Future[Inference]]]]:
    """Images in their order, each when all its models are done, with a bounded number under way."""
    waiting: list[tuple[EncodedImage, list[Future[Inference]]]] = []
    for image in images:
        jobs = [engine.submit(detect_job, model.blob, model.settings, image, score, threads) for model in models]
        waiting.append((image, jobs))
        if len(waiting) > AHEAD * engine.workers:
            yield _waited(waiting.pop(0))
    for pending in waiting:
        yield _waited(pending)


def _waited(
    pending: tuple[EncodedImage, list[Future[Inference]]],
) -> tuple[EncodedImage, list[Future[Inference]]]:
    unfinished = set(pending[1])
    while unfinished:
        unfinished = wait(unfinished, return_when=FIRST_COMPLETED).not_done
    return pending


def _keep(
    found: Detected, models: Sequence[LoadedModel], image: EncodedImage, results: Sequence[Future[Inference]]
) -> None:
    kept = 0
    for model, result in zip(models, results, strict=True):
        try:
            found.inferences[model.digest, image.digest] = result.result()
            kept += 1
        except ImageError as error:
            found.skipped.append(str(error))  # the same sentence for every model
            return
        except QvizError as error:
            found.skipped.append(f"{model.name} on {image.name}: {error}")
    if kept:
        found.images.append((image.name, image.digest))
