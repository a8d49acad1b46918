"""What `qviz diagnose` says about each pair at hand, and what its first cure brings on other images.

    python -m benchmarks.diagnosis                                    the bundled sample
    python -m benchmarks.diagnosis MODELS IMAGES CALIBRATION          pairs in a folder of models, two of images

Half of the images are diagnosed on, the other half measure the built file. One row of the table in docs/diagnosis.md
per pair; a pair whose files are missing is left out.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import qviz
from qviz.features.diagnosis.result import Plan
from qviz.features.diagnosis.text import best_cure, brings_back, estimate
from qviz.formatting import score
from qviz.structures.operators import orders_text

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
IMAGES = 24
CALIBRATION = 24
HEAD = ("variant", "lost", "cause", "comes back", "not a cause", "first cure", "predicted", "before → after", "CPU s")


def row(reference: Path, variant: Path, images: list[Path], calibration: list[Path]) -> list[str]:
    """One row of the table."""
    diagnosed, others = images[::2], images[1::2]
    start = cpu_seconds()
    with qviz.open(reference, variant, images=diagnosed) as session:
        result = session.diagnose()
    seconds = f"{cpu_seconds() - start:.0f}"  # the workers' time counts once they have ended
    cells = [variant.stem, f"{result.lost} of {result.objects}"]
    first = result.causes[0] if result.causes else None
    operators = "" if first is None or not first.operators else f" ({orders_text(first.operators)[:24]})"
    cells += ["none" if first is None else first.title + operators, "" if first is None else brings_back(first)]
    cells.append(", ".join(suspect.subject for suspect in result.suspects[:2]))
    cure = best_cure(result)
    if cure is None or cure.plan is None:
        return [*cells, "none", "", "", seconds]
    cells += [f"`{' '.join(cure.command.split()[3:-2])}`", estimate(cure.predicted)]
    before, after = measured(reference, variant, cure.plan, others, calibration)
    holds = "" if (after or 0.0) > (before or 0.0) else ": does not hold"
    return [*cells, f"{score(before)} → {score(after)}{holds}", seconds]


def measured(
    reference: Path, variant: Path, plan: Plan, images: list[Path], calibration: list[Path]
) -> tuple[float | None, float | None]:
    """Agreement of the variant and of the built cure."""
    with qviz.open(reference, calibration=calibration) as session, tempfile.TemporaryDirectory() as folder:
        built = session.quantize(plan.recipe, ranges=plan.ranges, cures=plan.cures, **plan.options)
        path = built.save(Path(folder) / "cured.tflite")
        before, after = (
            one.summary.agreement for one in qviz.compare(reference, variant, path, images=images).variants
        )
    return before, after


def cpu_seconds() -> float:
    """Processor time of this process and of those that it has waited for."""
    rows = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(row.ru_utime + row.ru_stime for row in rows)


def pairs() -> list[tuple[Path, Path, list[Path], list[Path]]]:
    """(reference, variant, images, calibration images)."""
    models = SAMPLE / "models"
    images = sorted((SAMPLE / "images").iterdir())
    views = sorted((SAMPLE / "calibration").iterdir())
    name = "ssdlite_mobilenet_v2_{}.tflite"
    rows = [(models / name.format("float32"), models / name.format(one), images, views) for one in SAMPLES]
    if len(sys.argv) < 4:
        return rows
    folder, photos, views_folder = map(Path, sys.argv[1:4])
    chosen, views = sorted(photos.iterdir())[:IMAGES], sorted(views_folder.iterdir())[:CALIBRATION]
    files = [(folder / f"{first}.tflite", folder / f"{second}.tflite") for first, second in PAIRS]
    return [(first, second, chosen, views) for first, second in files if first.exists() and second.exists()]


def main() -> None:
    for words in (HEAD, ["---"] * len(HEAD)):
        print("| " + " | ".join(words) + " |", flush=True)
    only = sys.argv[4:] if len(sys.argv) > 4 else []
    for reference, variant, images, calibration in pairs():
        if not only or variant.stem in only:
            print("| " + " | ".join(row(reference, variant, images, calibration)) + " |", flush=True)


if __name__ == "__main__":
    main()
