"""Images per second of a Dask cluster on the loopback address, with simulated inference: a worker sleeps instead.

Four workers cannot run four models at once on two cores, so each model takes MS_PER_IMAGE of sleep on an image. All
else is real: images and models travel to the workers, detections back, and batches are formed from the measured times.

ours    four workers
limit   four times one worker, measured in the same run, in turns
goal    .9 of the limit

`python -m benchmarks dask_cluster`. On a busy machine the workers wait for a core, and the ratio falls; the processor
time that client and scheduler (which share a process here) take per image does not.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distributed import LocalCluster

from benchmarks.throughput import MODELS, SAMPLE
from qviz.context import Context
from qviz.detector import AP_SCORE
from qviz.engine import Blob, Engine, LocalEngine, importing
from qviz.engine.cluster import DaskEngine
from qviz.features.detection.inference import Task, detect_images
from qviz.features.detection.models import LoadedModel, ModelSource, load_model
from qviz.structures import Detections, EncodedImage, Inference

IMAGES, WORKERS, TURNS = 240, 4, 3
MS_PER_IMAGE = 50.0
"""Simulated time of one model on one image; that of a YOLO of nano size on one core of a laptop."""


def simulated_job(tasks: Sequence[Task], *_: object) -> list[Inference]:
    """In a worker: read the models, and sleep for as long as all tasks would take."""
    rows = Detections.of(np.zeros((100, 4)), np.zeros(100), np.zeros(100))
    for model, _settings, _image in tasks:
        model.read()
        time.sleep(MS_PER_IMAGE / 1e3)
    return [Inference(rows, None, 640, 480, MS_PER_IMAGE) for _ in tasks]


class SimulatedInference(Engine):
    """Another engine, whose jobs of detection sleep. Other jobs do not occur here."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.workers = engine, engine.workers

    def _queue(self, call: Callable[[], Any], urgent: bool) -> Future[Any]:
        return self._engine.submit(partial(simulated_job, *call.args))  # type: ignore[attr-defined]

    def share(self, data: bytes, digest: str) -> Blob:
        return self._engine.share(data, digest)

    def allow_reading(self, path: Path) -> None:
        self._engine.allow_reading(path)

    def close(self) -> None:
        self._engine.close()


def images() -> list[EncodedImage]:
    """Photographs of the sample, each a file of its own."""
    scenes = sorted((SAMPLE / "scenes").glob("*.jpg"))
    return [
        EncodedImage(f"{number}.jpg", path.read_bytes() + b"%d" % number)
        for number, path in enumerate(islice(cycle(scenes), IMAGES))
    ]


def rate(engine: Engine, models: Sequence[LoadedModel], photographs: Sequence[EncodedImage]) -> tuple[float, float]:
    """(images per second, processor ms of this process per image), after some images that start the workers."""
    context, first = Context(SimulatedInference(engine)), photographs[: 2 * engine.workers]
    detect_images(context, models, first, len(first), AP_SCORE, candidates=False)
    start, busy = time.perf_counter(), time.process_time()
    detected = detect_images(context, models, photographs, len(photographs), AP_SCORE, candidates=False)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    assert len(detected.images) == len(photographs), detected.skipped
    return len(photographs) / seconds, 1e3 * busy / len(photographs)


def shared(engine: Engine) -> list[LoadedModel]:
    """The models, readable by the workers of this engine."""
    with LocalEngine(1, warm_up=importing("qviz.detector")) as local:
        loaded = [load_model(local, ModelSource(path.name, path.read_bytes())) for path in MODELS]
    return [replace(model, blob=engine.share(model.model.data, model.digest)) for model in loaded]


def main() -> None:
    photographs = images()
    rates: dict[int, list[float]] = {1: [], WORKERS: []}
    for _ in range(TURNS):
        for workers, series in rates.items():
            with (
                LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
                ) as cluster,
                DaskEngine(cluster.scheduler_address, warm_up=importing("qviz.detector")) as engine,
            ):
                per_second, busy = rate(engine, shared(engine), photographs)
                series.append(per_second)
                print(
                    f"{workers} workers: {per_second:.1f} images/s, {busy:.1f} processor ms per image here", flush=True
                )
    alone, together = (median(series) for series in rates.values())
    print(f"{WORKERS} workers / {WORKERS} times one: {together / (WORKERS * alone):.2f}   goal 0.90")


if __name__ == "__main__":
    main()
