"""Remakes the files of the dashboard's demo, qviz/ui/demo/files: a toy detector, its int8 file, eight images and boxes.

    .venv/bin/python -m sample_data.build.demo

The detector and the scenes are those of the tests (tests/squares): weights set by hand, squares drawn with numpy. Its
int8 file is what TensorFlow's converter makes of it: boxes in pixels and scores share one output, so a score has only
the values 0 and 1. Nothing here comes from elsewhere. A second run gives the same bytes.
"""

import json

from PIL import Image

from qviz.ui.demo import FOLDER, MODELS
from tests.squares import detectors, scenes

QUALITY = 70
SETTINGS = {"mean": 0, "std": 255, "channels": "rgb", "labels": list(scenes.CLASSES)}


def main() -> None:
    images = FOLDER / "images"
    images.mkdir(parents=True, exist_ok=True)
    names = {name: name.replace(".png", ".jpg") for name in scenes.NAMES}
    for name, pixels in zip(scenes.NAMES, scenes.images(), strict=True):
        Image.fromarray(pixels).save(images / names[name], quality=QUALITY)
    annotations = scenes.coco()
    for image in annotations["images"]:
        image["file_name"] = names[image["file_name"]]
    (FOLDER / "annotations.json").write_text(json.dumps(annotations) + "\n", encoding="utf-8")
    for name, precision in zip(MODELS, ("float32", "int8"), strict=True):
        (FOLDER / name).write_bytes(detectors.pixels_with_scores(precision))
        (FOLDER / f"{name}.qviz.json").write_text(json.dumps(SETTINGS) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print(f"{FOLDER}: {size:,} bytes")


if __name__ == "__main__":
    main()
