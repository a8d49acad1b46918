"""The confidence thresholds at which a detector is used: one for all classes, the reference's best, or by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from qviz.datasets.labels import plain_name
from qviz.errors import SettingsError
from qviz.formatting import listed
from qviz.structures.json_document import NotJson, parse_json

BEST = "best"
"""The threshold at which the reference has its highest F1, all classes pooled."""
OTHERS = "*"
"""In a file of thresholds, this label stands for all classes that the file does not name."""
MAX_BYTES = 1_000_000

At = float | str | Mapping[str, float]
"""A threshold in [0, 1], `best`, or label -> threshold."""


def read_at(value: At | PathLike[str]) -> float | str | Mapping[str, float]:
    """Parse `best`, a threshold in [0, 1], or label -> threshold given as a mapping or as a JSON file.

    Raises SettingsError for anything else.
    """
    if value == BEST:
        return BEST
    if isinstance(value, Mapping):
        return _checked(value, "The thresholds")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return _read(Path(value))  # type: ignore[arg-type]
    return _threshold(number, "The operating point")


def _read(path: Path) -> Mapping[str, float]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{path.name} is larger than {MAX_BYTES:,} bytes, too large for thresholds by class.")
        document = parse_json(path.read_bytes(), not_a_number=True)
    except OSError as error:
        raise SettingsError(
            f"The operating point {str(path)[:80]!r} is not a number, not {BEST!r} and not a file that can be read"
            f" ({error.strerror}); give e.g. 0.4."
        ) from error
    except NotJson as error:
        raise SettingsError(
            f'{path.name} is not JSON: {error}; thresholds by class look like {{"person": 0.4, "{OTHERS}": 0.5}}.'
        ) from error
    if not isinstance(document, dict) or not document:
        raise SettingsError(f'{path.name} is not an object like {{"person": 0.4, "{OTHERS}": 0.5}}.')
    return _checked(document, path.name)


def _checked(thresholds: Mapping[str, float], where: str) -> dict[str, float]:
    return {str(label): _threshold(value, f"{where}: {str(label)[:60]!r}") for label, value in thresholds.items()}


def _threshold(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise SettingsError(f"{where} is {str(value)[:40]}; a confidence between 0 and 1 is expected, e.g. 0.4.")
    return float(value)


def thresholds_by_class(at: Mapping[str, float], labels: Sequence[str]) -> list[float]:
    """The threshold of each label. Case, spaces, hyphens and underscores in labels are ignored.

    Raises SettingsError if the mapping has an unknown label, or if a class has no threshold.
    """
    classes = {plain_name(label) for label in labels}
    if unknown := [label for label in at if label != OTHERS and plain_name(label) not in classes]:
        raise SettingsError(
            f"The thresholds name {listed([repr(label[:60]) for label in unknown], 3)}, which the annotations do not"
            f" have; their classes are {listed(list(labels), 5)}."
        )
    by_name = {plain_name(label): value for label, value in at.items() if label != OTHERS}
    missing = [label for label in labels if plain_name(label) not in by_name]
    if missing and OTHERS not in at:
        raise SettingsError(
            f"The thresholds leave out {listed(missing, 3)}; add them, or {OTHERS!r} for all classes not named."
        )
    return [by_name.get(plain_name(label), at.get(OTHERS, 0.0)) for label in labels]
