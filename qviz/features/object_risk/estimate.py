"""The risk of each object, from its margins; and whether the risk predicts what the variant really did.

risk          probability of one outcome (`lost` or `relabelled`), from a logistic regression on the three margins in
              units of noise, with Platt's targets and a small ridge, see `accuracy.recalibration`. Noise and regression
              are never computed on the images whose objects get the risk, but on the calibration images or, without
              them, on the other four of five parts of the images
AUROC         probability that a random object with the outcome has a higher risk than a random one without it, ties
              counting half; .5 is chance. Its 95 % interval is that of `accuracy.bootstrap` over the images
deciles       the objects in ten groups of about equal size by rising risk: the mean risk and the share that really had
              the outcome

A risk is shown only if its AUROC is at least `MIN_AUROC`. Nothing is estimated if fewer than `MIN_EVENTS` objects have
the outcome, if fewer than `MIN_EVENTS` do not have it, or if there are fewer than `MIN_IMAGES` images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.accuracy.bootstrap import SEED, draws, interval
from qviz.features.accuracy.recalibration import FOLDS, MIN_IMAGES, logistic_coefficients, sigmoid
from qviz.features.comparison.matching import Change
from qviz.features.object_risk.margins import ImageObjects, head_noise, in_units_of_noise

OUTCOMES = (Change.LOST, Change.RELABELLED)
MIN_AUROC = 0.6
MIN_EVENTS = 5
RIDGE = 1.0
DECILES = 10


@dataclass(frozen=True, slots=True)
class Decile:
    """Objects with similar risk: their number, mean risk, and the share that really had the outcome, in [0, 1]."""

    objects: int
    risk: float
    share: float


@dataclass(frozen=True, slots=True)
class RiskTest:
    """Whether the risk of one outcome predicts this outcome, on images on which the risk was not estimated.

    Attributes:
        outcome: `lost` or `relabelled`.
        objects, events: Number of objects, and number of objects with the outcome.
        estimated_from: Number of objects with the outcome on the images from which the risk is estimated.
        auroc, low, high: AUROC with its interval, see the module; None if it cannot be computed.
        score_auroc: AUROC if the risk were just the reference's confidence, with low confidences as high risks.
        shown: Whether the risk predicts well enough to be shown.
        deciles: Empty if there is no risk.
    """

    outcome: str
    objects: int
    events: int
    estimated_from: int
    auroc: float | None = None
    low: float | None = None
    high: float | None = None
    score_auroc: float | None = None
    shown: bool = False
    deciles: tuple[Decile, ...] = ()


def happened(images: Sequence[ImageObjects], outcome: Change) -> np.ndarray:
    """(n,) bool, whether each object had the outcome."""
    return np.array([change is outcome for image in images for change in image.changes], bool)


def risks_from(calibration: Sequence[ImageObjects], images: Sequence[ImageObjects], outcome: Change) -> np.ndarray:
    """(n,) risk of the objects of `images`, estimated from the objects of `calibration`; NaN if that is impossible."""
    noise, events = head_noise(calibration), happened(calibration, outcome)
    objects = sum(len(image.objects) for image in images)
    if noise is None or len(calibration) < MIN_IMAGES or min(events.sum(), (~events).sum()) < MIN_EVENTS:
        return np.full(objects, np.nan)
    weights = logistic_coefficients(in_units_of_noise(calibration, noise), events, ridge=RIDGE)
    return np.asarray(sigmoid(weights[:-1] @ in_units_of_noise(images, noise) + weights[-1]))


def cross_fitted_risks(images: Sequence[ImageObjects], outcome: Change) -> np.ndarray:
    """(n,) risk of the objects of each image, estimated from the other parts of the images; NaN if impossible."""
    part = np.random.default_rng(SEED).permutation(len(images)) % FOLDS
    risks: list[np.ndarray] = [np.zeros(0)] * len(images)
    for fold in range(FOLDS):
        others = [image for image, number in zip(images, part, strict=True) if number != fold]
        inside = np.flatnonzero(part == fold).tolist()
        chosen = [images[number] for number in inside]
        ends = np.cumsum([len(image.objects) for image in chosen], dtype=int)
        for number, values in zip(inside, np.split(risks_from(others, chosen, outcome), ends)[:-1], strict=True):
            risks[number] = values
    return np.concatenate([np.zeros(0), *risks])


def auroc(risks: np.ndarray, events: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve, see the module; NaN if no object, or every object, has the outcome.

    Args:
        risks: (n,) numbers, higher for a higher risk.
        events: (n,) bool, whether each object has the outcome.
        weights: (n,) how often each object counts; None if each counts once.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
        0.875
    """
    values, group = np.unique(risks, return_inverse=True)
    counts = np.ones(len(risks)) if weights is None else weights
    with_event = np.bincount(group, counts * events, minlength=len(values))
    without = np.bincount(group, counts * ~events, minlength=len(values))
    pairs = with_event.sum() * without.sum()
    if pairs == 0:
        return float("nan")
    return float(with_event @ (np.cumsum(without) - without / 2) / pairs)


def risk_test(images: Sequence[ImageObjects], risks: np.ndarray, outcome: Change, estimated_from: int) -> RiskTest:
    """Compare the risks of the objects of `images` with what really happened to these objects.

    estimated_from: number of objects with the outcome from which the risks were estimated.
    """
    events = happened(images, outcome)
    count, positives = len(events), int(events.sum())
    if np.isnan(risks).any() or min(positives, count - positives) < MIN_EVENTS:
        return RiskTest(str(outcome), count, positives, estimated_from)
    scores = np.concatenate([image.objects.scores for image in images])
    of_image = np.repeat(np.arange(len(images)), [len(image.objects) for image in images])
    resampled = np.array([auroc(risks, events, weights[of_image]) for weights in draws(len(images))])
    value, (low, high) = auroc(risks, events), interval(resampled, len(images))
    return RiskTest(
        outcome=str(outcome),
        objects=count,
        events=positives,
        estimated_from=estimated_from,
        auroc=value,
        low=low,
        high=high,
        score_auroc=auroc(-scores, events),
        shown=value >= MIN_AUROC,
        deciles=deciles(risks, events),
    )


def deciles(risks: np.ndarray, events: np.ndarray) -> tuple[Decile, ...]:
    """The groups, sorted by rising risk. If there are fewer than ten objects, each object is a group."""
    groups = np.array_split(np.argsort(risks, kind="stable"), max(1, min(DECILES, len(risks))))
    return tuple(
        Decile(len(rows), float(risks[rows].mean()), float(events[rows].mean())) for rows in groups if len(rows)
    )
