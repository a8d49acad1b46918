"""Long runs: only missing results are computed, runs can be stopped, and a killed run resumes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from qviz.context import Context
from qviz.engine import Blob, LocalEngine, importing
from qviz.errors import Cancelled
from qviz.features.detection.inference import (
    BATCHES_AHEAD,
    MAX_BATCH,
    Detected,
    detect_batch_job,
    detect_images,
    in_order,
)
from qviz.features.detection.models import LoadedModel
from qviz.progress import Advance
from qviz.session import Session
from qviz.store import FILE, Store
from qviz.structures import EncodedImage
from tests.conftest import ROOT, Sample

NAMES = ("astronaut.jpg", "berlin_street.jpg", "horses_nokota.jpg")


class Counted:
    """An engine that passes every job to a real one and records the models of each job of detection."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine, self.workers = engine, engine.workers
        self.jobs: list[str] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if function is detect_batch_job:
            self.jobs += [blob.digest for blob, *_ in args[0]]
        return self._engine.submit(function, *args, **kwargs)

    submit_urgent = submit

    def share(self, data: bytes, digest: str) -> Blob:
        return self._engine.share(data, digest)

    def close(self) -> None:
        raise AssertionError("the engine is not ours")


@pytest.fixture
def counted(engine: LocalEngine) -> Counted:
    return Counted(engine)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / FILE) as running:
        yield running


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return [EncodedImage(name, (sample.images / name).read_bytes()) for name in NAMES]


def many(images: Sequence[EncodedImage], count: int) -> list[EncodedImage]:
    """`count` different files of few images: JPEG decoders ignore data after the image."""
    return [EncodedImage(f"{n}.jpg", images[n % 3].data + b"%06d" % n) for n in range(count)]


def as_bytes(detected: Detected) -> dict[Any, Any]:
    """All detections as bytes."""
    return {
        key: [
            None if rows is None else (rows.boxes.tobytes(), rows.scores.tobytes(), rows.class_ids.tobytes())
            for rows in (one.detections, one.candidates)
        ]
        for key, one in detected.inferences.items()
    }


def test_adding_a_variant_computes_that_variant_only(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], counted: Counted, store: Store
) -> None:
    models = [loaded[name] for name in ("float32", "int8", "int8_wrong_range")]
    fresh = detect_images(Context(counted), models, images, 3, 0.05)
    assert len(counted.jobs) == 9
    counted.jobs.clear()
    first = detect_images(Context(counted, store=store), models[:2], images, 3, 0.05)
    assert len(counted.jobs) == 6
    counted.jobs.clear()
    second = detect_images(Context(counted, store=store), models, images, 3, 0.05)
    assert counted.jobs == [models[2].digest] * 3
    counted.jobs.clear()
    reports: list[tuple[int, int]] = []
    third = detect_images(
        Context(counted, store=store, progress=Advance(lambda *done: reports.append(done))), models, images, 3, 0.05
    )
    assert counted.jobs == []
    assert reports == [(1, 3), (2, 3), (3, 3)]
    assert as_bytes(second) == as_bytes(third) == as_bytes(fresh)
    assert first.images == third.images == fresh.images
    assert any(one.candidates is not None and len(one.candidates) for one in third.inferences.values())


def test_results_are_cached_per_threshold_and_settings(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], counted: Counted, store: Store
) -> None:
    model = loaded["int8"]
    low = detect_images(Context(counted, store=store), [model], images, 3, 0.001, candidates=False)
    high = detect_images(Context(counted, store=store), [model], images, 3, 0.5)
    assert len(counted.jobs) == 6
    for key, one in high.inferences.items():
        assert one.detections.scores.min() >= 0.5
        assert len(low.inferences[key].detections) > len(one.detections)
        assert low.inferences[key].candidates is None
        assert one.candidates is not None


def test_errors_are_not_cached(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], counted: Counted, store: Store
) -> None:
    images_and_files = [EncodedImage("broken.jpg", images[0].data[:500]), images[0]]
    runs = [detect_images(Context(counted, store=store), [loaded["int8"]], images_and_files, 2, 0.25) for _ in range(2)]
    assert len(counted.jobs) == 3  # the broken image is tried again
    assert runs[0].skipped == runs[1].skipped
    assert [name for name, _ in runs[1].images] == ["astronaut.jpg"]


def test_an_invalid_cache_entry_is_computed_again(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], counted: Counted, tmp_path: Path
) -> None:
    with Store(tmp_path / FILE) as store:
        first = detect_images(Context(counted, store=store), [loaded["int8"]], images, 3, 0.25)
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        keys = [key for (key,) in other.execute("SELECT key FROM kept")]
    with Store(tmp_path / FILE) as store:
        for key in keys:
            store.put(key, b"of another kind")
        second = detect_images(Context(counted, store=store), [loaded["int8"]], images, 3, 0.25)
    assert len(counted.jobs) == 6
    assert as_bytes(first) == as_bytes(second)


def test_the_same_results_with_and_without_a_store(
    loaded: dict[str, LoadedModel], sample: Sample, counted: Counted, tmp_path: Path
) -> None:
    models = [loaded["float32"], loaded["int8_wrong_range"]]
    paths = [sample.images / name for name in NAMES]
    without = Session(*models, images=paths, engine=counted, cache=False)
    stored = Session(*models, images=paths, engine=counted, cache=tmp_path)
    assert [stored.compare().to_json() for _ in range(2)] == [without.compare().to_json()] * 2
    counted.jobs.clear()
    runs = [session.evaluate(sample.annotations) for session in (without, stored, stored)]
    figures = [{**run.to_json(), "images_per_second": 0} for run in runs]
    assert figures[0] == figures[1] == figures[2]
    assert len(counted.jobs) == 2 * 2 * runs[0].images


def waits(seconds: float) -> Callable[[str], str]:
    def work(name: str) -> str:
        time.sleep(seconds)
        return name

    return work


def test_cancelling_cancels_queued_jobs(images: list[EncodedImage], engine: LocalEngine) -> None:
    cancel = threading.Event()
    jobs: list[Future[str]] = []

    def submit(image: EncodedImage) -> list[Future[str]]:
        jobs.append(engine.submit(waits(0.3), image.name))
        return [jobs[-1]]

    completed = []
    with pytest.raises(Cancelled, match="was stopped before it finished"):
        for image, _ in in_order(Context(engine, cancel=cancel), many(images, 1000), submit):
            completed.append(image.name)
            cancel.set()
    assert completed == ["0.jpg"]
    assert len(jobs) <= (BATCHES_AHEAD * engine.workers + 2) * MAX_BATCH
    assert sum(job.cancelled() for job in jobs) >= len(jobs) - 2 * engine.workers - 1
    assert engine.submit(len, "abc").result(timeout=60) == 3


def test_a_run_can_be_cancelled(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], engine: LocalEngine
) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        detect_images(Context(engine, cancel=cancel), [loaded["int8"]], images, 3, 0.25)


def test_few_images_are_in_memory_at_a_time(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], engine: LocalEngine, store: Store
) -> None:
    read, done = [0], [0]

    def counted_images() -> Iterator[EncodedImage]:
        for image in many(images, 200):
            read[0] += 1
            assert read[0] - done[0] <= (BATCHES_AHEAD * engine.workers + 2) * MAX_BATCH
            yield image

    for _ in range(2):  # from the engine, then from the store
        read[0] = done[0] = 0
        detect_images(
            Context(engine, store=store, progress=Advance(lambda now, _: done.__setitem__(0, now))),
            [loaded["int8"]],
            counted_images(),
            200,
            0.25,
        )
        assert done == read == [200]


def test_a_killed_worker_changes_no_number(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], engine: LocalEngine, store: Store
) -> None:
    files = many(images, 40)
    whole = detect_images(Context(engine), [loaded["int8"]], files, 40, 0.25)
    with LocalEngine(2, warm_up=importing("qviz.detector")) as killed_engine:
        model = killed_engine.share(loaded["int8"].model.data, loaded["int8"].digest)
        victim = killed_engine.submit(os.getpid).result(timeout=60)
        counted = Counted(killed_engine)

        def kill(done: int, _: int) -> None:
            if done == 10:
                os.kill(victim, signal.SIGKILL)

        models = [replace(loaded["int8"], blob=model)]
        first = detect_images(Context(counted, store=store, progress=Advance(kill)), models, files, 40, 0.25)
        counted.jobs.clear()
        second = detect_images(Context(counted, store=store), models, files, 40, 0.25)
    assert first.skipped == []
    assert counted.jobs == []
    assert as_bytes(first) == as_bytes(second) == as_bytes(whole)


def rows(folder: Path) -> int:
    """Number of stored results, 0 before the table exists."""
    try:
        with closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as other:
            (count,) = other.execute("SELECT count(*) FROM kept").fetchone()
            return int(count)
    except sqlite3.OperationalError:
        return 0


def dataset(folder: Path, images: Sequence[EncodedImage], sample: Sample) -> Path:
    """An annotated dataset that repeats the sample's photographs."""
    document = json.loads(sample.annotations.read_text())
    by_name = {row["file_name"]: row for row in document["images"]}
    folder.mkdir()
    rows, objects = [], []
    for number, image in enumerate(images):
        (folder / image.name).write_bytes(image.data)
        row = by_name[NAMES[number % 3]]
        rows.append({**row, "id": number, "file_name": image.name})
        objects += [{**a, "image_id": number} for a in document["annotations"] if a["image_id"] == row["id"]]
    for number, row in enumerate(objects):
        row["id"] = number
    document |= {"images": rows, "annotations": objects}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder / "annotations.json"


def figures(shown: bytes) -> dict[str, Any]:
    return {**json.loads(shown), "images_per_second": 0}


def test_a_killed_run_resumes(sample: Sample, images: list[EncodedImage], tmp_path: Path) -> None:
    total = 60
    annotations = dataset(tmp_path / "data", many(images, total), sample)
    models = [str(sample.models[name]) for name in ("float32", "int8")]
    call = [
        sys.executable,
        "-m",
        "qviz",
        "evaluate",
        *models,
        "--dataset",
        str(annotations),
        "--json",
        "--workers",
        "2",
    ]
    cache = tmp_path / "cache"
    killed = subprocess.Popen([*call, "--cache", str(cache)], cwd=ROOT, stdout=subprocess.DEVNULL)
    while rows(cache) < 20 and killed.poll() is None:
        time.sleep(0.02)
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    assert killed.wait(timeout=60) == -signal.SIGKILL  # it was still running
    before = rows(cache)
    assert 20 <= before < 2 * total
    digest = hashlib.sha256(repr(stored_rows(cache)).encode()).hexdigest()
    resumed = subprocess.run([*call, "--cache", str(cache)], cwd=ROOT, capture_output=True, check=True)
    assert rows(cache) == 2 * total
    assert hashlib.sha256(repr(stored_rows(cache, before)).encode()).hexdigest() == digest  # not computed again
    uncached = subprocess.run([*call, "--no-cache"], cwd=ROOT, capture_output=True, check=True)
    assert figures(resumed.stdout) == figures(uncached.stdout)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []  # a killed run leaves no worker behind


def stored_rows(folder: Path, first: int = -1) -> list[tuple[int, str, int]]:
    with closing(sqlite3.connect(folder / FILE)) as other:
        return other.execute("SELECT rowid, key, crc FROM kept ORDER BY rowid LIMIT ?", (first,)).fetchall()
