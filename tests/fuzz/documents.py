"""JSON files with an impossible value, by number, for the readers that the server uses.

Each file must give a result or a QvizError of a few lines within seconds. The figures of a COCO file must be those that
pycocotools computes (`coco.py`).
"""

from __future__ import annotations

import gzip
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
from qviz.features.detection.models import ModelSource
from qviz.features.reporting.study import read_study
from qviz.structures import EncodedImage, Settings
from qviz.structures.json_document import NotJson, parse_json
from tests.fuzz.annotations import with_impossible_meaning
from tests.fuzz.coco import coco_document
from tests.fuzz.coco import read as read_annotations
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
    """A kind of file.

    Attributes:
        document: Returns the unchanged document.
        read: Reads bytes as the server does.
        change: The unchanged document -> the bytes of a hostile file.
    """

    document: Callable[[], Any]
    read: Callable[[bytes], str]
    change: Callable[[Any, Draw], bytes]


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


KINDS = {
    "coco": Reader(coco_document, read_annotations, changed),
    "results": Reader(results_document, _results, changed),
    "study": Reader(study_document, _study, changed),
    "sidecar": Reader(sidecar_document, _sidecar, changed),
    "project": Reader(project_document, _project, changed),
    "annotations": Reader(coco_document, read_annotations, with_impossible_meaning),
}


@dataclass(frozen=True, slots=True)
class Document:
    """One hostile file, and the number and kind from which it can be made again."""

    number: int
    kind: str
    data: bytes = field(repr=False)


def hostile_document(number: int, kinds: tuple[str, ...] = tuple(KINDS), seed: int = SEED) -> Document:
    """The file with this number. Consecutive numbers have different kinds."""
    kind = kinds[number % len(kinds)]
    reader = KINDS[kind]
    return Document(number, kind, reader.change(reader.document(), np.random.default_rng([seed, number])))


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
