"""The result of a comparison in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qviz.features.comparison import ComparedVariant, Comparison
from qviz.features.comparison.conversion import converted_file, lost_shares
from qviz.features.comparison.matching import Change, Summary, worst_first
from qviz.features.comparison.shapes import mean_and_lowest
from qviz.features.inspection.text import headline
from qviz.formatting import listed, plural, score
from qviz.structures import Loss

LEVELS = ((0.98, "unchanged"), (0.85, "slightly changed"), (0.6, "damaged"), (0.0, "broken"))
"""(minimum agreement, word for a variant with at least this agreement), as used on all pages and in the report; see
docs/reference.md."""
MIN_UNCHANGED, MIN_UNDAMAGED = LEVELS[0][0], LEVELS[1][0]
"""Agreements below which a variant is called changed or damaged, respectively."""
COLOURS = {"unchanged": "ok", "slightly changed": "some", "damaged": "bad", "broken": "bad"}
"""Word -> colour of its badge: green, amber or red."""
NO_LOSS = 5e-4
"""A loss of AP below this rounds to 0.0 points."""
MAX_NAMED = 2
"""Maximum number of damaged variants that are named in addition to the worst."""


def verdict(result: Comparison) -> str:
    """A sentence about the kept, lost and changed objects of the variants on all images."""
    images = max((len(variant.images) for variant in result.variants), default=0)
    finding = damage_verdict(result.reference, {v.name: v.summary for v in result.variants}, images)
    return headline(result.warnings, " ".join([finding, *conversion_sentences(result)]))


def conversion_sentences(result: Comparison) -> list[str]:
    """How many objects of an ONNX reference the converter costs, one sentence per variant that loses some."""
    converted = converted_file(result.warnings)
    sentences = []
    for row in lost_shares(result):
        if total := row.by_conversion + row.by_quantization:
            shares = f"{row.by_conversion} in the conversion and {row.by_quantization} in the quantization"
            if not row.by_conversion:
                shares = f"all in the quantization: {converted} keeps them"
            elif not row.by_quantization:
                shares = f"all in the conversion: {converted} loses them, too"
            objects = f"{plural(total, 'object')} of {result.reference}"
            sentences.append(f"{row.variant} loses or relabels {objects}, {shares}.")
    return sentences


def level(agreement: float | None) -> str:
    """The word for an agreement in [0, 1]; empty if the agreement is unknown."""
    return "" if agreement is None else next(word for minimum, word in LEVELS if agreement >= minimum)


def level_meaning(word: str) -> str:
    """The help text of a badge: which agreements the words in LEVELS stand for."""
    above = [f"{name} from {minimum:.2f}" for minimum, name in LEVELS[:-1]]
    return f"{word}: by the agreement with the reference. {', '.join(above)}, {LEVELS[-1][1]} below."


SHAPES = {"keypoint_similarity": "keypoint similarity", "mask_iou": "mask IoU"}
"""Field of a compared object -> its name in sentences."""


def shape_sentences(variant: ComparedVariant) -> list[str]:
    """How similar keypoints and masks of the kept and shifted objects are: one sentence each, or none without them."""
    objects = [
        (row, image.image)
        for image in variant.images
        for row in image.objects
        if row.change in (Change.KEPT, Change.SHIFTED)
    ]
    sentences = []
    for field, name in SHAPES.items():
        values = [getattr(row, field) for row, _ in objects]
        measured = mean_and_lowest(values)
        if measured is not None:
            mean, lowest = measured
            row, image = objects[lowest]
            count = plural(len(values) - values.count(None), "kept or shifted object")
            worst = f"the lowest is {score(values[lowest])} ({row.label} in {image})"
            sentences.append(f"{variant.name}: the mean {name} of {count} is {score(mean)}; {worst}.")
    return sentences


SEVERITY = ("lost", "relabelled", "spurious", "shifted")
"""The changes, most serious first."""


def by_severity(summary: Summary) -> tuple[int, ...]:
    """The number of objects with each change in `SEVERITY`."""
    return tuple(getattr(summary, name) for name in SEVERITY)


def changed_counts(summary: Summary) -> list[str]:
    """The counts of changed objects, most serious first, e.g. `2 lost`, `1 shifted`."""
    return [f"{count} {name}" for name, count in zip(SEVERITY, by_severity(summary), strict=True) if count]


def badge(summary: Summary) -> str:
    """The most serious change in an image as a short text, e.g. `2 lost`."""
    return [*changed_counts(summary), f"{summary.kept} kept" if summary.kept else "empty"][0]


def damage_level(summary: Summary) -> str:
    """The colour of a badge: `ok`, `some` or `bad`, depending on the word for the agreement; `none` without objects."""
    return COLOURS.get(level(summary.agreement), "none")


def is_damaged(agreement: float | None) -> bool:
    """Whether an agreement is that of a damaged or broken variant; False if it is unknown."""
    return agreement is not None and agreement < MIN_UNDAMAGED


def disagreement(name: str, agreement: float | None, loss: Loss, images: int) -> str:
    """Why objects change although there is no loss of AP, or vice versa; empty if agreement and AP are consistent.

    loss: the loss of AP; images: the number of images on which both were measured.
    """
    if agreement is None or loss.value is None:
        return ""
    loses = loss.value > NO_LOSS and loss.significant is not False
    if loses == (agreement < MIN_UNCHANGED):
        return ""
    objects = (
        f"The objects of {name} are {level(agreement)} (agreement {score(agreement)} on {plural(images, 'image')})"
    )
    if loses:
        return f"{objects} although it loses AP: AP also ranks detections below the confidence threshold."
    shows = "its AP shows no loss" if loss.value <= NO_LOSS else "its loss of AP is not significant"
    why = "an object whose score falls below the confidence threshold is lost for agreement, but not for AP"
    return f"{objects} although {shows}: {why}."


def damage_verdict(reference: str, summaries: Mapping[str, Summary], images: int, is_quantized: bool = False) -> str:
    """What happens to the reference's objects in the variants, the worst variant first.

    images: the number of images that have been run; is_quantized: whether the reference itself is quantized.
    """
    if not summaries:
        missing = "the file that it was quantized from, or another variant," if is_quantized else "a quantized variant"
        return f"Only {reference} is loaded. Add {missing} to compare."
    if not images:
        return "No image has been run yet."
    ranked = sorted(summaries.items(), key=lambda item: worst_first(item[1].agreement))
    (name, worst), others = ranked[0], ranked[1:]
    if worst.agreement is None:
        return f"Neither {reference} nor a variant finds an object at this confidence. Lower it, or use other images."
    return (
        f"{name} is {level(worst.agreement)}: {_counts(worst)} (agreement {score(worst.agreement)}).{_others(others)}"
    )


def _others(ranked: Sequence[tuple[str, Summary]]) -> str:
    """The names of the next damaged variants, the number of further ones, and the agreement of the rest."""
    damaged = [(name, summary.agreement) for name, summary in ranked if is_damaged(summary.agreement)]
    sentences = [f" {name} is {level(agreement)} ({score(agreement)})." for name, agreement in damaged[:MAX_NAMED]]
    if more := len(damaged) - len(sentences):
        sentences.append(f" {more} more {'is' if more == 1 else 'are'} damaged.")
    rest = [summary.agreement for _, summary in ranked[len(damaged) :] if summary.agreement is not None]
    if len(rest) == 1:
        sentences.append(f" The other variant has an agreement of {score(rest[0])}.")
    elif rest:
        sentences.append(f" The other {len(rest)} variants have an agreement of at least {score(rest[0])}.")
    if empty := [name for name, summary in ranked if summary.agreement is None]:
        sentences.append(f" {listed(empty)} {'finds' if len(empty) == 1 else 'find'} nothing either.")
    return "".join(sentences)


def image_verdict(variant: str, summary: Summary) -> str:
    """A sentence about the changes of a variant on one image."""
    if summary.agreement is None:
        return f"{variant}: no object at this confidence, as in the reference."
    return f"{variant}: {_counts(summary)} (agreement {score(summary.agreement)})."


def _counts(summary: Summary) -> str:
    total = summary.reference_objects
    if total == 0:
        return f"{plural(summary.spurious, 'spurious object')}; the reference finds none"
    counts = ((summary.lost, "lost"), (summary.relabelled, "relabelled"), (summary.shifted, "shifted"))
    parts = [f"{count} {word}" for count, word in counts if count]
    spurious = f", and {summary.spurious} spurious" if summary.spurious else ""
    if not parts:
        return ("the only object is kept" if total == 1 else f"all {total} objects are kept") + spurious
    return f"of {plural(total, 'object')}, {', '.join(parts)}{spurious}"
