"""The result of the calibration lab.

value     AP if objects are annotated, or else agreement with the reference
loss      the reference's value minus the variant's, with the 95 % interval of a paired bootstrap over the images
extra     the same, but compared with the mean value of matching calibrations instead of the reference: all draws with
          the same number of images or, if there are none, with the two largest numbers. (A single calibration would be
          a poor baseline: the AP of equally good ones differs by half a point or more.)
widening  how much wider the layers' ranges are with an image than without it, averaged over the layers
clipped   share of an image's activations outside the ranges of all other images, averaged over the layers
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qviz.features.accuracy.evaluator import Measurement, mean_loss
from qviz.features.building.calibration import Calibration
from qviz.features.corruption_sweep.out_of_range import LAYER_NAMES, Addition
from qviz.features.inspection.warning import Warning
from qviz.result import Result, to_json
from qviz.structures import Loss

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = Loss(None)
ENOUGH_SIZES = 2
"""Calibrations with this many of the largest numbers of images are averaged as the baseline for `extra`."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One calibration to build and measure.

    Attributes:
        group: `curve`, `method`, `outliers` or `mismatch`.
        description: The calibration in words.
        images: Number of images that it used.
    """

    group: str
    name: str
    description: str
    images: int
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Tried:
    """One calibration, built and measured.

    Attributes:
        description: The calibration in words.
        images: Number of images that it used.
        loss, extra: Losses in AP or agreement; see the module.
        refused: Reason why the file could not be built or run, in which case the values are None; else empty.
    """

    name: str
    description: str
    images: int
    ap: float | None = None
    agreement: float | None = None
    loss: Loss = UNKNOWN
    extra: Loss = UNKNOWN
    refused: str = ""

    JSON_NAMES: ClassVar = {"description": "told"}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The results with one number of calibration images.

    Attributes:
        tried: One entry per seeded draw; a single entry if all images are used.
        ap, agreement, value: Means over the draws.
        low, high: Values of the worst and the best draw.
        extra: Mean loss of the draws compared with the calibrations on the largest numbers of images.
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
    """A layer whose range depends on the images.

    Attributes:
        op_index: Index of the operator that writes the tensor; -1 for the network's input.
        change: Mean change of its range over the splits, see `stability`.
        first, second: The range (low, high) in two disjoint subsets.
    """

    op_index: int
    tensor: str
    op_type: str
    change: float
    first: tuple[float, float]
    second: tuple[float, float]

    JSON_NAMES: ClassVar = LAYER_NAMES


@dataclass(frozen=True, slots=True)
class SubsetSize:
    """The changes of the layers' ranges between disjoint subsets of `images` images each.

    Attributes:
        changed: Number of layers that change by more than `Stability.limit`.
        median, worst: Median and largest change over the layers.
    """

    images: int
    changed: int
    median: float
    worst: float


@dataclass(frozen=True, slots=True)
class Stability:
    """Whether two halves of the images give the same ranges.

    Attributes:
        limit: Largest acceptable change. If a layer changes by more, there are too few images.
        layers: Number of quantized layers.
        images: Number of images in each half.
        changed: Layers whose change exceeds the limit.
        sizes: The changes by size of the subsets.
    """

    limit: float
    layers: int
    images: int
    changed: tuple[LayerChange, ...]
    sizes: tuple[SubsetSize, ...]

    JSON_ALSO: ClassVar = ("too_few",)

    @property
    def too_few(self) -> bool:
        """Whether some layer's range still depends on which half of the images is used."""
        return bool(self.changed)


@dataclass(frozen=True, slots=True)
class Outlier:
    """A calibration image that widens ranges.

    Attributes:
        clipped_share, widening: See the module.
        layers: Number of layers whose range it widens.
        tensor, times: The tensor whose range it widens most, and the width with it divided by the width without it.
    """

    image: str
    digest: str
    clipped_share: float
    widening: float
    layers: int
    tensor: str
    times: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CalibrationLab(Result):
    """How many calibration images are needed, which ones, and what the usual mistakes cost.

    Attributes:
        source, recipe, method: Name of the model, recipe, and method that computes ranges.
        images: Number of calibration images.
        dataset, evaluated_images: Name of the dataset on which variants are measured, and its number of images.
        annotated: Whether values are AP; otherwise they are agreement.
        reference: The reference's own value.
        curve: One point per number of images.
        outliers: Images that widen the ranges, the widest first.
        without_outliers: The calibration without these images.
        methods: Calibrations with the other methods.
        mismatch: Calibrations with the usual mistakes.
        add: Images of the dataset to add to the calibration.
        seconds: Time to measure the ranges of all images.
    """

    source: str
    recipe: str
    method: str
    images: int
    dataset: str
    evaluated_images: int
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
    warnings: tuple[Warning, ...] = ()

    ROWS: ClassVar = "curve"
    JSON_NAMES: ClassVar = {"evaluated_images": "judged"}
    JSON_ALSO: ClassVar = ("measure",)

    @property
    def measure(self) -> str:
        """The unit of values: `AP` or `agreement`."""
        return "AP" if self.annotated else "agreement"

    def value(self, tried: Tried) -> float | None:
        """AP or agreement of one variant, in [0, 1]."""
        return tried.ap if self.annotated else tried.agreement

    @property
    def all_images(self) -> Tried | None:
        """The variant calibrated on all images, or None before it is measured."""
        last = self.curve[-1] if self.curve else None
        return last.tried[0] if last is not None and last.images == self.images else None

    @property
    def other_calibrations(self) -> tuple[Tried, ...]:
        """Mistakes, other methods, and the calibration without outliers."""
        without = () if self.without_outliers is None else (self.without_outliers,)
        return (*self.mismatch, *self.methods, *without)

    def to_frame(self) -> pd.DataFrame:
        """One row per variant that was built and measured."""
        import pandas as pd

        return pd.DataFrame([{"group": group, **_flat(tried)} for group, tried in self.rows()])

    def rows(self) -> Iterator[tuple[str, Tried]]:
        """(`curve`, `method`, `outliers` or `mismatch`; variant) for every variant."""
        yield from (("curve", tried) for point in self.curve for tried in point.tried)
        yield from (("method", tried) for tried in self.methods)
        if self.without_outliers is not None:
            yield "outliers", self.without_outliers
        yield from (("mismatch", tried) for tried in self.mismatch)


def _flat(tried: Tried) -> dict[str, Any]:
    row = to_json(tried)
    loss, extra, refused = row.pop("loss"), row.pop("extra"), row.pop("refused")
    extra = {f"extra_{key}": value for key, value in extra.items()}
    return {**row, "loss": loss.pop("value"), **loss, **extra, "refused": refused}


Measured = Mapping[Trial, Measurement | str]
"""The measurement of each trial, or why there is none."""


def tried_of(measured: Measured, reference: Measurement, images: int) -> list[tuple[Trial, Tried]]:
    """One (trial, result) per trial. `images` is the number of images on which they were measured."""
    by_size = _by_size(measured)
    enough = _enough(by_size)
    rows = []
    for trial, measurement in measured.items():
        row = Tried(trial.name, trial.description, trial.images)
        if isinstance(measurement, str):
            row = replace(row, refused=measurement)
        else:
            uses_all = trial.group == "curve" or trial.images == max(by_size, default=0)
            matching = enough if uses_all else by_size.get(trial.images, enough)
            loss, extra = (mean_loss(baseline, [measurement], images) for baseline in ([reference], matching))
            row = replace(row, ap=measurement.ap, agreement=measurement.agreement, loss=loss, extra=extra)
        rows.append((trial, row))
    return rows


def curve_of(measured: Measured, rows: Sequence[tuple[Trial, Tried]], images: int) -> tuple[CurvePoint, ...]:
    """One point per number of images, in ascending order. `rows` is the result of `tried_of`."""
    by_size = _by_size(measured)
    enough = _enough(by_size)
    curve = [tried for trial, tried in rows if trial.group == "curve"]
    points = []
    for size in sorted({tried.images for tried in curve}):
        measurements = by_size.get(size, [])
        values = [row.value for row in measurements if row.value is not None]
        points.append(
            CurvePoint(
                images=size,
                tried=tuple(tried for tried in curve if tried.images == size),
                ap=_mean([row.ap for row in measurements if row.ap is not None]),
                agreement=_mean([row.agreement for row in measurements if row.agreement is not None]),
                value=_mean(values),
                low=min(values, default=None),
                high=max(values, default=None),
                extra=mean_loss(enough, measurements, images),
            )
        )
    return tuple(points)


def _by_size(measured: Measured) -> dict[int, list[Measurement]]:
    """Number of images, in ascending order -> the curve's measurements with that number."""
    by_size: dict[int, list[Measurement]] = {}
    for trial, measurement in measured.items():
        if trial.group == "curve" and isinstance(measurement, Measurement):
            by_size.setdefault(trial.images, []).append(measurement)
    return dict(sorted(by_size.items()))


def _enough(by_size: Mapping[int, list[Measurement]]) -> list[Measurement]:
    return [row for size in list(by_size)[-ENOUGH_SIZES:] for row in by_size[size]]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
