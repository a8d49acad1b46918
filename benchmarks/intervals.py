"""Time for the mAP of two models on synthetic images and the bootstrap interval of the loss, against pycocotools.

ours    match tables of both models, 1,000 resamples, all classes
peer    one evaluation of one model by pycocotools and, if they are installed, by faster-coco-eval and hotcoco. hotcoco
        uses all cores; RAYON_NUM_THREADS=1 limits it to one thread, like ours
limit   none is known; the goals are 10 CPU seconds for the resamples of 5,000 images, and 1.2 times hotcoco's CPU time
        for AP, both in turns with RAYON_NUM_THREADS=1
python -m benchmarks intervals [IMAGES]  (default: 5,000)
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from qviz.features.accuracy.ap import average_precision, figures_of
from qviz.features.accuracy.bootstrap import Bootstrap, draws
from qviz.features.accuracy.coco.matching import matches_of, result_rows
from qviz.features.accuracy.coco.tables import mean_ap
from qviz.features.accuracy.truth import category_ids
from qviz.structures import Category, Dataset, DatasetImage, Detections

CLASSES = 80
DETECTIONS_PER_IMAGE = 100
TURNS = 7


def synthetic(images: int, seed: int = 0) -> tuple[Dataset, dict[int, Detections], dict[int, Detections]]:
    """(dataset, detections of the first model, detections of the second model).

    Each image has seven objects of 80 classes with falling frequency. Each model has 100 noisy detections per image.
    """
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, CLASSES + 1)
    share /= share.sum()
    rows, first, second = [], {}, {}
    for number in range(1, images + 1):
        count = min(int(rng.poisson(7)), DETECTIONS_PER_IMAGE)
        corners, sizes = rng.uniform(0, 500, (count, 2)), rng.uniform(10, 200, (count, 2))
        boxes, ids = np.concatenate([corners, corners + sizes], axis=1), rng.choice(CLASSES, count, p=share)
        areas = sizes.prod(axis=1)
        rows.append(DatasetImage(number, "x", b"", boxes, ids + 1, np.zeros(count, bool), areas))
        for detections, noise in ((first, 8.0), (second, 10.0)):
            false = rng.uniform(0, 400, (DETECTIONS_PER_IMAGE - count, 4))
            false[:, 2:] += false[:, :2]
            detections[number] = Detections.of(
                np.concatenate([boxes + rng.normal(0, noise, boxes.shape), false]),
                np.concatenate([rng.beta(3, 2, count), rng.beta(1, 6, DETECTIONS_PER_IMAGE - count)]),
                np.concatenate([ids, rng.choice(CLASSES, DETECTIONS_PER_IMAGE - count, p=share)]),
            )
    categories = tuple(Category(k + 1, f"class {k}") for k in range(CLASSES))
    return Dataset("synthetic", tuple(rows), categories), first, second


def timed(name: str, call: Callable[[], Any]) -> tuple[Any, float]:
    start, busy = time.perf_counter(), time.process_time()
    result = call()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"{name:<58} {seconds:7.2f} s, processor {busy:7.2f} s")
    return result, busy


def as_coco(dataset: Dataset) -> dict[str, Any]:
    """The content of a COCO annotation file, without crowds."""
    rows = [
        {
            "image_id": image.id,
            "category_id": int(category),
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "area": float(area),
            "iscrowd": 0,
        }
        for image in dataset.images
        for (x1, y1, x2, y2), category, area in zip(image.boxes, image.category_ids, image.areas, strict=True)
    ]
    return {
        "info": {},
        "images": [{"id": image.id} for image in dataset.images],
        "annotations": [{**row, "id": number} for number, row in enumerate(rows, start=1)],
        "categories": [{"id": category.id, "name": category.name} for category in dataset.categories],
    }


def pycocotools(dataset: Dataset, detections: dict[int, Detections]) -> tuple[Any, Any, np.ndarray]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content = as_coco(dataset)
    rows = result_rows(detections, {k: k + 1 for k in range(CLASSES)})
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO()
        truths.dataset = content
        truths.createIndex()
        evaluation = COCOeval(truths, truths.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation, content, rows


def faster(content: Any, rows: np.ndarray) -> float:
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(content)
        evaluation = COCOeval_faster(truths, truths.loadRes(rows), "bbox")
        evaluation.run()
    return float(evaluation.stats[0])


def hot(content: Any, rows: np.ndarray) -> float:
    from hotcoco import COCO, COCOeval

    truths = COCO(content)
    evaluation = COCOeval(truths, truths.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def in_turns(calls: dict[str, Callable[[], Any]]) -> None:
    """Print the median processor seconds of each call, and their ratio to the last one's."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS + 1):
        for name, call in calls.items():
            busy = time.process_time()
            call()
            if turn:  # the first warms up
                seconds[name].append(time.process_time() - busy)
    peer = median(list(seconds.values())[-1])
    for name, series in seconds.items():
        print(f"{name:<58} processor {median(series):.2f} s, {median(series) / peer:.2f} of the last line   goal 1.2")


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    images = numbers[0] if numbers else 5000
    dataset, first, second = synthetic(images)
    classes = category_ids((), dataset.categories)
    (peer, content, rows), seconds = timed(
        f"peer: pycocotools, one model, {images} images", lambda: pycocotools(dataset, first)
    )
    for name, peer_ap in (("faster-coco-eval", faster), ("hotcoco", hot)):
        try:
            ap, _ = timed(f"peer: {name}, one model", lambda peer_ap=peer_ap: peer_ap(content, rows))
            print(f"{name} AP {ap:.12f}")
        except ImportError:
            print(f"{name} is not installed: pip install {name}")
    ours, _ = timed("ours: AP and its match tables, one model", lambda: average_precision("a", dataset, first, classes))
    with contextlib.suppress(ImportError):
        import hotcoco  # noqa: F401

        in_turns(
            {
                "ours: AP, oLRP and LaECE": lambda: average_precision("a", dataset, first, classes),
                "ours: AP alone": lambda: figures_of(
                    "a", dataset.categories, matches_of(dataset, first, classes).tables(CLASSES)
                ),
                "peer: hotcoco": lambda: hot(content, rows),
            }
        )
    other = average_precision("b", dataset, second, classes)
    loss, spent = timed(
        "ours: 1,000 resamples of both models",
        lambda: Bootstrap(ours.tables).loss(ours.figures, other.figures, other.tables),
    )
    whole = mean_ap(ours.tables.class_ap(np.ones((1, images))))[0]
    print(f"AP: pycocotools {peer.stats[0]:.12f}, ours re-accumulated {whole:.12f}")
    print(f"loss {loss.ap.value:.4f} [{loss.ap.low:.4f}, {loss.ap.high:.4f}], {len(draws(images))} resamples")
    print(f"resamples: {spent:.1f} processor seconds   goal 10; {spent / seconds:.2f} of pycocotools' one evaluation")


if __name__ == "__main__":
    main()
