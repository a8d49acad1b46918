"""A FiftyOneImageDetectionDataset: data/, and labels.json with both models' objects, in fractions of the image.

Every object has the attributes model (reference or variant), change, lost_because, and for pairs score_delta and iou,
so that FiftyOne's sidebar filters by them. Source: https://docs.voxel51.com/user_guide/import_datasets.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qviz.features.comparison import ComparedObject
from qviz.features.exporting.image import ExportedImage
from qviz.formatting import encodable


def write_fiftyone(folder: Path, labels: Sequence[str], images: Sequence[ExportedImage]) -> None:
    """Write the files into an empty folder. Raises OSError."""
    data = folder / "data"
    data.mkdir()
    objects = {}
    for image in images:
        (data / image.file).write_bytes(image.data)
        objects[Path(image.file).stem] = list(_objects(image))
    document = {"classes": [encodable(label) for label in labels], "labels": objects}
    (folder / "labels.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _objects(image: ExportedImage) -> Iterator[dict[str, Any]]:
    for row in image.objects:
        attributes = {
            "change": row.change,
            "lost_because": row.lost_because,
            "score_delta": row.score_delta,
            "iou": row.iou,
        }
        attributes = {name: value for name, value in attributes.items() if value is not None}
        for model, label, score, box in _sides(row):
            if box is not None:
                yield {
                    "label": encodable(label or ""),
                    "bounding_box": _fractions(box, image.width, image.height),
                    "confidence": score,
                    "attributes": {"model": model, **attributes},
                }


def _sides(row: ComparedObject) -> Iterator[tuple[str, str | None, float | None, tuple[float, ...] | None]]:
    yield "reference", row.label, row.reference_score, row.reference_box
    yield "variant", row.variant_label, row.variant_score, row.variant_box


def _fractions(box: tuple[float, ...], width: int, height: int) -> list[float]:
    """Left, top, width and height in fractions of the image."""
    x1, y1, x2, y2 = box
    return [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
