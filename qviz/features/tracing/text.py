"""A trace in a sentence."""

from __future__ import annotations

from qviz.features.tracing import Trace
from qviz.features.what_if import WhatIf
from qviz.features.what_if.text import culprit_sentence


def verdict(result: Trace) -> str:
    """Where the object falls, or its box moves, and why."""
    return result.sentence


def against_whole(result: Trace, experiment: WhatIf | None) -> str:
    """A sentence if this object's trace names another operator than the experiment on several images; else empty."""
    named = None if experiment is None else experiment.named
    if experiment is None or named is None or not result.culprits or result.culprits[0].order in named.orders:
        return ""
    return f"This is the result for one object; over all objects it is different: {culprit_sentence(experiment)}"
