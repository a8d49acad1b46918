"""The result of a comparison in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qviz.features.comparison import Comparison
from qviz.features.comparison.matching import Summary, worst_first
from qviz.features.inspection.text import headline
from qviz.formatting import listed, plural, score
from qviz.structures import Loss

LEVELS = ((0.98, "unchanged"), (0.85, "slightly changed"), (0.6, "damaged"), (0.0, "broken"))
"""(minimum agreement, word for a variant with it), on every page and in the report; see docs/reference.md."""
MIN_UNCHANGED, MIN_UNDAMAGED = LEVELS[0][0], LEVELS[1][0]
"""Below these agreements a variant is changed, and damaged."""
COLOURS = {"unchanged": "ok", "slightly changed": "some", "damaged": "bad", "broken": "bad"}
"""Word -> colour of its badge: green, amber or red."""
NO_LOSS = 5e-4
"""AP that rounds to 0.0 points."""
MAX_NAMED = 2
"""Damaged variants that are named beside the worst."""


def verdict(result: Comparison) -> str:
    """The kept, lost and changed objects of each variant on all images, in a sentence."""
    images = max((len(variant.images) for variant in result.variants), default=0)
    finding = damage_verdict(result.reference, {v.name: v.summary for v in result.variants}, images)
    return headline(result.warnings, finding)


def level(agreement: float | None) -> str:
    """The word for an agreement in [0, 1]; empty if the agreement is unknown."""
    return "" if agreement is None else next(word for minimum, word in LEVELS if agreement >= minimum)


def level_meaning(word: str) -> str:
    """The agreements that a word of LEVELS stands for, and those of the others: the help of a badge."""
    above = [f"{name} from {minimum:.2f}" for minimum, name in LEVELS[:-1]]
    return f"{word}: by the agreement with the reference. {', '.join(above)}, {LEVELS[-1][1]} below."


SEVERITY = ("lost", "relabelled", "spurious", "shifted")
"""Changes, the most serious first."""


def by_severity(summary: Summary) -> tuple[int, ...]:
    """The number of objects with each of these changes."""
    return tuple(getattr(summary, name) for name in SEVERITY)


def changed_counts(summary: Summary) -> list[str]:
    """`2 lost`, `1 shifted`: the changed objects of one image, the most serious first."""
    return [f"{count} {name}" for name, count in zip(SEVERITY, by_severity(summary), strict=True) if count]


def badge(summary: Summary) -> str:
    """The most serious change of one image in a few characters."""
    return [*changed_counts(summary), f"{summary.kept} kept" if summary.kept else "empty"][0]


def damage_level(summary: Summary) -> str:
    """ok, some or bad, for the colour of a badge, by the same rule as the word of a variant; none without objects."""
    return COLOURS.get(level(summary.agreement), "none")


def is_damaged(agreement: float | None) -> bool:
    """Whether a known agreement is that of a damaged or broken variant."""
    return agreement is not None and agreement < MIN_UNDAMAGED


def disagreement(name: str, agreement: float | None, loss: Loss, images: int) -> str:
    """Why objects change although no loss of AP shows, or the other way round; empty where both say the same.

    loss: of AP; images: how many both were measured on.
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
    """What became of the reference's objects, the worst variant first.

    images: how many have been run; is_quantized: whether the reference is quantized itself.
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
    """The next damaged variants by name, the number of further ones, and the agreement of the rest."""
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
    """The changes of one variant on one image."""
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
