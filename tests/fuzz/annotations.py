"""COCO files of the right form that say what cannot be, or what readers count differently.

What is changed: ids that repeat, are of other types or too large; crowds; areas; boxes; polygons and run lengths that
do not fit their image; sizes, names and categories.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

Draw = np.random.Generator
Document = dict[str, Any]

HUGE = (2**31, 2**53 + 1, 2**63, 2**200, 1e308, 1e12)
IDS: tuple[Any, ...] = (0, -1, 1.0, 1.5, True, "1", "1.0", " 1", "１", "", None, *HUGE)
NUMBERS: tuple[Any, ...] = (0, -1, 1e-30, 0.5, 32**2, 96**2, math.nan, math.inf, -math.inf, "12", None, True, [], *HUGE)
FLAGS: tuple[Any, ...] = (0, 1, 2, -1, True, "0", "1", None, 0.5, [], {}, math.nan)
FILES: tuple[Any, ...] = (
    "../../etc/passwd",
    "/etc/passwd",
    "",
    "x" * 5_000,
    "a\x00b",
    "<b>.jpg",
    7,
    None,
    ".",
    "\ud800",
)


def _any(items: Any, draw: Draw) -> Any:
    return items[int(draw.integers(len(items)))]


def _row(document: Document, part: str, draw: Draw) -> dict[str, Any]:
    rows: dict[str, Any] = _any(document[part], draw)
    return rows


def _set(part: str, keys: tuple[str, ...], values: tuple[Any, ...]) -> Callable[[Document, Draw], None]:
    """An edit that sets one of these keys in a row of this part, or removes it."""

    def edit(document: Document, draw: Draw) -> None:
        row, key = _row(document, part, draw), str(_any(keys, draw))
        row[key] = deepcopy(_any(values, draw))
        if draw.random() < 0.1:
            del row[key]

    return edit


def _repeated(document: Document, draw: Draw) -> None:
    """Repeat a row with the same id, and change the repetition."""
    part = str(_any(("images", "annotations", "annotations", "categories"), draw))
    row = deepcopy(_row(document, part, draw))
    other = _row(document, part, draw)
    for key in other:
        if key != "id" and draw.random() < 0.4:
            row[key] = deepcopy(other[key])
    document[part].insert(int(draw.integers(len(document[part]) + 1)), row)


def _same_id(document: Document, draw: Draw) -> None:
    """Give all rows of a part, or two of them, the same id."""
    part = str(_any(("images", "annotations", "categories"), draw))
    rows = document[part] if draw.random() < 0.2 else [_row(document, part, draw) for _ in range(2)]
    for row in rows:
        row["id"] = rows[0]["id"]


def _text_ids(document: Document, draw: Draw) -> None:
    """Write all ids of images or categories as text, on both sides or on one."""
    part, key = [("images", "image_id"), ("categories", "category_id")][int(draw.integers(2))]
    sides = int(draw.integers(1, 4))
    form = [str, float, lambda number: f"{number}.0", lambda number: f"0{number}"][int(draw.integers(4))]
    for row in document[part] if sides & 1 else ():
        row["id"] = form(row["id"])
    for row in document["annotations"] if sides & 2 else ():
        row[key] = form(row[key])


def _crowd(document: Document, draw: Draw) -> None:
    """Make some objects crowds, with run lengths that fit their image or do not."""
    for _ in range(int(draw.integers(1, 6))):
        row = _row(document, "annotations", draw)
        row["iscrowd"] = _any(FLAGS, draw)
        row["segmentation"] = _runs(document, row, draw)


def _runs(document: Document, row: dict[str, Any], draw: Draw) -> Any:
    sizes = {image.get("id"): (image.get("height"), image.get("width")) for image in document["images"]}
    size = list(sizes.get(row.get("image_id") if isinstance(row.get("image_id"), int) else None, (10, 6)))
    total = size[0] * size[1] if all(type(side) is int for side in size) else 60
    counts = _any(
        (
            [total // 2, total - total // 2],
            [total],
            [total + 1],
            [],
            [-5, total + 5],
            [2**63, 1],
            [0] * 100_000 + [total],
            [1.5, 2],
            [math.nan],
            "PPYo0",
            "`" * 10_000,
            "\x00\xff",
            None,
            {"a": 1},
        ),
        draw,
    )
    return {"counts": counts, "size": _any((size, size[::-1], [10**9, 10**9], [0, 0], [-1, 5], "12", None), draw)}


def _polygons(document: Document, draw: Draw) -> None:
    row = _row(document, "annotations", draw)
    row["segmentation"] = _any(
        (
            [[0, 0, 10, 0, 10, 10]],
            [[0, 0, 10, 10]],
            [[0, 0, 10, 10, 5]],
            [[]],
            [[1e9, 1e9, -1e9, 1e9, 0, -1e9]],
            [[math.nan] * 6],
            [["0", "0", "1", "1", "2", "2"]],
            [[0, 0, 1, 1, 2, 0]] * 5_000,
            [list(range(20_000))],
            [[0, 0, 50, 50, 0, 50, 50, 0]],
            [0, 0, 10, 0, 10, 10],
            "polygon",
        ),
        draw,
    )


def _box(document: Document, draw: Draw) -> None:
    box: Any = list(_row(document, "annotations", draw)["bbox"])
    box[int(draw.integers(4))] = _any(NUMBERS, draw)
    _row(document, "annotations", draw)["bbox"] = _any((box, box, box, box[:3], [*box, 1], [box], {"0": 1}), draw)


def _all_boxes(document: Document, draw: Draw) -> None:
    """Write all boxes as corners, as shares of the image, mirrored, or all the same."""
    form = _any(
        (
            lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]],
            lambda box: [value / 1000 for value in box],
            lambda box: [box[0] + box[2], box[1] + box[3], -box[2], -box[3]],
            lambda box: [10, 10, 50, 50],
            lambda box: [str(value) for value in box],
            lambda box: [box[1], box[0], box[3], box[2]],
        ),
        draw,
    )
    for row in document["annotations"]:
        if isinstance(row.get("bbox"), list) and all(type(value) in (int, float) for value in row["bbox"]):
            row["bbox"] = form(row["bbox"]) if len(row["bbox"]) == 4 else row["bbox"]


def _areas(document: Document, draw: Draw) -> None:
    """Set areas at the limits of COCO's sizes, or areas that are not the boxes'."""
    for row in document["annotations"]:
        if draw.random() < 0.5:
            row["area"] = _any((0, -5, 1023.999, 1024, 1024.001, 9216, 9216.001, 1e10, 1e10 + 1, 1e11, 0.0), draw)


def _many(document: Document, draw: Draw) -> None:
    """Thousands of categories, images without files, or objects."""
    what = int(draw.integers(3))
    if what == 0:
        document["categories"] += [{"id": 10_000 + number, "name": f"c{number}"} for number in range(500)]
    elif what == 1:
        document["images"] += [{"id": -number, "file_name": f"no-{number}.jpg"} for number in range(1, 5_000)]
    else:
        row = _row(document, "annotations", draw)
        document["annotations"] += [{**row, "id": 10**6 + number} for number in range(3_000)]


def _keypoints(document: Document, draw: Draw) -> None:
    row = _row(document, "annotations", draw)
    row["keypoints"] = _any(([], [1, 2], [1, 2, 2] * 17, [1, 2, 9] * 17, [math.nan, 0, 2], [0] * 30_000, "1"), draw)
    row["num_keypoints"] = _any(NUMBERS, draw)


EDITS: dict[str, Callable[[Document, Draw], None]] = {
    "repeated": _repeated,
    "same_id": _same_id,
    "text_ids": _text_ids,
    "ids": _set("annotations", ("id", "image_id", "category_id"), IDS),
    "image_ids": _set("images", ("id",), IDS),
    "category_ids": _set("categories", ("id",), IDS),
    "crowd": _crowd,
    "ignored": _set("annotations", ("ignore", "iscrowd", "difficult"), FLAGS),
    "area": _set("annotations", ("area",), NUMBERS),
    "areas": _areas,
    "box": _box,
    "all_boxes": _all_boxes,
    "polygons": _polygons,
    "keypoints": _keypoints,
    "sizes": _set("images", ("width", "height"), NUMBERS),
    "files": _set("images", ("file_name",), FILES),
    "names": _set("categories", ("name", "supercategory"), FILES),
    "many": _many,
}


def with_impossible_meaning(document: Any, draw: Draw) -> bytes:
    """The COCO document as JSON after one to three edits; sometimes with a key that is repeated in one object."""
    document = deepcopy(document)
    for _ in range(int(draw.integers(1, 4))):
        try:
            EDITS[list(EDITS)[int(draw.integers(len(EDITS)))]](document, draw)
        except (TypeError, KeyError, ValueError, IndexError, OverflowError):
            continue  # an earlier edit has removed what this one changes
    data = json.dumps(document, allow_nan=True).encode("utf-8", "surrogatepass")
    return data.replace(b'"id": ', b'"id": 99, "id": ', 3) if draw.random() < 0.1 else data
