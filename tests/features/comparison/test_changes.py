from __future__ import annotations

import pytest

from qviz.features.comparison.matching import Change, LostBecause, Summary, changes, summarise
from qviz.structures import Detections

SCORE = 0.5


def detections(*objects: tuple[float, int, float]) -> Detections:
    """Boxes 100 x 100 on one line: (left edge, class, score)."""
    return Detections.of(
        [[left, 0, left + 100, 100] for left, *_ in objects],
        [score for *_, score in objects],
        [class_id for _, class_id, _ in objects],
    )


CAT = (0.0, 1, 0.9)
NO_OBJECTS = detections()

KINDS = [
    # reference, variant, changes as (kind, reference index, variant index); an offset of 8 % is IoU .85
    (detections(CAT), detections(CAT), [("kept", 0, 0)]),
    (detections(CAT), detections((8, 1, 0.6)), [("kept", 0, 0)]),
    (detections(CAT), detections((9, 1, 0.9)), [("shifted", 0, 0)]),
    (detections(CAT), detections((33, 1, 0.9)), [("shifted", 0, 0)]),
    (detections(CAT), detections((34, 1, 0.9)), [("lost", 0, None), ("spurious", None, 0)]),
    (detections(CAT), detections((0, 2, 0.9)), [("relabelled", 0, 0)]),
    (detections(CAT), NO_OBJECTS, [("lost", 0, None)]),
    (detections(CAT), detections((0, 1, 0.49)), [("lost", 0, None)]),  # both sides are filtered by the threshold
    (detections((0, 1, 0.49)), detections(CAT), [("spurious", None, 0)]),
    (NO_OBJECTS, detections(CAT, (300, 2, 0.7)), [("spurious", None, 0), ("spurious", None, 1)]),
    (NO_OBJECTS, NO_OBJECTS, []),
]


@pytest.mark.parametrize(("reference", "variant", "expected"), KINDS)
def test_every_kind_of_change(reference: Detections, variant: Detections, expected: list) -> None:
    rows = changes(reference, variant, None, SCORE)
    assert [(row.change, row.reference, row.variant) for row in rows] == expected


def test_changes_are_in_reference_order() -> None:
    reference, variant = detections(CAT, (300, 1, 0.8), (600, 1, 0.7)), detections((900, 1, 0.9), (600, 1, 0.9))
    rows = changes(reference, variant, None, SCORE)
    assert [(row.change, row.reference) for row in rows] == [("lost", 0), ("lost", 1), ("kept", 2), ("spurious", None)]


WHY = [
    # variant's detections, variant's candidates before NMS, reason
    (detections((0, 1, 0.3)), None, "threshold"),  # a candidate with a score below the threshold
    (NO_OBJECTS, None, "unknown"),  # the head cannot be read
    (NO_OBJECTS, NO_OBJECTS, "gone"),
    (NO_OBJECTS, detections((0, 2, 0.9)), "gone"),  # a box of another class does not count
    (NO_OBJECTS, detections((300, 1, 0.9)), "gone"),  # nor a box at another position
    (NO_OBJECTS, detections((0, 1, 0.3)), "threshold"),
    (NO_OBJECTS, detections((0, 1, 0.3), (5, 1, 0.8)), "nms"),  # the best box of that class counts
    (
        detections((40, 1, 0.9)),
        detections((0, 1, 0.8), (40, 1, 0.9)),
        "nms",
    ),  # suppressed by a box that matches another object
    (detections((40, 1, 0.9)), None, "unknown"),
]


@pytest.mark.parametrize(("variant", "candidates", "why"), WHY)
def test_reasons_of_lost_objects(variant: Detections, candidates: Detections | None, why: str) -> None:
    lost = [row for row in changes(detections(CAT), variant, candidates, SCORE) if row.change == Change.LOST]
    assert [row.lost_because for row in lost] == [LostBecause(why)]


def test_a_lost_object_whose_partner_matched_another_object() -> None:
    """Two objects of the reference, one of the variant between them: the one with the lower IoU is lost to NMS."""
    variant = detections((4, 1, 0.9))
    rows = changes(detections(CAT, (10, 1, 0.8)), variant, variant, SCORE)
    assert [(row.change, row.lost_because) for row in rows] == [("kept", None), ("lost", "nms")]


def summary(kept: int, shifted: int, relabelled: int, lost: int, spurious: int, agreement: float | None) -> Summary:
    return Summary(kept, shifted, relabelled, lost, spurious, agreement, None)


SUMMARIES = [
    ([], summary(0, 0, 0, 0, 0, None)),  # no detections of either model: nothing to agree about
    (["kept"], summary(1, 0, 0, 0, 0, 1.0)),
    (["shifted"], summary(0, 1, 0, 0, 0, 1.0)),
    (["lost"], summary(0, 0, 0, 1, 0, 0.0)),
    (["spurious"], summary(0, 0, 0, 0, 1, 0.0)),
    (["relabelled"], summary(0, 0, 1, 0, 0, 0.0)),
    (["kept", "lost"], summary(1, 0, 0, 1, 0, 2 / 3)),
    (["kept", "shifted", "relabelled", "lost", "spurious"], summary(1, 1, 1, 1, 1, 4 / 8)),
]


@pytest.mark.parametrize(("kinds", "expected"), SUMMARIES)
def test_summaries(kinds: list[str], expected: Summary) -> None:
    assert summarise((Change(kind) for kind in kinds), []) == expected


def test_the_mean_score_delta_is_over_pairs() -> None:
    assert summarise([Change.KEPT, Change.LOST], [-0.2]).mean_score_delta == pytest.approx(-0.2)
    assert summarise([Change.KEPT] * 2, [-0.3, 0.1]).mean_score_delta == pytest.approx(-0.1)
    assert summarise([Change.LOST], []).mean_score_delta is None
