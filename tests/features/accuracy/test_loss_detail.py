"""Details of a loss, as JSON and as COCO results."""

from __future__ import annotations

import json

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from qviz.context import Context
from qviz.datasets.coco import parse_coco
from qviz.engine import LocalEngine
from qviz.features.accuracy import MAX_LISTED, Evaluation, evaluate
from qviz.features.accuracy.errors import KINDS
from qviz.features.accuracy.measured import coco_results
from qviz.features.detection.models import LoadedModel
from tests.conftest import Sample
from tests.features.accuracy.scenes import CAT, DOG, dataset, detail, detected, image

TRUTHS = dataset(image(1, (0, CAT), (200, DOG)), image(2, (0, CAT)))
GOOD = {1: detected((0, 0, 0.9), (200, 1, 0.9)), 2: detected((0, 0, 0.8))}
BAD = {1: detected((0, 0, 0.9)), 2: detected((0, 1, 0.8))}


def test_error_types_of_both_models() -> None:
    document = detail(TRUTHS, GOOD, BAD).to_json()
    assert list(document["errors"]) == list(KINDS)
    assert all(row["delta"] == row["variant"] - row["reference"] for row in document["errors"].values())
    assert (document["errors"]["Miss"]["reference_count"], document["errors"]["Miss"]["variant_count"]) == (0, 1)
    assert document["errors"]["Cls"]["variant_count"] == 1
    assert json.dumps(document, allow_nan=False)


def test_only_images_with_a_loss_are_listed() -> None:
    document = detail(TRUTHS, GOOD, BAD).to_json()
    assert [(row["name"], row["loss"]) for row in document["worst_images"]] == [("1.jpg", 1), ("2.jpg", 1)]
    assert [(row["truth"], row["seen"]) for row in document["confusions"]] == [("cat", "dog"), ("dog", None)]
    same = detail(TRUTHS, GOOD, GOOD).to_json()
    assert (same["worst_images"], same["confusions"]) == ([], [])


def test_long_lists_are_truncated() -> None:
    truths = dataset(*(image(number, (0, CAT)) for number in range(1, MAX_LISTED + 6)))
    good = {row.id: detected((0, 0, 0.9)) for row in truths.images}
    document = detail(truths, good, {})
    assert (len(document.images), len(document.to_json()["worst_images"])) == (MAX_LISTED + 5, MAX_LISTED)


@pytest.fixture(scope="module")
def renumbered(sample: Sample, engine: LocalEngine, loaded: dict[str, LoadedModel]) -> tuple[dict, Evaluation]:
    """Three of the sample's images whose annotation file numbers them by strings."""
    document = json.loads(sample.annotations.read_text())
    ids = {row["id"]: f"image {row['id']}" for row in document["images"][:3]}
    document["images"] = [row | {"id": ids[row["id"]]} for row in document["images"] if row["id"] in ids]
    document["annotations"] = [
        row | {"image_id": ids[row["image_id"]]} for row in document["annotations"] if row["image_id"] in ids
    ]
    files = {path.name: path for path in sample.images.iterdir()}
    dataset = parse_coco(json.dumps(document).encode(), "renumbered.json", files)
    return document, evaluate(Context(engine), [loaded["float32"], loaded["int8"]], dataset)


@pytest.mark.parametrize("index", [0, 1])
def test_coco_results_give_the_same_ap_in_pycocotools(index: int, renumbered: tuple[dict, Evaluation]) -> None:
    document, result = renumbered
    rows = json.loads(json.dumps(coco_results(result, index)))
    assert {row["image_id"] for row in rows} <= {row["id"] for row in document["images"]}
    truths = COCO()
    truths.dataset = document
    truths.createIndex()
    evaluation = COCOeval(truths, truths.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(result.models[index].ap, abs=1e-12)
