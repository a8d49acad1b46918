"""What training gained: the recipe with and without it against FP32, on images that were held out of the training.

before, after   agreement with FP32 (see `changes.summarise`) of the variant without and with training, in [0, 1]
gain            their difference with its 95 % interval, from resampling the held-out images (paired)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import QuantizeError
from qviz.features.comparison import ComparedVariant, compare_variant
from qviz.features.detection.detect import detect_images
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.training.train import Trained
from qviz.progress import Advance, OnProgress, silent
from qviz.structures import EncodedImage

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10
"""Images that training needs, held-out ones included."""
HELD_OUT = 5
"""One image in so many is held out."""
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Gain:
    """before, after, low, high: see the module's text. images: how many were held out."""

    before: float
    after: float
    low: float
    high: float
    images: int

    @property
    def significant(self) -> bool:
        """Whether the interval of the gain excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def verdict(self) -> str:
        """One sentence."""
        told = (
            f"agreement with FP32 {self.before:.3f} → {self.after:.3f}, {self.after - self.before:+.3f}"
            f" [{self.low:+.3f}, {self.high:+.3f}] on {self.images} held-out images"
        )
        if not self.significant:
            return f"Training changed nothing that can be proven: {told}."
        return f"Training {'made it worse' if self.after < self.before else 'helped'}: {told}."


@dataclass(frozen=True, slots=True, eq=False)
class QatResult:
    """A training and what it gained."""

    trained: Trained
    gain: Gain
    trained_on: int

    def to_json(self) -> dict[str, Any]:
        """As `qviz qat --json` prints it, the file's name apart."""
        gain = self.gain
        return {
            "steps": [{"step": step, "loss": loss} for step, loss in enumerate(self.trained.losses)],
            "before": gain.before,
            "after": gain.after,
            "gain": {"value": gain.after - gain.before, "low": gain.low, "high": gain.high},
            "verdict": gain.verdict,
            "images": {"trained_on": self.trained_on, "held_out": gain.images},
            "resumed_at": self.trained.resumed_at,
            "training_seconds": self.trained.seconds,
            **self.trained.trained.to_json(),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a step."""
        import pandas as pd

        return pd.DataFrame({"step": range(len(self.trained.losses)), "loss": self.trained.losses})


def split(images: Sequence[EncodedImage]) -> tuple[list[EncodedImage], list[EncodedImage]]:
    """(to train on, held out), the same for the same images. Equal images count once. Raises QuantizeError."""
    different = sorted({image.digest: image for image in images}.values(), key=lambda image: image.digest)
    if len(different) < FEWEST:
        raise QuantizeError(
            f"Training needs at least {FEWEST} different images, one in {HELD_OUT} of which is held out to measure the"
            f" gain; {len(different)} were given. 100 or more that look like those in use are better."
        )
    return [image for i, image in enumerate(different) if i % HELD_OUT], different[::HELD_OUT]


def gain_of(
    engine: Engine,
    reference: LoadedModel,
    trained: Trained,
    images: Sequence[EncodedImage],
    on_progress: OnProgress = silent,
) -> Gain:
    """Both variants against the reference. Raises QuantizeError where no held-out image can be read."""
    built = {"with training": trained.trained, "without": trained.untrained}
    sources = [ModelSource(name, made.data, sidecar=reference.settings) for name, made in built.items()]
    variants = [follow(load_model(engine, source), reference) for source in sources]
    found = detect_images(
        Context(engine, progress=Advance(on_progress)), [reference, *variants], images, len(images), PAGE_SCORE
    )
    after, before = (compare_variant(reference, v, found.images, found.inferences, PAGE_SCORE) for v in variants)
    if not after.images:
        raise QuantizeError(f"No held-out image could be run: {' '.join(found.skipped[:3])}")
    low, high = _interval(before, after)
    return Gain(before.summary.agreement, after.summary.agreement, low, high, len(after.images))


def _interval(before: ComparedVariant, after: ComparedVariant) -> tuple[float, float]:
    """95 % of the paired bootstrap over images."""
    same, total = (np.stack(counts) for counts in zip(_counts(before), _counts(after), strict=True))
    random = np.random.default_rng(0)
    drawn = random.integers(0, same.shape[1], (RESAMPLES, same.shape[1]))
    sums = same[:, drawn].sum(axis=2), total[:, drawn].sum(axis=2)  # (2, resamples)
    agreement = np.where(sums[1] > 0, 2 * sums[0] / np.maximum(sums[1], 1), 1.0)
    low, high = np.quantile(agreement[1] - agreement[0], [0.025, 0.975])
    return float(low), float(high)


def _counts(variant: ComparedVariant) -> tuple[np.ndarray, np.ndarray]:
    """(images,) pairs of one class, and objects of both sides."""
    rows = [image.summary for image in variant.images]
    same = np.array([row.kept + row.shifted for row in rows])
    both = np.array([2 * (row.kept + row.shifted + row.relabelled) + row.lost + row.spurious for row in rows])
    return same, both
