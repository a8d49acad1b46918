"""What operators in float bring back, in a sentence."""

from __future__ import annotations

from qviz.features.what_if import WhatIf
from qviz.formatting import plural


def verdict(result: WhatIf) -> str:
    """The agreement as it is, and with the best set."""
    start = f"{result.variant} has an agreement of {result.base:.2f} with {result.reference}"
    start += f" on {plural(result.images, 'image')}"
    best = max(result.sets, key=lambda row: row.agreement, default=None)
    if best is None or best.agreement <= result.base:
        return f"{start}; none of the measured sets of operators in float improves it."
    return f"{start}; with {plural(len(best.orders), 'operator')} in float ({best.short_text}) {best.agreement:.2f}."
