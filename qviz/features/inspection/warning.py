"""A reason to doubt a model file or a comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Warning:
    """One reason, and what to do about it.

    Attributes:
        code: Identifies the kind of warning.
        message: What is wrong.
        cure: What to do.
        model: Name of the model, or empty for a comparison.
        advice: It concerns speed or devices and does not affect the results; shown by `qviz info` only.
    """

    code: str
    message: str
    cure: str
    model: str = ""
    advice: bool = False
