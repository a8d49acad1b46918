"""Run a model with several choices of settings on images, and measure how much each choice's detections can be trusted.

A wrong normalisation or channel order makes a detector less confident, or makes it detect objects everywhere. With each
choice, the model runs on every image and on its mirror image, and the confidence of objects found in both (same class,
IoU > 0.6) is summed.

All choices run on the first images; only those that may still be the best run on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.context import Context
from qviz.datasets.images import read_image
from qviz.detector import Detector
from qviz.engine import Blob
from qviz.errors import ImageError, QvizError
from qviz.features.comparison.matching import match_detections
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, EncodedImage, Image, Settings
from qviz.structures.dataset import spread
from qviz.tflite.inputs import input_spec

MIN_SCORE = 0.2
MIN_IOU = 0.6
MIN_SHARE = 0.6
FLOOD = 50
"""A choice with at least this many objects in the median image is considered to detect objects everywhere."""
CAP, CAPPED = 10, 0.9
"""A choice with the same number of objects, at least `CAP`, in this share of the images is also considered to detect
objects everywhere: files with built-in NMS return at most a fixed number of objects."""
MAX_REPEATED = 0.8
"""If more than this share of a choice's confidence is at the same places in the next image, its detections do not
depend on the image. The choice is excluded, unless the same is true of all choices, as with a fixed camera."""
FIRST_IMAGES = 4
"""All choices run on this many images."""
HOPEFUL, CLOSE, ENOUGH = 0.6, 0.9, 3.0
"""A choice runs on the other images only if, on the first ones, it confirms at least `HOPEFUL` times as much confidence
as the best choice, and `CLOSE` times as much as the default if that is plausible. All choices run on all images if the
best one confirms less than `ENOUGH` on the first ones."""
LEAST_SHARE = 0.4
"""A choice of whose confidence a smaller share is confirmed on the first images does not run on the others."""
JOB_IMAGES = 2
"""Number of images in one worker's job."""


@dataclass(frozen=True, slots=True, eq=False)
class OnImage:
    """The outcome of one choice of settings on one image.

    Attributes:
        detections: Boxes in shares of the image's width and height.
        confirmed: Sum of the confidences of objects that the mirror image confirms.
    """

    detections: Detections
    confirmed: float


NO_OUTCOME = OnImage(Detections.of(np.zeros((0, 4)), np.zeros(0), np.zeros(0)), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The outcome of one choice of settings on n images.

    Attributes:
        confirmed: (n,) sum of the confidences of objects that the mirror image confirms.
        total: (n,) sum of the confidences of all objects.
        counts: (n,) number of objects.
        repeated: (n,) sum of the confidences of objects that also are in the next image, at the same place.
    """

    settings: Settings
    confirmed: np.ndarray
    total: np.ndarray
    counts: np.ndarray
    repeated: np.ndarray

    @classmethod
    def of(cls, settings: Settings, rows: Sequence[OnImage]) -> Trial:
        """The trial with these outcomes, one per image."""
        following = [*rows[1:], *rows[:1]] if len(rows) > 1 else [NO_OUTCOME]
        return cls(
            settings,
            np.array([row.confirmed for row in rows]),
            np.array([float(row.detections.scores.sum()) for row in rows]),
            np.array([len(row.detections) for row in rows]),
            np.array([_shared(one.detections, other.detections) for one, other in zip(rows, following, strict=True)]),
        )

    @property
    def plausible(self) -> bool:
        """Whether the mirror image confirms at least `MIN_SHARE` of the confidence, and `floods` is False."""
        total = float(self.total.sum())
        return total > 0 and float(self.confirmed.sum()) >= MIN_SHARE * total and not self.floods

    @property
    def repeats(self) -> bool:
        """Whether more than `MAX_REPEATED` of the confidence is at the same places in the next image, too."""
        return float(self.repeated.sum()) > MAX_REPEATED * float(self.total.sum())

    @property
    def floods(self) -> bool:
        """Whether the median image has at least `FLOOD` objects, or most images have as many as the file can give."""
        if not len(self.counts):
            return False
        largest = int(self.counts.max())
        capped = largest >= CAP and float((self.counts == largest).mean()) >= CAPPED
        return capped or float(np.median(self.counts)) >= FLOOD


def run_trials(
    context: Context,
    model: LoadedModel,
    choices: Sequence[Settings],
    images: Sequence[EncodedImage],
    fitting: Sequence[Settings],
) -> list[Trial]:
    """One trial per choice that may be the best, in the order of the choices; the first choice always has one.

    Args:
        images: The first `FIRST_IMAGES` that all choices run on are evenly spaced among them.
        fitting: The choices that fit the evidence; the best of them has a trial, too.
    """
    first = spread(range(len(images)), FIRST_IMAGES)
    outcomes = _outcomes(context, model, choices, images, first)
    remaining = hopeful([_trial(choice, outcomes, first) for choice in choices], fitting)
    others = [number for number in range(len(images)) if number not in first]
    outcomes |= _outcomes(context, model, remaining, images, others)
    return [_trial(choice, outcomes, range(len(images))) for choice in remaining]


def hopeful(trials: Sequence[Trial], fitting: Sequence[Settings]) -> list[Settings]:
    """The settings of those trials on the first images that may still be the best, in the order of the trials.

    Args:
        trials: One per choice; the first is that of the default settings, which always remains.
        fitting: The choices that fit the evidence; the best of them always remains.
    """
    plausible = [trial for trial in trials if trial.plausible and not trial.repeats]
    best = max((float(trial.confirmed.sum()) for trial in plausible), default=0.0)
    if best < ENOUGH:
        return [trial.settings for trial in trials]
    inside = [trial for trial in trials if trial.settings in fitting]
    ranked = sorted(inside, key=lambda trial: (trial.plausible, float(trial.confirmed.sum())))
    always = [trials[0], *ranked[-1:]]
    default = float(trials[0].confirmed.sum()) if trials[0] in plausible and trials[0] in inside else 0.0
    bound = max(HOPEFUL * best, CLOSE * default)
    return [trial.settings for trial in trials if trial in always or _may_win(trial, bound)]


def _may_win(trial: Trial, bound: float) -> bool:
    confirmed = float(trial.confirmed.sum())
    return confirmed >= bound and confirmed >= LEAST_SHARE * float(trial.total.sum())


Outcomes = Mapping[tuple[Settings, int], OnImage]
"""(settings, number of the image) -> outcome."""


def _trial(settings: Settings, outcomes: Outcomes, numbers: Sequence[int]) -> Trial:
    return Trial.of(settings, [outcomes.get((settings, number), NO_OUTCOME) for number in numbers])


def _outcomes(
    context: Context,
    model: LoadedModel,
    choices: Sequence[Settings],
    images: Sequence[EncodedImage],
    numbers: Sequence[int],
) -> dict[tuple[Settings, int], OnImage]:
    """The outcomes of these choices on the images with these numbers; those that fail are left out."""
    parts = [numbers[start : start + JOB_IMAGES] for start in range(0, len(numbers), JOB_IMAGES)]
    jobs = [
        context.engine.submit_urgent(try_job, model.blob, tuple(choices), tuple(images[number] for number in part))
        for part in parts
    ]
    outcomes: dict[tuple[Settings, int], OnImage] = {}
    for part, job in zip(parts, jobs, strict=True):
        try:
            rows = job.result()
        except QvizError:
            continue  # an image or model that fails here will fail again in the analysis, which reports the error
        for number, row in zip(part, rows, strict=True):
            outcomes |= {(choice, number): outcome for choice, outcome in zip(choices, row, strict=False)}
    return outcomes


def try_job(blob: Blob, choices: tuple[Settings, ...], images: tuple[EncodedImage, ...]) -> list[list[OnImage]]:
    """For each image, the outcome of each choice; empty if the image cannot be read. Runs in a worker.

    choices: They differ in how an image is prepared (mean, std and channels) only, so one interpreter runs them all.
    """
    detector = Detector(blob.read(), choices[0])
    rows: list[list[OnImage]] = []
    for encoded in images:
        try:
            image = read_image(encoded)
        except ImageError:
            rows.append([])
            continue
        mirror = _mirror(image)
        rows.append([_outcome(detector, choice, image, mirror) for choice in choices])
    return rows


def _outcome(detector: Detector, choice: Settings, image: Image, mirror: Image) -> OnImage:
    detector.spec = input_spec(choice)
    detections = detector.detect(image, MIN_SCORE).detections
    mirrored = _unmirrored(detector.detect(mirror, MIN_SCORE).detections, image.width)
    confirmed = _shared(detections, mirrored)
    return OnImage(replace(detections, boxes=detections.boxes / (*image.size, *image.size)), confirmed)


def _shared(detections: Detections, others: Detections) -> float:
    """Sum of the confidences of the detections that the others have too: same class, IoU of at least `MIN_IOU`."""
    matches = match_detections(detections, others, MIN_IOU)
    same = detections.class_ids[matches.pairs[:, 0]] == others.class_ids[matches.pairs[:, 1]]
    return float(detections.scores[matches.pairs[same, 0]].sum())


def _mirror(image: Image) -> Image:
    return replace(image, pixels=np.ascontiguousarray(image.pixels[:, ::-1]))


def _unmirrored(detections: Detections, width: int) -> Detections:
    """Detections on a mirror image, moved to their positions in the original image of this width."""
    boxes = detections.boxes.copy()
    boxes[:, 0], boxes[:, 2] = width - detections.boxes[:, 2], width - detections.boxes[:, 0]
    return replace(detections, boxes=boxes)
