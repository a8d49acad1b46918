"""Find the mistake in the annotations that makes a reference detect (nearly) none of the annotated objects.

Each likely mistake (order or unit of the coordinates, image size, mirrored or turned images, annotations of the
neighbouring image) is corrected on trial, and the objects that then overlap a detection of any class with an IoU of .5
are counted. If the boxes fit without a correction, the classes are compared. The result is text; the annotations are
not changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.datasets.box_layouts import COCO, ORDERS, UNITS, VOC, YOLO, Reading
from qviz.detector import PAGE_SCORE
from qviz.features.accuracy.ap import AveragePrecision
from qviz.formatting import listed, plural, points, score
from qviz.structures import Dataset, DatasetProblem, Detections
from qviz.structures.boxes import iou_matrix

Size = tuple[int, int]
MISREAD = (
    *("box_order", "box_unit"),
    *("category_ids_off_by_one", "image_ids_off_by_one", "classes_from_one", "labels_from_zero"),
)
"""Codes of problems that make AP meaningless, whatever its value."""
MAX_AP = 0.02
"""A reference with a lower AP is treated as one that finds no object: a variant could not lose more than this."""
MAX_AP50 = 0.1
"""If AP50 is lower than this, a reason is looked for."""
LOW_SCORE, MAX_DETECTIONS = 0.05, 30
"""Minimum confidence and maximum number per image of detections that are used if none reaches `PAGE_SCORE`."""
OVERLAP, FITS, GAIN = 0.5, 0.3, 2.0
"""A correction explains the result if it makes a share of `FITS` of the objects overlap a detection with an IoU of
`OVERLAP`, and `GAIN` times as many as without it."""
MAX_IMAGES = 500
CLASS_SHARE = 0.5
"""Minimum share of the objects with a detection that must have another class than the detection."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """One image with its objects and detections.

    Attributes:
        boxes, names: (n, 4) boxes in pixels and (n) category names of the objects.
        detected, labels: Boxes and class names of the detections.
        size, declared: (width, height) of the image, and according to the annotations.
    """

    boxes: np.ndarray
    names: Sequence[str]
    detected: np.ndarray
    labels: Sequence[str]
    size: Size
    declared: Size

    def hits(self, boxes: np.ndarray) -> np.ndarray:
        """(n,) whether each box overlaps a detection."""
        if not len(boxes) or not len(self.detected):
            return np.zeros(len(boxes), bool)
        return np.asarray(iou_matrix(boxes.astype(np.float32), self.detected).max(axis=1) >= OVERLAP)


def mismatch(
    dataset: Dataset, detections: Mapping[int, Detections], label: Callable[[int], str], sizes: Mapping[int, Size]
) -> str:
    """Sentences about the likely reason why the reference detects none of the objects.

    Args:
        dataset: Annotated images.
        detections: Image id -> detections of the reference, in pixels of the original image.
        label: Class id -> name.
        sizes: Image id -> (width, height) of the image as it was decoded.
    """
    objects = sum(int((~image.is_crowd).sum()) for image in dataset.images)
    if not objects:
        left_out = f": {dataset.skipped[0]}" if dataset.skipped else ""
        return f"No object is annotated (or only crowds){left_out}. Check that annotations and images belong together."
    scenes = _scenes(dataset, detections, label, sizes)
    count = sum(len(scene.detected) for scene in scenes)
    if not count:
        highest = max((float(one.scores.max(initial=0)) for one in detections.values()), default=0.0)
        return (
            f"It detects nothing: its highest confidence is {score(highest)}. Check how images are prepared (mean, std,"
            " channels, resize) and the decoder."
        )
    overlap = "overlaps" if count == 1 else "overlap"
    return _reason(scenes) or (
        f"Its {plural(count, 'detection')} hardly {overlap} the {plural(objects, 'object')}: check that annotations and"
        " images belong together, how images are prepared (mean, std, resize) and the decoder."
    )


def finds_nothing(reference: AveragePrecision, reason: str, objects: int) -> DatasetProblem:
    """The problem that the reference detects (nearly) none of the objects. `reason` is the result of `mismatch`."""
    figures = "AP is unknown" if reference.ap is None else f"AP {points(reference.ap)}, AP50 {points(reference.ap50)}"
    return DatasetProblem(
        "reference_finds_nothing",
        f"{reference.name} detects {'hardly any' if reference.ap else 'none'} of the annotated objects: {figures}."
        f" {reason}",
        "Correct this before judging a variant: no loss can be measured here.",
        objects,
        serious=reference.ap is None or reference.ap < MAX_AP,
    )


def _scenes(
    dataset: Dataset, detections: Mapping[int, Detections], label: Callable[[int], str], sizes: Mapping[int, Size]
) -> list[_Scene]:
    names = {category.id: category.name for category in dataset.categories}
    threshold = PAGE_SCORE if any((one.scores >= PAGE_SCORE).any() for one in detections.values()) else LOW_SCORE
    scenes = []
    for image in dataset.images[:MAX_IMAGES]:
        confident = detections[image.id].above(threshold)[:MAX_DETECTIONS]
        counted = ~image.is_crowd
        scenes.append(
            _Scene(
                boxes=image.boxes[counted],
                names=[names.get(number, "") for number in image.category_ids[counted].tolist()],
                detected=confident.boxes,
                labels=[label(int(class_id)) for class_id in confident.class_ids],
                size=sizes[image.id],
                declared=image.size or sizes[image.id],
            )
        )
    return scenes


def _reason(scenes: Sequence[_Scene]) -> str | None:
    total = max(1, sum(len(scene.boxes) for scene in scenes))
    plain = _share(scenes, lambda scene: scene.boxes, total)
    if plain >= FITS and (classes := _other_classes(scenes)) is not None:
        return classes
    shares = {text: _share(scenes, undo, total) for text, undo in _MISTAKES.items()}
    shares |= {text: _share(_neighbours(scenes, step), lambda scene: scene.boxes, total) for text, step in _STEPS}
    best = max(shares, key=lambda text: shares[text])
    if shares[best] < FITS or shares[best] < GAIN * plain:
        return None
    return f"{best}. Corrected, {shares[best]:.0%} of the objects overlap a detection; as annotated, {plain:.0%} do."


def _share(scenes: Sequence[_Scene], boxes: Callable[[_Scene], np.ndarray], total: int) -> float:
    return sum(int(scene.hits(boxes(scene)).sum()) for scene in scenes) / total


def _other_classes(scenes: Sequence[_Scene]) -> str | None:
    """A sentence on the detected classes if the boxes fit but the classes do not; else None."""
    pairs: Counter[tuple[str, str]] = Counter()
    for scene in scenes:
        if len(scene.boxes) and len(scene.detected):
            overlaps = iou_matrix(scene.boxes.astype(np.float32), scene.detected)
            for row, name in zip(overlaps, scene.names, strict=True):
                if row.max() >= OVERLAP:
                    pairs[name, scene.labels[int(row.argmax())]] += 1
    total, same = pairs.total(), sum(count for (name, label), count in pairs.items() if name == label)
    if not total or 1 - same / total < CLASS_SHARE:
        return None
    others = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]][:3]
    shown = listed([f"{name[:40]} is detected as {label[:40]} ({count} times)" for (name, label), count in others])
    return (
        f"The boxes fit, but the classes differ: {shown}. Category ids may be off by one, or the label file may belong"
        " to another model."
    )


def _read_as(reading: Reading, declared: Reading) -> Callable[[_Scene], np.ndarray]:
    """A function that returns a scene's boxes as if the file used the convention `reading`, not the declared one."""

    def boxes(scene: _Scene) -> np.ndarray:
        sizes = np.tile(np.array(scene.declared, np.float64), (len(scene.boxes), 1))
        corners = scene.boxes / np.tile(sizes, 2) if declared.unit != COCO.unit else scene.boxes
        first, last = corners[:, :2], corners[:, 2:]
        written = {
            "xywh": np.concatenate([first, last - first], axis=1),
            "centre": np.concatenate([(first + last) / 2, last - first], axis=1),
            "xyxy": corners,
        }[declared.order]
        return np.asarray(reading.corners(written, sizes))

    return boxes


def _scaled(scene: _Scene) -> np.ndarray:
    ratio = np.array(scene.size, np.float64) / np.array(scene.declared, np.float64)
    return np.asarray(scene.boxes * np.tile(ratio, 2))


def _mirrored(scene: _Scene) -> np.ndarray:
    return np.array([scene.size[0], 0, scene.size[0], 0]) + scene.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]


def _upside_down(scene: _Scene) -> np.ndarray:
    return np.array([0, scene.size[1], 0, scene.size[1]]) + scene.boxes[:, [0, 3, 2, 1]] * [1, -1, 1, -1]


def _clockwise(scene: _Scene) -> np.ndarray:
    """The boxes after turning them by 90 degrees clockwise, as if the image had been turned after it was annotated.

    The height of the image at annotation is its width now.
    """
    x1, y1, x2, y2 = scene.boxes.T
    return np.stack([scene.size[0] - y2, x1, scene.size[0] - y1, x2], axis=1)


def _anticlockwise(scene: _Scene) -> np.ndarray:
    x1, y1, x2, y2 = scene.boxes.T
    return np.stack([y1, scene.size[1] - x2, y2, scene.size[1] - x1], axis=1)


_MISTAKES: dict[str, Callable[[_Scene], np.ndarray]] = {
    **{
        f"Boxes seem to be {reading.text}, not {declared.text}": _read_as(reading, declared)
        for declared in (COCO, YOLO, VOC)
        for reading in (Reading(order, unit) for unit in UNITS for order in ORDERS)
        if reading != declared
    },
    "Boxes seem to have been drawn on images of the size in the annotations: scale them to the files' size": _scaled,
    "Boxes seem to be mirrored (left and right are swapped)": _mirrored,
    "Boxes seem to count from the bottom of the image": _upside_down,
    "Boxes seem to have been drawn before the images were turned by 90 degrees (EXIF orientation)": _clockwise,
    "Boxes seem to have been drawn before the images were turned by -90 degrees (EXIF orientation)": _anticlockwise,
}
"""Mistake -> function that corrects the boxes. Likely mistakes come first, because the first of equals is reported."""
_STEPS = (
    ("Annotations seem to belong to the next image: image ids may be off by one", 1),
    ("Annotations seem to belong to the image before: image ids may be off by one", -1),
)


def _neighbours(scenes: Sequence[_Scene], step: int) -> list[_Scene]:
    """Scenes that pair the objects of each image with the detections of the image `step` positions away."""
    pairs = zip(scenes, np.roll(np.arange(len(scenes)), -step).tolist(), strict=True)
    return [replace(scene, detected=scenes[i].detected, labels=scenes[i].labels) for scene, i in pairs]
