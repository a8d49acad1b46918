"""The lab's sentences, its JSON and its table."""

from __future__ import annotations

from dataclasses import replace

from qviz.features.building.calibration import METHODS
from qviz.features.calibrating.mistakes import MISTAKES
from qviz.features.calibrating.text import (
    TITLES,
    additions_sentence,
    enough_images,
    mismatch_sentence,
    outlier_sentence,
    sentences,
    stability_sentence,
    title,
    verdict,
)
from qviz.structures import Loss
from tests.features.calibrating.labs import GRAVE, LAB, point, tried


def test_verdict_of_a_lab() -> None:
    assert verdict(LAB) == (
        "Calibrated on all 5 images, int8 loses 0.4 points of AP [-0.6, 1.4], which is not significant. 2 images would"
        " be enough."
    )
    lossy = replace(LAB, curve=(point(1, 0.2, extra=GRAVE), point(2, 0.3, extra=GRAVE), point(5, 0.4)))
    assert verdict(lossy).endswith(
        "int8 loses 10.0 points of AP [9.0, 11.0]. Fewer images lose more, so more images may help."
    )
    early = replace(LAB, curve=LAB.curve[:2])
    assert verdict(early) == "Trying calibrations on 1 to 5 images …"
    refused = replace(LAB, curve=(replace(point(5, 0.4), tried=(tried("all", 5, None, refused="No kernel."),)),))
    assert "could not be built: No kernel." in verdict(refused)


def test_larger_sets_must_also_be_sufficient() -> None:
    """Two images do well by chance, four do not, so five are recommended."""
    lucky = (point(1, 0.2, extra=GRAVE), point(2, 0.49), point(4, 0.3, extra=GRAVE), point(5, 0.49))
    enough = enough_images(replace(LAB, curve=lucky))
    assert enough is not None and enough.images == 5
    sure_but_small = Loss(0.004, 0.001, 0.006, True)
    enough = enough_images(replace(LAB, curve=(point(1, 0.49, extra=sure_but_small), point(5, 0.49))))
    assert enough is not None and enough.images == 1


def test_stability_names_the_layers() -> None:
    assert stability_sentence(LAB) == (
        "Too few images for 1 of 40 layers: between two halves of 2 images its range changes by more than 20%: CONV_2D"
        " 7 (35%)."
    )
    assert LAB.stability is not None
    steady = replace(LAB, stability=replace(LAB.stability, changed=()))
    assert "give the same ranges: none of 40 layers" in stability_sentence(steady)
    assert stability_sentence(replace(LAB, stability=None)) == "One image cannot show whether the ranges are stable."


def test_sentences_on_mistakes_outliers_and_images_to_add() -> None:
    assert mismatch_sentence(LAB) == (
        "Lost beyond a correct calibration, in points of AP: random numbers in [0, 1) +25.0. 1 other mistake has no"
        " significant loss."
    )
    assert mismatch_sentence(replace(LAB, mismatch=LAB.mismatch[1:])).startswith(
        "None of the mistakes has a significant loss"
    )
    assert "wide.jpg alone widens 4 layers, one of them 1.50 times." in outlier_sentence(LAB)
    assert "a further loss of +0.1 points of AP (not significant)" in outlier_sentence(LAB)
    assert (
        additions_sentence(LAB)
        == "Add these images to the calibration: street.jpg and night.jpg. They cover 97% of the"
        " out-of-range activations."
    )
    bare = replace(LAB, mismatch=(), outliers=(), add=(), stability=None)
    assert len(list(sentences(bare))) == 1


def test_every_calibration_has_a_title() -> None:
    assert set(TITLES) >= {*MISTAKES, *METHODS, "all", "without_outliers"}
    assert title(LAB.curve[0].tried[0]) == "1/1"


def test_one_table_row_per_variant() -> None:
    frame = LAB.to_frame()
    assert list(frame["group"]) == ["curve"] * 5 + ["method", "outliers"] + ["mismatch"] * 3
    row = frame[frame["name"] == "noise_unit"].iloc[0]
    assert (row["ap"], row["loss"], row["extra_value"], row["extra_significant"]) == (0.25, 0.25, 0.25, True)
    assert frame["refused"].iloc[-1] == "It cannot be built."
    document = LAB.to_json()
    assert (document["measure"], document["stability"]["too_few"]) == ("AP", True)
    assert document["mismatch"][0]["extra"] == {"value": 0.25, "low": 0.2, "high": 0.3, "significant": True}
