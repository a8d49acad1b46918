"""What can be said of a model that TensorFlow Lite cannot express and TensorFlow itself runs, as a reference only.

It has boxes and so AP, but no layers. It prepares images and suppresses boxes inside, so that little can be set:
class_offset (1: the Object Detection API counts classes from 1), max_detections and labels.
"""

from __future__ import annotations

from dataclasses import fields, replace

from qviz.datasets.labels import labels_by_count
from qviz.detector import Inspection
from qviz.engine import Blob
from qviz.structures import Settings
from qviz.tensorflow_models import TENSORFLOW, class_count, signature_graph
from qviz.tflite.scheme import scheme_facts

DEFAULTS = Settings(class_offset=1, max_detections=100)
APPLY = ("class_offset", "max_detections", "labels")


def inspect_reference_job(model: Blob, said: Settings, sidecar: Settings) -> Inspection:
    """As `qviz.detector.inspect_job`, of a packed SavedModel. Raises ModelError."""
    graph = signature_graph(model.read())
    layers = {
        "class count": Settings(labels=labels_by_count(class_count(graph)) or None),
        "default": DEFAULTS,
        "sidecar": sidecar,
        "given": said,
    }
    settings = Settings(decoder=TENSORFLOW)
    sources = {field.name: "network" for field in fields(Settings) if field.name != "labels"}
    for source, layer in layers.items():
        taken = {name: value for name, value in layer.said().items() if name in APPLY}
        settings, sources = replace(settings, **taken), {**sources, **dict.fromkeys(taken, source)}
    return Inspection(graph, scheme_facts(graph), TENSORFLOW, (TENSORFLOW,), settings, sources)
