"""Images per second of an evaluation of float32 and int8 on the sample's scenes.

ours    `detect_images` on warm workers, without a store; and the same with AP of both models
peer    a tutorial's loop: OpenCV, and both interpreters in turn with one thread per core; and with pycocotools' AP
limit   plain invokes of both models, in one process per core with one thread each, plus decoding the JPEGs
They are run in turns, so that changes of the machine's speed affect all in the same way.
"""

import contextlib
import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.detector import AP_SCORE
from qviz.engine import LocalEngine, importing
from qviz.features.accuracy.ap import average_precision
from qviz.features.accuracy.truth import category_ids
from qviz.features.detection.inference import Reading, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.session import Session
from qviz.structures import Dataset

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
MODELS = [SAMPLE / "models" / f"ssdlite_mobilenet_v2_{name}.tflite" for name in ("float32", "int8")]
ROUNDS = 5
CORES = os.cpu_count() or 1


def ours(engine: LocalEngine, models: Sequence[LoadedModel], scenes: Dataset, with_ap: bool = False) -> list[Any]:
    """The detections of all images, or AP of each model if `with_ap`."""
    reading = Reading()
    detected = detect_images(
        Context(engine), models, reading.of(scenes.images), len(scenes.images), AP_SCORE, candidates=False
    )
    assert len(detected.images) == len(scenes.images)
    if not with_ap:
        return detected.images
    result = []
    for model in models:
        detections = {
            key: detected.inferences[model.digest, digest].detections for key, digest in reading.digests.items()
        }
        classes = category_ids(model.inspection.labels, scenes.categories)
        result.append(average_precision(model.name, scenes, detections, classes).figures.ap)
    return result


def tutorial(scenes: Dataset, with_ap: bool = False) -> list[Any]:
    """The outputs of all images, or pycocotools' AP of each model if `with_ap`."""
    result: list[Any] = []
    for model in MODELS:
        interpreter = Interpreter(str(model), num_threads=CORES)
        interpreter.allocate_tensors()
        rows: list[dict[str, Any]] = []
        for scene in scenes.images:
            image = cv2.cvtColor(cv2.imread(str(scene.source)), cv2.COLOR_BGR2RGB)
            square = cv2.resize(image, (300, 300)).astype(np.float32) / 127.5 - 1
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], square[None])
            interpreter.invoke()
            outputs = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
            if with_ap:
                rows += _rows(scene.id, image.shape, outputs)
        result.append(_pycocotools(scenes, rows) if with_ap else outputs)
    return result


def _rows(image: int, shape: tuple[int, ...], outputs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """pycocotools' rows of the outputs of a model with NMS, which are boxes, classes, scores and the count."""
    boxes = next(output[0] for output in outputs if output.ndim == 3) * np.array([*shape[:2], *shape[:2]], np.float32)
    classes, scores = (output[0] for output in outputs if output.ndim == 2)
    return [
        {
            "image_id": image,
            "category_id": int(kind) + 1,
            "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
            "score": float(score),
        }
        for (top, left, bottom, right), kind, score in zip(boxes, classes, scores, strict=True)
    ]


def _pycocotools(scenes: Dataset, rows: list[dict[str, Any]]) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(str(SAMPLE / "scenes" / "annotations.json"))
        evaluation = COCOeval(truths, truths.loadRes(rows), "bbox")
        evaluation.params.imgIds = [scene.id for scene in scenes.images]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


_BARE: list[Interpreter] = []


def _prepare() -> None:
    cv2.setNumThreads(1)
    for model in MODELS:
        _BARE.append(Interpreter(str(model), num_threads=1))
        _BARE[-1].allocate_tensors()


def _bare(path: str) -> None:
    cv2.imread(path)
    for interpreter in _BARE:
        interpreter.invoke()


def limit(pool: ProcessPoolExecutor, scenes: Dataset) -> None:
    list(pool.map(_bare, [str(scene.source) for scene in scenes.images], chunksize=4))


def rate(call: Callable[[], object], images: int) -> float:
    start = time.perf_counter()
    call()
    return images / (time.perf_counter() - start)


def main() -> None:
    scenes = read_coco(SAMPLE / "scenes" / "annotations.json", SAMPLE / "scenes")
    print(f"{len(scenes.images)} images, 2 models, {CORES} cores, load {os.getloadavg()[0]:.1f}")
    with (
        LocalEngine(warm_up=importing("qviz.detector")) as engine,
        ProcessPoolExecutor(CORES, get_context("spawn"), _prepare) as pool,
    ):
        models = Session(*MODELS, engine=engine, cache=False).models
        calls: dict[str, Callable[[], object]] = {
            "ours": lambda: ours(engine, models, scenes),
            "limit, bare invokes and decoding": lambda: limit(pool, scenes),
            "ours, with AP": lambda: ours(engine, models, scenes, with_ap=True),
            "the tutorial's loop": lambda: tutorial(scenes),
            "peer, the loop with pycocotools": lambda: tutorial(scenes, with_ap=True),
        }
        rates: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(ROUNDS + 1):
            for name, call in calls.items():
                images_per_second = rate(call, len(scenes.images))
                if turn:  # the first warms up
                    rates[name].append(images_per_second)
        figures = ours(engine, models, scenes, with_ap=True), tutorial(scenes, with_ap=True)
    for name, series in rates.items():
        print(f"{name:<36} median {median(series):6.1f} images/s  (min {min(series):.1f}, max {max(series):.1f})")
    own_rate, bare, with_ap, _, peer = (median(series) for series in rates.values())
    print(f"ours / limit {own_rate / bare:.2f}   goal 0.85;   with AP, ours / peer {with_ap / peer:.2f}   goal 1.7")
    print("AP, ours and the loop's:", "  ".join(f"{a:.4f} {b:.4f}" for a, b in zip(*figures, strict=True)))


if __name__ == "__main__":
    main()
