"""Detections as COCO's results format: what COCOeval, FiftyOne and other tools read.

bbox is x, y, width, height in pixels of the original image; image and category ids are the annotation file's own.
"""

from __future__ import annotations

from typing import Any

from qviz.analysis.evaluation import Evaluation


def coco_results(evaluation: Evaluation, model_index: int) -> list[dict[str, Any]]:
    """A row a detection of the model at that place (0: the reference), on the images that every model has run."""
    return [
        {
            "image_id": evaluation.image_ids[int(row[0])],
            "category_id": int(row[6]),
            "bbox": row[1:5],
            "score": row[5],
        }
        for row in evaluation.results[model_index].tolist()
    ]
