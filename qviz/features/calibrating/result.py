"""What the calibration lab found: how many images it takes, which ones, and what wrong ones cost.

value       AP where objects are annotated, else agreement with what FP32 finds (see `found_again`)
loss        FP32's value minus the variant's, with the 95 % interval of a paired bootstrap over the judged images (see
            `significance`)
extra       likewise, but of matching calibrations minus the variant: the mean over the draws of as many images where
            there are such, else over all that saw the two largest numbers of images. (One calibration is a poor
            measure: AP of equally good ones differs by half a point and more.)
change      of a layer's range between two disjoint subsets: how far the farther of its two ends moves, in widths of
            the range that holds both; the mean over seeded splits (not the median: what one image in ten shows is in
            one subset and not in the other less than half of the time)
widening    of an image: how much wider the layers' ranges are with it than without, mean over the layers
clipped     share of an image's activations outside of the ranges that all the other images show, mean over the layers
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from qviz.features.corruption_sweep.out_of_range import Addition
from qviz.structures import Loss

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = Loss(None)


@dataclass(frozen=True, slots=True)
class Tried:
    """One calibration, built and measured. told: what it was, in words; images: how many it saw.

    refused: why the file could not be built or run; its figures are then None.
    """

    name: str
    told: str
    images: int
    ap: float | None = None
    agreement: float | None = None
    loss: Loss = UNKNOWN
    extra: Loss = UNKNOWN
    refused: str = ""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """So many calibration images; tried: one a seeded draw of them (all images: one). Means, and the extremes.

    extra: what the mean of the draws lacks against the two largest numbers of images.
    """

    images: int
    tried: tuple[Tried, ...]
    ap: float | None
    agreement: float | None
    value: float | None
    low: float | None
    high: float | None
    extra: Loss = UNKNOWN


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer whose range depends on the images. first, second: its range in one split (low, high)."""

    order: int
    tensor: str
    op_kind: str
    change: float
    first: tuple[float, float]
    second: tuple[float, float]


@dataclass(frozen=True, slots=True)
class SubsetSize:
    """Disjoint subsets of so many images each. changed: how many layers change by more than the limit."""

    images: int
    changed: int
    median: float
    worst: float


@dataclass(frozen=True, slots=True)
class Stability:
    """layers: how many were looked at; changed: those that change too much between halves of all images."""

    limit: float
    layers: int
    images: int
    changed: tuple[LayerChange, ...]
    sizes: tuple[SubsetSize, ...]

    @property
    def too_few(self) -> bool:
        """Whether some layer's range still depends on which half of the images is taken."""
        return bool(self.changed)


@dataclass(frozen=True, slots=True)
class Outlier:
    """A calibration image that widens ranges. tensor: of the layer that it widens most, to that many times."""

    image: str
    digest: str
    clipped_share: float
    widening: float
    layers: int
    tensor: str
    times: float


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationLab:
    """One lab. annotated: whether values are AP; reference: FP32's own value; judged: images it was measured on.

    outliers: the widest first; without_outliers: the variant calibrated on the others; add: images to add next.
    seconds: what measuring the ranges took, once for all.
    """

    source: str
    recipe: str
    method: str
    images: int
    dataset: str
    judged: int
    annotated: bool
    reference: float | None
    curve: tuple[CurvePoint, ...] = ()
    stability: Stability | None = None
    outliers: tuple[Outlier, ...] = ()
    without_outliers: Tried | None = None
    methods: tuple[Tried, ...] = ()
    mismatch: tuple[Tried, ...] = ()
    add: tuple[Addition, ...] = ()
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0
    warnings: tuple[dict[str, Any], ...] = field(default=())

    @property
    def measure(self) -> str:
        """What a value is, in a word."""
        return "AP" if self.annotated else "agreement"

    def value(self, tried: Tried) -> float | None:
        """Of one variant, in that measure."""
        return tried.ap if self.annotated else tried.agreement

    @property
    def all_images(self) -> Tried | None:
        """The variant calibrated on all images, once it is measured."""
        last = self.curve[-1] if self.curve else None
        return last.tried[0] if last is not None and last.images == self.images else None

    def to_json(self) -> dict[str, Any]:
        """As `qviz calibration --json` prints it."""
        found = asdict(self)
        if self.stability is not None:
            found["stability"]["too_few"] = self.stability.too_few
        return {**found, "measure": self.measure}

    def to_frame(self) -> pd.DataFrame:
        """A row a variant that was built and measured."""
        import pandas as pd

        return pd.DataFrame([{"group": group, **_flat(tried)} for group, tried in self.rows()])

    def rows(self) -> Iterator[tuple[str, Tried]]:
        """(curve | method | outliers | mismatch, variant)."""
        yield from (("curve", tried) for point in self.curve for tried in point.tried)
        yield from (("method", tried) for tried in self.methods)
        if self.without_outliers is not None:
            yield "outliers", self.without_outliers
        yield from (("mismatch", tried) for tried in self.mismatch)


def _flat(tried: Tried) -> dict[str, Any]:
    row = asdict(tried)
    loss, extra, refused = row.pop("loss"), row.pop("extra"), row.pop("refused")
    told = {f"extra_{key}": value for key, value in extra.items()}
    return {**row, "loss": loss.pop("value"), **loss, **told, "refused": refused}
