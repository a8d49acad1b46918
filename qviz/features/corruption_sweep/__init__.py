"""A sweep with what explains it: which layers saturate, and which images call for another calibration."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qviz.corruptions import SEVERITIES
from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.errors import ImageError
from qviz.features.corruption_sweep.out_of_range import OutOfRange, out_of_range
from qviz.features.corruption_sweep.result import Robustness
from qviz.features.corruption_sweep.saturation import IMAGES, Saturation, saturation, with_clipping
from qviz.features.corruption_sweep.sweep import Watch, sweep
from qviz.features.detection.models import LoadedModel
from qviz.progress import OnProgress, silent
from qviz.store import Store
from qviz.structures import AppliedCorruption, Dataset, DatasetImage, EncodedImage

ALARM_IMAGES = 200
"""So many, spread over the dataset, are looked at for activations out of range."""


@dataclass(frozen=True, slots=True, eq=False)
class RobustnessReport:
    """saturations, alarms: of the variants whose activations are quantized, by the name the sweep gives them."""

    sweep: Robustness
    saturations: dict[str, Saturation]
    alarms: dict[str, OutOfRange]

    def to_json(self) -> dict[str, Any]:
        """As `qviz robustness --json` prints it."""
        return {
            **self.sweep.to_json(),
            "saturation": [{**found.to_json(), "model": name} for name, found in self.saturations.items()],
            "out_of_range": [{**found.to_json(), "model": name} for name, found in self.alarms.items()],
        }


def report(
    engine: Engine,
    models: Sequence[LoadedModel],
    dataset: Dataset,
    corruptions: Sequence[str],
    severities: Sequence[int] = SEVERITIES,
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    cancel: threading.Event | None = None,
    watch: Watch | None = None,
    layer_images: int = IMAGES,
    alarm_images: int = ALARM_IMAGES,
) -> RobustnessReport:
    """`sweep`, then the layers of each variant: on `layer_images` of the images under every shift, and on
    `alarm_images` of them as they are. 0: not at all."""
    swept = sweep(engine, models, dataset, corruptions, severities, score, on_progress, threads, store, cancel, watch)
    saturations: dict[str, Saturation] = {}
    alarms: dict[str, OutOfRange] = {}
    few = list(_read(_spread(dataset.images, layer_images)))
    many = _spread(dataset.images, alarm_images)
    shifts = [AppliedCorruption(name, level) for name in swept.corruptions for level in swept.severities]
    for name, variant in zip(swept.models[1:], models[1:], strict=True):
        pair = models[0], variant
        if few and has_ranges(*pair):
            saturations[name] = saturation(engine, *pair, few, shifts, cancel=cancel)
        if many and has_ranges(*pair):
            alarms[name] = out_of_range(engine, *pair, _read(many), total=len(many), cancel=cancel)
    return RobustnessReport(with_clipping(swept, saturations), saturations, alarms)


def has_ranges(reference: LoadedModel, variant: LoadedModel) -> bool:
    """Whether activations of the variant are quantized, so that they can leave a range."""
    if not (reference.layers_available and variant.layers_available):
        return False
    graph = variant.inspection.graph
    return any(graph.tensors[op.outputs[0]].quantized for op in graph.ops if op.outputs and op.kind != "DEQUANTIZE")


def _spread(images: Sequence[DatasetImage], most: int) -> list[DatasetImage]:
    """At most so many, evenly."""
    if len(images) <= most:
        return list(images)
    return [images[i * len(images) // most] for i in range(most)]


def _read(images: Sequence[DatasetImage]) -> Iterator[EncodedImage]:
    """What cannot be read was said by the sweep."""
    for image in images:
        try:
            yield image.encoded()
        except ImageError:
            continue
