"""Whether a study that came from a file holds together: what the type of a field cannot say.

Everything that shows a study relies on these, so that a file made by hand is refused here, in a sentence, and nowhere
later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qviz.analysis.changes import Change
from qviz.analysis.error_types import KINDS
from qviz.analysis.robustness import CLEAN

if TYPE_CHECKING:
    from qviz.analysis.comparison import ComparedObject
    from qviz.analysis.study import StudiedImage, Study

MODELS = range(2, 65)
IMAGES = range(13)
SIDES = range(1, 65_536)
JPEG = b"\xff\xd8\xff"
WITHOUT = {Change.LOST: ("variant",), Change.SPURIOUS: ("reference",)}
"""The side that a change has no box on."""


def faults(study: Study) -> Iterator[str]:
    """A clause for each thing that does not fit."""
    names = [model.name for model in study.models]
    if len(names) not in MODELS:
        yield f"it has {len(names)} models, where {MODELS.start} to {MODELS.stop - 1} belong"
        return
    if twice := [name for name, count in Counter(names).items() if count > 1 or not name]:
        yield f"models are not told apart by their names ({twice[0]!r})"
    if any(model.bytes < 1 for model in study.models):
        yield "a model has no bytes"
    yield from _comparison(study)
    yield from _pictures(study.images)
    yield from _evaluation(study)
    yield from _layers(study)
    yield from _robustness(study)
    yield from _profile(study)


def _comparison(study: Study) -> Iterator[str]:
    compared = study.comparison.variants
    if len(compared) != len(study.variants):
        yield f"{len(compared)} variants are compared, but {len(study.variants)} are there"
    known = {str(change) for change in Change}
    for image in (image for variant in compared for image in variant.images):
        for found in image.objects:
            if found.change not in known:
                yield f"an object of {image.image!r} is {found.change!r}, which is no change"
            elif not _whole(found):
                yield f"an object of {image.image!r} is {found.change}, but its boxes do not say so"


def _whole(found: ComparedObject) -> bool:
    """Both sides there, or the one that the change leaves; boxes of four numbers."""
    missing = WITHOUT.get(Change(found.change), ())
    sides = {
        "reference": (found.reference_box, found.reference_score),
        "variant": (found.variant_box, found.variant_score),
    }
    there = all(
        box is not None and len(box) == 4 and score is not None
        for name, (box, score) in sides.items()
        if name not in missing
    )
    return there and (bool(missing) or found.iou is not None)


def _pictures(images: tuple[StudiedImage, ...]) -> Iterator[str]:
    if len(images) not in IMAGES:
        yield f"it shows {len(images)} images, where at most {IMAGES.stop - 1} belong"
    for image in images:
        if image.width not in SIDES or image.height not in SIDES:
            yield f"{image.name!r} has {image.width} × {image.height} pixels"
        if not image.jpeg.startswith(JPEG):
            yield f"{image.name!r} is no JPEG"


def _evaluation(study: Study) -> Iterator[str]:
    found = study.evaluation
    if found is None:
        return
    counts = (len(found.models) - 1, len(found.losses), len(found.details))
    if any(count != len(study.variants) for count in counts):
        yield "its evaluation is of other models"
    for detail in found.details:
        kinds = [row.kind for pair in detail.errors for row in pair]
        if any(kind not in KINDS for kind in kinds):
            yield "it has an unknown kind of error"


def _layers(study: Study) -> Iterator[str]:
    variants = {model.name for model in study.variants}
    for name, errors in study.layers.items():
        if name not in variants:
            yield f"it has layers of {name!r}, which is no variant of it"
        orders = [layer.order for layer in errors.layers]
        if len(set(orders)) != len(orders):
            yield f"two layers of {name!r} have one order"


def _robustness(study: Study) -> Iterator[str]:
    found = study.robustness
    if found is None:
        return
    if len(found.models) != len(study.models) or len(set(found.models)) != len(found.models):
        yield "its sweep is of other models"
    named = {(row.model, row.corruption) for row in found.points}
    named |= {(row.model, row.corruption) for row in found.interactions}
    named |= {(row.model, row.corruption) for row in found.breaking_points}
    swept = {model for model, _ in named} | {row.model for row in found.summary}
    if swept - set(found.models):
        yield "its sweep has a row of a model that was not swept"
    if {corruption for _, corruption in named} - {*found.corruptions, CLEAN}:
        yield "its sweep has a row of a corruption that was not run"


def _profile(study: Study) -> Iterator[str]:
    if study.profile is None:
        return
    for row in study.profile.models:
        if row.p50_ms <= 0 or row.bytes < 1:
            yield f"the latency of {row.name!r} is no time"
