"""The diagnosis of `qviz diagnose` for several pairs, and the gain of its first cure on other images.

    python -m benchmarks.diagnosis                                    the bundled sample
    python -m benchmarks.diagnosis planted                            faults planted in a small detector
    python -m benchmarks.diagnosis MODELS IMAGES CALIBRATION [VARIANT...]     folders of models, images, calibration
                                                                      images; by default all variants

Half of the images are used for the diagnosis, and the built file is measured on the other half. Each pair gives a row
of the table in docs/diagnosis.md. A pair whose files are missing is left out.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qviz
from qviz.features.building.source import with_associated_files
from qviz.features.diagnosis.result import Plan
from qviz.features.diagnosis.text import best_cure, brings_back, estimate
from qviz.formatting import score
from qviz.structures.operators import orders_text
from qviz.tflite.schema import read_graph
from qviz.tflite.unfold import unfolded
from tests.squares import Squares

SAMPLE = Path(__file__).resolve().parent.parent / "sample_data"
SAMPLES = ("float16", "dynamic_range", "int8", "int8_wrong_range")
PAIRS = (
    ("yolox_nano_float32", "yolox_nano_float16"),
    ("yolox_nano_float32", "yolox_nano_dynamic_range_quant"),
    ("yolox_nano_float32", "yolox_nano_integer_quant"),
    ("yolox_nano_float32", "yolox_nano_full_integer_quant"),
    ("nanodet_m_320_float32", "nanodet_m_320_int8_floatio"),
    ("nanodet_m_320_float32", "nanodet_m_320_int8_full"),
    ("yolov8n_dynamic_range", "yolov8n_full_integer"),
    ("yolo26n_dynamic_range", "yolo26n_integer"),
)
UNFOLDED = ("yolov8n_dynamic_range", "yolo26n_dynamic_range")
"""Files that are unfolded to float32, from which qviz builds int8 variants: yolov8n_int8, yolo26n_int8."""
IMAGES = 24
CALIBRATION = 24
HEAD = ("variant", "lost", "cause", "comes back", "not a cause", "first cure", "predicted", "before → after", "CPU s")


PLANTED = (
    ("reference", "reference", "int8"),
    ("pixels_with_scores", "pixels_with_scores", "int8"),
    ("end_to_end", "end_to_end", "int8"),
    ("reference", "logits_with_boxes", "int8"),
    ("spread_weights", "spread_weights", "int8_per_tensor"),
    ("reference", "bgr_inside", "int8"),
    ("reference", "other_class_order", "int8"),
    ("reference", "input_256", "int8"),
)
"""(reference, variant, precision of the variant), functions of tests/squares/detectors.py."""


@dataclass(frozen=True)
class Pair:
    """Two model files, the images and calibration images, and the settings with which the files are opened."""

    reference: Path
    variant: Path
    images: list[Path]
    calibration: list[Path]
    settings: Mapping[str, Any] = field(default_factory=dict)


def row(pair: Pair) -> list[str]:
    """One row of the table."""
    start = cpu_seconds()
    with qviz.open(pair.reference, pair.variant, images=pair.images[::2], **pair.settings) as session:
        result = session.diagnose()
    seconds = f"{cpu_seconds() - start:.0f}"  # the workers' time counts once they have ended
    cells = [pair.variant.stem, f"{result.lost} of {result.objects}"]
    first = result.causes[0] if result.causes else None
    operators = "" if first is None or not first.operators else f" ({orders_text(first.operators)[:24]})"
    cells += ["none" if first is None else first.title + operators, "" if first is None else brings_back(first)]
    cells.append(", ".join(suspect.subject for suspect in result.suspects[:2]))
    cure = best_cure(result)
    if cure is None or cure.plan is None:
        return [*cells, "none", "", "", seconds]
    cells += [f"`{' '.join(cure.command.split()[3:-2])}`", estimate(cure.predicted)]
    before, after = measured(pair, cure.plan)
    holds = "" if (after or 0.0) > (before or 0.0) else ": does not hold"
    return [*cells, f"{score(before)} → {score(after)}{holds}", seconds]


def measured(pair: Pair, plan: Plan) -> tuple[float | None, float | None]:
    """(agreement of the variant, agreement of the file built with the cure) on the other half of the images."""
    calibrating = qviz.open(pair.reference, calibration=pair.calibration, **pair.settings)
    with calibrating as session, tempfile.TemporaryDirectory() as folder:
        built = session.quantize(plan.recipe, ranges=plan.ranges, cures=plan.cures, **plan.options)
        files = pair.reference, pair.variant, built.save(Path(folder) / "cured.tflite")
        before, after = qviz.compare(*files, images=pair.images[1::2], **pair.settings).variants
    return before.summary.agreement, after.summary.agreement


def cpu_seconds() -> float:
    """CPU seconds of this process and of ended child processes."""
    rows = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(row.ru_utime + row.ru_stime for row in rows)


def built(source: Path, calibration: list[Path], folder: Path) -> tuple[Path, Path]:
    """(float32 file, int8 file of qviz), both made from a file with compressed weights."""
    data, name = source.read_bytes(), source.stem.removesuffix("_dynamic_range")
    reference = folder / f"{name}_float32.tflite"
    reference.write_bytes(with_associated_files(unfolded(data, read_graph(data)), data))
    with qviz.open(reference, calibration=calibration) as session:
        return reference, session.quantize("int8").save(folder / f"{name}_int8.tflite")


def pairs(words: list[str], temporary: Path, only: list[str]) -> Iterator[Pair]:
    """The pairs that the arguments of the command line select. only: names of variants of public models, or empty."""
    if words[:1] == ["planted"]:
        squares, settings = Squares(temporary), {"mean": 0, "std": 255}
        images = sorted(squares.images.iterdir())
        files = [(squares.model(first, "float32"), squares.model(second, bits)) for first, second, bits in PLANTED]
        yield from (Pair(*two, images, images, settings) for two in files)
        return
    if len(words) < 3:
        models, name = SAMPLE / "models", "ssdlite_mobilenet_v2_{}.tflite"
        folders = [sorted((SAMPLE / folder).iterdir()) for folder in ("images", "calibration")]
        yield from (Pair(models / name.format("float32"), models / name.format(one), *folders) for one in SAMPLES)
        return
    folder, photos, views = map(Path, words[:3])
    chosen = sorted(photos.iterdir())[:IMAGES], sorted(views.iterdir())[:CALIBRATION]
    for names in PAIRS:
        first, second = (folder / f"{name}.tflite" for name in names)
        if first.exists() and second.exists() and (not only or second.stem in only):
            yield Pair(first, second, *chosen)
    for name in UNFOLDED:
        source, variant = folder / f"{name}.tflite", name.replace("dynamic_range", "int8")
        if source.exists() and (not only or variant in only):
            yield Pair(*built(source, chosen[1], temporary), *chosen)


def main() -> None:
    for words in (HEAD, ["---"] * len(HEAD)):
        print("| " + " | ".join(words) + " |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs(sys.argv[1:], Path(folder), sys.argv[4:]):
            print("| " + " | ".join(row(pair)) + " |", flush=True)


if __name__ == "__main__":
    main()
