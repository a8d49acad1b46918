"""Recorded results: detections that another device or framework has saved, used in place of a model.

The format is COCO's results format: a JSON list of {image_id or file_name, category_id or label, bbox, score}, where
bbox is x, y, width, height in pixels of the original image; or an object with this list as `results`. Images without
objects are not in the list, but the object may name all images as `images: [{image}]`, as `qviz device read` does.
Results are assigned to an image by its file name, with or without folder and suffix, or by the number at the end of its
name before the suffix, as in 000000000139.jpg. A category without a name is one of COCO's ids 1 to 90.

The file is not trusted: every entry is checked, and an error names the first wrong one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from qviz.datasets.labels import canonical_name, coco_90
from qviz.errors import ModelError
from qviz.structures import Detections, Image, Inference
from qviz.structures.json_document import NotJson, parse_json

RECORDED = "recorded"
"""The name used for recorded results in place of a decoder's."""
MAX_RESULTS = 2_000_000
MAX_NAME = 200
MAX_LABELS = 10_000
EXPECTED = '[{"file_name": "a.jpg", "label": "person", "bbox": [x, y, width, height], "score": 0.9}, …]'

Key = str | int


@dataclass(frozen=True, slots=True, eq=False)
class RecordedResults:
    """The results of a file, one row per object.

    Attributes:
        images: For each row, the file name or the id of its image.
        categories: For each row, its label or the id of its category.
        boxes: (n, 4) xyxy pixels of the original image.
        scores: (n,) in [0, 1].
        empty: Names of images that were run but have no rows, if the file names them.
    """

    images: Sequence[Key]
    categories: Sequence[Key]
    boxes: np.ndarray
    scores: np.ndarray
    empty: Sequence[str] = ()

    def labels(self) -> tuple[str, ...]:
        """The distinct labels, in the order of their first rows; for a category id, COCO's name if there is one."""
        names = tuple(dict.fromkeys(label_of_category(category) for category in self.categories))
        if len(names) > MAX_LABELS:
            raise ModelError(f"names {len(names)} classes; the limit is {MAX_LABELS}.")
        return names

    def renamed(self, images: Mapping[str, str], categories: Mapping[str, str]) -> RecordedResults:
        """The same results, with the names that an annotation file has for the ids of images and categories."""
        return RecordedResults(
            [images.get(str(key), key) for key in self.images],
            [categories.get(str(key), key) if isinstance(key, int) else key for key in self.categories],
            self.boxes,
            self.scores,
            self.empty,
        )


def is_recorded(data: bytes) -> bool:
    """Whether the bytes may be recorded results: a JSON list of objects, or a JSON object with `results`."""
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\[\s*(\{|\])", start):
        return True
    return start.startswith(b"{") and b'"results"' in data and b'"annotations"' not in start


def read_results(data: bytes) -> RecordedResults:
    """The results in a JSON file. Raises ModelError if it contains anything else."""
    try:
        content = parse_json(data, not_a_number=True)
    except NotJson as error:
        raise ModelError(f"is not valid JSON: {error}; recorded results are {EXPECTED}.") from error
    rows = content.get("results") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ModelError(f"does not hold a list of results; expected {EXPECTED}.")
    if len(rows) > MAX_RESULTS:
        raise ModelError(f"holds {len(rows)} results; the limit is {MAX_RESULTS}. Leave out those with a low score.")
    if not rows and not (isinstance(content, dict) and content.get("images")):
        raise ModelError(f"holds no results and names no images; expected {EXPECTED}.")
    parsed = [_row(number, row) for number, row in enumerate(rows)]
    boxes = np.array([row[2] for row in parsed], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([row[3] for row in parsed], np.float32)
    images, categories = [row[0] for row in parsed], [row[1] for row in parsed]
    return RecordedResults(images, categories, boxes.astype(np.float32), scores, _empty_images(content, images))


def _empty_images(content: Any, images: Sequence[Key]) -> tuple[str, ...]:
    """Names of the images that the file lists and that have no rows. Raises ModelError."""
    entries = content.get("images", []) if isinstance(content, dict) else []
    rows = entries if isinstance(entries, list) else [None]
    names = [row.get("image") if isinstance(row, dict) else None for row in rows]
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names):
        raise ModelError('has images that are not a list of names; expected "images": [{"image": "a.jpg"}, …].')
    with_rows = set(images)
    return tuple(name for name in (" ".join(str(name).split()) for name in names) if name not in with_rows)


def _row(number: int, row: Any) -> tuple[Key, Key, list[float], float]:
    """(image, category, bbox, score) of one entry. Raises ModelError."""
    if not isinstance(row, dict):
        raise ModelError(f"has a result {number} that is not a JSON object; expected {EXPECTED}.")
    image = _key(row, number, "file_name", "image_id")
    category = _key(row, number, "label", "category_id")
    box, score = row.get("bbox"), row.get("score")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
        raise ModelError(f"has no bbox of four numbers in result {number}; expected [x, y, width, height] in pixels.")
    if box[2] < 0 or box[3] < 0:
        raise ModelError(
            f"has a bbox of negative size in result {number}; a bbox is [x, y, width, height] in pixels, not corners."
        )
    if not isinstance(score, (int, float)) or not _is_number(score) or not 0 <= score <= 1:
        raise ModelError(f"has no score between 0 and 1 in result {number}; give the confidence after the sigmoid.")
    return image, category, box, float(score)


def _key(row: Mapping[str, Any], number: int, name: str, id_name: str) -> Key:
    """The name, else the id, of a row's image or category. Raises ModelError if it has neither."""
    value = row.get(name, row.get(id_name))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # pandas writes ids as floats
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME:
        return int(value) if name == "label" and "label" not in row and value.isdecimal() else " ".join(value.split())
    raise ModelError(f"has neither {name} nor {id_name} in result {number}; expected {EXPECTED}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e9


def label_of_category(category: Key) -> str:
    """The label itself, COCO's name for an id from 1 to 90, or e.g. `class 91`."""
    if isinstance(category, str):
        return category
    names = coco_90()
    has_name = 1 <= category <= len(names) and names[category - 1] != "???"
    return names[category - 1] if has_name else f"class {category}"


class ResultIndex:
    """Finds the results of an image by its name."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = set(keys)
        texts = [key for key in self._keys if isinstance(key, str)]
        self._short: dict[str, str] = {}
        for form in (_base, _stem):
            count = Counter(map(form, texts))
            self._short |= {form(text): text for text in texts if count[form(text)] == 1}

    def find(self, name: str) -> Key | None:
        """The key of the results for an image of this name; None if there is none."""
        path = name.replace("\\", "/")
        for form in (path, _base(path), _stem(path)):
            if form in self._keys:
                return form
            if form in self._short:
                return self._short[form]
        number = re.search(r"(\d{1,18})$", _stem(path))
        return int(number.group(1)) if number and int(number.group(1)) in self._keys else None


def _base(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _stem(path: str) -> str:
    return PurePosixPath(_base(path)).stem


class RecordedDetector:
    """Returns the recorded detections of an image; it has the same `detect` method as `qviz.detector.Detector`.

    Args:
        labels: Labels in the order of class ids; recorded labels are matched by plain name.
        max_detections: Maximum detections per image.
    """

    def __init__(self, data: bytes, labels: Sequence[str], max_detections: int) -> None:
        results = read_results(data)
        numbers = {canonical_name(label): number for number, label in reversed(list(enumerate(labels)))}
        names = {key: label_of_category(key) for key in set(results.categories)}
        classes = {key: numbers.get(canonical_name(name), -1) for key, name in names.items()}
        rows: dict[Key, list[int]] = {}
        for row, key in enumerate(results.images):
            rows.setdefault(key, []).append(row)
        class_ids = [classes[key] for key in results.categories]
        self._rows, self._index = rows, ResultIndex(rows)
        self._detections = Detections.of(results.boxes, results.scores, class_ids)
        self._max = max_detections

    def detect(self, image: Image, score: float) -> Inference:
        """The recorded detections with at least this score; none for an image without results."""
        key = self._index.find(image.name)
        rows = self._detections[np.array([] if key is None else self._rows[key], np.int64)]
        rows = rows[rows.class_ids >= 0].above(score).by_score()[: self._max]
        return Inference(rows, None, image.width, image.height, 0.0)
