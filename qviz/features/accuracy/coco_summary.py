"""The twelve lines that pycocotools prints: AP and average recall in [0, 1], with -1 for unknown values."""

from __future__ import annotations

from qviz.features.accuracy.ap import AveragePrecision

LINES = (
    ("ap", "AP", "0.50:0.95", "all", 100),
    ("ap50", "AP", "0.50", "all", 100),
    ("ap75", "AP", "0.75", "all", 100),
    ("ap_small", "AP", "0.50:0.95", "small", 100),
    ("ap_medium", "AP", "0.50:0.95", "medium", 100),
    ("ap_large", "AP", "0.50:0.95", "large", 100),
    ("ar_1", "AR", "0.50:0.95", "all", 1),
    ("ar_10", "AR", "0.50:0.95", "all", 10),
    ("ar", "AR", "0.50:0.95", "all", 100),
    ("ar_small", "AR", "0.50:0.95", "small", 100),
    ("ar_medium", "AR", "0.50:0.95", "medium", 100),
    ("ar_large", "AR", "0.50:0.95", "large", 100),
)
"""Field of `AveragePrecision`, measure, IoU, size, detections per image and class."""
NAMES = {"AP": "Average Precision", "AR": "Average Recall"}


def coco_lines(model: AveragePrecision) -> tuple[str, ...]:
    """The twelve lines that `COCOeval.summarize` prints."""
    lines = []
    for field, measure, iou, size, detections in LINES:
        value = getattr(model, field)
        lines.append(
            f" {NAMES[measure]:<18} ({measure}) @[ IoU={iou:<9} | area={size:>6} | maxDets={detections:>3} ]"
            f" = {-1.0 if value is None else value:0.3f}"
        )
    return tuple(lines)
