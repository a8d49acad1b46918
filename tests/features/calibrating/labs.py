"""A constructed calibration lab: one image is not enough, two are as good as all five, random noise halves AP."""

from __future__ import annotations

from qviz.features.calibrating.result import (
    CalibrationLab,
    CurvePoint,
    LayerChange,
    Outlier,
    Stability,
    SubsetSize,
    Tried,
)
from qviz.features.corruption_sweep.out_of_range import Addition
from qviz.structures import Loss

NO_DIFFERENCE = Loss(0.001, -0.01, 0.012, False)
GRAVE = Loss(0.25, 0.2, 0.3, True)
OUTLIER = Outlier("<i>wide.jpg", "digest", 0.0125, 0.03, 4, "conv", 1.5)
CHANGED = LayerChange(7, "<b>conv", "CONV_2D", 0.35, (0.0, 4.0), (0.0, 6.0))
SIZES = (SubsetSize(1, 9, 0.1, 0.6), SubsetSize(2, 1, 0.04, 0.35))


def tried(name: str, images: int, ap: float | None, extra: Loss = NO_DIFFERENCE, refused: str = "") -> Tried:
    loss = Loss(None) if ap is None else Loss(0.5 - ap, 0.49 - ap, 0.51 - ap, abs(0.5 - ap) > 0.01)
    return Tried(name, f"{name} in words", images, ap, 0.9 if ap is not None else None, loss, extra, refused)


def point(images: int, *aps: float, extra: Loss = NO_DIFFERENCE) -> CurvePoint:
    rows = tuple(tried(f"{images}/{number + 1}", images, ap, extra) for number, ap in enumerate(aps))
    return CurvePoint(images, rows, sum(aps) / len(aps), 0.9, sum(aps) / len(aps), min(aps), max(aps), extra)


LAB = CalibrationLab(
    source="model.tflite",
    recipe="int8",
    method="minmax",
    images=5,
    dataset="scenes",
    evaluated_images=30,
    annotated=True,
    reference=0.5,
    curve=(point(1, 0.2, 0.3, extra=GRAVE), point(2, 0.49, 0.495), point(5, 0.496)),
    stability=Stability(0.2, 40, 2, (CHANGED,), SIZES),
    outliers=(OUTLIER,),
    without_outliers=tried("without_outliers", 4, 0.497),
    methods=(tried("percentile", 5, 0.48),),
    mismatch=(
        tried("noise_unit", 5, 0.25, GRAVE),
        tried("one_class", 2, 0.493),
        tried("dark_only", 1, None, Loss(None), "It cannot be built."),
    ),
    add=(Addition("street.jpg", "d", 0.6), Addition("night.jpg", "e", 0.97)),
)
