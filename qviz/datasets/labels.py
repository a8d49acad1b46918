"""Class names: from a text file of one name a line, or COCO's own by class count.

Class ids count from 0 into these names. A first line that stands for the background (`???`, `background`) is dropped,
as the detectors' class ids do not count it.
"""

from __future__ import annotations

from pathlib import Path

from qviz.errors import LabelsError

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
    """One name a line. Raises LabelsError where the bytes are no such text."""
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise LabelsError(f"{name} is no UTF-8 text; labels are one name a line.") from error
    while lines and not lines[-1]:
        lines.pop()
    if not lines or len(lines) > MAX_LABELS or "\0" in "".join(lines[:100]):
        raise LabelsError(f"{name} has {len(lines)} lines; labels are one name a line, {MAX_LABELS} at the most.")
    if lines[0].lower() in BACKGROUND:
        lines = lines[1:]
    return tuple(line[:100] or "???" for line in lines)


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
