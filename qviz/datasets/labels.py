"""Class names: from a file in one of the forms below, told apart by content, or COCO's own by class count.

lines        one name a line
pbtxt        `item { id: 1 name: "person" }`, the Object Detection API's label map; ids count from 1
JSON         ["person", ...], {"0": "person"}, {"person": 0}, or an object with one of these as `names` or `id2label`
YAML         Ultralytics' data.yaml with its `names:`

Class ids count from 0 into these names; `???` stands where a file leaves one out. In lines and JSON a first name that
stands for the background (`???`, `background`, or none where the ids begin with 1) is dropped, as the detectors' class
ids do not count it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qviz.datasets.label_map import is_label_map, parse_label_map
from qviz.datasets.label_yaml import has_names, parse_names
from qviz.errors import LabelsError

LABEL_SUFFIXES = (".txt", ".names", ".pbtxt", ".json", ".yaml", ".yml")
MAX_BYTES = 4 << 20
MAX_LABELS = 20_000
BACKGROUND = frozenset({"???", "background", "__background__", "bg"})

_NAMES = """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign
parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|suitcase
frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle
wine glass|cup|fork|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch
potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink
refrigerator|book|clock|vase|scissors|teddy bear|hair drier|toothbrush"""

COCO_80 = tuple(_NAMES.replace("\n", "|").split("|"))

UNUSED_90 = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Category ids 1..90 that COCO never used."""


def coco_90() -> tuple[str, ...]:
    """90 names, the name of category id i + 1 at i, `???` where the id is unused."""
    names = iter(COCO_80)
    return tuple("???" if number in UNUSED_90 else next(names) for number in range(1, 91))


def parse_labels(data: bytes, name: str) -> tuple[str, ...]:
    """The names in a label file of any of these forms. Raises LabelsError where the bytes are none."""
    if len(data) > MAX_BYTES:
        raise LabelsError(f"{name} has {len(data) >> 20} MB; label files of up to {MAX_BYTES >> 20} are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelsError(f"{name} is no UTF-8 text; labels are one name a line.") from error
    if name.lower().endswith(".json") or _is_json(text):
        return _without_background(_from_json(text, name))
    if is_label_map(text):
        return labels_by_id(_parsed(parse_label_map, text, name), name)
    if has_names(text):
        return labels_by_id(_parsed(parse_names, text, name), name)
    return _without_background(_lines(text, name))


def _lines(text: str, name: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or len(lines) > MAX_LABELS or "\0" in "".join(lines[:100]):
        raise LabelsError(f"{name} has {len(lines)} lines; labels are one name a line, {MAX_LABELS} at the most.")
    return tuple(_plain(line) for line in lines)


def _without_background(labels: tuple[str, ...]) -> tuple[str, ...]:
    return labels[1:] if labels[0].lower() in BACKGROUND else labels


def _plain(name: str) -> str:
    """A name on one line of bounded length."""
    return " ".join(name.split())[:100] or "???"


def _is_json(text: str) -> bool:
    stripped = text.strip()
    return stripped[:1] + stripped[-1:] in ("[]", "{}")


def _from_json(text: str, name: str) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabelsError(f"{name} looks like JSON and is none ({error}).") from error
    if isinstance(content, dict):
        content = next((content[key] for key in ("names", "id2label") if key in content), content)
    return labels_by_id(numbered(content, name), name)


def numbered(names: Any, where: str) -> list[tuple[int, str]]:
    """(class id, name) pairs of a list of names, {"0": name} or {name: 0}. Raises LabelsError."""
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return list(enumerate(names))
    if isinstance(names, dict):
        pairs = list(names.items())
        if all(isinstance(key, str) and _is_number(value) for key, value in pairs):
            return [(number, key) for key, number in pairs]
        if all(_is_number(key) or (isinstance(key, str) and key.isdecimal() and len(key) < 10) for key, _ in pairs):
            return [(int(key), str(value)) for key, value in pairs]
    raise LabelsError(f'{where}: class names are a list, or an object such as {{"0": "person"}} or {{"person": 0}}.')


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def labels_by_id(pairs: Iterable[tuple[int, str]], where: str) -> tuple[str, ...]:
    """Names in the order of their class ids, `???` where one is left out. Raises LabelsError."""
    names: dict[int, str] = {}
    for number, label in pairs:
        if not 0 <= number < MAX_LABELS:
            seen = str(number)[:20]
            raise LabelsError(f"{where}: {label[:40]!r} has the class id {seen}; 0 to {MAX_LABELS - 1} are read.")
        if number in names:
            raise LabelsError(f"{where}: {names[number][:40]!r} and {label[:40]!r} have the same class id {number}.")
        names[number] = label
    if not names:
        raise LabelsError(f"{where} names no class.")
    return tuple(_plain(names.get(number, "")) for number in range(max(names) + 1))


def _parsed(parse: Callable[[str], list[tuple[int, str]]], text: str, name: str) -> list[tuple[int, str]]:
    try:
        return parse(text)
    except ValueError as error:
        raise LabelsError(f"{name} cannot be read as a list of class names: {error}.") from error


def read_labels(path: Path) -> tuple[str, ...]:
    """`parse_labels` of a file."""
    if not path.is_file():
        raise LabelsError(f"{path} is not there; labels are a text file of one name a line.")
    return parse_labels(path.read_bytes(), path.name)


def labels_by_count(classes: int | None) -> tuple[str, ...]:
    """COCO's names where the head has 80 or 90 classes (91: with background), else none."""
    if classes == 80:
        return COCO_80
    return coco_90() if classes in (90, 91) else ()


def label_of(labels: tuple[str, ...], class_id: int) -> str:
    """The name of a class, or `class 17`."""
    if 0 <= class_id < len(labels) and labels[class_id] != "???":
        return labels[class_id]
    return f"class {class_id}"
