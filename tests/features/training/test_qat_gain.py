"""What a training gained: an interval that excludes 0, or the sentence that nothing can be proven."""

from __future__ import annotations

from qviz.features.comparison import ComparedImage, ComparedObject, ComparedVariant
from qviz.features.training import Gain, _interval


def _variant(kept: list[int], lost: list[int]) -> ComparedVariant:
    images = []
    for number, counts in enumerate(zip(kept, lost, strict=True)):
        kinds = ["kept"] * counts[0] + ["lost"] * counts[1]
        objects = [ComparedObject(kind, "cat", *[None] * 10) for kind in kinds]
        images.append(ComparedImage(f"{number}.jpg", str(number), tuple(objects)))
    return ComparedVariant("variant", "int8", "digest", tuple(images))


def test_the_interval_is_that_of_the_difference_image_by_image() -> None:
    before, after = _variant([1] * 20, [3] * 20), _variant([3] * 20, [1] * 20)
    assert (before.summary.agreement, after.summary.agreement) == (0.4, 6 / 7)
    assert _interval(before, after) == (6 / 7 - 0.4, 6 / 7 - 0.4)  # every image alike: nothing to be unsure of
    low, high = _interval(_variant([0, 4] * 10, [4, 0] * 10), _variant([4, 0] * 10, [0, 4] * 10))
    assert low < 0 < high
    assert _interval(_variant([0, 0], [0, 0]), _variant([0, 0], [0, 0])) == (0, 0)


def test_the_verdict_says_what_can_be_proven() -> None:
    assert Gain(0.4, 0.8, 0.3, 0.5, 20).verdict == (
        "Training helped: agreement with FP32 0.400 → 0.800, +0.400 [+0.300, +0.500] on 20 held-out images."
    )
    assert Gain(0.8, 0.4, -0.5, -0.3, 20).verdict.startswith("Training made it worse")
    assert Gain(0.91, 0.92, -0.01, 0.03, 20).verdict.startswith("Training changed nothing that can be proven")
