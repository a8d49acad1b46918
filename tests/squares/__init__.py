"""Small detectors of coloured squares, correct or with known faults, with images and annotations.

`scenes` draws the images, `datasets` writes annotations and folders, `detectors` converts the models. `Squares` holds
the files of a test session; the fixture `squares` of conftest.py is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.squares import datasets, detectors, scenes
from tests.squares.network import Precision


@dataclass(frozen=True)
class Squares:
    """The files in one folder: `images/`, `annotations.json`, `labels.txt`, and the models built so far."""

    folder: Path

    def __post_init__(self) -> None:
        scenes.write_images(self.images)
        datasets.write_annotations(self.annotations)
        self.labels.write_text(datasets.LABELS)

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def annotations(self) -> Path:
        return self.folder / "annotations.json"

    @property
    def labels(self) -> Path:
        return self.folder / "labels.txt"

    def model(self, name: str, precision: Precision | None = None) -> Path:
        """Path of a detector's .tflite file.

        name: a function of `detectors`; precision: its argument, by default the default of that function.
        """
        build = getattr(detectors, name)
        path = self.folder / (f"{name}_{precision}.tflite" if precision else f"{name}.tflite")
        if not path.exists():
            path.write_bytes(build(precision) if precision else build())
        return path
