"""What became of the reference's objects, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qviz.features.comparison import Comparison
from qviz.features.comparison.matching import Summary
from qviz.features.inspection.text import headline
from qviz.formatting import plural, score

LEVELS = ((0.98, "unchanged"), (0.85, "slightly changed"), (0.6, "damaged"), (0.0, "broken"))
"""(minimum agreement, word for a variant with it)."""
MIN_UNDAMAGED = LEVELS[1][0]
"""Below this agreement a variant is damaged."""
MAX_NAMED = 2
"""Damaged variants that are named beside the worst."""


def verdict(result: Comparison) -> str:
    """What became of the reference's objects on all images."""
    images = max((len(variant.images) for variant in result.variants), default=0)
    finding = damage_verdict(result.reference, {v.name: v.summary for v in result.variants}, images)
    return headline(result.warnings, finding)


def level(agreement: float) -> str:
    """The word for an agreement in [0, 1]."""
    return next(word for minimum, word in LEVELS if agreement >= minimum)


def damage_verdict(reference: str, summaries: Mapping[str, Summary], images: int) -> str:
    """What became of the reference's objects, the worst variant first. images: how many have been run."""
    if not summaries:
        return f"Only {reference} is loaded. Add a quantized variant to compare."
    if not images:
        return "No image has been run yet."
    ranked = sorted(summaries.items(), key=lambda item: item[1].agreement)
    (name, worst), others = ranked[0], ranked[1:]
    if has_no_objects(worst):
        return f"Neither {reference} nor a variant finds an object at this confidence. Lower it, or use other images."
    return (
        f"{name} is {level(worst.agreement)}: {_counts(worst)} (agreement {score(worst.agreement)}).{_others(others)}"
    )


def _others(ranked: Sequence[tuple[str, Summary]]) -> str:
    """The next damaged variants by name, the number of further ones, and the agreement of the rest."""
    damaged = [(name, summary.agreement) for name, summary in ranked if summary.agreement < MIN_UNDAMAGED]
    sentences = [f" {name} is {level(agreement)} ({score(agreement)})." for name, agreement in damaged[:MAX_NAMED]]
    if more := len(damaged) - len(sentences):
        sentences.append(f" {more} more {'is' if more == 1 else 'are'} damaged.")
    rest = ranked[len(damaged) :]
    if len(rest) == 1:
        sentences.append(f" The other variant has an agreement of {score(rest[0][1].agreement)}.")
    elif rest:
        sentences.append(
            f" The other {len(rest)} variants have an agreement of at least {score(rest[0][1].agreement)}."
        )
    return "".join(sentences)


def has_no_objects(summary: Summary) -> bool:
    """Whether neither side has an object, so that agreement says nothing."""
    return summary.kept + summary.shifted + summary.relabelled + summary.lost + summary.spurious == 0


def image_verdict(variant: str, summary: Summary) -> str:
    """What one variant did to one image."""
    if has_no_objects(summary):
        return f"{variant}: no object, as in the reference."
    return f"{variant}: {_counts(summary)} (agreement {score(summary.agreement)})."


def _counts(summary: Summary) -> str:
    total = summary.kept + summary.shifted + summary.relabelled + summary.lost
    if total == 0:
        return f"{plural(summary.spurious, 'spurious object')}; the reference finds none"
    counts = ((summary.lost, "lost"), (summary.relabelled, "relabelled"), (summary.shifted, "shifted"))
    parts = [f"{count} {word}" for count, word in counts if count]
    spurious = f", and {summary.spurious} spurious" if summary.spurious else ""
    if not parts:
        return ("the only object is kept" if total == 1 else f"all {total} objects are kept") + spurious
    return f"of {plural(total, 'object')}, {', '.join(parts)}{spurious}"
