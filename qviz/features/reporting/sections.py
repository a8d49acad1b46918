"""The sections of a report: their titles, and what a study needs for each. `html.CONTENT` fills them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qviz.errors import SettingsError
from qviz.features.reporting.study import Study

MAX_NOTE = 5000
"""Maximum number of characters of one note."""
ANNOTATIONS = "annotated images (--dataset) are needed"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page.

    Attributes:
        title: Its heading.
        has: Returns whether a study has content for it.
        needs: What is missing in a study without content for it, as a clause.
    """

    title: str
    has: Callable[[Study], bool] = lambda study: True
    needs: str = ""


SECTIONS = {
    "verdict": Section("Verdict"),
    "next": Section("What to do next"),
    "models": Section("Models"),
    "accuracy": Section("Accuracy", lambda study: study.evaluation is not None, ANNOTATIONS),
    "classes": Section("Loss by class", lambda study: bool(study.losses), ANNOTATIONS),
    "operating": Section(
        "At the confidence in use",
        lambda study: study.evaluation is not None and study.evaluation.operating is not None,
        ANNOTATIONS,
    ),
    "slices": Section(
        "Slices",
        lambda study: study.evaluation is not None and study.evaluation.slices is not None,
        "slices were not computed (--also slices)",
    ),
    "risk": Section(
        "Who will be lost?", lambda study: bool(study.risks), "the risk of objects was not estimated (--also risk)"
    ),
    "images": Section("Worst images", lambda study: bool(study.images), "images are needed"),
    "layers": Section("Layers", lambda study: bool(study.layers), "the layers of no variant were examined"),
    "robustness": Section("Robustness", lambda study: study.robustness is not None, "no sweep was run"),
    "video": Section("Video", lambda study: bool(study.videos), "no video was given (--video FILE)"),
    "tradeoff": Section(
        "Trade-off", lambda study: bool(study.profile and study.profile.models), "latency was not measured"
    ),
    "made": Section("How this was made"),
}


LEAD = ("verdict", "next")
"""The sections of the first sheet; the table of contents follows them."""


def available(study: Study) -> list[str]:
    """The names of the sections for which this study has content."""
    return [name for name, section in SECTIONS.items() if section.has(study)]


def check_names(names: Sequence[str]) -> None:
    """Raise SettingsError for a name that is not a section."""
    for name in names:
        if name not in SECTIONS:
            raise SettingsError(f"{name!r} is not a section of the report; choose from {', '.join(SECTIONS)}.")


def check_choice(study: Study, chosen: Sequence[str], notes: Mapping[str, str]) -> None:
    """Raise SettingsError for a section without content in the study, or for a note without its section."""
    if not chosen:
        raise SettingsError(f"No section is chosen; choose from {', '.join(SECTIONS)}.")
    check_names((*chosen, *notes))
    for name in chosen:
        if name not in available(study):
            raise SettingsError(f"The study has nothing for the section {name!r}: {SECTIONS[name].needs}.")
    for name, text in notes.items():
        if name not in chosen:
            raise SettingsError(f"There is a note for the section {name!r}, which is not chosen.")
        if len(text) > MAX_NOTE:
            raise SettingsError(f"The note for {name!r} has {len(text)} characters; the limit is {MAX_NOTE}.")
