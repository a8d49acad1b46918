"""What comes back of a variant's losses if these of its operators ran in float, without rebuilding it.

base        agreement of the variant as it is with FP32, as `qviz compare` counts it
agreement   the same with a set of operators in float (see `mixed_run` for what that means)
explained   (agreement - base) / (1 - base): the share of the agreement lost that comes back; 1 is all, below 0 is worse
score_share mean over FP32's objects of the score that is left of theirs (see `mixed_detections`), in [0, 1]

Without sets of one's own: single layers with the largest errors, blocks, prefixes, suffixes, and the smallest sets that
a search finds. The search looks at the images that lost most; what is reported is measured on all of them.

Sets of operators in float, measured on images through an engine: each set on each image once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import ImageError, ModelError, SettingsError
from qviz.features.comparison.matching import Change, summarise
from qviz.features.detection.inference import in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import layer_errors
from qviz.features.what_if.mixed import Counting, ImageOutcome, Outcomes, outcomes_job, possible_job
from qviz.features.what_if.sets import Orders, Reaches, blocks, ends, smallest, with_conversions
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.structures.operators import orders_text

if TYPE_CHECKING:
    import pandas as pd


TOGETHER = 4
"""Sets in one job: they share one run of both networks, and stay far from the job's time limit."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One set over images; see `what_if`."""

    agreement: float
    mean_score_delta: float | None
    score_share: float | None


class Measure:
    """Remembers what it has measured. images: those that can be read, known after the first call."""

    def __init__(
        self,
        engine: Engine,
        reference: LoadedModel,
        variant: LoadedModel,
        images: Sequence[EncodedImage],
        counting: Counting,
        on_progress: OnProgress,
    ) -> None:
        self.reference, self.variant, self.images = reference, variant, list(images)
        self.models = reference.blob, variant.blob, (reference.settings, variant.settings)
        self.skipped: list[str] = []
        self._engine, self._counting, self._on_progress = engine, counting, on_progress
        self._known: dict[tuple[Orders, str], ImageOutcome] = {}
        self._sets: set[Orders] = set()

    def __call__(self, sets: Sequence[Orders], images: Sequence[EncodedImage] | None = None) -> list[Tally]:
        """One tally a set. Raises ImageError where no image can be read, ModelError, WorkerError."""
        among = list(self.images if images is None else images)
        for image, jobs in in_order(Context(self._engine), among, lambda image: self._jobs(sets, image)):
            for job in jobs:
                self._take(image, job)
        if not self.images:
            raise ImageError(" ".join(self.skipped[:3]) or "No image was given; sets are measured on images.")
        read = [image for image in among if image in self.images]
        return [_tally([self.outcome(orders, image) for image in read]) for orders in sets]

    def outcome(self, orders: Orders, image: EncodedImage) -> ImageOutcome:
        """What is known already."""
        return self._known[orders, image.digest]

    def finished(self) -> None:
        self._on_progress(len(self._sets), len(self._sets))

    def _jobs(self, sets: Sequence[Orders], image: EncodedImage) -> list[Future[Outcomes]]:
        missing = [orders for orders in dict.fromkeys(sets) if (orders, image.digest) not in self._known]
        return [
            self._engine.submit(outcomes_job, *self.models, image, missing[start : start + TOGETHER], self._counting)
            for start in range(0, len(missing), TOGETHER)
        ]

    def _take(self, image: EncodedImage, job: Future[Outcomes]) -> None:
        try:
            outcomes = job.result()
        except ImageError as error:
            if image in self.images:
                self.images.remove(image)
                self.skipped.append(str(error))
            return
        self._known |= {(orders, image.digest): row for orders, row in outcomes.items()}
        self._sets.update(outcomes)
        self._on_progress(len(self._sets), len(self._sets) + 1)  # how many a search tries is known at its end


def _tally(rows: Sequence[ImageOutcome]) -> Tally:
    summary = summarise((kind for row in rows for kind in row.kinds), (delta for row in rows for delta in row.deltas))
    shares = [share for row in rows for share in row.shares]
    return Tally(summary.agreement, summary.mean_score_delta, float(np.mean(shares)) if shares else None)


SINGLES = 8
"""Layers tried alone for each of two reasons: little local SQNR, a deep fall of the cumulative one."""
SEARCH_IMAGES = 8
TRIALS = 60
GOALS = (0.9, 0.75, 0.5)
"""Shares of what all operators in float bring back, for each of which a small set is sought."""


@dataclass(frozen=True, slots=True)
class FloatSet:
    """One set. kind: given, layer, block, prefix, suffix, all or found; stayed: those asked for that cannot."""

    orders: tuple[int, ...]
    kind: str
    agreement: float
    mean_score_delta: float | None
    explained: float | None
    score_share: float | None
    stayed: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """`0-12,40`."""
        return orders_text(self.orders)


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """sets: as given, else by falling agreement; smallest: those that no smaller set matches, by size."""

    reference: str
    variant: str
    images: int
    operators: int
    base: float
    base_mean_score_delta: float | None
    base_score_share: float | None
    sets: tuple[FloatSet, ...]
    smallest: tuple[FloatSet, ...] = ()
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `qviz what-if --json` prints it."""
        rows = {name: getattr(self, name) for name in WhatIf.__slots__}
        listed = {name: [asdict(row) for row in rows[name]] for name in ("sets", "smallest")}
        return rows | listed | {"skipped": list(self.skipped)}

    def to_frame(self) -> pd.DataFrame:
        """A row a set, its orders as `0-12,40`."""
        import pandas as pd

        rows = [asdict(row) | {"orders": row.text, "stayed": orders_text(row.stayed)} for row in self.sets]
        return pd.DataFrame(rows, columns=list(FloatSet.__slots__))


def what_if_float(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    sets: Sequence[Orders] | None = None,
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    on_progress: OnProgress = silent,
) -> WhatIf:
    """These sets, or those worth knowing. on_progress counts sets. Raises ImageError, ModelError, SettingsError."""
    for model in (reference, variant):
        if not model.layers_available:
            raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")
    _check(sets or (), variant)
    counting = Counting(score, iou, min(score, CANDIDATE_FLOOR))
    measure = Measure(engine, reference, variant, images, counting, on_progress)
    possible = engine.submit(possible_job, *measure.models).result()
    base = measure([frozenset()])[0]
    chosen = [("given", orders) for orders in sets] if sets else _chosen(measure, engine, possible)
    tallies = measure([orders for _, orders in chosen])
    rows = [_row(kind, orders, tally, base, possible) for (kind, orders), tally in zip(chosen, tallies, strict=True)]
    if not sets:
        rows.sort(key=lambda row: (-row.agreement, len(row.orders)))
    measure.finished()
    return WhatIf(
        reference.name, variant.name, len(measure.images), len(variant.inspection.graph.ops), base.agreement,
        base.mean_score_delta, base.score_share, tuple(rows), _front(rows, base.agreement), tuple(measure.skipped),
    )  # fmt: skip


def _check(sets: Sequence[Orders], variant: LoadedModel) -> None:
    count = len(variant.inspection.graph.ops)
    beyond = sorted(order for orders in sets for order in orders if not 0 <= order < count)
    if beyond:
        raise SettingsError(
            f"{variant.name} has no operator {beyond[0]}: its {count} are counted from 0 to {count - 1}."
        )


def _row(kind: str, orders: Orders, tally: Tally, base: Tally, possible: Orders) -> FloatSet:
    lost = 1 - base.agreement
    return FloatSet(
        orders=tuple(sorted(orders)),
        kind=kind,
        agreement=tally.agreement,
        mean_score_delta=tally.mean_score_delta,
        explained=(tally.agreement - base.agreement) / lost if lost > 0 else None,
        score_share=tally.score_share,
        stayed=tuple(sorted(orders - possible)),
    )


def _front(rows: Sequence[FloatSet], base: float) -> tuple[FloatSet, ...]:
    """The sets that agree better than all sets of their size or less."""
    front: list[FloatSet] = []
    for row in sorted(rows, key=lambda row: (len(row.orders), -row.agreement)):
        if row.agreement > (front[-1].agreement if front else base):
            front.append(row)
    return tuple(front)


def _chosen(measure: Measure, engine: Engine, possible: Orders) -> list[tuple[str, Orders]]:
    """(kind, set), each set once."""
    every = sorted(possible)
    if not every:
        return []
    found = [("all", possible), *_candidates(measure, engine, every)]
    found += [("found", orders) for orders in _searched(measure, every)]
    first: dict[Orders, str] = {}
    for kind, orders in found:
        if orders:
            first.setdefault(orders, kind)
    return [(kind, orders) for orders, kind in first.items()]


def _candidates(measure: Measure, engine: Engine, every: Sequence[int]) -> Iterator[tuple[str, Orders]]:
    """As a rebuilt file would have them: with the conversions that their operators need no more."""
    graph = measure.variant.inspection.graph
    prefixes, suffixes = ends(every)
    kinds = {
        "layer": [frozenset({order}) for order in _worst_layers(measure, engine)],
        "block": blocks(graph),
        "prefix": prefixes,
        "suffix": suffixes,
    }
    for kind, sets in kinds.items():
        yield from ((kind, with_conversions(graph, orders) & frozenset(every)) for orders in sets)


def _worst_layers(measure: Measure, engine: Engine) -> list[int]:
    layers = layer_errors(engine, measure.reference, measure.variant, measure.images[:2]).layers
    weak = sorted((row.local_sqnr_db, row.order) for row in layers if row.local_sqnr_db is not None)
    deep = sorted((-row.fall_db, row.order) for row in layers if row.fall_db is not None and row.fall_db > 0)
    return sorted({order for ranked in (weak, deep) for _, order in ranked[:SINGLES]})


def _searched(measure: Measure, every: Sequence[int]) -> Iterator[Orders]:
    """A small set for each goal, on the images that lost most."""
    hurt = _most_hurt(measure)
    nothing, whole = (tally.agreement for tally in measure([frozenset(), frozenset(every)], hurt))
    if whole <= nothing:
        return
    for goal in GOALS:
        yield smallest(every, _reaching(measure, hurt, nothing + goal * (whole - nothing)), TRIALS)


def _reaching(measure: Measure, images: Sequence[EncodedImage], agreement: float) -> Reaches:
    return lambda orders: measure([orders], images)[0].agreement >= agreement


def _most_hurt(measure: Measure) -> list[EncodedImage]:
    def damage(image: EncodedImage) -> int:
        kinds = measure.outcome(frozenset(), image).kinds
        return sum(kind not in (Change.KEPT, Change.SHIFTED) for kind in kinds)

    return sorted(measure.images, key=lambda image: -damage(image))[:SEARCH_IMAGES]
