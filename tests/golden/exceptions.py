"""What is not compared, and why. Nothing else is left out."""

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
"""A pattern for the path of a number -> the tolerance that it has instead of 1e-9, and why."""

TEXT_EXCEPTIONS: dict[str, str] = {
    r"\b\d{4}-\d\d-\d\d\b": "a date",
    r"\b\d+(\.\d+){2,}\b": "a version",
    r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,}\b": "a digest",
    r"\b\d[\d.,]*\s?(ms|s|min|images/s)(?!\w)": "a timing",
}
"""What is cut out of a text before its numbers are read."""

FREE_TEXT = re.compile(
    r"/(message|cure|sentence|verdict|remark|remarks|told|reason|why|title|note|help|skipped|warnings|describe"
    r"|sections|caption|advice|lines|tooltip|facts|badge)(/\d+)?$"
)
"""Paths of strings that are written for people: their numbers count, their words do not."""
DATA = re.compile(r"/(facts|badge)(/\d+)?$|/charts/")
"""Paths of strings that are data in a few words, however long."""


def reason_for(path: str) -> str | None:
    """Why the value there is not compared, None where it is."""
    return next((why for pattern, why in EXCEPTIONS.items() if re.search(pattern, path.lower())), None)


def tolerance(path: str, usual: float) -> float:
    """How far two numbers there may be from one another, relative or absolute."""
    return next((row[0] for pattern, row in LOOSER.items() if re.search(pattern, path)), usual)


def is_free_text(path: str, text: str) -> bool:
    """Whether a string is a sentence: by its name, or because it has three words and more."""
    return bool(FREE_TEXT.search(path)) or len(text.split()) >= 3


def is_phrase(path: str, text: str) -> bool:
    """Whether the numbers of a free text are data: a table's cell, a badge, what stands at a point of a chart."""
    return bool(DATA.search(path)) or (not FREE_TEXT.search(path) and len(text.split()) <= 6)
