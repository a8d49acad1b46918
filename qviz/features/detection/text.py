"""The detections in a sentence."""

from __future__ import annotations

from qviz.features.detection import DetectionResult
from qviz.formatting import plural, score


def verdict(result: DetectionResult) -> str:
    """A sentence that says how many objects each model finds."""
    parts = [
        f"{name} finds {plural(sum(len(rows) for rows in images.values()), 'object')} on {plural(len(images), 'image')}"
        for name, images in result.items()
    ]
    return f"At confidence {score(result.score)} and above, {', '.join(parts)}."
