"""A rescue keeps only the layer that int8 damages in float, reports on held-out images, and resumes after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from qviz.context import Context
from qviz.datasets.files import load_images, unannotated_images
from qviz.engine import LocalEngine
from qviz.errors import Cancelled, DatasetError, QuantizeError, SettingsError
from qviz.features.building.source import source_of
from qviz.features.detection.models import LoadedModel, ModelSource, load_model
from qviz.features.rescuing import Request, halves, rescue
from qviz.features.rescuing.result import AGREEMENT, LATENCY, QUALITY, SIZE, Budget, Candidate, Rescue, Tried, best_of
from qviz.features.rescuing.search import MAX_TRIES
from qviz.features.rescuing.text import verdict
from qviz.progress import Progress
from qviz.store import FILE, Store
from qviz.structures import Dataset, EncodedImage
from tests.conftest import ROOT, Sample
from tests.features.layer_error.small_detector import PLANTED, SETTINGS, small_detector

BUDGET = Budget(AGREEMENT, 0.15)
"""What the small detector's plain int8 loses without the fault is .08; with it all."""


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:26]))


@pytest.fixture(scope="module")
def reference(engine: LocalEngine) -> LoadedModel:
    return load_model(engine, ModelSource("small.tflite", small_detector(), settings=SETTINGS))


@pytest.fixture(scope="module")
def dataset(images: list[EncodedImage]) -> Dataset:
    return unannotated_images("photographs", images[6:])


class Recorded(Progress):
    """Keeps the partial results; `stop_after` candidates it sets `cancel`."""

    def __init__(self, cancel: threading.Event | None = None, stop_after: int = 0) -> None:
        self.results: list[Rescue] = []
        self._cancel, self._stop_after = cancel, stop_after

    def partial(self, result: object) -> None:
        assert isinstance(result, Rescue)
        self.results.append(result)
        if self._cancel is not None and len(result.tried) == self._stop_after:
            self._cancel.set()


def run(
    context: Context,
    reference: LoadedModel,
    images: list[EncodedImage],
    dataset: Dataset,
    budget: Budget = BUDGET,
    recipes: tuple[str, ...] = ("int8",),
    prefer: str = SIZE,
    tries: int = MAX_TRIES,
) -> Rescue:
    request = Request(budget, prefer, recipes, tries)
    return rescue(context, reference, source_of(reference), images[:6], dataset, request)


def test_only_the_damaged_layer_stays_float(
    engine: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset
) -> None:
    progress = Recorded()
    result = run(Context(engine, progress=progress), reference, images, dataset)
    partial = progress.results
    assert result.tried[0].search_loss == 1 and result.tried[0].candidate.float_operators == ()
    assert result.chosen is not None and result.best is not None and result.within_budget
    assert result.chosen.tried.candidate.float_operators == (PLANTED,)
    assert result.chosen.tried.scheme == "mixed"
    low, value, high = result.chosen.loss.low, result.chosen.loss.value, result.chosen.loss.high
    assert low is not None and value is not None and high is not None and low <= value <= high
    assert value == pytest.approx(1 - result.chosen.agreement)
    assert (result.images.search, result.images.report, result.chosen.images) == (10, 10, 10)
    assert [len(row.tried) for row in partial[:-1]] == list(range(1, len(result.tried) + 1))
    assert all(len(row.data) == row.best.bytes for row in partial if row.best is not None)
    assert result.data == run(Context(engine), reference, images, dataset).data  # reproducible
    assert "int8, 3 float is within the budget" in verdict(result)
    frame = result.to_frame()
    assert list(frame["kept_float"])[-1] == str(PLANTED) and len(frame) == len(result.tried)
    json.dumps(result.to_json(), allow_nan=False)


def test_the_smallest_recipe_within_the_budget_is_chosen(
    engine: LocalEngine, images: list[EncodedImage], dataset: Dataset
) -> None:
    sound = load_model(engine, ModelSource("sound.tflite", small_detector(planted=False), settings=SETTINGS))
    recipes = ("float16", "int16x8", "dynamic_range", "int8")
    result = run(Context(engine), sound, images, dataset, recipes=recipes)
    assert result.best is not None and result.best.candidate == Candidate("dynamic_range")
    assert [row.candidate.recipe for row in result.tried] == ["dynamic_range"]  # the others are larger
    fast = run(Context(engine), sound, images, dataset, recipes=recipes, prefer=LATENCY)
    assert fast.best is not None and fast.best.candidate == Candidate("int8")
    assert fast.best.speed is not None and fast.best.speed > 0


def test_the_closest_candidate_is_chosen_if_none_is_within_the_budget(
    engine: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset
) -> None:
    result = run(Context(engine), reference, images, dataset, Budget(AGREEMENT, 0.0), tries=6)
    assert result.chosen is not None and not result.within_budget
    assert len(result.tried) <= 6
    assert result.chosen.tried.search_loss == min(
        row.search_loss for row in result.tried if row.search_loss is not None
    )
    assert verdict(result).startswith("No candidate is within the budget (an agreement of at least 1 with")


def test_a_search_continues_with_its_journal(
    engine: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset, tmp_path: Path
) -> None:
    cancel = threading.Event()
    progress = Recorded(cancel, stop_after=2)
    with Store(tmp_path / FILE) as store:
        with pytest.raises(Cancelled):
            run(Context(engine, store, progress=progress, cancel=cancel), reference, images, dataset)
        (path,) = (tmp_path / "rescue").iterdir()
        with path.open("ab") as stream:
            stream.write(b'{"tried": {"candidate": {"recipe"')  # an incomplete line, as after a kill
        stopped = path.read_bytes()
        result = run(Context(engine, store), reference, images, dataset)
        assert path.read_bytes().startswith(stopped)
        assert [row.seconds for row in result.tried[:2]] == [row.seconds for row in progress.results[-1].tried]
        lines = path.read_bytes()
        again = run(Context(engine, store), reference, images, dataset)
        assert path.read_bytes() == lines and again.data == result.data
        assert [row.seconds for row in again.tried] == [row.seconds for row in result.tried]


SCRIPT = """
import sys
from pathlib import Path
import qviz
from qviz.progress import Progress

class Printed(Progress):
    def partial(self, result):
        print(len(result.tried), flush=True)

if __name__ == "__main__":
    folder, photographs = Path(sys.argv[1]), sys.argv[2:]
    result = qviz.rescue(
        folder / "small.tflite", calibration=photographs[:6], images=photographs[6:], min_agreement=0.85,
        recipes=["int8"], cache=folder / "cache", progress=Printed(),
    )
    print("in float", *result.chosen.tried.candidate.float_operators, flush=True)
"""


def test_a_killed_search_resumes(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "small.tflite").write_bytes(small_detector())
    settings = {"mean": [127.5] * 3, "std": [127.5] * 3, "channels": "rgb", "resize": "stretch", "nms_iou": 0.6}
    (tmp_path / "small.tflite.qviz.json").write_text(json.dumps(settings))
    (tmp_path / "run.py").write_text(SCRIPT)
    photographs = sorted((sample.folder / "calibration").glob("*.jpg"))[:26]
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path), *map(str, photographs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "1\n"
        first.send_signal(signal.SIGKILL)
    (path,) = (tmp_path / "cache" / "rescue").iterdir()
    before = [json.loads(line) for line in path.read_text().splitlines() if line]
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=True, timeout=300)
    assert f"in float {PLANTED}" in done.stdout
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    assert rows[: len(before)] == before
    names = [json.dumps(row["tried"]["candidate"]) for row in rows if "tried" in row]
    assert names and len(names) == len(set(names))


def tried(size: int, loss: float | None, within: bool, speed: float | None = None) -> Tried:
    return Tried(Candidate(f"{size}"), "recipe", size, search_loss=loss, within=within, speed=speed)


BEST = [
    ("size", [tried(9, 0.1, True), tried(5, 0.2, True), tried(1, 0.9, False)], 5),
    ("size", [tried(9, 0.5, False), tried(5, 0.7, False), tried(1, None, False)], 9),
    (
        "latency",
        [tried(5, 0.1, True, 2.0), tried(9, 0.1, True, 3.0), tried(8, 0.1, True, 2.9)],
        8,
    ),  # equally fast and smaller
    ("size", [tried(1, None, False)], None),
]


@pytest.mark.parametrize(("prefer", "rows", "size"), BEST)
def test_best_candidate(prefer: str, rows: list[Tried], size: int | None) -> None:
    best = best_of(tuple(rows), prefer)
    assert (best.bytes if best is not None else None) == size


def test_of_candidates_equally_close_to_the_budget_the_smallest_is_chosen() -> None:
    rows = tried(9, 0.013, False), tried(7, 0.014, False), tried(5, 0.017, False), tried(3, 0.019, False)
    sizes = [getattr(best_of(rows, SIZE, limit), "bytes", None) for limit in (0.0, 0.002, 0.005, 0.5)]
    assert sizes == [9, 7, 5, 3]
    assert best_of((*rows, tried(99, 0.5, True)), SIZE, 0.5) == tried(99, 0.5, True)
    assert best_of((tried(9, 0.05, False), tried(3, 0.07, False)), SIZE, 0.04) == tried(9, 0.05, False)


def test_among_limited_files_the_best_quality_is_chosen() -> None:
    rows = [
        replace(tried(9, 0.013, False), quality=0.7),
        replace(tried(7, 0.019, False), quality=0.8),
        replace(tried(5, 0.030, False), quality=0.9),  # its loss is clearly larger
    ]
    assert best_of(tuple(rows), QUALITY) == rows[1]
    within = replace(tried(99, 0.004, True), quality=0.1)
    assert best_of((*rows, within), QUALITY) == rows[0]  # their losses differ by chance, their qualities do not
    assert best_of((*rows, replace(within, search_loss=0.001)), QUALITY) == replace(within, search_loss=0.001)


def test_image_halves_are_disjoint_and_reproducible(dataset: Dataset) -> None:
    first, second = halves(dataset)
    names = [{image.name for image in part.images} for part in (first, second)]
    assert not names[0] & names[1] and len(names[0] | names[1]) == len(dataset.images)
    assert [image.name for image in halves(dataset)[0].images] == [image.name for image in first.images]
    with pytest.raises(DatasetError, match="has 3 images; a rescue needs at least 8"):
        halves(replace(dataset, images=dataset.images[:3]))


def test_budgets() -> None:
    assert Budget.of(max_ap_loss=0.005).text == "at most 0.5 AP points below the reference"
    assert Budget.of(min_agreement=0.98).limit == pytest.approx(0.02)
    for options in ({}, {"max_ap_loss": 0.1, "min_agreement": 0.9}, {"max_ap_loss": 5.0}):
        with pytest.raises(SettingsError):
            Budget.of(**options)


def test_refusals(engine: LocalEngine, reference: LoadedModel, images: list[EncodedImage], dataset: Dataset) -> None:
    with pytest.raises(QuantizeError, match="needs calibration images"):
        run(Context(engine), reference, [], dataset)
    with pytest.raises(DatasetError, match="so a loss of AP cannot be measured"):
        run(Context(engine), reference, images, dataset, Budget.of(max_ap_loss=0.01))
    with pytest.raises(QuantizeError, match="'int9' is not a recipe"):
        run(Context(engine), reference, images, dataset, recipes=("int9",))
