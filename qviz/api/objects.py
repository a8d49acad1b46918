"""Objects of one image: what each model finds, and what became of the reference's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from qviz.api.session import PathIn, engine_or_own, first_images
from qviz.context import Context
from qviz.datasets.files import find_images, load_images
from qviz.detector import PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import ImageError
from qviz.features.comparison import Comparison, compare_variant, with_remarks
from qviz.features.detection.detect import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.features.settings import guess_all
from qviz.progress import Advance, OnProgress, silent
from qviz.store import Store
from qviz.structures import Detections


def detect(
    models: Sequence[LoadedModel],
    images: Iterable[PathIn],
    engine: Engine | None = None,
    score: float = PAGE_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
) -> dict[str, dict[str, Detections]]:
    """model name -> image name -> detections of at least `score`. Raises ImageError where no image can be read.

    store: where detections are looked for first, and kept.
    """
    paths = find_images(Path(path) for path in images)
    with engine_or_own(engine) as running:
        models = guess_all(running, models, first_images(paths))
        found = detect_images(
            Context(running, store=store, threads=threads, progress=Advance(on_progress)),
            models,
            load_images(paths),
            len(paths),
            score,
        )
    if not found.images:
        raise ImageError(" ".join(found.skipped[:3]))
    return {
        model.name: {
            name: found.inferences[model.digest, digest].detections
            for name, (_, digest) in zip(_told_apart([name for name, _ in found.images]), found.images, strict=True)
            if (model.digest, digest) in found.inferences
        }
        for model in models
    }


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, a number behind those that came before: two folders may hold the same one."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told


def compare(
    models: Sequence[LoadedModel],
    images: Iterable[PathIn],
    engine: Engine | None = None,
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
) -> Comparison:
    """Objects of the first model against each other one's. Raises ImageError where no image can be read."""
    paths = find_images(Path(path) for path in images)
    low = min(score, SEEN_FROM)
    with engine_or_own(engine) as running:
        models = guess_all(running, models, first_images(paths))
        found = detect_images(
            Context(running, store=store, threads=threads, progress=Advance(on_progress)),
            models,
            load_images(paths),
            len(paths),
            low,
        )
    if not found.images:
        raise ImageError(" ".join(found.skipped[:3]))
    reference, *variants = models
    compared = tuple(
        compare_variant(reference, variant, found.images, found.inferences, score, iou) for variant in variants
    )
    remarks = lint_all(models, threads)
    return with_remarks(Comparison(reference.name, compared), [r.to_json() for r in remarks], found.skipped)


SEEN_FROM = 0.05
"""Detections are asked for from here on, below the score threshold, so that a lost object can be said to score less."""
