"""The operating point against a plain count; planted and absent losses; thresholds by class; the gate on recall."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qviz.errors import SettingsError
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import average_precision, tables
from qviz.features.accuracy.coco.tables import ClassTable, MatchTables
from qviz.features.accuracy.gate import check_recall
from qviz.features.accuracy.measured import operating_at
from qviz.features.accuracy.operating import Operating, operate, with_recoveries
from qviz.features.accuracy.operating_at import read_at
from qviz.features.accuracy.text_operating import operating_sentences
from qviz.result import decode, encode
from qviz.structures import Dataset, Detections
from qviz.structures.boxes import iou_matrix
from tests.features.accuracy.test_significance import CLASSES, scene

LABELS = [f"class {number}" for number in range(1, 6)]


def counted(dataset: Dataset, detections: dict[int, Detections], thresholds: list[float]) -> np.ndarray:
    """(classes, 3) right detections, detections, objects, by the plain rule: by falling score, the best free object."""
    counts = np.zeros((5, 3), int)
    for image in dataset.images:
        detected = detections[image.id].by_score()
        for k in range(5):
            truths = image.boxes[(image.category_ids == k + 1) & ~image.is_crowd].astype(np.float32)
            chosen = detected[(detected.class_ids == k) & (detected.scores >= thresholds[k])]
            overlaps = iou_matrix(chosen.boxes, truths)
            right = 0
            for row in overlaps:
                if len(truths) and row[(best := int(row.argmax()))] >= 0.5:
                    overlaps[:, best] = 0
                    right += 1
            counts[k] += (right, len(chosen), len(truths))
    return counts


@pytest.fixture(scope="module")
def scenes() -> tuple[Dataset, dict[int, Detections], dict[int, Detections]]:
    """A dataset without crowds, a detector, and one whose scores are a tenth lower."""
    dataset, detections = scene(60, seed=7, crowds=0.0)
    detections = {n: one[(one.boxes[:, 2:] > one.boxes[:, :2]).all(axis=1)] for n, one in detections.items()}
    lower = {number: replace(one, scores=one.scores * np.float32(0.9)) for number, one in detections.items()}
    return dataset, detections, lower


AT = [0.4, 0.0, {**dict.fromkeys(LABELS[:3], 0.3), "*": 0.6}]


@pytest.mark.parametrize("at", AT, ids=str)
def test_figures_equal_a_plain_count(
    at: float | dict[str, float], scenes: tuple[Dataset, dict[int, Detections], dict[int, Detections]]
) -> None:
    dataset, *models = scenes
    result = operate("ab", LABELS, [tables(dataset, one, CLASSES) for one in models], at)
    thresholds = [0.3] * 3 + [0.6] * 2 if isinstance(at, dict) else [at] * 5
    for point, detections in zip(result.models, models, strict=True):
        right, detected, truths = counted(dataset, detections, thresholds).T
        rows = point.per_class
        assert [row.threshold for row in rows] == thresholds
        assert [row.recall for row in rows] == pytest.approx(right / truths)
        assert [row.precision for row in rows] == pytest.approx(right / detected)
        assert [row.misses for row in rows] == (truths - right).tolist()
        assert [row.false_positives_per_image for row in rows] == pytest.approx((detected - right) / 60)
        figures = point.figures
        assert (figures.recall, figures.misses) == (pytest.approx(right.sum() / truths.sum()), (truths - right).sum())
        assert figures.false_positives_per_image == pytest.approx((detected - right).sum() / 60)
    first, second = (point.figures for point in result.models)
    loss = result.losses[0].overall
    assert loss.recall.value == pytest.approx((first.recall or 0) - (second.recall or 0), abs=1e-6)
    assert loss.precision.value == pytest.approx((first.precision or 0) - (second.precision or 0), abs=1e-6)
    spurious = second.false_positives_per_image - first.false_positives_per_image
    assert loss.spurious_per_image.value == pytest.approx(spurious, abs=1e-6)
    assert decode(Operating, json.loads(json.dumps(encode(result))), "") == result


def test_lower_scores_need_a_lower_threshold(
    scenes: tuple[Dataset, dict[int, Detections], dict[int, Detections]],
) -> None:
    """The variant's scores are 0.9 of the reference's, so 0.9 of the threshold gives back exactly its figures."""
    dataset, *models = scenes
    result = operate("ab", LABELS, [tables(dataset, one, CLASSES) for one in models], 0.5)
    reference, needed = result.models[0].figures, result.losses[0].overall.needed
    assert result.losses[0].overall.recall.significant
    assert needed.threshold is not None and 0.45 <= needed.threshold < 0.47
    assert needed.recall == pytest.approx(reference.recall)
    assert needed.precision is not None and needed.precision >= (reference.precision or 1)
    at_needed = operate("ab", LABELS, [tables(dataset, one, CLASSES) for one in models], needed.threshold).models[1]
    assert at_needed.figures.recall == pytest.approx(reference.recall)
    assert at_needed.figures.false_positives_per_image == pytest.approx(needed.false_positives_per_image)
    (sentence,) = operating_sentences(result, ("float", "int8"))
    assert "At a confidence of 0.50, int8 finds" in sentence and "significant" in sentence
    assert "brings back that recall" in sentence


def mixed(first: MatchTables, second: MatchTables, swapped: np.ndarray) -> MatchTables:
    """On the swapped images the matches of the second model, else of the first."""
    rows = []
    for a, b in zip(first.classes, second.classes, strict=True):
        parts = [(a, ~swapped[a.images]), (b, swapped[b.images])]
        scores, images = (np.concatenate([getattr(t, n)[m] for t, m in parts]) for n in ("scores", "images"))
        true, ignored = (np.concatenate([getattr(t, n)[:, m] for t, m in parts], axis=1) for n in ("true", "ignored"))
        order = np.argsort(-scores, kind="stable")
        rows.append(ClassTable.of(scores[order], images[order], true[:, order], ignored[:, order], a.truths))
    return MatchTables(tuple(rows), first.recalls, first.images)


def test_a_planted_class_is_significant_and_false_alarms_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 200 permutations of the two models over the images, a class is significant in at most 8 %."""
    monkeypatch.setattr("qviz.features.accuracy.operating.draws", lambda images: np.asarray(DRAWS[:, :images]))
    dataset, detections = scene(60, seed=9)
    rng = np.random.default_rng(1)
    pair = []
    for drop in (None, 3):
        noisy = {
            number: replace(one, scores=np.clip(one.scores + rng.normal(0, 0.1, len(one)), 0, 1).astype(np.float32))
            for number, one in detections.items()
        }
        pair.append(tables(dataset, noisy, CLASSES))
        if drop is not None:
            planted = {n: one[(one.class_ids != drop) | (one.scores < 0.5)] for n, one in noisy.items()}
            result = operate("ab", LABELS, [pair[0], tables(dataset, planted, CLASSES)], 0.4)
            significant = [row.label for row in result.losses[0].per_class if row.recall.significant]
            assert significant == [result.losses[0].per_class[0].label] == ["class 4"]
    alarms = 0
    for _ in range(200):
        swapped = rng.random(60) < 0.5
        first, second = mixed(pair[0], pair[1], swapped), mixed(pair[1], pair[0], swapped)
        losses = operate("ab", LABELS, [first, second], 0.4).losses[0]
        alarms += any(row.recall.significant for row in losses.per_class)
    assert alarms <= 16


DRAWS = np.random.default_rng(5).multinomial(60, np.full(60, 1 / 60), 300)
"""Fewer draws than in the product, for speed: p values come from their standard error."""


def evaluation(dataset: Dataset, *models: dict[int, Detections]) -> Evaluation:
    results = [average_precision(name, dataset, one, CLASSES) for name, one in zip("ab", models, strict=False)]
    return Evaluation(
        "d",
        len(dataset.images),
        dataset.annotations,
        (),
        tuple(row.figures for row in results),
        (),
        1.0,
        results=tuple(row.results for row in results),
        image_ids={image.id: image.id for image in dataset.images},
        operating=operate("ab", LABELS, [row.tables for row in results], 0.5),
    )


def test_another_threshold_needs_no_run(scenes: tuple[Dataset, dict[int, Detections], dict[int, Detections]]) -> None:
    dataset, *models = scenes
    result = evaluation(dataset, *models)
    matched = [tables(dataset, one, CLASSES) for one in models]
    for at in (0.5, "best"):
        expected = with_recoveries(operate("ab", LABELS, matched, at), LABELS, matched, at)
        assert operating_at(result, dataset, at) == expected


def test_the_gate_on_recall(scenes: tuple[Dataset, dict[int, Detections], dict[int, Detections]]) -> None:
    dataset, *models = scenes
    result = evaluation(dataset, *models)
    assert result.operating is not None
    loss = result.operating.losses[0].overall.recall
    assert loss.value is not None and loss.low is not None and loss.high is not None
    middle = (loss.low + loss.value) / 2
    assert (check_recall(result, middle).status, check_recall(result, middle).failed) == (1, ("b",))
    assert check_recall(result, middle, "lower").status == 0
    assert check_recall(result, loss.value + 1e-6).status == 0
    assert check_recall(result, loss.value + 1e-6, "upper").status == 1
    assert check_recall(result, min(middle, 0.9 * (loss.high - loss.low)), strict=True).status in (1, 2)
    blind = evaluation(dataset, {n: Detections.none() for n in models[0]}, models[1])
    assert check_recall(blind, 0.1).status == 2 and check_recall(blind, 0.1).inconclusive


REFUSED = [
    ("1.5", "The operating point is 1.5; a confidence between 0 and 1 is expected"),
    ("nowhere.json", "is not a number, not 'best' and not a file that can be read (No such file or directory)"),
    ("[1]", "is not an object like"),
    ("no", "is not JSON"),
    ('{"cat": "high"}', "'cat' is high; a confidence between 0 and 1 is expected"),
    ('{"cat": NaN}', "'cat' is nan; a confidence between 0 and 1"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_a_bad_operating_point_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "at.json"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_at(text if text in ("1.5", "nowhere.json") else path)
    assert sentence in str(error.value)


def test_thresholds_must_fit_the_classes(
    scenes: tuple[Dataset, dict[int, Detections], dict[int, Detections]], tmp_path: Path
) -> None:
    path = tmp_path / "at.json"
    path.write_text(json.dumps({"Class-1": 0.4, "*": 0.5}))
    table = tables(scenes[0], scenes[1], CLASSES)
    rows = operate("a", LABELS, [table], read_at(path)).models[0].per_class
    assert [row.threshold for row in rows] == [0.4, 0.5, 0.5, 0.5, 0.5]
    for at, sentence in (
        ({"cat": 0.5}, "name 'cat', which the annotations do not have"),
        ({"class 1": 0.5}, "leave out"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            operate("a", LABELS, [table], at)
