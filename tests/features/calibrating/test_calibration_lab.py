"""A small lab on the sample: every calibration is built, and its values equal those of a plain evaluation."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images, unannotated_images
from qviz.engine import LocalEngine
from qviz.errors import Cancelled, QuantizeError, SettingsError
from qviz.features.accuracy import evaluate
from qviz.features.building.build import builders, start_building
from qviz.features.building.calibration import calibrate
from qviz.features.building.source import source_of
from qviz.features.calibrating import Plan, calibration
from qviz.features.calibrating.result import CalibrationLab
from qviz.features.detection.models import LoadedModel, ModelSource, load_models
from qviz.progress import Advance, Progress
from qviz.store import Store
from qviz.structures import Dataset, EncodedImage
from tests.conftest import Sample

IMAGES = 9
EVALUATED = 6
PLAN = Plan(draws=1, mistakes=("noise_unit", "noise_range", "dark_only", "one_class"))


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:IMAGES]))


@pytest.fixture(scope="module")
def scenes(sample: Sample) -> Dataset:
    folder = sample.folder / "scenes"
    data = read_coco(folder / "annotations.json", folder)
    return replace(data, images=data.images[:: len(data.images) // EVALUATED][:EVALUATED])


class Watched(Progress):
    """Records the reports."""

    def __init__(self) -> None:
        self.steps, self.parts = dict[str, list[tuple[int, int]]](), list[CalibrationLab]()

    def step(self, text: str) -> None:
        self.steps[text] = []

    def advance(self, done: int, total: int) -> None:
        list(self.steps.values())[-1].append((done, total))

    def partial(self, result: object) -> None:
        assert isinstance(result, CalibrationLab)
        self.parts.append(result)


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab") / "store.sqlite"


@pytest.fixture(scope="module")
def lab(
    engine: LocalEngine,
    loaded: dict[str, LoadedModel],
    images: list[EncodedImage],
    scenes: Dataset,
    watched: Watched,
    store: Path,
) -> CalibrationLab:
    reference = loaded["float32"]
    broken = EncodedImage("broken.jpg", b"\xff\xd8 not an image")
    with Store(store) as opened:
        context = Context(engine, opened, progress=watched)
        return calibration(context, reference, source_of(reference), [broken, *images, images[0]], scenes, plan=PLAN)


def test_the_curve_has_all_sizes(lab: CalibrationLab) -> None:
    assert [point.images for point in lab.curve] == [1, 2, 4, IMAGES]
    assert all(len(point.tried) == 1 and point.low == point.high == point.value for point in lab.curve)
    assert (lab.images, lab.evaluated_images, lab.measure) == (IMAGES, EVALUATED, "AP")
    assert [sentence[:10] for sentence in lab.skipped] == ["broken.jpg"]
    whole = lab.all_images
    assert whole is not None and whole.loss.value == pytest.approx((lab.reference or 0) - (whole.ap or 0))


def test_variant_figures_equal_an_evaluation(
    engine: LocalEngine,
    lab: CalibrationLab,
    loaded: dict[str, LoadedModel],
    images: list[EncodedImage],
    scenes: Dataset,
) -> None:
    reference = loaded["float32"]
    source = source_of(reference)
    ranges = calibrate(Context(engine), source, images, "minmax")  # as the lab does by default
    with builders() as makers:
        data = start_building(makers, source, "int8", calibration=ranges).result().data
    variant = load_models(engine, [ModelSource("all", data, reference.settings)])
    result = evaluate(Context(engine), [reference, *variant], scenes)
    whole = lab.all_images
    assert whole is not None
    assert (lab.reference, whole.ap) == pytest.approx((result.models[0].ap, result.models[1].ap))
    loss = result.losses[0].ap
    assert (whole.loss.value, whole.loss.low, whole.loss.high) == pytest.approx((loss.value, loss.low, loss.high))


def test_random_numbers_lose_only_in_the_wrong_range(lab: CalibrationLab) -> None:
    rows = {row.name: row for row in lab.mismatch}
    unit, wide = rows["noise_unit"], rows["noise_range"]
    assert unit.description.endswith("as in many tutorials; images span [-1, 1].")
    assert (unit.extra.value or 0) > 0.1 and unit.extra.significant
    assert abs(wide.extra.value or 0) < 0.1 and (unit.agreement or 1) < (wide.agreement or 0) - 0.2
    assert rows["dark_only"].images == 2
    assert rows["one_class"].images in (1, 2, 4)


def test_stability_outliers_and_images_to_add(lab: CalibrationLab, images: list[EncodedImage]) -> None:
    assert lab.stability is not None and lab.stability.images == IMAGES // 2
    assert lab.stability.layers > 100
    names = {image.name for image in images}
    assert {row.image for row in lab.outliers} <= names
    assert [row.widening for row in lab.outliers] == sorted((row.widening for row in lab.outliers), reverse=True)
    assert all(0 <= row.clipped_share < 0.5 and row.times > 1 for row in lab.outliers)
    assert lab.without_outliers is not None and lab.without_outliers.images == IMAGES - 1
    assert [row.name for row in lab.methods] == ["mean", "moving_average", "percentile"]
    assert lab.add and lab.add[-1].covered > 0.5


def test_progress_and_partial_results(lab: CalibrationLab, watched: Watched) -> None:
    assert watched.parts[0].stability is not None and not watched.parts[0].curve
    assert len(list(watched.parts[-1].rows())) <= len(list(lab.rows()))
    first, *_, last = watched.steps
    assert (first, last) == ("Measuring ranges", "Looking for images to add")
    for counts in watched.steps.values():
        assert [done for done, _ in counts] == sorted(done for done, _ in counts)
    done, total = watched.steps["Building and measuring calibrations"][-1]
    assert done <= total < 1.5 * done


def test_without_annotations_agreement_is_measured(
    engine: LocalEngine, lab: CalibrationLab, loaded: dict[str, LoadedModel], images: list[EncodedImage], store: Path
) -> None:
    reference = loaded["float32"]
    data = unannotated_images("photographs", images[:2])
    plan = Plan("int16x8", draws=1, mistakes=(), further=False)
    with Store(store) as opened:
        result = calibration(Context(engine, opened), reference, source_of(reference), images[2:4], data, plan=plan)
    assert (result.measure, result.reference, result.recipe) == ("agreement", 1, "int16x8")
    whole = result.all_images
    assert whole is not None and whole.ap is None and whole.loss.value == pytest.approx(1 - (whole.agreement or 0))
    assert result.mismatch == () and result.outliers == () and result.add == ()


def test_a_lab_can_be_cancelled(
    engine: LocalEngine, loaded: dict[str, LoadedModel], images: list[EncodedImage], scenes: Dataset
) -> None:
    stop = threading.Event()
    context = Context(engine, progress=Advance(lambda done, total: stop.set()), cancel=stop)
    with pytest.raises(Cancelled):
        calibration(context, loaded["float32"], source_of(loaded["float32"]), images, scenes, plan=PLAN)


PLANS = [
    (Plan("dynamic_range"), QuantizeError, "does not need calibration; choose int8 and int16x8"),
    (Plan(mistakes=("upside_down",)), SettingsError, "'upside_down' does not exist; choose from noise_unit"),
    (Plan(ranges="entropy"), QuantizeError, "'entropy' is not a method for ranges"),
    (Plan(draws=0), SettingsError, "number of draws is 0"),
]


@pytest.mark.parametrize(("plan", "error", "sentence"), PLANS)
def test_plans_are_validated_first(plan: Plan, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        plan.check()


def test_an_unknown_option_is_refused() -> None:
    assert Plan.of(recipe="int16x8", mistakes=["one_class"]) == Plan("int16x8", mistakes=("one_class",))
    with pytest.raises(SettingsError, match="'drawz' does not exist; choose from recipe, ranges, draws, seed"):
        Plan.of(drawz=3)
