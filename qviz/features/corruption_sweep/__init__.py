"""Measure every model under changes of light, noise and pose, and find layers and images out of calibrated ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qviz.context import Context
from qviz.corruptions import SEVERITIES, corruptions_named
from qviz.detector import AP_SCORE
from qviz.features.corruption_sweep.out_of_range import OutOfRange, has_ranges, out_of_range
from qviz.features.corruption_sweep.result import Robustness
from qviz.features.corruption_sweep.saturation import Saturation, saturation, with_clipping
from qviz.features.corruption_sweep.sweep import sweep
from qviz.features.detection.inference import Reading
from qviz.features.detection.models import LoadedModel
from qviz.result import Result, to_json
from qviz.structures import AppliedCorruption, Dataset, spread

if TYPE_CHECKING:
    import pandas as pd

LAYER_IMAGES = 8
"""Images on which every layer is examined under every corruption."""
ALARM_IMAGES = 200
"""Images that are examined for activations out of range."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RobustnessReport(Result):
    """A sweep over corruptions, with the layers and images that exceed the calibrated ranges.

    Attributes:
        sweep: The values by model, corruption and severity.
        saturations: Name of a variant with quantized activations -> the clipped share of each of its layers.
        alarms: Name of a variant with quantized activations -> the images that exceed its calibrated ranges.
    """

    sweep: Robustness
    saturations: dict[str, Saturation]
    alarms: dict[str, OutOfRange]

    def to_json(self) -> dict[str, Any]:
        """The document that `qviz robustness --json` writes."""
        return {
            **self.sweep.to_json(),
            "saturation": [{**to_json(row), "model": name} for name, row in self.saturations.items()],
            "out_of_range": [{**to_json(row), "model": name} for name, row in self.alarms.items()],
        }

    def to_frame(self) -> pd.DataFrame:
        """One row per model, corruption and severity."""
        return self.sweep.to_frame()


def robustness(
    context: Context,
    models: Sequence[LoadedModel],
    dataset: Dataset,
    *,
    corruptions: Sequence[str] = ("lighting",),
    severities: Sequence[int] = SEVERITIES,
    score: float = AP_SCORE,
    layer_images: int | None = None,
    alarm_images: int | None = None,
) -> RobustnessReport:
    """Measure models under corruptions, then the layers of each variant.

    Args:
        models: The models, the reference first.
        dataset: The images. If nothing is annotated, agreement with the reference on the clean images replaces AP.
        corruptions: Names of corruptions, families (`lighting`, `published`, `pose`) or `all`.
        severities: Severities from 1 to 5; 5 is the worst.
        score: Minimum confidence of a detection that counts in AP.
        layer_images: Number of images on which layers are examined under every corruption; by default 8.
        alarm_images: Number of images that are examined for activations out of range; by default 200, or 0 if
            `layer_images` is 0.

    Returns:
        A report; its `sweep.points` has one row per model, corruption and severity.

    Raises:
        Cancelled, DatasetError, SettingsError: The work was stopped, there is no image that all models can process, or
            a corruption or severity does not exist.
    """
    swept = sweep(context, models, dataset, corruptions_named(corruptions), severities, score)
    if layer_images is None:
        layer_images = LAYER_IMAGES
    if alarm_images is None:
        alarm_images = ALARM_IMAGES if layer_images else 0
    context.progress.step("Measuring activation ranges")
    few, many = list(Reading().of(spread(dataset.images, layer_images))), spread(dataset.images, alarm_images)
    applied = [AppliedCorruption(name, level) for name in swept.corruptions for level in swept.severities]
    saturations: dict[str, Saturation] = {}
    alarms: dict[str, OutOfRange] = {}
    for name, variant in zip(swept.models[1:], models[1:], strict=True):
        pair = models[0], variant
        if few and has_ranges(*pair):
            saturations[name] = saturation(context, *pair, few, applied)
        if many and has_ranges(*pair):
            alarms[name] = out_of_range(context, *pair, Reading().of(many), total=len(many))
    return RobustnessReport(with_clipping(swept, saturations), saturations, alarms)
