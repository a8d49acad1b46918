"""TIDE's kinds of errors against figures of tidecv 1.0.1 on random scenes, and against tidecv where it runs."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.features.accuracy.errors import KINDS, DetectionErrors, error_costs
from qviz.structures import Category, Dataset, DatasetImage, Detections
from tests.features.accuracy.test_significance import CLASSES, scene

TIDECV = [
    # seed, decimals of the scores (ties), kind -> (count, dAP) as tidecv gives it, / 100
    (3, None, {
        "Cls": (1, 4.513601564724468e-05), "Loc": (30, 0.2121621063372075), "Both": (29, 0.012952264904781359),
        "Dupe": (2, 0.00024943034844021383), "Bkg": (297, 0.10190504954007949), "Miss": (1, 0.004261473800713276),
    }),
    (4, 2, {
        "Cls": (0, 0.0), "Loc": (34, 0.18325892060176002), "Both": (49, 0.003074667876477406),
        "Dupe": (2, 0.0), "Bkg": (271, 0.08404005326053238), "Miss": (3, 0.009159359180316642),
    }),
    (9, 1, {
        "Cls": (1, 0.0), "Loc": (48, 0.24093109650070132), "Both": (45, 0.0),
        "Dupe": (0, 0.0), "Bkg": (264, 0.052428733514953196), "Miss": (2, 0.0),
    }),
]  # fmt: skip


def rounded(seed: int, decimals: int | None) -> tuple[Dataset, dict[int, Detections]]:
    dataset, dt = scene(40, seed, crowds=0.1)
    if decimals is None:
        return dataset, dt
    rows = {n: Detections.of(d.boxes, np.round(d.scores, decimals), d.class_ids) for n, d in dt.items()}
    return dataset, rows


@pytest.mark.parametrize(("seed", "decimals", "expected"), TIDECV)
def test_error_types_equal_recorded_values_of_tidecv(
    seed: int, decimals: int | None, expected: dict[str, tuple[int, float]]
) -> None:
    costs = error_costs(DetectionErrors.of(*rounded(seed, decimals), CLASSES))
    assert [row.kind for row in costs] == list(KINDS)
    assert {row.kind: row.count for row in costs} == {kind: count for kind, (count, _) in expected.items()}
    assert [row.cost for row in costs] == pytest.approx([expected[kind][1] for kind in KINDS], abs=1e-9)


@pytest.mark.parametrize("decimals", [None, 2])
@pytest.mark.parametrize("seed", range(21, 26))
def test_error_types_equal_tidecv(seed: int, decimals: int | None) -> None:
    tidecv = pytest.importorskip("tidecv", reason="tidecv is not installed (it brings another OpenCV along)")
    from tidecv.data import Data

    dataset, dt = rounded(seed, decimals)
    truths, predictions = Data("truths", 100), Data("predictions", 100)
    for image in dataset.images:
        truths.add_image(image.id, image.name)  # otherwise detections on images without truths are ignored
        for box, category, crowd in zip(image.boxes, image.category_ids, image.is_crowd, strict=True):
            add = truths.add_ignore_region if crowd else truths.add_ground_truth
            add(image.id, int(category), [*box[:2], *(box[2:] - box[:2])])
        detections = dt[image.id]
        for box, score, class_id in zip(
            detections.boxes.astype(float), detections.scores, detections.class_ids, strict=True
        ):
            predictions.add_detection(image.id, CLASSES[int(class_id)], float(score), [*box[:2], *(box[2:] - box[:2])])
    errors = tidecv.TIDE().evaluate(truths, predictions, mode="bbox").fix_main_errors()
    expected = {error.short_name: value / 100 for error, value in errors.items()}
    assert {row.kind: row.cost for row in error_costs(DetectionErrors.of(dataset, dt, CLASSES))} == pytest.approx(
        expected, abs=1e-6
    )


A, B = 3, 7
TRUTH = np.array([[0.0, 0, 100, 100]])
ONE_OBJECT = [
    # boxes, class ids -> expected error types
    ([[0, 0, 100, 100]], [0], set()),
    ([[0, 0, 100, 100], [2, 0, 100, 100]], [0, 0], {"Dupe"}),
    ([[60, 0, 160, 100]], [0], {"Loc"}),  # IoU .25
    ([[0, 0, 100, 100]], [1], {"Cls"}),
    ([[60, 0, 160, 100]], [1], {"Both", "Miss"}),
    ([[300, 0, 400, 100]], [0], {"Bkg", "Miss"}),
    ([], [], {"Miss"}),
]


@pytest.mark.parametrize(("boxes", "class_ids", "expected"), ONE_OBJECT)
def test_error_type_of_one_object(boxes: list[list[float]], class_ids: list[int], expected: set[str]) -> None:
    image = DatasetImage(1, "x", b"", TRUTH, np.array([A]), np.array([False]), np.array([1e4]))
    dataset = Dataset("d", (image,), (Category(A, "a"), Category(B, "b")))
    scores = np.linspace(0.9, 0.5, len(boxes))
    costs = error_costs(DetectionErrors.of(dataset, {1: Detections.of(boxes, scores, class_ids)}, {0: A, 1: B}))
    assert {row.kind for row in costs if row.count} == expected


def test_a_detection_on_a_crowd_costs_nothing() -> None:
    crowd = np.array([[0.0, 0, 100, 100], [200, 0, 400, 200]])
    image = DatasetImage(1, "x", b"", crowd, np.array([A, A]), np.array([False, True]), np.array([1e4, 4e4]))
    dataset = Dataset("d", (image,), (Category(A, "a"),))
    dt = {1: Detections.of([[210, 10, 260, 60], [0, 0, 100, 100]], [0.9, 0.8], [0, 0])}
    assert all(row.cost == 0 for row in error_costs(DetectionErrors.of(dataset, dt, {0: A})))
