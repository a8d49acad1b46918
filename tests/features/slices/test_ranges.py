"""Alarms by slice and by second, images to calibrate with and what they bring, on a file calibrated on dark images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qviz.engine import LocalEngine
from qviz.errors import DatasetError
from qviz.features.accuracy.slice_loss import SliceLoss
from qviz.features.corruption_sweep.out_of_range import Addition, ImageReaches, RangeReach
from qviz.features.slices.ranges import CalibrationGain, Gain, SliceAlarm, SliceRanges
from qviz.features.slices.text import ranges_sentences
from qviz.features.video.text import alarms
from qviz.result import to_json
from qviz.session import Session
from qviz.structures import Loss
from tests.squares import Squares, scenes

DARK = 0.3
"""A calibration on images with this share of the light clips what the detector computes in full light."""


def write_image(path: Path, scene: int, light: float, rng: np.random.Generator) -> None:
    pixels = scenes.images()[scene] * light + rng.normal(0, 2, (scenes.SIZE, scenes.SIZE, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)


def write_dataset(folder: Path) -> None:
    """Eight bright and eight dark images with annotations.json, and four dark ones to calibrate with."""
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
    text = json.dumps({**coco, "images": images, "annotations": annotations})
    (folder / "annotations.json").write_text(text)


@pytest.fixture(scope="module")
def folder(squares: Squares, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `write_dataset`, and int8.tflite, which was calibrated on dark images alone."""
    path = tmp_path_factory.mktemp("ranges")
    write_dataset(path)
    with Session(
        squares.model("reference", "float32"), calibration=path / "calibration", **settings_of(squares, engine)
    ) as session:
        (path / "int8.tflite").write_bytes(session.quantize("int8", ranges="minmax").data)
    return path


def settings_of(squares: Squares, engine: LocalEngine) -> dict[str, Any]:
    return {
        **{"mean": 0, "std": 255, "channels": "rgb", "labels": squares.labels},
        **{"engine": engine, "cache": False},
    }


def test_a_clip_raises_the_alarm_in_the_second_with_other_light(
    squares: Squares, engine: LocalEngine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve frames at two per second; seconds 3 and 4 are bright."""
    rng = np.random.default_rng(1)
    for number in range(12):
        write_image(tmp_path / f"{number}.png", 0, 1.0 if number in range(6, 10) else DARK, rng)
    models = squares.model("reference", "float32"), folder / "int8.tflite"
    with Session(*models, **settings_of(squares, engine)) as session:
        result = session.video(tmp_path, rate=2, out_of_range=True)
        monkeypatch.setattr("qviz.features.video.alarms.MAX_EXAMINED", 3)
        thinned = session.video(tmp_path, rate=2, out_of_range=True)
        plain = session.video(tmp_path, rate=2)
    assert [(row.index, row.seconds) for row in result.out_of_range] == [(2 * k, float(k)) for k in range(6)]
    assert [row.index for row in result.out_of_range if row.alarm] == [6, 8]
    text = "2 of 6 examined frames lie far outside the calibrated ranges of int8, between seconds 3 and 4."
    assert alarms(result, ["float32", "int8"]) == text
    (marks,) = [trace for trace in result.plot().data if trace.name == "out of range"]
    assert list(marks.customdata) == [6, 8]
    assert [row.index for row in thinned.out_of_range] == [0, 4, 8]
    assert plain.out_of_range == () and alarms(plain, ["float32", "int8"]) == ""


def test_images_of_the_slice_that_was_not_calibrated_for_are_named_and_bring_it_back(
    squares: Squares, engine: LocalEngine, folder: Path
) -> None:
    calibration, models = folder / "calibration", (squares.model("reference", "float32"), folder / "int8.tflite")
    data = {"dataset": folder / "annotations.json", "dataset_images": folder / "data"}
    with Session(*models, **data, **settings_of(squares, engine)) as session:
        with pytest.raises(DatasetError, match="There are no slices"):
            session.slice_ranges(session.evaluate(at=0.25))
        evaluation = session.evaluate(at=0.25, slices="brightness")
        result = session.slice_ranges(evaluation, calibration=calibration, ranges="minmax")
        (sentence,) = session.slice_ranges(evaluation, calibration=folder / "data").skipped
    assert "it has 0 images to add and 0 images to measure on; at least 1 and 4 are needed." in sentence
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
