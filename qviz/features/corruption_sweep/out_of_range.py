"""The out-of-range alarm: how far one's own images drive the network outside of a variant's calibration.

excess   of a layer at either end of its range: how far FP32's activations go beyond it, in widths of that range
         (`range_reach`); 0 for every image that a min-max calibration has seen
score    of an image: mean over the layers and their two ends of the excess, each capped at 1, plus the largest share
         of its activations that any one layer clips: many layers a little, or one of them badly
alarm    score of `WILD` or more; or above the images' median by more than 3 standard deviations, estimated by the
         median absolute deviation (x 1.4826), and by at least `LEAST`. Where the typical image is wild itself, the
         calibration is at fault and not an image
to add   the fewest images that cover the excess: each (layer, end) counts 1, an image covers it in proportion to the
         largest excess seen there. Greedy, which comes within 1 - 1/e of the best (Nemhauser et al. 1978), until
         `COVERED` of all is covered
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.context import Context
from qviz.engine import Engine
from qviz.errors import ImageError
from qviz.features.corruption_sweep.saturation import RangeReach, check_layers, reach_job
from qviz.features.detection.inference import in_order
from qviz.features.detection.models import LoadedModel
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage

if TYPE_CHECKING:
    import pandas as pd

WILD = 0.05
"""A layer with one activation in twenty clipped, say: an image like those of the calibration has a tenth of that."""
LEAST = 0.02
"""Less above the typical image is no alarm however alike the others are."""
COVERED = 0.95
MOST = 20
NAMED = 5
TOLERANCE = 0.05
"""Excess in widths of the range below which a layer end counts as covered already: the next image has that much."""


@dataclass(frozen=True, slots=True)
class LayerExcess:
    """One layer on one image. below, above: excess in widths of the range; share: of the activations, clipped."""

    order: int
    tensor: str
    op_kind: str
    below: float
    above: float
    share: float


@dataclass(frozen=True, slots=True)
class ImageAlarm:
    """One image; layers: those that it drives farthest out, outside: how many layers it drives out at all."""

    image: str
    digest: str
    score: float
    alarm: bool
    clipped_share: float
    outside: int
    layers: tuple[LayerExcess, ...]


@dataclass(frozen=True, slots=True)
class Addition:
    """An image to add to the representative dataset; covered: share of all excess, with those before it."""

    image: str
    digest: str
    covered: float


@dataclass(frozen=True, slots=True, eq=False)
class OutOfRange:
    """One variant over one's own images, the farthest first. typical: the median score."""

    variant: str
    typical: float
    images: tuple[ImageAlarm, ...]
    add: tuple[Addition, ...]
    skipped: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[ImageAlarm, ...]:
        return tuple(image for image in self.images if image.alarm)

    def to_json(self) -> dict[str, Any]:
        """As `qviz robustness --json` prints it."""
        return {
            "model": self.variant,
            "typical": self.typical,
            "images": [asdict(image) for image in self.images],
            "add": [asdict(row) for row in self.add],
            "skipped": list(self.skipped),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row an image."""
        import pandas as pd

        names = ("image", "score", "alarm", "clipped_share", "outside")
        return pd.DataFrame([{name: getattr(image, name) for name in names} for image in self.images])


def out_of_range(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    on_progress: OnProgress = silent,
    total: int | None = None,
    cancel: threading.Event | None = None,
) -> OutOfRange:
    """The alarm over images, which may be a generator. Raises Cancelled, ImageError, ModelError, WorkerError."""
    check_layers(reference, variant)
    models = (reference.blob, variant.blob, (reference.settings, variant.settings))
    expected = total if total is not None else length_hint(images)

    def submit(image: EncodedImage) -> list[Future[tuple[RangeReach, ...]]]:
        return [engine.submit(reach_job, *models, image)]

    names: list[tuple[str, str]] = []
    rows: list[tuple[RangeReach, ...]] = []
    skipped: list[str] = []
    for image, (job,) in in_order(Context(engine, cancel=cancel), images, submit):
        try:
            rows.append(job.result())
            names.append((image.name, image.digest))
        except ImageError as error:
            skipped.append(str(error))
        on_progress(len(rows) + len(skipped), max(expected, len(rows) + len(skipped)))
    if not rows:
        raise ImageError(" ".join(skipped[:3]) or "No image was given; activations are read on images.")
    return judged(variant.name, names, rows, skipped)


def judged(
    variant: str,
    names: Sequence[tuple[str, str]],
    rows: Sequence[tuple[RangeReach, ...]],
    skipped: Sequence[str] = (),
) -> OutOfRange:
    """From the layers of every image. names: (name, digest)."""
    excess = np.array([[layer.excess for layer in row] for row in rows]).reshape(len(rows), -1)  # [I, 2 L]
    scores = np.minimum(excess, 1).mean(axis=1) if excess.shape[1] else np.zeros(len(rows))
    scores = scores + np.array([max((layer.share for layer in row), default=0.0) for row in rows])
    limit = _limit(scores)
    order = np.argsort(-scores, kind="stable")
    alarms = tuple(_alarm(names[i], float(scores[i]), bool(scores[i] >= limit), rows[i]) for i in order)
    add = tuple(Addition(*names[i], covered) for i, covered in cover(excess))
    return OutOfRange(variant, float(np.median(scores)), alarms, add, tuple(skipped))


def _limit(scores: np.ndarray) -> float:
    middle = float(np.median(scores))
    spread = 1.4826 * float(np.median(np.abs(scores - middle)))
    return min(middle + max(3 * spread, LEAST), WILD)


def _alarm(name: tuple[str, str], score: float, alarm: bool, row: Sequence[RangeReach]) -> ImageAlarm:
    found = [
        LayerExcess(layer.order, layer.tensor, layer.op_kind, *layer.excess, layer.share)
        for layer in row
        if max(layer.excess) > 0
    ]
    found.sort(key=lambda layer: (-max(layer.below, layer.above), layer.order))
    clipped = float(np.mean([layer.share for layer in row])) if row else 0.0
    return ImageAlarm(*name, score, alarm, clipped, len(found), tuple(found[:NAMED]))


def cover(excess: np.ndarray, enough: float = COVERED, most: int = MOST) -> list[tuple[int, float]]:
    """(image, share covered with those before it), greedily. excess: (images, layer ends)."""
    worst = excess.max(axis=0, initial=0)
    ends = worst > TOLERANCE
    if not ends.any():
        return []
    parts = excess[:, ends] / worst[ends]  # [I, ends], what of the worst excess an image reaches
    covered = np.zeros(parts.shape[1])
    chosen: list[tuple[int, float]] = []
    while len(chosen) < most and covered.mean() < enough:
        gains = np.maximum(parts, covered).mean(axis=1)
        best = int(gains.argmax())
        if gains[best] <= covered.mean() + 1e-9:
            break
        covered = np.maximum(covered, parts[best])
        chosen.append((best, float(covered.mean())))
    return chosen
