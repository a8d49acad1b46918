"""The files of each form.

coco   images/, annotations.json: bbox [x, y, width, height] in pixels; `score`, `change` and `lost_because` are further
       fields. Source: https://cocodataset.org/#format-data
yolo   images/, labels/NAME.txt with `class x y width height` in fractions of the image (centre and size), data.yaml
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qviz.features.comparison import ComparedObject
from qviz.features.exporting.fiftyone import write_fiftyone
from qviz.features.exporting.image import ExportedImage
from qviz.formatting import encodable


def _write_pictures(folder: Path, labels: Sequence[str], images: Sequence[ExportedImage]) -> None:
    for image in images:
        (folder / image.file).write_bytes(image.data)


def _write_coco(folder: Path, labels: Sequence[str], images: Sequence[ExportedImage]) -> None:
    _write_images(folder / "images", images)
    numbers = {label: number for number, label in enumerate(labels, 1)}
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for row in _of_reference(image, numbers):
            x1, y1, x2, y2 = row.reference_box or ()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": numbers[row.label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "score": row.reference_score,
                    "change": row.change,
                    "lost_because": row.lost_because,
                }
            )
    document = {
        "info": {"description": "Detections of a model, to be checked: not ground truth"},
        "images": [
            {"id": number, "file_name": image.file, "width": image.width, "height": image.height}
            for number, image in enumerate(images, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": encodable(label)} for label, number in numbers.items()],
    }
    (folder / "annotations.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _write_yolo(folder: Path, labels: Sequence[str], images: Sequence[ExportedImage]) -> None:
    _write_images(folder / "images", images)
    (folder / "labels").mkdir()
    numbers = {label: number for number, label in enumerate(labels)}
    for image in images:
        lines = []
        for row in _of_reference(image, numbers):
            x1, y1, x2, y2 = row.reference_box or ()
            sides = (image.width, image.height, image.width, image.height)
            values = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
            cells = (f"{value / side:.6f}" for value, side in zip(values, sides, strict=True))
            lines.append(f"{numbers[row.label]} {' '.join(cells)}\n")
        (folder / "labels" / f"{Path(image.file).stem}.txt").write_text("".join(lines), encoding="utf-8")
    names = "".join(f"  {number}: {json.dumps(encodable(label))}\n" for label, number in numbers.items())
    text = f"path: .\ntrain: images\nval: images\nnames:\n{names}"  # JSON texts are YAML texts
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _write_images(folder: Path, images: Sequence[ExportedImage]) -> None:
    folder.mkdir()
    for image in images:
        (folder / image.file).write_bytes(image.data)


def _of_reference(image: ExportedImage, numbers: dict[str, int]) -> list[ComparedObject]:
    """The reference's objects whose class is in `numbers`. Their boxes may extend beyond the image."""
    return [row for row in image.objects if row.reference_box is not None and row.label in numbers]


FORMS: dict[str, Callable[[Path, Sequence[str], Sequence[ExportedImage]], None]] = {
    "pictures": _write_pictures,
    "coco": _write_coco,
    "yolo": _write_yolo,
    "fiftyone": write_fiftyone,
}
"""Name of a form -> the function that writes it into an empty folder, from labels and images. Raises OSError."""
