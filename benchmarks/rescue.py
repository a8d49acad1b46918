"""Rescues of the sample: from the wrong-range file, from int4 weights, and with every recipe allowed.

Calibrated on COCO train images where they are beside the project, else on the sample's calibration views; searched and
reported on COCO val and on the sample's composed scenes. Shown: the budget, what the start loses on the report half,
what was found and what that loses there with its interval, how many candidates were tried, and the time.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qviz import api
from qviz.features.building import source_of
from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.detector import AP_SCORE
from qviz.engine import LocalEngine, importing
from qviz.features.building import builders
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.rescuing import Terms, rescue
from qviz.features.rescuing.measure import Half, halves
from qviz.features.rescuing.result import SIZE, Budget, Rescue
from qviz.session import Session
from qviz.store import FILE, Store
from qviz.structures import Dataset, EncodedImage, Loss

ROOT = Path(__file__).resolve().parents[1]
SAMPLE, COCO = ROOT / "sample_data", ROOT.parent / "shared" / "coco"
MODELS = SAMPLE / "models"
INT4 = ("dynamic_range_int4", "weight_only_int4")
SCENES = 100
CASES = (
    # start, recipes that may be used, budget in AP
    ("int8_wrong_range", ("int8",), 0.01),
    ("dynamic_range_int4", INT4, 0.05),
    ("dynamic_range_int4", (), 0.01),
)


def data() -> tuple[list[EncodedImage], list[Dataset]]:
    """Calibration images, and what is measured on."""
    scenes = read_coco(SAMPLE / "scenes" / "annotations.json", SAMPLE / "scenes")
    few = replace(scenes, name="scenes", images=scenes.images[:: max(1, len(scenes.images) // SCENES)][:SCENES])
    if not COCO.is_dir():
        return list(load_images([SAMPLE / "calibration"])), [few]
    train, val = (read_coco(COCO / f"instances_{part}2017.json", COCO / "images") for part in ("train", "val"))
    return [image.encoded() for image in train.images], [replace(val, name="COCO val"), few]


def start_loss(
    engine: LocalEngine, reference: LoadedModel, start: LoadedModel, on: Dataset, budget: Budget, store: Store
) -> Loss:
    """What the start loses on the report half."""
    half = Half(engine, reference, halves(on)[1], AP_SCORE, store)
    return half.interval(start, half.run(start), budget)


def started(engine: LocalEngine, reference: LoadedModel, name: str) -> LoadedModel:
    """The sample's own file, or the recipe of that name as it is."""
    path = MODELS / f"ssdlite_mobilenet_v2_{name}.tflite"
    made = path.read_bytes() if path.is_file() else api.quantize(MODELS / reference.name, name, engine=engine).data
    return follow(load_model(engine, ModelSource(f"{name}.tflite", made)), reference)


def show(name: str, on: Dataset, budget: Budget, before: Loss, found: Rescue, seconds: float, first: float) -> None:
    assert found.chosen is not None
    row = found.chosen.tried
    kept = f"{len(row.candidate.kept)} of its operators in float" if row.candidate.kept else "nothing in float"
    print(f"\nfrom {name}, {on.name}: {found.search_images} images searched on, {found.report_images} reported on")
    print(f"  budget {budget.text}; the start loses {_told(before)}")
    made = row.candidate
    print(f"  {made.recipe} ({made.algorithm}, {made.method}), {kept}: {_told(found.chosen.loss)}")
    print(f"  {row.bytes / 1e6:.2f} MB of {found.reference_bytes / 1e6:.2f}; budget kept: {found.kept}")
    print(f"  {len(found.tried)} candidates in {seconds:.0f} s; the first within the budget after {first:.0f} s")
    print(f"  {row.candidate.name}")


def _told(loss: Loss) -> str:
    return f"{100 * (loss.value or 0):+.1f} [{100 * (loss.low or 0):+.1f}, {100 * (loss.high or 0):+.1f}] AP x100"


def case(
    engines: tuple[LocalEngine, LocalEngine], reference: LoadedModel, images: Sequence[EncodedImage], on: Dataset,
    what: tuple[str, Sequence[str], float], store: Store,
) -> None:  # fmt: skip
    name, recipes, limit = what
    budget, begun, firsts = Budget.of(max_ap_loss=limit), time.monotonic(), list[float]()

    def watch(found: Rescue) -> None:
        if found.best is not None and found.best.within:
            firsts.append(time.monotonic() - begun)

    found = rescue(
        *engines, reference, source_of(reference), images, on, Terms(budget, SIZE, recipes), store, watch=watch
    )
    seconds = time.monotonic() - begun
    before = start_loss(engines[0], reference, started(engines[0], reference, name), on, budget, store)
    show(name, on, budget, before, found, seconds, firsts[0] if firsts else float("nan"))


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    images, sets = data()
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalEngine(warm_up=importing("qviz.detector")) as engine,
        builders() as workers,
        Store(Path(folder) / FILE) as store,
    ):
        (reference,) = Session(MODELS / "ssdlite_mobilenet_v2_float32.tflite", engine=engine, cache=False).models
        for on in sets:
            for what in CASES:
                case((engine, workers), reference, images, on, what, store)


if __name__ == "__main__":
    main()
