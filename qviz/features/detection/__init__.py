"""Run every model on every image and return the detections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qviz.context import Context
from qviz.errors import ImageError
from qviz.features.detection.dark import dark_remarks
from qviz.features.detection.inference import Detected, Images, detect_images
from qviz.features.detection.models import LoadedModel, unique_names
from qviz.formatting import encodable
from qviz.result import Result
from qviz.structures import Detections, Inference

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("model", "image", "label", "class_id", "score", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One detected object.

    Attributes:
        label: Name of the class, or e.g. `class 17` if it has none.
        class_id: Zero-based class id.
        score: Confidence in [0, 1].
        box: x1, y1, x2, y2 in pixels of the original image.
        keypoints: x, y in pixels and visibility in [0, 1] of each keypoint; None if the model has none.
        corners: x, y in pixels of the four corners of a rotated box; `box` is then its upright hull. None for upright
            boxes.
    """

    label: str
    class_id: int
    score: float
    box: tuple[float, ...]
    keypoints: tuple[tuple[float, ...], ...] | None = None
    corners: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DetectedImage:
    """Detections of one model on one image.

    Attributes:
        image: Name of the image; if several images have the same name, the later ones get a number.
        width, height: Size of the original image in pixels.
        milliseconds: Inference time of the model alone.
        model: Name of the model.
        objects: The objects with their labels.
        detections: The same objects as arrays.
    """

    JSON_NAMES: ClassVar[Mapping[str, str | None]] = {"objects": "detections", "detections": None}

    image: str
    width: int
    height: int
    milliseconds: float
    model: str
    objects: tuple[DetectedObject, ...]
    detections: Detections


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DetectionResult(Result, Mapping[str, Mapping[str, Detections]]):
    """Detections of every model on every image: `result[model name][image name]`.

    Attributes:
        images: One entry for each model and image.
        score: Minimum confidence of an object, in [0, 1].
        skipped: One sentence for each image or model that could not be run, and about images that are nearly black.
    """

    ROWS: ClassVar[str] = "images"

    images: tuple[DetectedImage, ...]
    score: float
    skipped: tuple[str, ...] = ()

    def __getitem__(self, model: str) -> Mapping[str, Detections]:
        images = {row.image: row.detections for row in self.images if row.model == model}
        if not images:
            raise KeyError(model)
        return images

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(row.model for row in self.images))

    def __len__(self) -> int:
        return len({row.model for row in self.images})

    def to_frame(self) -> pd.DataFrame:
        """A table with one row per object."""
        import pandas as pd

        rows = [
            [image.model, encodable(image.image), row.label, row.class_id, row.score, *row.box]
            for image in self.images
            for row in image.objects
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def detect(context: Context, models: Sequence[LoadedModel], images: Images, *, score: float) -> DetectionResult:
    """Run every model on every image.

    Args:
        images: Encoded images, for example `ImageFiles`.
        score: Minimum confidence in [0, 1].

    Returns:
        `result[model name][image name]` is a Detections.

    Raises:
        ImageError: No image can be read.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGES) as session:
        ...     len(session.detect()["ssdlite_mobilenet_v2_int8.tflite"]["hens.jpg"])
    """
    detected = detect_images(context, models, images, len(images), score)
    check_any_image(detected)
    names = unique_names([name for name, _ in detected.images])
    rows = [
        _image(model, name, inference)
        for model in models
        for name, (_, digest) in zip(names, detected.images, strict=True)
        if (inference := detected.inferences.get((model.digest, digest))) is not None
    ]
    dark = dark_remarks(context, images, detected, models[0], score)
    return DetectionResult(tuple(rows), score, (*detected.skipped, *dark))


def check_any_image(detected: Detected) -> None:
    """Raise ImageError if no image could be run."""
    if not detected.images:
        raise ImageError(" ".join(detected.skipped[:3]) or "There are no images.")


def _image(model: LoadedModel, name: str, inference: Inference) -> DetectedImage:
    rows = inference.detections
    objects = tuple(
        DetectedObject(
            model.inspection.label(int(rows.class_ids[i])),
            int(rows.class_ids[i]),
            float(rows.scores[i]),
            tuple(map(float, rows.boxes[i])),
            _points(rows.keypoints, i),
            _points(rows.corners, i),
        )
        for i in range(len(rows))
    )
    size = inference.width, inference.height
    return DetectedImage(name, *size, inference.milliseconds, model.name, objects, rows)


def _points(points: np.ndarray | None, index: int) -> tuple[tuple[float, ...], ...] | None:
    return None if points is None else tuple(tuple(map(float, point)) for point in points[index])
