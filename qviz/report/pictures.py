"""Worst images with their boxes, reference beside variants. Boxes are x, y, width, height in pixels of the original.

The JPEG stands in the page once; every pane draws it again by reference.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qviz.analysis.changes import Change, Summary, summarise
from qviz.analysis.comparison import ComparedObject
from qviz.analysis.study import StudiedImage, Study
from qviz.plots.colours import CHANGES

MOST_ACROSS = 4
MOST_BOXES = 300
"""Boxes of one pane; a page must stay light."""


@dataclass(frozen=True, slots=True)
class Box:
    """One drawn box. change: decides its line; tag: on the picture; told: on hovering; pair: the object, for both."""

    change: str
    colour: str
    x: float
    y: float
    width: float
    height: float
    tag: str
    told: str
    pair: str


@dataclass(frozen=True, slots=True)
class Pane:
    """One model's boxes; said: what became of the objects."""

    name: str
    colour: str
    said: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image. source: a data URI; unit: pixels of the original that look like one on the page's pane."""

    number: int
    name: str
    width: int
    height: int
    source: str
    unit: float
    panes: tuple[Pane, ...]

    @property
    def across(self) -> int:
        """Panes in a row: rows of equal length, at most MOST_ACROSS."""
        rows = -(-len(self.panes) // MOST_ACROSS)
        return -(-len(self.panes) // rows)


def pictures(study: Study, colours: Mapping[str, str]) -> list[Picture]:
    """Every image of the study."""
    return [_picture(number, study, image, colours) for number, image in enumerate(study.images, start=1)]


def _picture(number: int, study: Study, image: StudiedImage, colours: Mapping[str, str]) -> Picture:
    objects = study.objects(image)
    own = next(iter(objects.values()), ())
    name = study.reference.name
    panes = [_reference(own, name, colours[name])]
    panes += [_variant(found, variant, colours[variant]) for variant, found in objects.items()]
    source = "data:image/jpeg;base64," + base64.b64encode(image.jpeg).decode()
    unit = max(image.width / 400, image.height / 400)
    return Picture(number, image.name, image.width, image.height, source, unit, tuple(panes))


def _reference(objects: Sequence[ComparedObject], name: str, colour: str) -> Pane:
    """The reference's objects are told by any variant."""
    found = [row for row in objects if row.reference_box is not None]
    boxes = [
        _box("reference", colour, row.reference_box, row.label, f"{row.label} {row.reference_score:.2f}", row)
        for row in found[:MOST_BOXES]
    ]
    said = {0: "no object", 1: "1 object"}.get(len(found), f"{len(found)} objects")
    return Pane(name, colour, said, tuple(box for box in boxes if box is not None))


def _variant(objects: Sequence[ComparedObject], name: str, colour: str) -> Pane:
    ordered = sorted(objects, key=lambda row: row.change != Change.KEPT)  # what has changed is drawn on top
    boxes = [box for row in ordered[-MOST_BOXES:] if (box := _changed(row, colour)) is not None]
    return Pane(name, colour, _said(objects), tuple(boxes))


def _changed(row: ComparedObject, colour: str) -> Box | None:
    """A lost object is drawn where the reference saw it."""
    shade = colour if row.change == Change.KEPT else CHANGES[row.change]
    tag = (row.variant_label or row.label) if row.change != Change.KEPT else ""
    return _box(row.change, shade, row.variant_box or row.reference_box, tag, _told(row), row)


def _box(
    change: str, colour: str, sides: tuple[float, ...] | None, tag: str, told: str, row: ComparedObject
) -> Box | None:
    if sides is None:
        return None
    left, top, right, bottom = (round(side, 1) for side in sides)
    pair = "" if row.reference_index is None else str(row.reference_index)
    return Box(change, colour, left, top, max(right - left, 0), max(bottom - top, 0), tag[:30], told, pair)


def _told(row: ComparedObject) -> str:
    if row.change == Change.LOST:
        return f"lost: {row.label} {row.reference_score:.2f} ({row.lost_because})"
    if row.change == Change.SPURIOUS:
        return f"spurious: {row.variant_label} {row.variant_score:.2f}"
    change = f"{row.reference_score:.2f} → {row.variant_score:.2f}"
    if row.change == Change.RELABELLED:
        return f"relabelled: {row.label} → {row.variant_label}, {change}, IoU {row.iou:.2f}"
    return f"{row.change}: {row.label} {change}, IoU {row.iou:.2f}"


def _said(objects: Sequence[ComparedObject]) -> str:
    """1 lost · 2 kept"""
    summary: Summary = summarise((Change(row.change) for row in objects), ())
    order = ("lost", "relabelled", "spurious", "shifted", "kept")
    counts = [(getattr(summary, name), name) for name in order]
    return " · ".join(f"{count} {name}" for count, name in counts if count) or "no object"
