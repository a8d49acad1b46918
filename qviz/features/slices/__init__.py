"""In which situations a variant loses more than elsewhere: recall by traits of images and objects, with intervals.

    evaluation = session.evaluate(at=0.4, slices="all")
    evaluation.slices.rows[0].meaning  # the slice with the clearest loss

It uses the detections of a finished evaluation, without running a model. The result types are in `accuracy.slice_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qviz.context import Context
from qviz.errors import DatasetError
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.measured import measured_dataset
from qviz.features.accuracy.slice_loss import Slices
from qviz.features.slices.image_traits import measure_images
from qviz.features.slices.losses import slice_losses
from qviz.features.slices.object_hits import object_hits
from qviz.features.slices.traits import Objects, groups_of, names_of
from qviz.structures import Dataset


def with_slices(context: Context, evaluation: Evaluation, dataset: Dataset, names: str | Sequence[str]) -> Evaluation:
    """The evaluation with its `slices` filled in.

    Args:
        dataset: The dataset that was evaluated.
        names: `all`, or names from `slices.traits.TRAITS`, as a sequence or as text with commas.

    Raises:
        Cancelled, SettingsError: A trait is unknown.
        DatasetError: There are no objects, or no variants.
    """
    return replace(evaluation, slices=slices(context, evaluation, dataset, names))


def slices(context: Context, evaluation: Evaluation, dataset: Dataset, names: str | Sequence[str] = "all") -> Slices:
    """The losses in every slice; see `with_slices` for the arguments and errors."""
    chosen = names_of(names)
    measured = measured_dataset(evaluation, dataset)
    if evaluation.operating is None or len(evaluation.models) < 2:
        raise DatasetError("Slices are about the loss of a variant, and only one model was evaluated; add a variant.")
    if not any((~image.is_crowd).any() for image in measured.images):
        raise DatasetError("Nothing is annotated on these images, so there are no objects to slice.")
    by_label = {row.label: row.threshold for row in evaluation.operating.models[0].per_class}
    thresholds = {category.id: by_label.get(category.name) for category in measured.categories}
    hits = np.array([object_hits(measured, rows, thresholds) for rows in evaluation.results])
    images = measure_images(context, measured)
    groups, remarks = groups_of(Objects.of(measured, images), chosen)
    return Slices(slice_losses(measured, groups, [model.name for model in evaluation.models[1:]], hits), tuple(remarks))
