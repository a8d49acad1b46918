"""What truths are taken for, and which images lose most, on scenes by hand."""

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
from tests.features.accuracy.scenes import CAT, CLASSES, DOG, dataset, image, seen

SCORE = 0.25


def taken(truths: Dataset, *found: Detections) -> ModelConfusions:
    return model_confusions(truths, dict(enumerate(found, start=1)), CLASSES, SCORE)


ONE = dataset(image(1, (0, CAT)))
CROWD = dataset(image(1, (0, CAT), (300, CAT, True)))
TAKEN = [
    (ONE, seen((0, 0, 0.9)), {("cat", "cat"): 1}),
    (ONE, seen((0, 1, 0.9)), {("cat", "dog"): 1}),
    (ONE, seen(), {("cat", None): 1}),
    (ONE, seen((0, 0, 0.2)), {("cat", None): 1}),  # below the score
    (ONE, seen((200, 1, 0.9)), {("cat", None): 1, (None, "dog"): 1}),
    (ONE, seen((0, 1, 0.9), (0, 0, 0.3)), {("cat", "cat"): 1, (None, "dog"): 1}),  # its own class goes first
    (ONE, seen((60, 0, 0.9)), {("cat", None): 1, (None, "cat"): 1}),  # IoU .25
    (ONE, seen((0, 5, 0.9)), {("cat", None): 1}),  # a class that the annotations do not know
    (CROWD, seen((0, 0, 0.9), (300, 0, 0.8), (305, 0, 0.7)), {("cat", "cat"): 1}),
    (CROWD, seen((0, 0, 0.9), (300, 1, 0.8)), {("cat", "cat"): 1, (None, "dog"): 1}),  # no crowd of dogs
]


@pytest.mark.parametrize(("truths", "found", "pairs"), TAKEN)
def test_what_is_model_confusions_what(truths: Dataset, found: Detections, pairs: dict[tuple[str, str], int]) -> None:
    assert dict(taken(truths, found).pairs) == pairs


def test_confusions_come_with_the_largest_change_first() -> None:
    truths = dataset(image(1, (0, CAT), (200, CAT), (400, DOG)), image(2, (0, DOG)))
    reference = taken(truths, seen((0, 0, 0.9), (200, 0, 0.9), (400, 1, 0.9), (700, 1, 0.9)), seen((0, 0, 0.9)))
    variant = taken(truths, seen((0, 1, 0.9), (200, 1, 0.9), (400, 1, 0.9)), seen((0, 0, 0.9)))
    found = confusions(reference, variant)
    assert found == (
        Confusion("cat", "dog", 0, 2),
        Confusion(None, "dog", 1, 0),
        Confusion("dog", "cat", 1, 1),
    )
    assert [row.change for row in found] == [2, -1, 0]


TWO = dataset(image(1, (0, CAT)), image(2, (0, CAT), (200, DOG)), image(3, (0, CAT, True)))


def test_images_come_with_the_largest_loss_first() -> None:
    good = seen((0, 0, 0.9)), seen((0, 0, 0.9), (200, 1, 0.9)), seen()
    bad = seen((0, 0, 0.9), (300, 1, 0.9)), seen((500, 0, 0.9)), seen()
    digests = {1: "a", 2: "b", 3: "c"}
    rows = image_losses(TWO, digests, taken(TWO, *good), taken(TWO, *bad))
    assert [(row.digest, row.loss) for row in rows] == [("b", 3), ("a", 1), ("c", 0)]
    worst = rows[0]
    assert (worst.truths, worst.reference_found, worst.variant_found) == (2, 2, 0)
    assert (worst.reference_false, worst.variant_false) == (0, 1)
    assert rows[2].truths == 0  # a crowd is no truth
    gained = image_losses(TWO, digests, taken(TWO, *bad), taken(TWO, *good))
    assert [(row.digest, row.loss) for row in gained] == [("c", 0), ("a", -1), ("b", -3)]


def test_the_image_on_which_most_of_a_class_is_lost() -> None:
    truths = dataset(image(1, (0, CAT)), image(2, (0, CAT), (200, CAT)), image(3, (0, DOG)), image(4, (0, DOG)))
    good = seen((0, 0, 0.9)), seen((0, 0, 0.9), (200, 0, 0.9)), seen((0, 1, 0.9)), seen((0, 1, 0.9))
    bad = seen(), seen(), seen((0, 1, 0.9)), seen((0, 1, 0.9))
    digests = {number: str(number) for number in range(1, 5)}
    found = worst_image_of(truths, digests, taken(truths, *good), taken(truths, *bad))
    assert found == {"cat": "2", "dog": "3"}  # no dog is lost: the first image that shows one
