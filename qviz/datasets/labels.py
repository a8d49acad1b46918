"""Class names, from a label file or, for models without one, COCO's names by the number of classes.

A label file has one of four forms, which are recognised by content:

lines        one name per line, or a number and a name: `0 person`, `1: bicycle`; the numbers are class ids, which may
             have gaps; a single line with several commas, `person,bicycle,car`, is a list of names
pbtxt        `item { id: 1 name: "person" }`, the Object Detection API's label map; ids count from 1
JSON         ["person", ...], {"0": "person"}, {"person": 0}, or an object with one of these as `names` or `id2label`
YAML         Ultralytics' data.yaml with its `names:`

Class ids count from 0; a class that the file leaves out is called `???`. In lines and JSON, a first name `background`
becomes `???`. If the first name, and no other, is `???`, it stands for the background; this is also so if the ids in
the file begin with 1. `without_background` drops it, because the class ids of detections do not count the background.
`background_offset` says whether the model's outputs count it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from qviz.datasets.protobuf_messages import is_label_map, parse_label_map
from qviz.datasets.yaml_file import names_of, read_top_level
from qviz.errors import LabelsError
from qviz.formatting import plural
from qviz.structures.json_document import NotJson, parse_json

LABEL_SUFFIXES = (".txt", ".names", ".pbtxt", ".json", ".yaml", ".yml")
MAX_BYTES = 4 << 20
MAX_LABELS = 20_000
_NAMES_KEY = re.compile(r"^names[ \t]*:(?=[ \t\r]|$)", re.MULTILINE)
UNNAMED = "???"
BACKGROUND = frozenset({"???", "background", "__background__", "bg"})

_NAMES = """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign
parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|suitcase
frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle
wine glass|cup|fork|knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch
potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink
refrigerator|book|clock|vase|scissors|teddy bear|hair drier|toothbrush"""

COCO_80 = tuple(_NAMES.replace("\n", "|").split("|"))

UNUSED_90 = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Category ids in 1..90 that COCO does not use."""


def coco_90() -> tuple[str, ...]:
    """90 names: the name at index i is that of category id i + 1, or `???` if that id is unused."""
    names = iter(COCO_80)
    return tuple("???" if number in UNUSED_90 else next(names) for number in range(1, 91))


def parse_labels(data: bytes, name: str) -> tuple[str, ...]:
    """The class names in a label file of any of these forms. name: of the file, for messages. Raises LabelsError."""
    if len(data) > MAX_BYTES:
        raise LabelsError(f"{name} is {len(data) >> 20} MB; the limit for a label file is {MAX_BYTES >> 20} MB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelsError(f"{name} is not UTF-8 text; a label file has one name per line.") from error
    if name.lower().endswith(".json") or _is_json(text):
        return unnamed_background(_from_json(text, name))
    if is_label_map(text):
        return labels_by_id(_parsed(parse_label_map, text, name), name)
    if has_names(text):
        return labels_by_id(_parsed(_from_yaml, text, name), name)
    return unnamed_background(_lines(text, name))


def has_names(text: str) -> bool:
    """Whether a line begins with `names:`, as in a data.yaml."""
    return _NAMES_KEY.search(text) is not None


def _from_yaml(text: str) -> list[tuple[int, str]]:
    nodes = read_top_level(text)
    if "names" not in nodes:
        raise ValueError("it has no `names:` at the top level")
    return names_of(nodes["names"])


def _lines(text: str, name: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or len(lines) > MAX_LABELS or "\0" in "".join(lines[:100]):
        raise LabelsError(
            f"{name} has {plural(len(lines), 'line')}; a label file has one name per line, at most {MAX_LABELS}."
        )
    if len(lines) == 1 and lines[0].count(",") > 1:
        lines = [part.strip() for part in lines[0].rstrip(",").split(",")]
    return _numbered_lines(lines) or tuple(_plain(line) for line in lines)


_NUMBERED = re.compile(r"(\d{1,5})(?:\s*[:,;=.)|-]\s*|\s+)(\S.*)")


def _numbered_lines(lines: list[str]) -> tuple[str, ...]:
    """The names in lines that all begin with a class id; empty if they do not.

    Ids must be in ascending order, or be consecutive from 0 or 1 in any order. Names must differ: `1 euro` and `2 euro`
    are names without ids.
    """
    rows = [match.groups() for line in lines if line and (match := _NUMBERED.fullmatch(line))]
    numbers, names = [int(number) for number, _ in rows], [name for _, name in rows]
    if not rows or len(rows) < sum(map(bool, lines)) or len(set(names)) < len(names):
        return ()
    rising = all(later > earlier for earlier, later in pairwise(numbers))
    consecutive = min(numbers) in (0, 1) and sorted(numbers) == list(range(min(numbers), max(numbers) + 1))
    if not (rising or consecutive) or max(numbers) >= MAX_LABELS:
        return ()
    return labels_by_id(zip(numbers, names, strict=True), "the label file")


def unnamed_background(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The names, with a first name `background` replaced by `???`."""
    return (UNNAMED, *labels[1:]) if labels and labels[0].lower() in BACKGROUND else labels


def without_background(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The names without a first `???` that stands for the background."""
    return labels[1:] if _has_background(labels) else labels


def background_offset(labels: tuple[str, ...], classes: int | None) -> int:
    """The class_offset: 1 if the names include the background and their number equals the model's `classes`, else 0."""
    return int(_has_background(labels) and classes == len(labels))


def _has_background(labels: tuple[str, ...]) -> bool:
    return len(labels) > 1 and labels[0] == UNNAMED and labels[1] != UNNAMED


def _plain(name: str) -> str:
    """The name on one line, cut to 100 characters; `???` if it is empty."""
    return " ".join(name.split())[:100] or "???"


def _is_json(text: str) -> bool:
    stripped = text.strip()
    return stripped[:1] + stripped[-1:] in ("[]", "{}")


def _from_json(text: str, name: str) -> tuple[str, ...]:
    try:
        content = parse_json(text)
    except NotJson as error:
        raise LabelsError(f"{name} looks like JSON but cannot be parsed: {error}.") from error
    if isinstance(content, dict):
        content = next((content[key] for key in ("names", "id2label") if key in content), content)
    return labels_by_id(numbered(content, name), name)


def numbered(names: Any, where: str) -> list[tuple[int, str]]:
    """(class id, name) pairs from a list of names, {"0": name} or {name: 0}. Raises LabelsError."""
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return list(enumerate(names))
    if isinstance(names, dict):
        pairs = list(names.items())
        if all(isinstance(key, str) and _is_number(value) for key, value in pairs):
            return [(number, key) for key, number in pairs]
        if all(_is_number(key) or (isinstance(key, str) and key.isdecimal() and len(key) < 10) for key, _ in pairs):
            return [(int(key), str(value)) for key, value in pairs]
    raise LabelsError(
        f'{where}: class names must be a list, or an object such as {{"0": "person"}} or {{"person": 0}}.'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def labels_by_id(pairs: Iterable[tuple[int, str]], where: str) -> tuple[str, ...]:
    """Names in the order of their class ids, `???` for a missing one. Raises LabelsError."""
    names: dict[int, str] = {}
    for number, label in pairs:
        if not 0 <= number < MAX_LABELS:
            shown = str(number)[:20]
            raise LabelsError(f"{where}: {label[:40]!r} has the class id {shown}; ids must be 0 to {MAX_LABELS - 1}.")
        if number in names:
            raise LabelsError(f"{where}: {names[number][:40]!r} and {label[:40]!r} have the same class id {number}.")
        names[number] = label
    if not names:
        raise LabelsError(f"{where} has no class names.")
    return tuple(_plain(names.get(number, "")) for number in range(max(names) + 1))


def _parsed(parse: Callable[[str], list[tuple[int, str]]], text: str, name: str) -> list[tuple[int, str]]:
    try:
        return parse(text)
    except ValueError as error:
        raise LabelsError(f"{name} cannot be read as a list of class names: {error}.") from error


def read_labels(path: Path) -> tuple[str, ...]:
    """The class names in a label file. Raises LabelsError."""
    if not path.is_file():
        raise LabelsError(f"{path} does not exist; give a text file with one class name per line.")
    return parse_labels(path.read_bytes(), path.name)


def labels_by_count(classes: int | None) -> tuple[str, ...]:
    """COCO's names for 80 or 90 classes (or 91, with the background), else an empty tuple."""
    if classes == 80:
        return COCO_80
    return coco_90() if classes in (90, 91) else ()


def label_of(labels: tuple[str, ...], class_id: int) -> str:
    """The name of a class, or e.g. `class 17` if it has none."""
    if 0 <= class_id < len(labels) and labels[class_id] != "???":
        return labels[class_id]
    return f"class {class_id}"


SYNONYMS = {
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "tvmonitor": "tv",
    "television": "tv",
    "sofa": "couch",
    "hairdryer": "hairdrier",
}
"""Synonym (mostly Pascal VOC's name) -> COCO's name; both without spaces."""


def plain_name(name: str) -> str:
    """The name in lower case, without spaces, hyphens and underscores."""
    return "".join(name.lower().replace("_", " ").replace("-", " ").split())


def canonical_name(name: str) -> str:
    """The plain name; for a synonym, COCO's plain name."""
    return SYNONYMS.get(plain_name(name), plain_name(name))
