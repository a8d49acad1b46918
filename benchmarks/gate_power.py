"""The gate on AP with planted regressions: its false alarms on random halves, and its power by number of images.

    .venv/bin/python -m benchmarks gate_power

The reference is the sample's FP32 model on the 105 scenes. A planted variant is this model without a random share of
its detections, so its loss on all scenes is known. Each draw of images is evaluated as `qviz evaluate` does: AP of both
models, and the interval of a paired bootstrap over the drawn images.

False alarms: on 200 random halves, how often a variant fails whose loss on all scenes is within the limit.
Power: how often a variant with a larger loss fails a limit of one point, by number of images, which are drawn with
replacement.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import qviz
from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.features.accuracy.ap import average_precision
from qviz.features.accuracy.bootstrap import interval
from qviz.features.accuracy.coco.tables import MatchTables, mean_ap
from qviz.features.accuracy.evaluator import Evaluator
from qviz.features.accuracy.gate import bound
from qviz.features.accuracy.power import images_to_decide
from qviz.structures import Loss

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
REFERENCE, INT8 = (SAMPLE / "models" / f"ssdlite_mobilenet_v2_{name}.tflite" for name in ("float32", "int8"))
HALVES, DRAWS, RESAMPLES, LIMIT = 200, 40, 200, 0.01
SHARES = (0.02, 0.05, 0.1, 0.2)
IMAGES = (50, 100, 200, 400)


def tables() -> tuple[MatchTables, dict[str, MatchTables]]:
    """(tables of the reference, name -> tables of each variant).

    The variants are the int8 file and one planted variant for each share of removed detections.
    """
    with LocalEngine() as engine, qviz.open(REFERENCE, INT8, engine=engine, cache=False) as session:
        dataset = session.dataset_of(SAMPLE / "scenes" / "annotations.json", SAMPLE / "scenes")
        models = session.models_for(dataset)
        evaluator = Evaluator(Context(engine), models, dataset, 0.001, False)
        classes = evaluator.classes(models[0])
        detections = [evaluator.detections(model) for model in models]
        complete = evaluator.dataset
    variants = {"int8": detections[1]}
    rng = np.random.default_rng(7)
    order = {image: rng.random(len(rows)) for image, rows in detections[0].items()}
    for share in SHARES:
        variants[f"-{share:.0%}"] = {image: rows[order[image] >= share] for image, rows in detections[0].items()}
    reference = average_precision("reference", complete, detections[0], classes).tables
    return reference, {name: average_precision(name, complete, rows, classes).tables for name, rows in variants.items()}


def loss_of(reference: MatchTables, variant: MatchTables, counts: np.ndarray, rng: np.random.Generator) -> Loss:
    """The loss with its interval. counts: how often each image occurs."""
    images = int(counts.sum())
    draws = rng.multinomial(images, counts / images, size=RESAMPLES).astype(np.uint16)
    weights = np.concatenate([counts[None].astype(np.uint16), draws])
    losses = mean_ap(reference.class_ap(weights)) - mean_ap(variant.class_ap(weights))
    return Loss(float(losses[0]), *interval(losses[1:], images), None)


def halves(images: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for _ in range(HALVES):
        counts = np.zeros(images, int)
        counts[rng.permutation(images)[: images // 2]] = 1
        yield counts


def failing(losses: list[Loss], limit: float, confident: str | None) -> float:
    return float(np.mean([bound(loss, confident) > limit for loss in losses]))


def print_losses(reference: MatchTables, variants: dict[str, MatchTables]) -> dict[str, Loss]:
    rng, every = np.random.default_rng(20261130), np.ones(reference.images, int)
    whole = {name: loss_of(reference, variant, every, rng) for name, variant in variants.items()}
    print(f"loss of AP on all {reference.images} scenes, in points, and how many such images decide a limit of 1 point")
    for name, loss in whole.items():
        low, high = loss.low or 0.0, loss.high or 0.0
        needed = f"{images_to_decide(loss, reference.images, LIMIT):,}" if low <= LIMIT < high else "decided"
        print(f"  {name:6} {100 * (loss.value or 0):5.1f} [{100 * low:5.1f}, {100 * high:5.1f}] {needed:>8}")
    return whole


def print_false_alarms(reference: MatchTables, variants: dict[str, MatchTables], whole: dict[str, Loss]) -> None:
    rng = np.random.default_rng(20261201)
    print(f"\nfalse alarms in {HALVES} halves; the limit is the variant's own loss on all scenes")
    for name, variant in variants.items():
        limit = max(whole[name].value or 0.0, 0.0)
        losses = [loss_of(reference, variant, counts, rng) for counts in halves(reference.images, rng)]
        texts = [f"{word or 'the loss itself'} {failing(losses, limit, word):6.1%}" for word in ("lower", None)]
        print(f"  {name:6} limit {100 * limit:4.1f} points: {'   '.join(texts)}", flush=True)


def print_power(reference: MatchTables, variants: dict[str, MatchTables], whole: dict[str, Loss]) -> None:
    rng = np.random.default_rng(20261202)
    print(f"\nshare of {DRAWS} draws that fail a limit of 1 point with confident='lower', by number of images")
    print(f"  {'':6} {'loss':>5} {''.join(f'{count:>8}' for count in IMAGES)}")
    for name, variant in variants.items():
        shares = []
        for count in IMAGES:
            counts = rng.multinomial(count, np.full(reference.images, 1 / reference.images), size=DRAWS)
            shares.append(failing([loss_of(reference, variant, row, rng) for row in counts], LIMIT, "lower"))
        row = "".join(f"{share:8.0%}" for share in shares)
        print(f"  {name:6} {100 * (whole[name].value or 0):5.1f} {row}", flush=True)


def main() -> None:
    reference, variants = tables()
    whole = print_losses(reference, variants)
    print_power(reference, variants, whole)
    print_false_alarms(reference, variants, whole)


if __name__ == "__main__":
    main()
