"""Confusions of classes, and the images with the largest loss, on constructed scenes."""

from __future__ import annotations

import pytest

from qviz.features.accuracy.confusion import (
    Confusion,
    ModelConfusions,
    confusions,
    image_losses,
    model_confusions,
    worst_image_of,
)
from qviz.structures import Dataset, Detections
from tests.features.accuracy.scenes import CAT, CLASSES, DOG, dataset, detected, image

SCORE = 0.25


def counted(truths: Dataset, *detections: Detections) -> ModelConfusions:
    return model_confusions(truths, dict(enumerate(detections, start=1)), CLASSES, SCORE)


ONE = dataset(image(1, (0, CAT)))
CROWD = dataset(image(1, (0, CAT), (300, CAT, True)))
CASES = [
    (ONE, detected((0, 0, 0.9)), {("cat", "cat"): 1}),
    (ONE, detected((0, 1, 0.9)), {("cat", "dog"): 1}),
    (ONE, detected(), {("cat", None): 1}),
    (ONE, detected((0, 0, 0.2)), {("cat", None): 1}),  # below the score
    (ONE, detected((200, 1, 0.9)), {("cat", None): 1, (None, "dog"): 1}),
    (ONE, detected((0, 1, 0.9), (0, 0, 0.3)), {("cat", "cat"): 1, (None, "dog"): 1}),  # the same class is matched first
    (ONE, detected((60, 0, 0.9)), {("cat", None): 1, (None, "cat"): 1}),  # IoU .25
    (ONE, detected((0, 5, 0.9)), {("cat", None): 1}),  # a class without a category
    (CROWD, detected((0, 0, 0.9), (300, 0, 0.8), (305, 0, 0.7)), {("cat", "cat"): 1}),
    (CROWD, detected((0, 0, 0.9), (300, 1, 0.8)), {("cat", "cat"): 1, (None, "dog"): 1}),  # no crowd of dogs
]


@pytest.mark.parametrize(("truths", "detections", "pairs"), CASES)
def test_pairs_of_annotated_and_detected_class(
    truths: Dataset, detections: Detections, pairs: dict[tuple[str, str], int]
) -> None:
    assert dict(counted(truths, detections).pairs) == pairs


def test_confusions_are_sorted_by_change() -> None:
    truths = dataset(image(1, (0, CAT), (200, CAT), (400, DOG)), image(2, (0, DOG)))
    reference = counted(
        truths, detected((0, 0, 0.9), (200, 0, 0.9), (400, 1, 0.9), (700, 1, 0.9)), detected((0, 0, 0.9))
    )
    variant = counted(truths, detected((0, 1, 0.9), (200, 1, 0.9), (400, 1, 0.9)), detected((0, 0, 0.9)))
    rows = confusions(reference, variant)
    assert rows == (
        Confusion("cat", "dog", 0, 2),
        Confusion(None, "dog", 1, 0),
        Confusion("dog", "cat", 1, 1),
    )
    assert [row.change for row in rows] == [2, -1, 0]


TWO = dataset(image(1, (0, CAT)), image(2, (0, CAT), (200, DOG)), image(3, (0, CAT, True)))


def test_images_are_sorted_by_loss() -> None:
    good = detected((0, 0, 0.9)), detected((0, 0, 0.9), (200, 1, 0.9)), detected()
    bad = detected((0, 0, 0.9), (300, 1, 0.9)), detected((500, 0, 0.9)), detected()
    digests = {1: "a", 2: "b", 3: "c"}
    rows = image_losses(TWO, digests, counted(TWO, *good), counted(TWO, *bad))
    assert [(row.digest, row.loss) for row in rows] == [("b", 3), ("a", 1), ("c", 0)]
    worst = rows[0]
    assert (worst.truths, worst.reference_found, worst.variant_found) == (2, 2, 0)
    assert (worst.reference_false, worst.variant_false) == (0, 1)
    assert rows[2].truths == 0  # a crowd is not a truth
    gained = image_losses(TWO, digests, counted(TWO, *bad), counted(TWO, *good))
    assert [(row.digest, row.loss) for row in gained] == [("c", 0), ("a", -1), ("b", -3)]


def test_the_worst_image_of_a_class() -> None:
    truths = dataset(image(1, (0, CAT)), image(2, (0, CAT), (200, CAT)), image(3, (0, DOG)), image(4, (0, DOG)))
    good = detected((0, 0, 0.9)), detected((0, 0, 0.9), (200, 0, 0.9)), detected((0, 1, 0.9)), detected((0, 1, 0.9))
    bad = detected(), detected(), detected((0, 1, 0.9)), detected((0, 1, 0.9))
    digests = {number: str(number) for number in range(1, 5)}
    worst = worst_image_of(truths, digests, counted(truths, *good), counted(truths, *bad))
    assert worst == {"cat": "2", "dog": "3"}  # no dog is lost: the first image with a dog
