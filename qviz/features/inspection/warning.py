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
        advice: Whether it only concerns speed or devices and not the results; only `qviz info` shows such warnings.
        operators: Indices of the operators concerned. How much they cost is unknown until an experiment
            (`qviz diagnose`) shows it.
    """

    code: str
    message: str
    cure: str
    model: str = ""
    advice: bool = False
    operators: tuple[int, ...] = ()
