"""A rescue keeps in float just the layer that int8 ruins, reports on images that no choice saw, and survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qviz.features.building import source_of
from qviz.datasets.files import load_images, unannotated_images
from qviz.engine import LocalEngine
from qviz.errors import Cancelled, DatasetError, QuantizeError, SettingsError
from qviz.features.building import builders
from qviz.features.detection.models import LoadedModel, ModelSource, load_model
from qviz.features.rescuing import Terms, rescue
from qviz.features.rescuing.measure import halves
from qviz.features.rescuing.result import AGREEMENT, LATENCY, SIZE, Budget, Candidate, Rescue, Tried, best_of
from qviz.features.rescuing.search import TRIES
from qviz.features.rescuing.text import rescue_verdict
from qviz.structures import Dataset, EncodedImage
from tests.conftest import ROOT, Sample
from tests.features.layer_error.small_detector import PLANTED, SETTINGS, small_detector

BUDGET = Budget(AGREEMENT, 0.15)
"""What the small detector's plain int8 loses without the fault is .08; with it all."""


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalEngine]:
    with builders() as running:
        yield running


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:26]))


@pytest.fixture(scope="module")
def reference(engine: LocalEngine) -> LoadedModel:
    return load_model(engine, ModelSource("small.tflite", small_detector(), settings=SETTINGS))


@pytest.fixture(scope="module")
def dataset(images: list[EncodedImage]) -> Dataset:
    return unannotated_images("photographs", images[6:])


def run(
    engine: LocalEngine, workers: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset,
    budget: Budget = BUDGET, recipes: tuple[str, ...] = ("int8",), prefer: str = SIZE, tries: int = TRIES,
    **more: object,
) -> Rescue:  # fmt: skip
    return rescue(
        engine, workers, reference, source_of(reference), images[:6], dataset, Terms(budget, prefer, recipes, tries),
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_just_the_ruined_layer_stays_float(
    engine: LocalEngine, workers: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset
) -> None:
    seen: list[Rescue] = []
    found = run(engine, workers, reference, images, dataset, watch=seen.append)
    assert found.tried[0].search_loss == 1 and found.tried[0].candidate.kept == ()
    assert found.chosen is not None and found.best is not None and found.kept
    assert found.chosen.tried.candidate.kept == (PLANTED,)
    assert found.chosen.tried.scheme == "mixed"
    low, value, high = found.chosen.loss.low, found.chosen.loss.value, found.chosen.loss.high
    assert low is not None and value is not None and high is not None and low <= value <= high
    assert value == pytest.approx(1 - found.chosen.agreement)
    assert (found.search_images, found.report_images, found.chosen.images) == (10, 10, 10)
    assert [len(row.tried) for row in seen[:-1]] == list(range(1, len(found.tried) + 1))
    assert all(len(row.data) == row.best.bytes for row in seen if row.best is not None)
    assert found.data == run(engine, workers, reference, images, dataset).data  # the same way each time
    assert "int8, 3 float keeps the budget" in rescue_verdict(found)
    frame = found.to_frame()
    assert list(frame["kept_float"])[-1] == str(PLANTED) and len(frame) == len(found.tried)
    json.dumps(found.to_json(), allow_nan=False)


def test_the_smallest_recipe_that_keeps_the_budget_wins(
    engine: LocalEngine, workers: LocalEngine, images: list[EncodedImage], dataset: Dataset
) -> None:
    sound = load_model(engine, ModelSource("sound.tflite", small_detector(planted=False), settings=SETTINGS))
    recipes = ("float16", "int16x8", "dynamic_range", "int8")
    found = run(engine, workers, sound, images, dataset, recipes=recipes)
    assert found.best is not None and found.best.candidate == Candidate("dynamic_range")
    assert [row.candidate.recipe for row in found.tried] == ["dynamic_range"]  # the others are larger
    fast = run(engine, workers, sound, images, dataset, recipes=recipes, prefer=LATENCY)
    assert fast.best is not None and fast.best.candidate == Candidate("int8")
    assert fast.best.speed is not None and fast.best.speed > 0


def test_a_budget_that_nothing_keeps_gives_the_nearest(
    engine: LocalEngine, workers: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset
) -> None:
    found = run(engine, workers, reference, images, dataset, Budget(AGREEMENT, 0.0), tries=6)
    assert found.chosen is not None and not found.kept
    assert len(found.tried) <= 6
    assert found.chosen.tried.search_loss == min(row.search_loss for row in found.tried if row.search_loss is not None)
    assert rescue_verdict(found).startswith("Nothing that was tried keeps the budget (an agreement of at least 1 with")


def test_a_search_goes_on_with_what_its_journal_knows(
    engine: LocalEngine, workers: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset,
    tmp_path: Path,
) -> None:  # fmt: skip
    cancel, seen = threading.Event(), list[Rescue]()

    def stop(found: Rescue) -> None:
        seen.append(found)
        if len(found.tried) == 2:
            cancel.set()

    with pytest.raises(Cancelled):
        run(engine, workers, reference, images, dataset, folder=tmp_path, cancel=cancel, watch=stop)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as stream:
        stream.write(b'{"recipe": "int8", "figures": {"ap"')  # torn, as a kill may leave it
    stopped = path.read_bytes()
    found = run(engine, workers, reference, images, dataset, folder=tmp_path)
    assert path.read_bytes().startswith(stopped)
    assert [row.seconds for row in found.tried[:2]] == [row.seconds for row in seen[-1].tried]  # not measured again
    lines = path.read_bytes()
    again = run(engine, workers, reference, images, dataset, folder=tmp_path)
    assert path.read_bytes() == lines and again.data == found.data
    assert [row.seconds for row in again.tried] == [row.seconds for row in found.tried]


SCRIPT = """
import sys
from pathlib import Path
from qviz import api

if __name__ == "__main__":
    folder, photographs = Path(sys.argv[1]), sys.argv[2:]
    found = api.rescue(
        folder / "small.tflite", photographs[:6], None, photographs[6:], min_agreement=0.85, recipes=["int8"],
        folder=folder / "journal", watch=lambda found: print(len(found.tried), flush=True),
    )
    print("kept", *found.chosen.tried.candidate.kept, flush=True)
"""


def test_a_killed_search_goes_on(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "small.tflite").write_bytes(small_detector())
    said = {"mean": [127.5] * 3, "std": [127.5] * 3, "channels": "rgb", "resize": "stretch", "nms_iou": 0.6}
    (tmp_path / "small.tflite.qviz.json").write_text(json.dumps(said))
    (tmp_path / "run.py").write_text(SCRIPT)
    photographs = sorted((sample.folder / "calibration").glob("*.jpg"))[:26]
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path), *map(str, photographs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "1\n"
        first.send_signal(signal.SIGKILL)
    (path,) = (tmp_path / "journal").iterdir()
    before = [json.loads(line) for line in path.read_text().splitlines() if line]
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=True, timeout=300)
    assert f"kept {PLANTED}" in done.stdout
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    assert rows[: len(before)] == before
    said_twice = [row for row in rows if row.get("figures") and row in rows[: rows.index(row)]]
    names = [(row["recipe"], row["algorithm"], row["method"], tuple(row["kept"])) for row in rows if "figures" in row]
    assert said_twice == [] and len(names) == len(set(names))


def tried(size: int, loss: float | None, within: bool, speed: float | None = None) -> Tried:
    return Tried(Candidate(f"{size}"), "recipe", size, search_loss=loss, within=within, speed=speed)


BEST = [
    ("size", [tried(9, 0.1, True), tried(5, 0.2, True), tried(1, 0.9, False)], 5),
    ("size", [tried(9, 0.5, False), tried(5, 0.7, False), tried(1, None, False)], 9),
    ("latency", [tried(5, 0.1, True, 2.0), tried(9, 0.1, True, 3.0), tried(8, 0.1, True, 2.9)], 8),  # as fast, smaller
    ("size", [tried(1, None, False)], None),
]


@pytest.mark.parametrize(("prefer", "rows", "size"), BEST)
def test_the_best(prefer: str, rows: list[Tried], size: int | None) -> None:
    best = best_of(tuple(rows), prefer)
    assert (best.bytes if best is not None else None) == size


def test_halves_are_apart_and_the_same_each_time(dataset: Dataset) -> None:
    first, second = halves(dataset)
    names = [{image.name for image in part.images} for part in (first, second)]
    assert not names[0] & names[1] and len(names[0] | names[1]) == len(dataset.images)
    assert [image.name for image in halves(dataset)[0].images] == [image.name for image in first.images]
    with pytest.raises(DatasetError, match="has 3 images; a rescue needs at least 8"):
        halves(replace(dataset, images=dataset.images[:3]))


def test_budgets() -> None:
    assert Budget.of(max_ap_loss=0.005).text == "at most 0.5 AP points below the reference"
    assert Budget.of(min_agreement=0.98).limit == pytest.approx(0.02)
    for said in ({}, {"max_ap_loss": 0.1, "min_agreement": 0.9}, {"max_ap_loss": 5.0}):
        with pytest.raises(SettingsError):
            Budget.of(**said)


def test_refusals(
    engine: LocalEngine, workers: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset
) -> None:
    with pytest.raises(QuantizeError, match="needs calibration images"):
        run(engine, workers, reference, [], dataset)
    with pytest.raises(DatasetError, match="so a loss of AP is not known"):
        run(engine, workers, reference, images, dataset, Budget.of(max_ap_loss=0.01))
    with pytest.raises(QuantizeError, match="'int9' is no recipe"):
        run(engine, workers, reference, images, dataset, recipes=("int9",))
