"""The loss of recall in each group, and its excess over the loss among the other objects whose trait is known.

Intervals come from the paired bootstrap over images, as in `accuracy.bootstrap`: both models and all groups use the
same draws, and intervals are expanded. p values are those of Student's t with the standard error of the draws, with
Holm's correction over all groups of a variant. A group is tested if it has at least `MIN_OBJECTS` objects, and if both
the group and the other objects occur on at least `MIN_IMAGES` images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qviz.features.accuracy.ap import evidence
from qviz.features.accuracy.bootstrap import draws, holm, interval, p_value
from qviz.features.accuracy.slice_loss import SliceLoss, VariantSliceLoss
from qviz.features.slices.traits import Group
from qviz.structures import Dataset, Loss

MIN_IMAGES = 10
MIN_OBJECTS = 20


def slice_losses(
    dataset: Dataset, groups: Sequence[Group], variants: Sequence[str], hits: np.ndarray
) -> tuple[SliceLoss, ...]:
    """One row per group, the one with the clearest excess first; see `group_losses`."""
    rows = group_losses(dataset, groups, variants, hits)
    return tuple(sorted(rows, key=lambda row: min(rank(loss.excess) for loss in row.losses)))


def group_losses(
    dataset: Dataset, groups: Sequence[Group], variants: Sequence[str], hits: np.ndarray
) -> list[SliceLoss]:
    """One row per group, in order.

    Args:
        variants: Names of the variants.
        hits: (1 + variants, objects) bool, whether each model finds each object; the reference first.
    """
    image = np.repeat(np.arange(len(dataset.images)), [int((~row.is_crowd).sum()) for row in dataset.images])
    weights = draws(len(dataset.images)).astype(np.float32)
    members = _by_image([group.members for group in groups], image, len(dataset.images))
    others = _by_image([group.eligible & ~group.members for group in groups], image, len(dataset.images))
    columns = [
        _variant_losses(name, groups, hits[[0, number]], image, (members, others), weights)
        for number, name in enumerate(variants, start=1)
    ]
    return [
        SliceLoss(
            trait=group.trait,
            group=group.name,
            meaning=group.meaning,
            images=int((members[:, index] > 0).sum()),
            truths=int(group.members.sum()),
            losses=tuple(column[index] for column in columns),
            image_names=tuple(sorted({dataset.images[k].name for k in np.flatnonzero(members[:, index])})),
        )
        for index, group in enumerate(groups)
    ]


def rank(excess: Loss) -> tuple[int, float]:
    """Sort key: groups with a positive excess come first, the clearest one on top; all other groups come last."""
    worse = (excess.value or 0.0) > 0
    return evidence(excess) if worse else (1, -(excess.value or 0.0))


def _by_image(columns: Sequence[np.ndarray], image: np.ndarray, images: int) -> np.ndarray:
    """(images, columns) float32 sums over the objects of each image. `columns` are arrays with a value per object."""
    sums = [np.bincount(image, weights=column, minlength=images) for column in columns]
    return np.array(sums, np.float32).reshape(len(columns), images).T


def _variant_losses(
    name: str,
    groups: Sequence[Group],
    hits: np.ndarray,
    image: np.ndarray,
    counts: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray,
) -> list[VariantSliceLoss]:
    """The loss of one variant in each group.

    `hits` is (2, objects), the reference's row first. `counts` has two (images, groups) arrays with the numbers of
    members and of other objects.
    """
    lost = hits[0].astype(np.int8) - hits[1].astype(np.int8)
    masks = [group.members for group in groups], [group.eligible & ~group.members for group in groups]
    sums = [_by_image([lost * mask for mask in side], image, len(weights[0])) for side in masks]
    values = [_ratio(total.sum(axis=0), count.sum(axis=0)) for total, count in zip(sums, counts, strict=True)]
    drawn = [_ratio(weights @ total, weights @ count) for total, count in zip(sums, counts, strict=True)]
    images = [(count > 0).sum(axis=0) for count in counts]
    losses, excesses = [], []
    for k, group in enumerate(groups):
        smaller_side = int(min(images[0][k], images[1][k]))
        enough = group.members.sum() >= MIN_OBJECTS
        losses.append(_tested(values[0][k], drawn[0][:, k], int(images[0][k]) if enough else 0))
        excesses.append(
            _tested(values[0][k] - values[1][k], drawn[0][:, k] - drawn[1][:, k], smaller_side if enough else 0)
        )
    recalls = [tuple(float(one[group.members].mean()) for one in hits) for group in groups]
    return [
        VariantSliceLoss(name, loss, excess, (recall[0], recall[1]))
        for loss, excess, recall in zip(_significant(losses), _significant(excesses), recalls, strict=True)
    ]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _tested(value: float, drawn: np.ndarray, images: int) -> tuple[Loss, float | None]:
    """(loss with its interval, p value); with fewer than `MIN_IMAGES` images, no interval and no p value."""
    if np.isnan(value):
        return Loss(None), None
    if images < MIN_IMAGES:
        return Loss(float(value), None, None, False), None
    drawn = drawn.astype(np.float64)
    return Loss(float(value), *interval(drawn, images)), p_value(float(value), drawn, images)


def _significant(tested: Sequence[tuple[Loss, float | None]]) -> list[Loss]:
    flags = holm([p for _, p in tested])
    return [replace(loss, significant=flag) for (loss, _), flag in zip(tested, flags, strict=True)]
