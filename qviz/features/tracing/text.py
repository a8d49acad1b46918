"""A trace in a sentence."""

from __future__ import annotations

from qviz.features.tracing import Trace


def verdict(result: Trace) -> str:
    """Where the object falls, or its box moves, and why."""
    return result.sentence
