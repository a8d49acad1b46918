"""Alarms by slice, images to calibrate with and what they bring: a calibration on dark images alone is found out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qviz.engine import LocalEngine
from qviz.errors import DatasetError
from qviz.features.accuracy.slice_loss import SliceLoss
from qviz.features.corruption_sweep.out_of_range import Addition, ImageReaches, RangeReach
from qviz.features.slices.ranges import CalibrationGain, Gain, SliceAlarm, SliceRanges
from qviz.features.slices.text import ranges_sentences
from qviz.result import to_json
from qviz.session import Session
from qviz.structures import Loss
from tests.squares import Squares, scenes

DARK = 0.3
"""A calibration on images with this share of the light clips what the detector computes in full light."""


def write_image(path: Path, scene: int, light: float, rng: np.random.Generator) -> None:
    pixels = scenes.images()[scene] * light + rng.normal(0, 2, (scenes.SIZE, scenes.SIZE, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)


def write_dataset(folder: Path) -> Path:
    """Eight bright and eight dark images, and four dark ones to calibrate with. Returns the annotations."""
    rng, coco = np.random.default_rng(0), scenes.coco()
    images, annotations = [], []
    for name in ("data", "calibration"):
        (folder / name).mkdir()
    for number in range(16):
        scene, name = number // 2 % len(scenes.SQUARES), f"{number}_{'bright' if number % 2 else 'dark'}.png"
        write_image(folder / "data" / name, scene, 1.0 if number % 2 else DARK, rng)
        images.append({**coco["images"][scene], "id": number + 1, "file_name": name})
        rows = [row for row in coco["annotations"] if row["image_id"] == scene + 1]
        annotations += [{**row, "image_id": number + 1, "id": 4 * number + k + 1} for k, row in enumerate(rows)]
    for scene in range(4):
        write_image(folder / "calibration" / f"{scene}.png", scene, DARK, rng)
    path = folder / "annotations.json"
    path.write_text(json.dumps({**coco, "images": images, "annotations": annotations}))
    return path


def test_images_of_the_slice_that_was_not_calibrated_for_are_named_and_bring_it_back(
    squares: Squares, engine: LocalEngine, tmp_path: Path
) -> None:
    dataset, calibration = write_dataset(tmp_path), tmp_path / "calibration"
    float32, int8 = squares.model("reference", "float32"), tmp_path / "int8.tflite"
    settings = {"mean": 0, "std": 255, "channels": "rgb", "labels": squares.labels, "engine": engine, "cache": False}
    with Session(float32, calibration=calibration, **settings) as session:
        int8.write_bytes(session.quantize("int8", ranges="minmax").data)
    with Session(float32, int8, dataset=dataset, dataset_images=tmp_path / "data", **settings) as session:
        with pytest.raises(DatasetError, match="There are no slices"):
            session.slice_ranges(session.evaluate(at=0.25))
        evaluation = session.evaluate(at=0.25, slices="brightness")
        result = session.slice_ranges(evaluation, calibration=calibration, ranges="minmax")
    assert {row.group: (row.images, row.alarms) for row in result.slices} == {"bright": (8, 8), "dark": (8, 0)}
    assert result.worst is not None and result.worst.group == "bright"
    assert result.add and all("bright" in row.image for row in result.add)
    gain = result.gain
    assert gain is not None and (gain.calibration_images, gain.added, gain.images) == (4, len(result.add), 4)
    ap, agreement = gain.gains
    assert (ap.measure, agreement.measure) == ("AP", "agreement")
    assert agreement.variant == agreement.without == 0.0  # the variant was built from the same images
    assert agreement.with_added is not None and agreement.with_added > 0.9
    assert agreement.gain.value == agreement.with_added and agreement.gain.significant
    text = " ".join(ranges_sentences(result, "int8"))
    assert "8 of 16 images drive the network far outside the ranges of int8." in text
    assert "brighter images (brightness ≥" in text and "do: 8 of 8." in text


def reach(excess: float) -> RangeReach:
    return RangeReach(0, "t", "CONV_2D", 100, 0, round(100 * excess), (0.0, excess))


def result_of(reaches: ImageReaches, gain: CalibrationGain | None = None) -> SliceRanges:
    """The slice `dark images` has the images a and b."""
    worst = SliceLoss("brightness", "dark", "dark images", 2, 9, (), ("a", "b"))
    alarms = {image.image for image in reaches.ranked().alarms}
    row = SliceAlarm("brightness", "dark", "dark images", 2, len(alarms & {"a", "b"}))
    return SliceRanges("int8", len(reaches.names), len(alarms), (row,), worst, (), gain, reaches=reaches)


def test_images_to_add_are_those_of_the_slice() -> None:
    names = tuple((name, f"digest of {name}") for name in "abcd")
    reaches = ImageReaches("int8", names, ((reach(0.3),), (reach(0.6),), (reach(0.9),), (reach(0.0),)))
    result = result_of(reaches)
    assert result.to_add(["a", "b"]) == (Addition("b", "digest of b", 1.0),)
    assert result.to_add(["a", "b", "c"])[0].image == "c"
    assert result.to_add(["d"]) == result.to_add(["unknown"]) == ()
    assert to_json(result)["worst_slice"] == {"trait": "brightness", "group": "dark", "meaning": "dark images"}


def test_sentences() -> None:
    inside = ImageReaches("int8", (("a", "1"), ("b", "2")), ((reach(0.0),), (reach(0.0),)))
    gain = Gain("agreement", 0.5, 0.6, 0.7, Loss(0.1, -0.02, 0.2, False))
    assert ranges_sentences(result_of(inside, CalibrationGain("int8", "mean", 30, 2, 12, (gain,))), "int8") == [
        "None of 2 images drives the network far outside the ranges of int8.",
        "The worst slice, dark images, lies within the ranges: no image of it is worth adding to the calibration.",
        "int8 from 30 calibration images, and from 2 more, on 12 other images of the slice: agreement ×100 60.0 becomes"
        " 70.0, +10.0 [-2.0, 20.0], not significant; the variant as it is has 50.0.",
    ]
