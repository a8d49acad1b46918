"""Rescues of the sample: from the wrong-range file, from int4 weights, and with every recipe allowed.

Calibration images are COCO train images if they are beside the project, else the sample's calibration views. The search
and the report use COCO val images and the sample's composed scenes. Each row has the budget, the loss of the start on
the report half, the best candidate and its loss there with the interval, the number of candidates, and the time.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.detector import AP_SCORE
from qviz.engine import LocalEngine, importing
from qviz.features.accuracy.evaluator import Evaluator, mean_loss
from qviz.features.building import quantize
from qviz.features.building.source import source_of
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.rescuing import Request, halves, rescue
from qviz.features.rescuing.result import SIZE, Budget, Rescue
from qviz.progress import Progress
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
    """(calibration images, datasets to measure on)."""
    scenes = read_coco(SAMPLE / "scenes" / "annotations.json", SAMPLE / "scenes")
    few = replace(scenes, name="scenes", images=scenes.images[:: max(1, len(scenes.images) // SCENES)][:SCENES])
    if not COCO.is_dir():
        return list(load_images([SAMPLE / "calibration"])), [few]
    train, val = (read_coco(COCO / f"instances_{part}2017.json", COCO / "images") for part in ("train", "val"))
    return [image.encoded() for image in train.images], [replace(val, name="COCO val"), few]


def start_loss(context: Context, reference: LoadedModel, start: LoadedModel, on: Dataset) -> Loss:
    """The loss of AP of the start on the report half."""
    evaluator = Evaluator(context, [reference, start], halves(on)[1], AP_SCORE)
    first, second = (evaluator.measure(context, model).result() for model in (reference, start))
    return mean_loss([first], [second], evaluator.images)


def started(context: Context, reference: LoadedModel, name: str) -> LoadedModel:
    """The model with which a case starts: the sample's file of this name, or else the plain recipe of this name."""
    path = MODELS / f"ssdlite_mobilenet_v2_{name}.tflite"
    data = path.read_bytes() if path.is_file() else quantize(context, source_of(reference), name).data
    return follow(load_model(context.engine, ModelSource(f"{name}.tflite", data)), reference)


def show(name: str, on: Dataset, budget: Budget, before: Loss, result: Rescue, seconds: float, first: float) -> None:
    assert result.chosen is not None
    row = result.chosen.tried
    in_float = (
        f"{len(row.candidate.float_operators)} of its operators in float"
        if row.candidate.float_operators
        else "nothing in float"
    )
    print(f"\nfrom {name}, {on.name}: {result.images.search} images searched on, {result.images.report} reported on")
    print(f"  budget {budget.text}; the start loses {_loss_text(before)}")
    choice = row.candidate
    print(f"  {choice.recipe} ({choice.algorithm}, {choice.ranges}), {in_float}: {_loss_text(result.chosen.loss)}")
    print(f"  {row.bytes / 1e6:.2f} MB of {result.reference.bytes / 1e6:.2f}; budget kept: {result.within_budget}")
    print(f"  {len(result.tried)} candidates in {seconds:.0f} s; the first within the budget after {first:.0f} s")
    print(f"  {row.candidate.name}")


def _loss_text(loss: Loss) -> str:
    return f"{100 * (loss.value or 0):+.1f} [{100 * (loss.low or 0):+.1f}, {100 * (loss.high or 0):+.1f}] AP x100"


class FirstWithin(Progress):
    """Measures the seconds until the first candidate within the budget."""

    def __init__(self) -> None:
        self._start, self.seconds = time.monotonic(), float("nan")

    def partial(self, result: object) -> None:
        if (
            isinstance(result, Rescue)
            and result.best is not None
            and result.best.within
            and self.seconds != self.seconds
        ):
            self.seconds = time.monotonic() - self._start


def case(
    context: Context,
    reference: LoadedModel,
    images: Sequence[EncodedImage],
    on: Dataset,
    what: tuple[str, Sequence[str], float],
) -> None:
    name, recipes, limit = what
    budget, begun, first = Budget.of(max_ap_loss=limit), time.monotonic(), FirstWithin()
    request = Request(budget, SIZE, tuple(recipes))
    result = rescue(replace(context, progress=first), reference, source_of(reference), images, on, request)
    seconds = time.monotonic() - begun
    before = start_loss(context, reference, started(context, reference, name), on)
    show(name, on, budget, before, result, seconds, first.seconds)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    images, sets = data()
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalEngine(warm_up=importing("qviz.detector")) as engine,
        Store(Path(folder) / FILE) as store,
    ):
        (reference,) = Session(MODELS / "ssdlite_mobilenet_v2_float32.tflite", engine=engine, cache=False).models
        for on in sets:
            for what in CASES:
                case(Context(engine, store), reference, images, on, what)


if __name__ == "__main__":
    main()
