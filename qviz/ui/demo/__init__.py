"""The demo: a toy detector of coloured squares and an int8 file of it that loses objects, with eight annotated images.

Its size is 110 kB. It is part of the wheel, so that the dashboard can show something if the sample is not installed.
The detector's weights are set by hand. Its boxes, in pixels, are in the same output as its scores and therefore share
one int8 scale with them. `sample_data/build/demo.py` makes the files.
"""

from __future__ import annotations

from pathlib import Path

from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.features.detection.models import read_source
from qviz.ui.workspace import Workspace

FOLDER = Path(__file__).with_name("files")
MODELS = ("squares_float32.tflite", "squares_int8.tflite")
NAME = "Demo: coloured squares"


def demo() -> Workspace:
    """A workspace with the demo's models, images and annotations."""
    return Workspace(
        models=tuple(read_source(FOLDER / name) for name in MODELS),
        images=tuple(load_images([FOLDER / "images"])),
        dataset=read_coco(FOLDER / "annotations.json", FOLDER / "images"),
        name=NAME,
    )
