"""JSON files with an impossible value, by number, for the readers that the server uses.

Each file must give a result or a QvizError of a few lines within seconds. If a COCO file is read without a remark, its
AP must be the one that pycocotools computes from the same file.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from qviz.datasets.coco import parse_coco
from qviz.datasets.recorded_results import read_results
from qviz.datasets.sidecar import parse_sidecar
from qviz.errors import ProjectError, QvizError
from qviz.features.accuracy.ap import average_precision
from qviz.features.accuracy.dataset_health import ImageFacts, problems_of
from qviz.features.detection.models import ModelSource
from qviz.features.reporting.study import read_study
from qviz.structures import Dataset, Detections, EncodedImage, Settings
from qviz.structures.json_document import NotJson, parse_json
from tests.fuzz.run import Tally

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261130
SECONDS = 20.0
"""CPU seconds after which reading a file is considered to hang."""
ODD: tuple[Any, ...] = (
    *(None, True, "", [], {}, -1, 0, 1, 0.5, 1e308, -1e308, 2**31, 2**63, 2**200, -(2**63)),
    *(
        math.nan,
        math.inf,
        -math.inf,
        "NaN",
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "x" * 20_000,
        "\x00",
        "\ud800",
    ),
    *([[]], [0, 0, 0, 0], [1, 2, 3], {"a": {"b": []}}, [None] * 1000, "../../etc/passwd", "１２"),
)
Draw = np.random.Generator


# ---- documents ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def coco_document() -> dict[str, Any]:
    """A COCO document of six images of the sample. One annotation is a crowd with a segmentation."""
    document = json.loads((ROOT / "sample_data/annotations.json").read_text())
    images = document["images"][:6]
    ids = {image["id"] for image in images}
    rows = [row for row in document["annotations"] if row["image_id"] in ids]
    rows[0] = {**rows[0], "iscrowd": 1, "segmentation": {"counts": [10, 20, 30], "size": [10, 6]}}
    return {"images": images, "annotations": rows, "categories": document["categories"]}


@lru_cache(maxsize=1)
def results_document() -> dict[str, Any]:
    rows = [{"file_name": f"{n}.jpg", "label": "cat", "bbox": [1, 2, 30 + n, 40], "score": 0.5} for n in range(4)]
    return {"images": [{"image": f"{n}.jpg"} for n in range(5)], "results": rows}


@lru_cache(maxsize=1)
def study_document() -> Any:
    return json.loads(gzip.decompress((ROOT / "tests/features/reporting/study_0_1.json.gz").read_bytes()))


def sidecar_document() -> dict[str, Any]:
    return {"labels": ["a", "b"], "mean": [127.5, 127.5, 127.5], "std": 127.5, "channels": "rgb", "resize": "stretch"}


@lru_cache(maxsize=1)
def _project_parts() -> tuple[dict[str, Any], dict[str, bytes]]:
    from qviz.ui.project_document import to_document
    from qviz.ui.workspace import Workspace

    images = {image["file_name"]: image["file_name"].encode() for image in coco_document()["images"]}
    dataset = parse_coco(json.dumps(coco_document()).encode(), "annotations.json", images)
    settings = Settings(channels="bgr", labels=("a", "b"))
    models = [ModelSource(f"{name}.tflite", name.encode(), settings) for name in ("float32", "int8")]
    workspace = Workspace(name="dusk").with_models(models)
    workspace = workspace.with_images([EncodedImage(name, data) for name, data in images.items()])
    return to_document(replace(workspace, dataset=dataset))


def project_document() -> dict[str, Any]:
    return _project_parts()[0]


# ---- readers --------------------------------------------------------------------------------------------------------


def _coco(data: bytes) -> str:
    names = {image["file_name"]: b"" for image in coco_document()["images"]}
    dataset = parse_coco(data, "annotations.json", names)
    problems = problems_of(dataset, ImageFacts())
    json.dumps([(row.code, row.message, row.fix, row.count) for row in problems])
    if not dataset.categories:
        return "read, without classes"
    if dataset.skipped or dataset.problems:
        average_precision("m", dataset, _detections(dataset), _classes(dataset))
        return "read, with remarks"
    return _like_pycocotools(dataset, data)


def _detections(dataset: Dataset) -> dict[int, Detections]:
    """Detections near the objects of the unchanged file, with seeded scores. Images are identified by their names."""
    ids = {image.name: image.id for image in dataset.images}
    names = {image["id"]: image["file_name"] for image in coco_document()["images"]}
    rows: dict[int, list[tuple[list[float], float, int]]] = {}
    draw = np.random.default_rng(SEED)
    for row in coco_document()["annotations"]:
        x, y, width, height = row["bbox"]
        box = [x + draw.normal() * 3, y + draw.normal() * 3, x + width, y + height]
        detection = box, float(draw.random()), row["category_id"]
        if (image := ids.get(names[row["image_id"]])) is not None:
            rows.setdefault(image, []).append(detection)
    return {
        image: Detections.of([row[0] for row in some], [row[1] for row in some], [row[2] for row in some])
        for image, some in rows.items()
    }


def _classes(dataset: Dataset) -> dict[int, int]:
    return {category.id: category.id for category in dataset.categories}


def _like_pycocotools(dataset: Dataset, data: bytes) -> str:
    """Compare the AP with that of pycocotools on the same file. Raises AssertionError."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    detections, classes = _detections(dataset), _classes(dataset)
    computed = average_precision("m", dataset, detections, classes).figures.ap
    document = json.loads(data)
    if any(row["id"] == 0 for row in document["annotations"]):
        return "read, where pycocotools loses the object with id 0"  # it marks "no match" with this id
    own_ids = {row["file_name"]: row["id"] for row in document["images"]}
    names = {image.id: image.name for image in dataset.images}
    rows = [
        {
            "image_id": own_ids[names[image]],
            "category_id": int(class_id),
            "bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
            "score": float(score),
        }
        for image, one in detections.items()
        for box, score, class_id in zip(one.boxes.astype(float), one.scores, one.class_ids, strict=True)
    ]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = document
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
    except Exception:
        return "read, where pycocotools fails"
    expected = float(evaluation.stats[0])
    assert (computed is None and expected == -1) or (computed is not None and abs(computed - expected) < 1e-9), (
        computed,
        expected,
    )
    return "read, AP as pycocotools'"


def _results(data: bytes) -> str:
    results = read_results(data)
    assert np.isfinite(results.boxes).all() and np.isfinite(results.scores).all()
    results.labels()
    return "read"


def _study(data: bytes) -> str:
    from qviz.features.reporting.card import card
    from qviz.features.reporting.html import render

    study = read_study(data, "study.json")
    json.dumps(study.to_json(), allow_nan=False)
    assert "<script>alert(1)" not in card(study).markdown
    assert "<script>alert(1)" not in render(study)
    return "read"


def _sidecar(data: bytes) -> str:
    json.dumps(parse_sidecar(data, "model.qviz.json").to_json(), allow_nan=False)
    return "read"


def _project(data: bytes) -> str:
    from qviz.ui.project_document import from_document, to_document

    try:
        document = parse_json(data)
    except NotJson:
        return "refused by Projects.load"
    if not isinstance(document, dict):
        return "refused by Projects.load"

    def read(digest: str) -> bytes:
        if digest not in _project_parts()[1]:
            raise ProjectError("is missing")
        return _project_parts()[1][digest]

    workspace = from_document(document, read)
    to_document(workspace)
    return "read, with notices" if workspace.notices else "read"


@dataclass(frozen=True, slots=True)
class Reader:
    """A kind of file. document: returns the unchanged document; read: reads bytes as the server does."""

    document: Callable[[], Any]
    read: Callable[[bytes], str]


KINDS = {
    "coco": Reader(coco_document, _coco),
    "results": Reader(results_document, _results),
    "study": Reader(study_document, _study),
    "sidecar": Reader(sidecar_document, _sidecar),
    "project": Reader(project_document, _project),
}


# ---- changes --------------------------------------------------------------------------------------------------------


def changed(document: Any, draw: Draw) -> bytes:
    """The document as JSON, with one to three impossible values or with a damaged text."""
    what = draw.random()
    if what < 0.8:
        document = deepcopy(document)
        for _ in range(int(draw.integers(1, 4))):
            _change(document, draw)
        return json.dumps(document, allow_nan=True).encode("utf-8", "surrogatepass")
    data = json.dumps(document).encode()
    if what < 0.9:
        at = int(draw.integers(len(data)))
        return data[:at] + bytes([int(draw.integers(256))]) * int(draw.integers(0, 4)) + data[at + 1 :]
    if what < 0.95:
        return data[: int(draw.integers(len(data)))]
    depth = int(draw.integers(10, 200_000))
    return data[:-1] + b', "deep": ' + b"[" * depth + b"]" * depth + b"}"


def _change(document: Any, draw: Draw) -> None:
    parent, key = document, None
    for _ in range(int(draw.integers(1, 7))):
        if isinstance(parent, dict) and parent:
            key = list(parent)[int(draw.integers(len(parent)))]
        elif isinstance(parent, list) and parent:
            key = int(draw.integers(len(parent)))
        else:
            break
        if not isinstance(parent[key], (dict, list)) or not parent[key] or draw.random() < 0.15:
            break
        parent = parent[key]
    if key is None or (isinstance(parent, (dict, list)) and not parent):
        return
    if isinstance(parent, list) and not (isinstance(key, int) and key < len(parent)):
        key = 0
    if isinstance(parent, dict) and key not in parent:
        key = next(iter(parent))
    what = draw.random()
    if what < 0.15:
        del parent[key]
    elif what < 0.25 and isinstance(parent, list):
        parent.append(parent[key])
    else:
        parent[key] = deepcopy(ODD[int(draw.integers(len(ODD)))])


@dataclass(frozen=True, slots=True)
class Document:
    """One hostile file, and the number and kind from which it can be made again."""

    number: int
    kind: str
    data: bytes = field(repr=False)


def hostile_document(number: int, kinds: tuple[str, ...] = tuple(KINDS), seed: int = SEED) -> Document:
    """The file with this number. Consecutive numbers have different kinds."""
    kind = kinds[number % len(kinds)]
    return Document(number, kind, changed(KINDS[kind].document(), np.random.default_rng([seed, number])))


def fuzz_documents(numbers: range, kinds: tuple[str, ...] = tuple(KINDS)) -> Tally:
    """Read the files with these numbers in this process, as the server does."""
    tally = Tally()
    for number in numbers:
        document = hostile_document(number, kinds)
        start = time.process_time()
        try:
            end = KINDS[document.kind].read(document.data)
        except QvizError as error:
            end = f"refused: {type(error).__name__}"
            if len(str(error)) > 2_000:
                tally.fail(f"document {number} ({document.kind}): an error of {len(str(error))} characters")
                continue
        except Exception as error:
            tally.fail(f"document {number} ({document.kind}): {type(error).__name__}: {str(error)[:300]}")
            continue
        if time.process_time() - start > SECONDS:
            tally.fail(f"document {number} ({document.kind}) took more than {SECONDS:.0f} s")
            continue
        tally.ends[f"{document.kind} {end}"] += 1
    return tally
