"""The loss over a continuous trait, such as brightness, in ranges with about equally many objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qviz.features.accuracy.slice_loss import CurvePoint, TraitCurve
from qviz.features.slices.losses import MIN_IMAGES, MIN_OBJECTS, group_losses
from qviz.features.slices.traits import Group, Objects
from qviz.formatting import three
from qviz.structures import Dataset

MAX_RANGES, MIN_RANGES = 8, 3


def curves_of(
    dataset: Dataset, objects: Objects, names: Sequence[str], variants: Sequence[str], hits: np.ndarray
) -> tuple[TraitCurve, ...]:
    """One curve per continuous trait that has enough different values.

    Args:
        names: Names of traits; those that are not continuous are left out.
        variants, hits: As in `losses.slice_losses`.
    """
    curves = []
    for name in names:
        values = objects.continuous(name)
        edges = np.empty(0) if values is None else range_edges(values, objects.image)
        if values is None or len(edges) <= MIN_RANGES:
            continue
        stated = ~np.isnan(values)
        number = np.minimum(np.searchsorted(edges, values, side="right") - 1, len(edges) - 2)
        groups = [_range(name, edges, k, stated & (number == k), stated) for k in range(len(edges) - 1)]
        rows = group_losses(dataset, groups, variants, hits)
        points = (
            CurvePoint(
                float(edges[k]),
                float(edges[k + 1]),
                float(np.median(values[group.members])),
                row.images,
                row.truths,
                row.losses,
            )
            for k, (group, row) in enumerate(zip(groups, rows, strict=True))
        )
        curves.append(TraitCurve(name, tuple(points)))
    return tuple(curves)


def range_edges(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(ranges + 1,) ascending limits of at most `MAX_RANGES` ranges. Empty if there are too few images or objects.

    Args:
        values: (objects,) values of the trait, NaN where unknown.
        image: (objects,) index of each object's image.
    """
    stated = ~np.isnan(values)
    images = len(np.unique(image[stated]))
    ranges = min(MAX_RANGES, images // MIN_IMAGES, int(stated.sum()) // MIN_OBJECTS)
    if ranges < MIN_RANGES:
        return np.empty(0)
    return np.unique(np.quantile(values[stated], np.linspace(0, 1, ranges + 1)))


def _range(name: str, edges: np.ndarray, number: int, members: np.ndarray, stated: np.ndarray) -> Group:
    limits = f"{three(float(edges[number]))} to {three(float(edges[number + 1]))}"
    return Group(name, limits, f"{name} {limits}", members, stated)
