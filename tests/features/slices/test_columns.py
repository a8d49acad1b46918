"""Slices by fields of a COCO file and by two traits at once; curves over traits; darkened scenes are named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import qviz
from qviz.context import Context
from qviz.corruptions import CORRUPTIONS
from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine
from qviz.features.accuracy.measured import measured_dataset, operating_at
from qviz.features.accuracy.slice_loss import Slices
from qviz.features.slices import slices
from qviz.features.slices.columns import column_names, columns_of
from qviz.features.slices.curves import curves_of
from qviz.features.slices.image_traits import ImageTraits
from qviz.features.slices.losses import slice_losses
from qviz.features.slices.plot import figure
from qviz.features.slices.text import sentence, sentences
from qviz.features.slices.traits import Objects, groups_of, is_of_images, names_of
from qviz.structures import Dataset, Detections
from tests.conftest import Sample
from tests.datasets.tfrecords import png
from tests.features.accuracy.test_operating import evaluation
from tests.features.accuracy.test_significance import scene
from tests.features.slices.test_slices import hits_of

IMAGES = 120


def planted() -> tuple[Dataset, dict[int, Detections], np.ndarray]:
    """A dataset with fields, detections, and which objects are occluded on images with a distance of at least 60."""
    dataset, detections = scene(IMAGES, seed=4)
    rng, images, worse = np.random.default_rng(1), [], []
    for image in dataset.images:
        occluded = rng.random(len(image.boxes)) < 0.5
        distance = float(rng.integers(0, 100))
        values = np.array(["true" if one else "false" for one in occluded], dtype=object)
        fields = {"distance": distance, "site": f"{'=x' if image.id % 3 else 'y'}", "serial": f"n{image.id}"}
        images.append(replace(image, fields=fields, object_fields={"occluded": values}))
        worse.append((occluded & (distance >= 60))[~image.is_crowd])
    return replace(dataset, images=tuple(images)), detections, np.concatenate(worse)


def no_traits(dataset: Dataset) -> list[ImageTraits | None]:
    return [None] * len(dataset.images)


def test_a_loss_in_two_traits_at_once_comes_first_and_lies_on_the_curve() -> None:
    dataset, detections, worse = planted()
    objects = Objects.of(dataset, no_traits(dataset))
    hits = hits_of(dataset, detections, detections)
    hits[1, worse & (np.random.default_rng(0).random(len(worse)) < 0.6)] = False
    names = names_of("all,distance+occluded", column_names(dataset))
    groups, remarks = groups_of(objects, names)
    assert "serial" in remarks[0]  # as many values as images
    rows = slice_losses(dataset, groups, ["int8"], hits)
    first = rows[0]
    assert (first.trait, first.losses[0].excess.significant) == ("distance+occluded", True)
    assert first.group.startswith("≥ ") and first.group.endswith("+true")
    assert not is_of_images(first.meaning)
    text = sentence(first, first.losses[0], "int8")
    assert text.startswith("Among objects with distance ≥ ") and " and occluded true int8 loses " in text
    crossed = [row for row in rows if row.trait == "distance+occluded"]
    assert sum(row.truths for row in crossed) == hits.shape[1]
    (curve,) = curves_of(dataset, objects, ["distance", "site", "occluded"], ["int8"], hits)
    assert sum(point.truths for point in curve.points) == hits.shape[1]
    distance = np.array([image.fields["distance"] for image in dataset.images], float)[objects.image]
    for point in curve.points[:-1]:
        inside = (distance >= point.low) & (distance < point.high)
        expected = hits[0, inside].mean() - hits[1, inside].mean()
        assert point.losses[0].loss.value == pytest.approx(expected, abs=1e-6)
        assert (point.middle, point.images) == (np.median(distance[inside]), len(set(objects.image[inside])))
    assert max(curve.points, key=lambda point: point.losses[0].loss.value or 0).low >= 50
    assert list(figure(curve).data[0].x) == [point.middle for point in curve.points]


def test_fields_follow_their_objects_when_classes_are_left_out(engine: LocalEngine) -> None:
    dataset, detections, _ = planted()
    result = evaluation(dataset, detections, detections)
    fewer = replace(result.models[0], per_class=result.models[0].per_class[:2])
    measured = measured_dataset(replace(result, models=(fewer, *result.models[1:])), dataset)
    occluded = columns_of(measured)["occluded"]
    assert occluded.of_objects and len(occluded.values) == sum(int((~row.is_crowd).sum()) for row in measured.images)
    assert len(occluded.values) < len(columns_of(dataset)["occluded"].values)
    assert slices(Context(engine), result, dataset, ["site"]).rows[0].group in ("=x", "y")


def test_fields_of_a_coco_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    image = {"id": 1, "file_name": "a.png", "weather": "rain\n now", "mm": 3, "coco_url": "x", "tags": [1], "at": True}
    boxes = [{"id": n, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]} for n in (1, 2, 3)]
    boxes[0] |= {"attributes": {"occluded": False, "deep": {}}, "score": float("1e400"), "truncated": 1}
    boxes[1] |= {"bbox": "damaged", "truncated": 9}
    boxes[2] |= {"attributes": "none", "truncated": "much" * 100}
    document = {"images": [image], "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    (row,) = read_coco(tmp_path / "coco.json").images
    assert row.fields == {"weather": "rain now", "mm": 3.0, "at": "true"}
    assert {name: values.tolist() for name, values in row.object_fields.items()} == {
        "occluded": ["false", None],
        "truncated": [1.0, ("much" * 100)[:100]],
        "attributes": [None, "none"],
    }


@pytest.mark.slow
def test_darkened_scenes_are_the_first_slice(sample: Sample, tmp_path: Path) -> None:
    """Every second scene is darkened for the variant alone, which is the same file: all it loses is lost there."""
    scenes = sample.folder / "scenes"
    document = json.loads((scenes / "annotations.json").read_text())
    shutil.copy(scenes / "annotations.json", tmp_path)
    darkened = [row["file_name"] for row in document["images"][1::2]]
    for number, row in enumerate(document["images"]):
        pixels = cv2.imread(str(scenes / row["file_name"]))
        assert pixels is not None
        if row["file_name"] in darkened:
            pixels = CORRUPTIONS["exposure_down"].apply(pixels[..., ::-1], 5, np.random.default_rng(number))
            cv2.imwrite(str(tmp_path / row["file_name"]), pixels[..., ::-1])
        else:
            shutil.copy(scenes / row["file_name"], tmp_path)
    with qviz.open(sample.models["int8"], cache=tmp_path / "cache", workers=2) as session:
        lit, dark = (session.evaluate(tmp_path / "annotations.json", folder) for folder in (scenes, tmp_path))
        both = replace(lit, models=(*lit.models, *dark.models), results=(*lit.results, *dark.results))
        data = read_coco(tmp_path / "annotations.json")
        both = replace(both, operating=operating_at(both, data, "best"))
        result = slices(session.context, both, data)
    worst = result.rows[0]
    assert (worst.trait, worst.group, worst.losses[0].excess.significant) == ("brightness", "dark", True)
    assert len(set(worst.image_names) ^ set(darkened)) <= 2  # a scene may be dark as it is
    assert sentence(worst, worst.losses[0], "int8").startswith("In darker images (brightness < ")


def test_slices_that_are_all_too_small_are_named_as_such() -> None:
    dataset, detections, _ = planted()
    few = replace(dataset, images=dataset.images[:6])
    objects = Objects.of(few, no_traits(few))
    hits = hits_of(few, detections, detections)
    groups, _ = groups_of(objects, ["occluded", "site"])
    result = Slices(slice_losses(few, groups, ["int8"], hits))
    assert result.rows and sentences(result, 0, "int8") == [
        "Every slice is too small to test: 10 images and 20 objects are needed."
    ]
