"""A workspace becomes a document and bytes, and is restored from them; what is damaged is named and left out."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.errors import ProjectError
from qviz.features.detection.models import read_source
from qviz.structures import Settings
from qviz.ui.project_document import from_document, to_document
from qviz.ui.workspace import EarlierModel, Workspace
from tests.conftest import Sample


@pytest.fixture(scope="module")
def workspace(sample: Sample) -> Workspace:
    models = [read_source(sample.models[name]) for name in ("float32", "int8")]
    dataset = read_coco(sample.folder / "annotations.json", sample.images)
    changed = Workspace(reference=models[0].digest, dataset=dataset).with_models(models)
    changed = changed.with_images(list(load_images([sample.images])))
    changed = changed.with_settings(models[1].digest, Settings(mean=(1.0, 2.0, 3.0), channels="bgr", labels=("a", "b")))
    changed = changed.with_shown_name(models[1].digest, "release 1.4")
    earlier = EarlierModel(replace(models[1], data=b"TFL3 of release 1.3", digest=""), 1_790_000_000)
    return replace(changed, earlier=(earlier,), quarantine={models[1].digest: "The worker process crashed."})


@pytest.fixture(scope="module")
def saved(workspace: Workspace) -> tuple[dict[str, Any], dict[str, bytes]]:
    document, blobs = to_document(workspace)
    return json.loads(json.dumps(document, allow_nan=False)), blobs


def reader(blobs: Mapping[str, bytes]) -> Callable[[str], bytes]:
    def read(digest: str) -> bytes:
        if digest not in blobs:
            raise ProjectError("A file of the project is missing.")
        return blobs[digest]

    return read


def test_a_workspace_is_restored(workspace: Workspace, saved: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    restored = from_document(saved[0], reader(saved[1]))
    assert restored.notices == ()
    assert restored.models == workspace.models
    assert restored.reference == workspace.reference
    assert restored.models[1].shown == "release 1.4"
    assert restored.earlier == workspace.earlier
    assert restored.quarantine == workspace.quarantine
    assert restored.runnable == [workspace.models[0]]
    assert [(i.name, i.digest) for i in restored.images] == [(i.name, i.digest) for i in workspace.images]
    first, second = workspace.dataset, restored.dataset
    assert first is not None and second is not None
    assert (first.name, first.categories, first.skipped) == (second.name, second.categories, second.skipped)
    for one, other in zip(first.images, second.images, strict=True):
        assert (one.id, one.name, one.size, one.source_id, one.read()) == (
            other.id,
            other.name,
            other.size,
            other.source_id,
            other.read(),
        )
        for name in ("boxes", "category_ids", "is_crowd", "areas"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_bytes_that_occur_twice_are_stored_once(saved: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    names = {image["data"] for image in saved[0]["images"]}
    assert names == {image["data"] for image in saved[0]["dataset"]["images"]}
    assert len(saved[1]) == len(names) + 3


def test_what_is_missing_is_named(workspace: Workspace, saved: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    document, blobs = copy.deepcopy(saved[0]), dict(saved[1])
    del blobs[document["models"][1]["data"]], blobs[document["images"][0]["data"]]
    restored = from_document(document, reader(blobs))
    assert [model.name for model in restored.models] == [workspace.models[0].name]
    assert len(restored.images) == len(workspace.images) - 1
    assert restored.dataset is None  # its image is missing
    assert len(restored.notices) == 3
    assert restored.notices[0] == f"{workspace.models[1].name} is left out. A file of the project is missing."


HOSTILE: list[Callable[[dict[str, Any]], Any]] = [
    lambda d: d.update(models="text"),
    lambda d: d.update(models=[1, None, {}]),
    lambda d: d["models"][0].update(kind="pickle"),
    lambda d: d["models"][0].update(settings={"std": 0}),
    lambda d: d["models"][0].update(data="../../etc/passwd"),
    lambda d: d["images"][0].update(size=[1e400, 2]),
    lambda d: d["images"][0].update(size="large"),
    lambda d: d["dataset"]["images"][0].update(boxes=[[1, 2, 3]]),
    lambda d: d["dataset"]["images"][0].update(boxes=[["a", "b", "c", "d"]]),
    lambda d: d["dataset"]["images"][0].update(areas=[]),
    lambda d: d["dataset"].update(categories=[[1]]),
    lambda d: d.update(dataset=[]),
    lambda d: d.update(reference={"a": 1}),
    lambda d: d.update(earlier={"a": 1}),
    lambda d: d["earlier"][0].update(removed="now"),
    lambda d: d["earlier"][0].update(removed=-(10**30)),
    lambda d: d.update(quarantine=[1]),
    lambda d: d.update(quarantine={"a": 1, "b": "x" * 10_000}),
    lambda d: d["models"][0].update(shown=["a"]),
    lambda d: d["models"][0].update(shown="x" * 10_000),
]


@pytest.mark.parametrize("damage", HOSTILE)
def test_a_hostile_document_costs_its_own_part_alone(
    damage: Callable[[dict[str, Any]], Any], saved: tuple[dict[str, Any], dict[str, bytes]]
) -> None:
    document = copy.deepcopy(saved[0])
    damage(document)
    restored = from_document(document, reader(saved[1]))
    assert restored.models or restored.images
    assert all(len(notice) < 400 for notice in restored.notices)


def test_another_version_is_refused(saved: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    for version in (None, 2, "1"):
        with pytest.raises(ProjectError, match="version"):
            from_document({**saved[0], "version": version}, reader(saved[1]))
