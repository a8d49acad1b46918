"""The rows of YOLO label files, each of which is an object, and what is wrong or doubtful about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qviz.datasets.box_checks import MAX_SHARE, MIN_SHARE, NO_SHARE, OUTSIDE, UNKNOWN_CLASS, problem_of
from qviz.datasets.box_layouts import YOLO, WrittenBoxes
from qviz.datasets.problems import MALFORMED, MAX_EXAMPLES, REPEATED, Problems
from qviz.formatting import plural
from qviz.structures import DatasetProblem


@dataclass(frozen=True, slots=True)
class Row:
    """One object, in shares of the image's sides.

    Attributes:
        box: x1, y1, x2, y2.
        area: Area of the object as a share of the image's area.
        behind: The numbers after the box, for a dataset of poses; empty for others.
        outline: x1, y1, x2, y2, ... of the points of a segment; empty if the row is a box.
    """

    class_id: int
    box: tuple[float, float, float, float]
    area: float
    behind: tuple[float, ...] = ()
    outline: tuple[float, ...] = field(default=(), compare=False)


@dataclass(slots=True)
class LabelRows:
    """Statistics of all rows in the label files, whether usable or not.

    Attributes:
        classes: Number of classes; a valid class id is less than this.
        problems: Rows that are left out, and rows that are doubtful.
        used: Class id -> number of its rows.
        boxes: The boxes as written in the files.
    """

    classes: int
    problems: Problems = field(default_factory=Problems)
    used: Counter[int] = field(default_factory=Counter)
    boxes: WrittenBoxes = field(default_factory=lambda: WrittenBoxes.of(YOLO))

    def add(self, row: Row, size: tuple[int, int], name: str) -> None:
        """Add a row, whether it is usable or not. size: (width, height) of its image; name: that of its image."""
        x1, y1, x2, y2 = row.box
        self.used[row.class_id] += 1
        self.boxes.add([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], size, name)

    def doubt(self, without_label: Sequence[str], images: int, names: Sequence[str]) -> None:
        """Note what is doubtful; to be called once all rows have been read."""
        self.problems.doubt(self.boxes.problem())
        self.problems.doubt(self._from_one(names))
        if count := len(without_label):
            self.problems.doubt(
                DatasetProblem(
                    "images_without_labels",
                    f"{plural(count, 'image')} of {images} {'has' if count == 1 else 'have'} no label file and"
                    f" {'counts' if count == 1 else 'count'} as background, as in Ultralytics.",
                    "Add the label files, or empty ones where the images show no object.",
                    count,
                    tuple(without_label[:MAX_EXAMPLES]),
                )
            )

    def _from_one(self, names: Sequence[str]) -> DatasetProblem | None:
        """The problem that classes are numbered from 1: class 0 is unused, and one id is beyond the last name."""
        if not names or not self.used or min(self.used) != 1 or max(self.used) != len(names):
            return None
        return DatasetProblem(
            "classes_from_one",
            f"Rows have the classes 1 to {len(names)}, and data.yaml has 0 to {len(names) - 1}: classes are probably"
            " numbered from 1, and every object counts as another class.",
            "Subtract 1 from the class of each row.",
            self.used.total(),
            tuple(
                f"class {number}: {plural(count, 'row')}" for number, count in sorted(self.used.items())[:MAX_EXAMPLES]
            ),
            serious=True,
        )


def parse_row(line: str, keypoints: bool = False) -> Row | None:
    """The row in a line of a label file, or None if it is malformed. keypoints: further numbers may follow the box."""
    try:
        class_id, *values = (float(word) for word in line.split())
    except ValueError:
        return None
    if not np.isfinite([class_id, *values]).all() or class_id != int(class_id):
        return None
    if len(values) == 4 or (keypoints and len(values) > 4):
        x, y, width, height = values[:4]
        box = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        return Row(int(class_id), box, width * height, tuple(values[4:]))
    return _polygon(int(class_id), values) if len(values) >= 6 and len(values) % 2 == 0 else None


def _polygon(class_id: int, values: list[float]) -> Row:
    x, y = np.array(values).reshape(-1, 2).T
    box = float(x.min()), float(y.min()), float(x.max()), float(y.max())
    area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2  # the shoelace formula
    return Row(class_id, box, area or (box[2] - box[0]) * (box[3] - box[1]), outline=tuple(values))


def usable_rows(text: str, keypoints: bool, size: tuple[int, int], label_rows: LabelRows, name: str) -> list[Row]:
    """The usable rows of a label file, without duplicates.

    size: (width, height) of its image; name: the image's name, for examples of problems.
    """
    rows: dict[Row, None] = {}
    for line in filter(str.strip, text.splitlines()):
        row = parse_row(line, keypoints)
        if row is not None:
            label_rows.add(row, size, name)
        problem = MALFORMED if row is None else _problem(row, label_rows.classes, size)
        if row in rows and problem is None:
            problem = REPEATED
        if problem is not None:
            label_rows.problems.leave_out(problem, f"{name}: {line[:60]}")
        elif row is not None:
            rows[row] = None
    return list(rows)


def _problem(row: Row, classes: int, size: tuple[int, int]) -> str | None:
    if not 0 <= row.class_id < classes:
        return UNKNOWN_CLASS
    problem = problem_of([share * side for share, side in zip(row.box, size * 2, strict=True)], size)
    if problem in (None, OUTSIDE) and not all(MIN_SHARE < share < MAX_SHARE for share in row.box):
        return NO_SHARE
    return problem
