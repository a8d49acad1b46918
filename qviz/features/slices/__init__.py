"""In which situations a variant loses more than elsewhere: recall by traits of images and objects, with intervals.

    evaluation = session.evaluate(at=0.4, slices="all")
    evaluation.slices.rows[0].meaning  # the slice with the clearest loss

It uses the detections of a finished evaluation, without running a model. The result types are in `accuracy.slice_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike

import numpy as np

from qviz.context import Context
from qviz.datasets.trait_file import read_trait_file, with_traits
from qviz.errors import DatasetError
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.measured import measured_dataset
from qviz.features.accuracy.slice_loss import Slices
from qviz.features.slices.columns import column_names
from qviz.features.slices.curves import curves_of
from qviz.features.slices.image_traits import measure_images
from qviz.features.slices.losses import slice_losses
from qviz.features.slices.object_hits import object_hits
from qviz.features.slices.traits import Objects, groups_of, names_of
from qviz.structures import Dataset


def sliced_dataset(
    dataset: Dataset, names: str | Sequence[str] | None, traits: str | PathLike[str] | None
) -> tuple[Dataset, str | Sequence[str] | None, Sequence[str]]:
    """(the dataset with the traits of a CSV file, the names of the traits to use, sentences about the file's rows).

    It is called before models run, so that mistakes are reported early. If `names` is None, only the traits of the file
    are used.

    Raises:
        SettingsError: A trait is unknown.
        DatasetError: The file is not a table, or none of its rows is about an image of the dataset.
    """
    remarks: Sequence[str] = ()
    if traits is not None:
        file = read_trait_file(traits)
        dataset, remarks = with_traits(dataset, file)
        names = list(file.columns) if names is None else names
    if names is not None:
        names_of(names, column_names(dataset))
    return dataset, names, remarks


def with_slices(
    context: Context, evaluation: Evaluation, dataset: Dataset, names: str | Sequence[str], remarks: Sequence[str] = ()
) -> Evaluation:
    """The evaluation with its `slices` filled in; see `slices` for the arguments and errors.

    remarks: further sentences to show with the slices.
    """
    result = slices(context, evaluation, dataset, names)
    return replace(evaluation, slices=replace(result, remarks=(*remarks, *result.remarks)))


def slices(context: Context, evaluation: Evaluation, dataset: Dataset, names: str | Sequence[str] = "all") -> Slices:
    """The loss of recall in every slice, and over every continuous trait.

    Args:
        dataset: The dataset that was evaluated; `datasets.trait_file.with_traits` adds the columns of a CSV file.
        names: `all`, or names of traits (`slices.traits.TRAITS`) and of fields of the images or objects, as a sequence
            or as text with commas. `class+size` crosses two.

    Raises:
        Cancelled, SettingsError: A name is unknown.
        DatasetError: There are no objects, or no variants.
    """
    measured = measured_dataset(evaluation, dataset)
    chosen = names_of(names, column_names(measured))
    if evaluation.operating is None or len(evaluation.models) < 2:
        raise DatasetError("Slices are about the loss of a variant, and only one model was evaluated; add a variant.")
    if not any((~image.is_crowd).any() for image in measured.images):
        raise DatasetError("Nothing is annotated on these images, so there are no objects to slice.")
    by_label = {row.label: row.threshold for row in evaluation.operating.models[0].per_class}
    thresholds = {category.id: by_label.get(category.name) for category in measured.categories}
    hits = np.array([object_hits(measured, rows, thresholds) for rows in evaluation.results])
    images = measure_images(context, measured)
    objects = Objects.of(measured, images)
    groups, remarks = groups_of(objects, chosen)
    variants = [model.name for model in evaluation.models[1:]]
    curves = curves_of(measured, objects, chosen, variants, hits)
    return Slices(slice_losses(measured, groups, variants, hits), tuple(remarks), curves)
