"""The sweep: AP equals pycocotools, copies have no interaction, a planted one is detected, boxes follow a pose."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qviz.context import Context
from qviz.corruptions import corruptions_named, moved_boxes
from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine
from qviz.errors import Cancelled, SettingsError
from qviz.features.accuracy.ap import average_precision, tables
from qviz.features.accuracy.coco.matching import result_rows
from qviz.features.accuracy.coco.tables import mean_ap
from qviz.features.accuracy.evaluator import MeasuredImage, Measurement, measure_job
from qviz.features.accuracy.truth import category_ids
from qviz.features.comparison.matching import agreed, agreement, confidences
from qviz.features.corruption_sweep.result import CLEAN, Measured, Measurements, Robustness, breaking_point
from qviz.features.corruption_sweep.sweep import sweep
from qviz.features.corruption_sweep.text import verdict
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.progress import Progress
from qviz.store import Store
from qviz.structures import AppliedCorruption, Category, Dataset, DatasetImage, Detections, EncodedImage
from tests.conftest import Sample
from tests.features.accuracy import plain_ap

CAT = (Category(7, "cat"),)


@pytest.fixture(scope="module")
def scenes(sample: Sample) -> Dataset:
    data = read_coco(sample.folder / "scenes" / "annotations.json", sample.folder / "scenes")
    return replace(data, images=data.images[:6])


def test_a_corruption_is_part_of_an_images_identity() -> None:
    plain = EncodedImage("a", b"x")
    dark = plain.under(AppliedCorruption("exposure", -1.5))
    assert plain.digest != dark.digest != plain.under(AppliedCorruption("exposure", -1)).digest
    assert EncodedImage("a", b"x", corruption=AppliedCorruption("exposure", -1.5)).digest == dark.digest
    assert dark.under(AppliedCorruption("night", 3)).plain.digest == plain.digest
    assert (dark.name, dark.data) == ("a", b"x")


def test_ap_of_a_sweep_equals_pycocotools(engine: LocalEngine, loaded: dict[str, LoadedModel], scenes: Dataset) -> None:
    models = [loaded["float32"], loaded["int8"]]
    result = sweep(Context(engine), models, scenes, ["night", "rotation"], [2])
    assert (result.annotated, result.images, result.corruptions) == (True, 6, ("night", "rotation"))
    for name in ("night", "rotation"):
        images = [image.encoded().under(AppliedCorruption(name, 2)) for image in scenes.images]
        detected = detect_images(Context(engine), models, images, 6, 0.001)
        truths = []
        for image, under in zip(scenes.images, images, strict=True):
            run = detected.inferences[models[0].digest, under.digest]
            boxes, visible = moved_boxes(image.boxes, (run.width, run.height), under)
            truths.append(
                replace(
                    image, boxes=boxes[visible], category_ids=image.category_ids[visible],
                    is_crowd=image.is_crowd[visible], areas=image.areas[visible],
                )
            )  # fmt: skip
        data = replace(scenes, images=tuple(truths))
        for model in models:
            detections = {
                image.id: detected.inferences[model.digest, under.digest].detections
                for image, under in zip(scenes.images, images, strict=True)
            }
            rows = result_rows(detections, category_ids(model.inspection.labels, data.categories))
            ap = plain_ap.of_rows(data, rows).stats[0]
            point = result.curve(model.name, name)[1]
            assert point.ap == pytest.approx(ap, abs=1e-9)
            assert point.low is not None and point.high is not None and point.low <= point.high


def test_two_copies_have_no_interaction(engine: LocalEngine, loaded: dict[str, LoadedModel], scenes: Dataset) -> None:
    result = sweep(Context(engine), [loaded["int8"], loaded["int8"]], scenes, ["contrast"], [3, 5])
    (row,) = result.interactions
    assert (row.value, row.low, row.high, row.significant) == (0, 0, 0, False)
    first, second = result.models
    assert second == f"{first} (2)"
    assert [p.ap for p in result.curve(first, "contrast")] == [p.ap for p in result.curve(second, "contrast")]
    assert verdict(result).startswith(f"No variant loses significantly more than {first} under contrast. {first} keeps")


def test_without_annotations_agreement_with_the_clean_reference_is_measured(
    engine: LocalEngine, loaded: dict[str, LoadedModel], scenes: Dataset
) -> None:
    no_truths = {"boxes": np.empty((0, 4)), "category_ids": np.empty(0, int), "is_crowd": np.empty(0, bool)}
    bare = [replace(image, **no_truths, areas=np.empty(0)) for image in scenes.images]
    result = sweep(
        Context(engine),
        [loaded["float32"], loaded["int8_wrong_range"]],
        replace(scenes, images=tuple(bare)),
        ["night"],
        [1, 5],
    )
    assert (result.annotated, result.measure) == (False, "agreement")
    clean, _, dark = result.curve(result.models[0], "night")
    assert (clean.ap, clean.agreement, clean.still_found) == (None, 1, 1)
    assert dark.agreement < 0.5 and dark.value == dark.agreement
    values = {(p.model, p.severity): p.agreement for p in result.points}
    first, second = result.models
    by_hand = np.mean([values[first, s] - values[second, s] for s in (1, 5)]) - (values[first, 0] - values[second, 0])
    assert result.interactions[0].value == pytest.approx(by_hand)


class _StopAtThree(Progress):
    """Records the reports and sets `cancel` after three images."""

    def __init__(self) -> None:
        self.cancel, self.counts, self.parts = threading.Event(), list[tuple[int, int]](), list[Robustness]()

    def advance(self, done: int, total: int) -> None:
        self.counts.append((done, total))
        if done == 3:
            self.cancel.set()

    def partial(self, result: object) -> None:
        assert isinstance(result, Robustness)
        self.parts.append(result)


def test_a_cancelled_sweep_continues_from_the_store(
    engine: LocalEngine, loaded: dict[str, LoadedModel], scenes: Dataset, tmp_path: Path
) -> None:
    stopping, watching = _StopAtThree(), _StopAtThree()
    few = replace(scenes, images=scenes.images[:2])
    with Store(tmp_path / "store.sqlite") as store:
        context = Context(engine, store, progress=stopping, cancel=stopping.cancel)
        with pytest.raises(Cancelled):
            sweep(context, [loaded["int8"]], few, ["haze"], [1, 2])
        assert stopping.counts[-1] == (3, 6)
        result = sweep(Context(engine, store, progress=watching), [loaded["int8"]], few, ["haze"], [1, 2])
    assert result.corruptions == ("haze",) and watching.counts[-1] == (6, 6)
    assert [part.corruptions for part in watching.parts][-1] == ("haze",)
    assert {part.corruptions for part in watching.parts} <= {(), ("haze",)}
    assert result.summary[0].rpc == pytest.approx((result.summary[0].mpc or 0) / (result.summary[0].p or 1))


BOX = np.array([[10, 10, 60, 60]], np.float32)


def _image(number: int, detections: Detections, variant: Detections | None = None) -> MeasuredImage:
    truth = DatasetImage(number, f"{number}", b"", BOX, np.array([7]), np.zeros(1, bool), np.array([2500.0]))
    cat = Detections.of(BOX, [0.9], [0])
    return MeasuredImage(truth, (200, 100), f"{number:064x}", cat, variant or cat, detections)


def _measurements(lost: int) -> Measurements:
    """24 images of one cat each: FP32 detects all; the variant misses the cat on `lost` of them, only in the dark."""
    data, cat = Dataset("d", (), CAT), Detections.of(BOX, [0.9], [0])

    def measured(missing: int) -> Measurement:
        rows = [_image(n, Detections.none() if n <= missing else cat) for n in range(1, 25)]
        return measure_job(rows, data, {0: 7}, None)

    every, some = measured(0), measured(lost)
    rows = {(name, CLEAN, 0): every for name in ("a", "b")}
    rows |= {("a", "night", s): every for s in (1, 2)} | {("b", "night", s): some for s in (1, 2)}
    return rows | {(name, "haze", s): every for name in ("a", "b") for s in (1, 2)}


def _measured(lost: int) -> Measured:
    return Measured(_measurements(lost), ("a", "b"), ("night", "haze"), (1, 2), 24)


def test_boxes_lost_in_the_dark_alone_are_an_interaction() -> None:
    night, haze = _measured(12).interactions()
    assert night.value == pytest.approx(0.5, abs=0.01)
    assert night.low is not None and night.high is not None and 0.2 < night.low < night.high < 0.8
    assert (night.significant, haze.value, haze.significant) == (True, 0, False)
    one, other = _measured(12).summaries()
    assert (one.p, one.mpc, one.rpc, one.breaking_point) == (1, 1, 1, None)
    assert other.mpc == pytest.approx(0.75, abs=0.01) and other.rpc == other.mpc


def test_one_lost_box_is_not_a_significant_interaction() -> None:
    night, _ = _measured(1).interactions()
    assert night.value is not None and night.value > 0 and night.significant is False


def test_truths_and_detections_follow_a_pose() -> None:
    cat = Detections.of(BOX, [0.9], [0])
    image = _image(1, cat)
    corruption = AppliedCorruption("scale", 5)
    boxes, visible = moved_boxes(BOX, image.size, EncodedImage("1", b"", image.digest).under(corruption))
    assert visible.all() and not np.allclose(boxes, BOX)
    data = Dataset("d", (), CAT)
    assert measure_job([replace(image, detections=cat)], data, {0: 7}, corruption).ap == 0
    following = measure_job([replace(image, detections=Detections.of(boxes, [0.9], [0]))], data, {0: 7}, corruption)
    assert (following.ap, following.agreement, following.mean_score) == pytest.approx((1, 1, 0.9))


def test_tables_give_the_ap_of_a_full_evaluation() -> None:
    rng, images, detections = np.random.default_rng(3), [], {}
    for number in range(1, 9):
        corners = rng.uniform(0, 100, (5, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(20, 60, (5, 2))], axis=1)
        ids, crowd = rng.integers(1, 4, 5), rng.random(5) < 0.2
        images.append(DatasetImage(number, str(number), b"", boxes, ids, crowd, np.full(5, 900.0)))
        noisy = np.concatenate([boxes + rng.normal(0, 4, boxes.shape), boxes[:2] + 30])
        detections[number] = Detections.of(noisy, rng.random(7), np.concatenate([ids, [1, 4]]) - 1)
    data = Dataset("d", tuple(images), tuple(Category(i, f"c{i}") for i in range(1, 7)))
    classes = {i: i + 1 for i in range(6)}
    ap = mean_ap(tables(data, detections, classes).class_ap(np.ones((1, 8))))[0]
    assert ap == pytest.approx(average_precision("x", data, detections, classes).figures.ap, abs=1e-12)
    assert 0.05 < ap < 0.95


FALLS = [
    ([1, 3, 5], [0.9, 0.7, 0.3], 4.0),
    ([1, 2], [0.4, 0.1], 1 * 0.5 / 0.6),
    ([1, 3, 5], [0.9, 0.8, 0.5], None),
    ([1, 2], [None, 0.25], 2 * 0.5 / 0.75),
]


@pytest.mark.parametrize(("severities", "shares", "expected"), FALLS)
def test_the_breaking_point(severities: list[float], shares: list[float | None], expected: float | None) -> None:
    assert breaking_point(severities, shares) == (None if expected is None else pytest.approx(expected))


def test_objects_are_matched_by_class_and_position() -> None:
    objects = Detections.of([*BOX, [100, 10, 150, 60]], [0.9, 0.8], [0, 1])
    among = Detections.of([*BOX, *(BOX + 2), [100, 10, 150, 60]], [0.3, 0.6, 0.7], [0, 0, 0])
    assert confidences(objects, among) == pytest.approx([0.6, 0])
    assert agreed(objects, among, 0.5) == (1, 4)
    assert agreement(np.array([[1, 4], [0, 0]]), np.array([[1, 1], [0, 3]])) == pytest.approx(
        [0.5, np.nan], nan_ok=True
    )


def test_corruptions_are_selected_by_family_or_name() -> None:
    assert corruptions_named(["night", "lighting"])[0] == "night" and "glare" in corruptions_named(["lighting"])
    assert set(corruptions_named(["pose"])) == {"rotation", "perspective", "scale"}
    assert len(corruptions_named(["all"])) > len(corruptions_named(["published"])) > 5
    with pytest.raises(SettingsError, match=r"'fogg' does not exist.*lighting.*glare"):
        corruptions_named(["fogg"])


@pytest.mark.parametrize(("corruptions", "severities"), [([], [1]), (["night"], []), (["night"], [6])])
def test_missing_or_unknown_severities_are_refused(
    corruptions: list[str], severities: list[int], engine: LocalEngine, loaded: dict[str, LoadedModel], scenes: Dataset
) -> None:
    with pytest.raises(SettingsError, match="at least one of each, severities from 1 to 5"):
        sweep(Context(engine), [loaded["int8"]], scenes, corruptions, severities)
