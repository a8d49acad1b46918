"""The values that are not compared, each with the reason. All others are compared."""

from __future__ import annotations

import re

EXCEPTIONS: dict[str, str] = {
    r"(^|/)(\w+_)?(seconds|ms|milliseconds|images_per_second)$": "a timing",
    r"(^|/)peak_mb$": "memory, which depends on the machine",
    r"^sample/(quantize|rescue|qat|info built).*/sha256$": "a digest of a built file",
    r"^pages/.*/(rev|key)$": "a key of a cache",
    r"^pages/pages/report\.py/.*/components/\d+/html$": "the report's whole page, which the part report compares",
    r"^report/.*/out/bytes$": "the size of a page, which its words decide",
    r"^models/info [^/]+/out/errors/\d+$": "a long sentence, of which only a digest is here; that it is there counts",
    r"(^|/)made/versions(/|$)": "a version",
    r"^sample/qat/out/(steps/[3-9]\d*/loss|after|gain/.*)$": "training differs from run to run: the base itself gave"
    " .807 and .800 for `after` in three runs, from its fourth step on",
}
"""A pattern for the path of a value, `part/step/out/key/...`, in lower case -> why it is left out."""

LOOSER: dict[str, tuple[float, str]] = {
    r"^sample/qat/out/.*loss": (1e-4, "TensorFlow adds up in another order from run to run: the base differs by 1e-7"),
}
"""A pattern for the path of a number -> (tolerance instead of 1e-9, the reason)."""

TEXT_EXCEPTIONS: dict[str, str] = {
    r"\b\d{4}-\d\d-\d\d\b": "a date",
    r"\b\d+(\.\d+){2,}\b": "a version",
    r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,}\b": "a digest",
    r"\b\d[\d.,]*\s?(ms|s|min|images/s)(?!\w)": "a timing",
}
"""Pattern -> name of a part of a text that is removed before numbers are compared."""

FREE_TEXT = re.compile(
    r"/(message|cure|sentence|verdict|remark|remarks|told|reason|why|title|note|help|skipped|warnings|describe"
    r"|sections|caption|advice|lines|tooltip|facts|badge)(/\d+)?$"
)
"""Matches paths of sentences: their numbers are compared, but not their words."""
DATA = re.compile(r"/(facts|badge)(/\d+)?$|/charts/")
"""Matches paths of strings that are data in a few words, whatever their length."""


def reason_for(path: str) -> str | None:
    """The reason why the value at this path is not compared; None if it is compared."""
    return next((why for pattern, why in EXCEPTIONS.items() if re.search(pattern, path.lower())), None)


def tolerance(path: str, usual: float) -> float:
    """Maximum difference, relative or absolute, of two equal numbers at this path."""
    return next((row[0] for pattern, row in LOOSER.items() if re.search(pattern, path)), usual)


def is_free_text(path: str, text: str) -> bool:
    """Whether a string is a sentence, according to its path or because it has at least three words."""
    return bool(FREE_TEXT.search(path)) or len(text.split()) >= 3


def is_phrase(path: str, text: str) -> bool:
    """Whether the numbers of a free text are data: in a table's cell, a badge, or the tooltip of a chart's point."""
    return bool(DATA.search(path)) or (not FREE_TEXT.search(path) and len(text.split()) <= 6)
