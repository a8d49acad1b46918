from __future__ import annotations

import pytest

from qviz.features.comparison.matching import Change, Summary, summarise
from qviz.features.comparison.text import damage_verdict, image_verdict, level


def counts(kept: int = 0, shifted: int = 0, relabelled: int = 0, lost: int = 0, spurious: int = 0) -> Summary:
    many = dict(zip(Change, (kept, shifted, relabelled, lost, spurious), strict=True))
    return summarise([kind for kind, number in many.items() for _ in range(number)], [])


@pytest.mark.parametrize(
    ("agreement", "word"),
    [(1.0, "unchanged"), (0.98, "unchanged"), (0.97, "slightly changed"), (0.84, "damaged"), (0.0, "broken")],
)
def test_levels(agreement: float, word: str) -> None:
    assert level(agreement) == word


DAMAGE = [
    ({}, 3, ["Only FP32 is loaded.", "Add a quantized variant"]),
    ({"int8": counts(kept=1)}, 0, ["No image has been run yet"]),
    ({"int8": counts(kept=4)}, 3, ["int8 is unchanged: all 4 objects are kept", "(agreement 1.00)"]),
    ({"int8": counts(lost=3, spurious=1)}, 3, ["int8 is broken: of 3 objects, 3 lost, and 1 spurious"]),
    (
        {"int8": counts(spurious=2)},
        3,
        ["int8 is broken: 2 spurious objects; the reference finds none (agreement 0.00)"],
    ),
    # the worst first, regardless of the order
    (
        {"fp16": counts(kept=4), "int8": counts(kept=1, lost=1)},
        3,
        ["int8 is damaged: of 2 objects, 1 lost (agreement 0.67)", "The other variant has an agreement of 1.00."],
    ),
    (
        {"fp16": counts(kept=4), "int8": counts(lost=1), "dynamic": counts(kept=1, lost=1)},
        3,
        ["int8 is broken", " dynamic is damaged (0.67). The other variant has an agreement of 1.00."],
    ),
    (
        {str(i): counts(lost=1) for i in range(5)} | {"fp16": counts(kept=4), "int8": counts(kept=9, lost=1)},
        3,
        [
            "0 is broken",
            ". 1 is broken (0.00). 2 is broken (0.00). 2 more are damaged. The other 2 variants have an agreement of",
        ],
    ),
]


def test_a_quantized_file_alone_needs_its_original() -> None:
    sentence = damage_verdict("int8", {}, 3, is_quantized=True)
    assert sentence == ("Only int8 is loaded. Add the file that it was quantized from, or another variant, to compare.")


@pytest.mark.parametrize(("summaries", "images", "sentences"), DAMAGE)
def test_verdict_on_all_variants(summaries: dict[str, Summary], images: int, sentences: list[str]) -> None:
    verdict = damage_verdict("FP32", summaries, images)
    assert [sentence for sentence in sentences if sentence not in verdict] == []


@pytest.mark.parametrize(
    ("summary", "sentence"),
    [
        (counts(), "int8: no object at this confidence, as in the reference."),
        (counts(kept=1), "int8: the only object is kept (agreement 1.00)."),
        (counts(shifted=1, relabelled=2, lost=3), "int8: of 6 objects, 3 lost, 2 relabelled, 1 shifted"),
    ],
)
def test_verdict_on_one_image(summary: Summary, sentence: str) -> None:
    assert image_verdict("int8", summary).startswith(sentence)
