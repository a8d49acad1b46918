"""One thing that a model's file or a comparison gives reason to doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Warning:
    """code: for programs; message: what is the matter; cure: what to do; model: whose it is, "" for a comparison's."""

    code: str
    message: str
    cure: str
    model: str = ""
    advice: bool = False
    """It does not touch the figures given here, but speed or devices: told where a file is looked into."""

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "code": self.code,
            "message": self.message,
            "cure": self.cure,
            "advice": self.advice,
        }
