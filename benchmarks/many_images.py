"""Time and memory of an evaluation of 50,000 images, in which only the inference is simulated.

ours    the evaluator and the store, with two models of 100 detections per image: detections that arrive from workers,
        the same again from the store, then AP, errors, confusions and 1,000 resamples in two workers
goal    seconds per 1,000 images and memory per 1,000 images do not grow with the number of images
limit   the detections themselves: 24 bytes for each, all of which AP needs at once

`python -m benchmarks many_images [IMAGES]` (default: 50,000). Seconds are processor seconds of all processes; memory is
that of this process.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.intervals import synthetic
from benchmarks.throughput import MODELS
from qviz.context import Context
from qviz.engine import Blob, Engine, LocalEngine, importing
from qviz.features.accuracy import model_accuracy
from qviz.features.accuracy.bootstrap import Bootstrap
from qviz.features.accuracy.evaluator import Evaluator
from qviz.features.detection.models import LoadedModel
from qviz.session import Session
from qviz.store import Store
from qviz.structures import Category, Dataset, Detections, Inference

DISTINCT = 1_000
"""Number of different images; the dataset repeats them under other ids and digests."""
PARTS = 5


class SimulatedEngine(Engine):
    """Answers each job of detection with prepared detections, in the caller's thread.

    Args:
        prepared: Model digest -> detections of each of the different images.
    """

    workers = 2

    def __init__(self, prepared: dict[str, list[Detections]]) -> None:
        self._prepared = prepared

    def _queue(self, call: Callable[[], Any], urgent: bool) -> Future[Any]:
        (tasks, *_), result = call.args, Future[Any]()  # type: ignore[attr-defined]
        result.set_result([self._answer(blob.digest, int(image.name)) for blob, _, image in tasks])
        return result

    def _answer(self, model: str, number: int) -> Inference:
        rows = self._prepared[model][number % DISTINCT]
        copied = Detections(rows.boxes.copy(), rows.scores.copy(), rows.class_ids.copy())
        return Inference(copied, None, 640, 480, 10.0)

    def share(self, data: bytes, digest: str) -> Blob:
        return Blob(digest, Path())

    def allow_reading(self, path: Path) -> None:
        pass

    def close(self) -> None:
        pass


def prepared(images: int) -> tuple[list[LoadedModel], Dataset, SimulatedEngine]:
    """(two models, a dataset of this many images, the engine that knows their detections)."""
    with LocalEngine(1, warm_up=importing("qviz.detector")) as engine:
        models = Session(*MODELS, engine=engine, cache=False).models
    labels = models[0].inspection.labels
    dataset, *detections = synthetic(DISTINCT)
    rows = tuple(
        replace(dataset.images[number % DISTINCT], id=number + 1, name=str(number), source=b"%d" % number)
        for number in range(images)
    )
    categories = tuple(Category(k + 1, labels[k]) for k in range(len(dataset.categories)))
    lists = [list(one.values()) for one in detections]
    engine_of_models = SimulatedEngine({model.digest: rows for model, rows in zip(models, lists, strict=True)})
    return models, replace(dataset, images=rows, categories=categories), engine_of_models


def megabytes() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


def detect(name: str, context: Context, models: list[LoadedModel], dataset: Dataset) -> Evaluator:
    """Let the evaluator detect, and print time and memory after each part of the images."""
    marks = [(0, time.process_time(), megabytes())]
    step = max(1, len(dataset.images) // PARTS)

    def look(done: int, _: int) -> None:
        if done % step == 0:
            marks.append((done, time.process_time(), megabytes()))

    evaluator = Evaluator(context.reporting(look), models, dataset)
    for (a, start, low), (b, end, high) in pairwise(marks):
        per = 1_000 / (b - a)
        print(
            f"{name:<22} {b:>6} images: {(end - start) * per:.3f} s and {(high - low) * per:+.1f} MB per 1,000 images"
        )
    return evaluator


def busy() -> float:
    """Processor seconds of this process and its workers."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(one.user + one.system for one in times)


def peak() -> float:
    """Highest memory of this process in MB since the last call."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


def judge(context: Context, models: list[LoadedModel], dataset: Dataset, evaluator: Evaluator) -> None:
    """Judge a fifth of the images, then all of them, and print time per 1,000 images and memory."""
    for count in (len(dataset.images) // PARTS, len(dataset.images)):
        part = replace(dataset, images=dataset.images[:count])
        start, clock, low = busy(), time.monotonic(), megabytes()
        peak()
        first, second = (
            model_accuracy(model.name, part, evaluator.detections(model), evaluator.classes(model), context)
            for model in models
        )
        judged, high, highest = busy(), megabytes(), peak()
        bootstrap = Bootstrap(first.ap.tables, context=context)
        loss = bootstrap.loss(first.ap.figures, second.ap.figures, second.ap.tables)
        end, per = busy(), 1_000 / count
        interval = f"{loss.ap.value:.4f} [{loss.ap.low:.4f}, {loss.ap.high:.4f}]"
        print(
            f"judging both           {count:>6} images: {(judged - start) * per:.3f} s per 1,000 images,"
            f" {high - low:+.0f} MB afterwards, {highest - low:+.0f} MB at the most; resampling"
            f" {(end - judged) * per:.3f} s per 1,000 images, {peak() - low:+.0f} MB at the most;"
            f" {time.monotonic() - clock:.0f} s in all; loss {interval}",
            flush=True,
        )


def main() -> None:
    images = next((int(word) for word in sys.argv[1:] if word.isdigit()), 50_000)
    models, dataset, engine = prepared(images)
    print(f"{images} images: {megabytes():.0f} MB before; detections take {2 * images * 100 * 24 / 2**20:.0f} MB")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store") as store:
        context = Context(engine, store)
        first = detect("from workers to store", context, models, dataset)
        figures = [len(one) for one in first.detections(models[0]).values()]
        del first
        evaluator = detect("from the store", context, models, dataset)
        assert figures == [len(one) for one in evaluator.detections(models[0]).values()]
        print(f"store: {sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20:.0f} MB")
        with LocalEngine(2, warm_up=importing("qviz.detector")) as workers:
            judge(Context(workers), models, dataset, evaluator)
    print(f"{megabytes():.0f} MB after")


if __name__ == "__main__":
    main()
