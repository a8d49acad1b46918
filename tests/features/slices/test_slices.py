"""Slices: a planted one is first, false alarms are rare, objects are matched as in AP, traits fit their definitions."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import SettingsError
from qviz.features.accuracy.ap import tables
from qviz.features.accuracy.coco.matching import result_rows
from qviz.features.accuracy.operating import operate
from qviz.features.accuracy.slice_loss import Slices
from qviz.features.slices import slices
from qviz.features.slices.image_traits import ImageTraits, noise_of, traits_of
from qviz.features.slices.losses import slice_losses
from qviz.features.slices.object_hits import object_hits
from qviz.features.slices.text import sentences
from qviz.features.slices.traits import Group, Objects, groups_of, names_of, otsu
from qviz.structures import Dataset, Detections, EncodedImage
from tests.features.accuracy.test_operating import LABELS, evaluation
from tests.features.accuracy.test_significance import CLASSES, scene

IMAGES = 80
DRAWS = np.random.default_rng(5).multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), 300)
"""Fewer draws than in the product, for speed: p values come from their standard error."""


@pytest.fixture(scope="module")
def pair() -> tuple[Dataset, dict[int, Detections], dict[int, Detections]]:
    """Two detectors that differ by noise of the scores."""
    dataset, detections = scene(IMAGES, seed=4)
    rng = np.random.default_rng(2)
    noisy = [
        {
            number: replace(one, scores=np.clip(one.scores + rng.normal(0, 0.1, len(one)), 0, 1).astype(np.float32))
            for number, one in detections.items()
        }
        for _ in range(2)
    ]
    return dataset, noisy[0], noisy[1]


def hits_of(dataset: Dataset, *models: dict[int, Detections], threshold: float = 0.4) -> np.ndarray:
    limits = dict.fromkeys(range(1, 6), threshold)
    return np.array([object_hits(dataset, result_rows(one, CLASSES), limits) for one in models])


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.7])
def test_objects_are_matched_as_in_ap(
    threshold: float, pair: tuple[Dataset, dict[int, Detections], dict[int, Detections]]
) -> None:
    dataset, first, second = pair
    hits = hits_of(dataset, first, second, threshold=threshold)
    labels = np.concatenate([image.category_ids[~image.is_crowd] for image in dataset.images])
    points = operate("ab", LABELS, [tables(dataset, one, CLASSES) for one in (first, second)], threshold).models
    for row, point in zip(hits, points, strict=True):
        counts = [int(row[labels == k].sum()) for k in range(1, 6)]
        assert counts == [one.truths - one.misses for one in point.per_class]


def traits(rng: np.random.Generator, count: int = IMAGES) -> list[ImageTraits | None]:
    """Random traits; the width and height are those of the scenes."""
    values = rng.uniform(10, 200, (count, 5))
    hours = rng.integers(0, 24, count)
    return [ImageTraits(750, 750, *row.tolist(), hour=int(hour)) for row, hour in zip(values, hours, strict=True)]


def test_a_planted_slice_is_first_and_false_alarms_are_rare(
    pair: tuple[Dataset, dict[int, Detections], dict[int, Detections]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 200 permutations of the images' traits, any slice of them is significant in at most 8 %."""
    monkeypatch.setattr("qviz.features.slices.losses.draws", lambda images: DRAWS)
    dataset, first, second = pair
    hits, rng = hits_of(dataset, first, second), np.random.default_rng(6)
    names = [name for name in names_of("all") if name not in ("class", "folder")]
    measured = traits(rng)
    groups, _ = groups_of(Objects.of(dataset, measured), names)
    assert {group.trait for group in groups} | {"size"} == set(names)
    dark = next(group for group in groups if group.name == "dark")
    planted = hits.copy()
    planted[1, dark.members & (rng.random(len(dark.members)) < 0.4)] = False
    rows = slice_losses(dataset, groups, ["int8"], planted)
    assert (rows[0].trait, rows[0].group, rows[0].losses[0].excess.significant) == ("brightness", "dark", True)
    loss = rows[0].losses[0]
    expected = [planted[0, mask].mean() - planted[1, mask].mean() for mask in (dark.members, ~dark.members)]
    assert loss.loss.value == pytest.approx(expected[0], abs=1e-6)
    assert loss.excess.value == pytest.approx(expected[0] - expected[1], abs=1e-6)
    text = sentences(Slices(rows), 0, "int8")[0]
    assert text.startswith("In darker images (brightness < ") and text.endswith(
        "points of recall more than in the others."
    )
    alarms = 0
    for _ in range(200):
        shuffled = [measured[k] for k in rng.permutation(IMAGES)]
        groups, _ = groups_of(Objects.of(dataset, shuffled), ["brightness", "contrast", "noise", "time_of_day"])
        rows = slice_losses(dataset, groups, ["int8"], hits)
        alarms += any(row.losses[0].excess.significant for row in rows)
    assert alarms <= 16


def test_small_groups_have_no_interval(pair: tuple[Dataset, dict[int, Detections], dict[int, Detections]]) -> None:
    dataset, first, second = pair
    hits = hits_of(dataset, first, second)
    members = np.arange(hits.shape[1]) < 15
    (row,) = slice_losses(dataset, [Group("x", "y", "z", members, np.ones_like(members))], ["int8"], hits)
    assert row.truths == 15
    assert row.losses[0].excess.low is None and row.losses[0].excess.significant is False


def jpeg(pixels: np.ndarray, time: str = "") -> bytes:
    stream, exif = io.BytesIO(), Pillow.Exif()
    if time:
        exif.get_ifd(0x8769)[0x9003] = time
    Pillow.fromarray(pixels).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def test_traits_of_an_image_follow_their_definitions() -> None:
    rng = np.random.default_rng(0)
    grey = np.full((120, 160, 3), 40, np.uint8)
    red = np.zeros_like(grey)
    red[..., 0] = 255
    assert traits_of(EncodedImage("a", jpeg(grey))).brightness == pytest.approx(40, abs=1)
    one = traits_of(EncodedImage("a", jpeg(red, "2026:06:01 21:30:00")))
    assert (one.width, one.height, one.hour, one.saturation > 240) == (160, 120, 21, True)
    assert traits_of(EncodedImage("a", jpeg(red, "yesterday"))).hour is None
    noisy = np.clip(rng.normal(120, 12, (200, 200)), 0, 255).astype(np.uint8)
    assert noise_of(noisy) == pytest.approx(12, rel=0.1)
    sharp = traits_of(EncodedImage("a", jpeg(np.repeat(noisy[..., None], 3, axis=2)))).sharpness
    soft = cv2.GaussianBlur(np.repeat(noisy[..., None], 3, axis=2), (0, 0), 3)
    assert traits_of(EncodedImage("a", jpeg(soft))).sharpness < 0.2 * sharp


def test_the_cut_separates_two_heaps() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(30, 4, 40), rng.normal(120, 10, 60)])
    cut = otsu(values)
    assert cut is not None and 40 < cut < 95
    assert (values < cut).sum() == 40
    assert otsu(np.full(50, 7.0)) is None and otsu(np.empty(0)) is None


def test_unknown_traits_are_refused() -> None:
    assert names_of("Time-of-day, size") == ["time_of_day", "size"]
    for names in ("weather", "all,weather", ""):
        with pytest.raises(SettingsError, match="brightness, contrast"):
            names_of(names)


def test_darkened_images_are_named(
    pair: tuple[Dataset, dict[int, Detections], dict[int, Detections]], engine: LocalEngine
) -> None:
    """End to end on image files: the variant finds little in every second image, which is dark."""
    dataset, first, second = pair
    rng = np.random.default_rng(3)
    images, variant = [], {}
    for number, image in enumerate(dataset.images):
        level = 25 if number % 2 else 130
        picture = np.clip(rng.normal(level, 8, (75, 75, 3)), 0, 255).astype(np.uint8)
        images.append(replace(image, name=f"{number}.jpg", source=jpeg(picture)))
        scores = second[image.id].scores * np.float32(0.7 if number % 2 else 1)
        variant[image.id] = replace(second[image.id], scores=scores)
    data = replace(dataset, images=tuple(images))
    result = slices(Context(engine), evaluation(data, first, variant), data, ["brightness", "class", "folder"])
    worst = result.rows[0]
    assert (worst.group, worst.losses[0].excess.significant, worst.images) == ("dark", True, len(worst.image_names))
    assert set(worst.image_names) <= {f"{number}.jpg" for number in range(1, IMAGES, 2)}
    assert result.remarks == ("These images do not differ in, or do not state: folder.",)
