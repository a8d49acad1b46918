"""The result of running operators in float, in a sentence."""

from __future__ import annotations

from qviz.features.inspection.text import headline
from qviz.features.what_if import FloatSet, WhatIf
from qviz.formatting import plural

MIN_NAMED = 0.05
NONE_ALONE = f"none of those tried alone brings back more than {MIN_NAMED:.0%}"
"""Words for the best single operator in the sentence if that operator explains less than MIN_NAMED."""


def verdict(result: WhatIf) -> str:
    """The agreement of the unchanged variant, the operators named for its loss, and the best set."""
    on = f"on {plural(result.images, 'image')}"
    if result.base is None:
        start = f"Neither {result.variant} nor {result.reference} finds an object {on} at this confidence"
    else:
        start = f"{result.variant} has an agreement of {result.base:.2f} with {result.reference} {on}"
    if result.warnings or result.base is None:
        return headline(result.warnings, start + ".")
    best = max(result.sets, key=lambda row: row.agreement or 0.0, default=None)
    if best is None or best.agreement is None or best.agreement <= result.base:
        return f"{start}; none of the measured sets of operators in float improves it."
    with_best = f"{plural(len(best.orders), 'operator')} in float ({best.short_text}) it is {best.agreement:.2f}."
    named = f" {culprit_sentence(result)}" if result.named is not None else ""
    return f"{start}; with {with_best}{named}"


def culprit_sentence(result: WhatIf) -> str:
    """A sentence about the operators that recover the loss when they run in float, the same on all pages.

    Empty if nothing is lost or the two models are not comparable.
    """
    if result.warnings or result.base is None or result.base >= 1:
        return ""
    on, named, single = f"on {plural(result.images, 'image')}", result.named, result.best_single
    if named is None:
        return f"In float, none of the tried operators brings back a measurable part of the lost agreement {on}."
    share = f"{_share(named)} of the lost agreement {on}"
    if named.is_single:
        return f"In float, {named.subject} brings back {share}."
    alone = ""
    if single is not None:
        names_one = (single.explained or 0.0) >= MIN_NAMED
        alone = f"; the best single one, {single.subject}, {_share(single)}" if names_one else f"; {NONE_ALONE}"
    return f"In float, {named.subject} together bring back {share}{alone}."


def _share(row: FloatSet) -> str:
    return f"{max(row.explained or 0.0, 0.0):.0%}"
