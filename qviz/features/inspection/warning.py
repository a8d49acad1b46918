"""A reason to doubt a model file or a comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Warning:
    """One reason, and what to do about it.

    Attributes:
        code: Identifies the kind of warning.
        message: What is wrong.
        cure: What to do about it.
        model: Name of the model, or empty for a comparison.
        advice: Whether it concerns speed or devices only, not the results; then only `qviz info` shows it.
        operators: The operators of the model that it is about. What it costs is not known before an experiment
            (`qviz diagnose`) has shown it.
    """

    code: str
    message: str
    cure: str
    model: str = ""
    advice: bool = False
    operators: tuple[int, ...] = ()
