"""The parts that are run on each side, and the command lines of each part.

Words in braces are replaced in each run: `{out}` by a folder of the run, `{shared}` by the folder of models and images
beside the checkout, `{subset}` by a COCO file with the first images of the file in that folder. All other paths are
relative to the checkout, so each side reads its own sample. All options exist in the base commit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

MAKERS = ("reading.py", "record.py", "driver.py")
"""Files that determine the content of a recording. A recording made with other versions of them is not used."""
PARTS = ("sample", "report", "models", "pages")
SUBSET = 24
"""Number of images in the annotated subset for the shared models."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of `python -m qviz`. out: format of standard output; files: written files that are compared, too."""

    name: str
    words: tuple[str, ...]
    out: str = "json"
    files: tuple[str, ...] = ()
    quick: bool = False


def step(name: str, line: str, out: str = "json", files: tuple[str, ...] = (), quick: bool = False) -> Step:
    """A step from a command line. If `out` is `json` or `csv`, the option of this name is added."""
    option = {"json": " --json", "csv": " --csv"}.get(out, "")
    return Step(name, tuple((line + option).split()), out, files, quick)


def both(name: str, line: str, quick: bool = False) -> list[Step]:
    """Two steps: the same call with --json and with --csv."""
    return [step(f"{name} json", line, quick=quick), step(f"{name} csv", line, "csv")]


def _sample_model(scheme: str) -> str:
    return f"sample_data/models/ssdlite_mobilenet_v2_{scheme}.tflite"


def _files(folder: str, names: str) -> str:
    return " ".join(f"{folder}/{name}.jpg" for name in names.split())


FLOAT, INT8, WRONG = (_sample_model(scheme) for scheme in ("float32", "int8", "int8_wrong_range"))
DYNAMIC, HALF = _sample_model("dynamic_range"), _sample_model("float16")
THREE = _files("sample_data/images", "hens kitten berlin_street")
PHOTOS = "sample_data/images"
TRUTH = "--dataset sample_data/annotations.json --images sample_data/images"
CALIBRATION = _files("sample_data/calibration", "astronaut_1 bison_1 calf_1 cat_1 chair_1 cow_1 cup_1 dog_1")

LOOKING = [
    step("info", f"info {FLOAT} {INT8} {WRONG} {DYNAMIC} {HALF}", quick=True),
    step("info text", f"info {INT8}", "text"),
    *both("detect", f"detect {INT8} --images {THREE}", quick=True),
    step("detect settings", f"detect {FLOAT} --images {THREE} --score 0.1 --max-detections 5 --resize letterbox"),
    *both("compare", f"compare {FLOAT} {INT8} {WRONG} {DYNAMIC} {HALF} --images {PHOTOS}", quick=True),
    step("compare text", f"compare {FLOAT} {INT8} {WRONG} --images {PHOTOS}", "text"),
    step("compare iou", f"compare {FLOAT} {WRONG} --images {PHOTOS} --score 0.1 --iou 0.7"),
    *both("layers", f"layers {FLOAT} {INT8} --images {THREE}", quick=True),
    step("layers wrong", f"layers {FLOAT} {WRONG} --images {THREE}"),
    step("layers text", f"layers {FLOAT} {WRONG} --images {THREE}", "text"),
    step("layers variant", f"layers {FLOAT} {INT8} --images {THREE} --local-inputs variant"),
    step("layers noise", f"layers {FLOAT} {INT8} --images {PHOTOS}/hens.jpg --noise-budget"),
    *both("trace", f"trace {FLOAT} {WRONG} --image {PHOTOS}/hens.jpg --quick", quick=True),
    step("trace full", f"trace {FLOAT} {INT8} --image {PHOTOS}/kitten.jpg --object 0"),
    *both("what-if", f"what-if {FLOAT} {WRONG} --images {THREE} --float 0-12 --float 40", quick=True),
    step("what-if search", f"what-if {FLOAT} {WRONG} --images {THREE}"),
    step("risk", f"risk {FLOAT} {WRONG} --images {PHOTOS}"),
]
MEASURING = [
    *both("evaluate", f"evaluate {FLOAT} {INT8} {WRONG} {TRUTH}", quick=True),
    step("evaluate text", f"evaluate {FLOAT} {INT8} {WRONG} {TRUTH}", "text"),
    step("evaluate reference", f"evaluate {FLOAT} {DYNAMIC} --images {PHOTOS} --reference-as-truth"),
    step("gate fails", f"evaluate {FLOAT} {WRONG} {TRUTH} --max-ap-loss 0.02 --confident lower", quick=True),
    step(
        "gate markdown",
        f"evaluate {FLOAT} {INT8} {TRUTH} --max-ap-loss 0.5 --confident upper --markdown {{out}}/summary.md",
        files=("summary.md",),
    ),
    *both(
        "robustness",
        f"robustness {FLOAT} {WRONG} {TRUTH} --corruptions exposure_down,night --severities 3 --layer-images 2",
    ),
    step(
        "robustness images",
        f"robustness {FLOAT} {INT8} --images {THREE} --corruptions contrast,rotation --severities 1,5 --layer-images 2",
    ),
    *both("profile", f"profile {INT8} --runs 3 --operators"),
]
BUILDING = [
    step("recipes", f"quantize {FLOAT} --recipe int8 -o {{out}}/none.tflite --recipes", "text"),
    step("quantize", f"quantize {FLOAT} --recipe int8 --calibration {CALIBRATION} -o {{out}}/int8.tflite", quick=True),
    step("quantize dynamic", f"quantize {FLOAT} --recipe dynamic_range -o {{out}}/dynamic.tflite"),
    step(
        "quantize kept",
        f"quantize {FLOAT} --recipe int8 --calibration {CALIBRATION} --ranges percentile --keep-operators 0-3"
        " --save-ranges {out}/ranges.json -o {out}/kept.tflite",
    ),
    step("info built", "info {out}/int8.tflite {out}/dynamic.tflite {out}/kept.tflite"),
    step(
        "compare built",
        f"compare {FLOAT} {{out}}/int8.tflite {{out}}/dynamic.tflite {{out}}/kept.tflite --images {PHOTOS}",
        quick=True,
    ),
    *both(
        "calibration",
        f"calibration {FLOAT} --images {CALIBRATION} --dataset sample_data/annotations.json"
        f" --dataset-images {PHOTOS} --draws 1 --mistakes none",
    ),
    step(
        "rescue",
        f"rescue {FLOAT} --calibration {CALIBRATION} {TRUTH} --max-ap-loss 0.03 --tries 4 -o {{out}}/rescued.tflite",
        files=("rescued.recipe.json",),
    ),
    step(
        "rescue csv",
        f"rescue {FLOAT} --calibration {CALIBRATION} --images {PHOTOS} --min-agreement 0.8 --recipes dynamic_range"
        " --tries 2 -o {out}/agreeing.tflite",
        "csv",
    ),
    step("qat", f"qat {FLOAT} --images sample_data/calibration --steps 6 -o {{out}}/trained.tflite"),
]
REFUSING = [
    step("no model", "info sample_data/models/nothing.tflite", "text", quick=True),
    step("no images", f"compare {FLOAT} {INT8}", "text", quick=True),
    step("no command", "nonsense", "text", quick=True),
    step("bad score", f"detect {INT8} --images {THREE} --score 2", "text", quick=True),
    step("bad corruption", f"robustness {FLOAT} {INT8} --images {THREE} --corruptions nonsense", "text"),
]
REPORT = [
    step(
        "report",
        f"report {FLOAT} {INT8} {WRONG} {TRUTH} -o {{out}}/report.html --save-study {{out}}/study.json",
        files=("report.html", "study.json"),
    ),
    step("report study", "report --study {out}/study.json -o {out}/again.html", files=("again.html",)),
    step(
        "report images",
        f"report {FLOAT} {WRONG} --images {THREE} --title Golden --note verdict=12 -o {{out}}/images.html",
        files=("images.html",),
        quick=True,
    ),
]

PAIRS = {
    "yolox_nano_float32": (
        "yolox_nano_float16",
        "yolox_nano_dynamic_range_quant",
        "yolox_nano_integer_quant",
        "yolox_nano_full_integer_quant",
    ),
    "nanodet_m_320_float32": ("nanodet_m_320_float16", "nanodet_m_320_int8_floatio", "nanodet_m_320_int8_full"),
    "yolov8n_dynamic_range": ("yolov8n_full_integer",),
    "yolo26n_dynamic_range": ("yolo26n_integer",),
}
"""Reference -> its variants. YOLOX with int16 activations is only read by `info`, because it has no fast kernels."""
LAYERS = {
    "yolox_nano_float32": "yolox_nano_full_integer_quant",
    "nanodet_m_320_float32": "nanodet_m_320_int8_full",
    "yolov8n_dynamic_range": "yolov8n_full_integer",
    "yolo26n_dynamic_range": "yolo26n_integer",
}
COCO = ("000000005001", "000000008193", "000000010764")


def _shared(name: str) -> str:
    return f"{{shared}}/models/{name}.tflite"


def model_steps(models: list[str]) -> list[Step]:
    """The steps on shared models. models: names of the shared models that exist."""
    infos = [step(f"info {name}", f"info {_shared(name)}", quick=True) for name in models]
    there = {first: [name for name in rest if name in models] for first, rest in PAIRS.items() if first in models}
    return infos + [row for first, rest in there.items() if rest for row in _pair_steps(first, rest)]


def _pair_steps(first: str, variants: list[str]) -> list[Step]:
    images = " ".join(f"{{shared}}/coco/images/{name}.jpg" for name in COCO)
    image, every = images.split()[0], " ".join(map(_shared, variants))
    deep = _shared(LAYERS[first])
    return [
        *both(f"compare {first}", f"compare {_shared(first)} {every} --images {images}", quick=True),
        step(f"detect {first}", f"detect {deep} --images {images} --score 0.05"),
        step(f"layers {first}", f"layers {_shared(first)} {deep} --images {images}"),
        *[
            step(f"trace {first} {number}", f"trace {_shared(first)} {deep} --image {path} --quick")
            for number, path in enumerate(images.split()[:2])
        ],
        step(f"what-if {first}", f"what-if {_shared(first)} {deep} --images {image} --float 0-20"),
        step(
            f"evaluate {first}",
            f"evaluate {_shared(first)} {every} --dataset {{subset}} --images {{shared}}/coco/images",
        ),
    ]


def steps_of(part: str, shared: Path, quick: bool) -> list[Step]:
    """The command lines of a part. The part `pages` has none, because the driver opens the pages."""
    models = sorted(path.stem for path in (shared / "models").glob("*.tflite"))
    all_steps = {
        "sample": [*LOOKING, *MEASURING, *BUILDING, *REFUSING],
        "report": REPORT,
        "models": model_steps(models),
        "pages": [],
    }[part]
    return [row for row in all_steps if row.quick or not quick]


def digest(part: str, steps: list[Step], quick: bool) -> str:
    """A digest of everything but the commit that a recording depends on."""
    sources = [(Path(__file__).parent / name).read_text() for name in MAKERS if part == "pages" or name != "driver.py"]
    text = json.dumps([sources, SUBSET, quick, [asdict(row) for row in steps]])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
