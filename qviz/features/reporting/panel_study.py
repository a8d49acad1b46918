"""A saved study, the choice of a report's sections and notes, and the finished page with its downloads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from html import escape

import streamlit as st

from qviz.cache import LRUCache
from qviz.chart_style import variant_colour
from qviz.features.reporting.html import render
from qviz.features.reporting.sections import SECTIONS, available
from qviz.features.reporting.study import Study, study_bytes
from qviz.features.reporting.text import findings, headline
from qviz.formatting import as_text, megabytes
from qviz.ui import clicks, page, workspace
from qviz.ui.frame import frame
from qviz.ui.page import Page

MAX_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Chosen:
    """The choices for a page.

    Attributes:
        sections: The chosen sections, in the order of the report.
        notes: (section, text) for each note.
    """

    sections: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]


def choose(offered: Sequence[str], default: Collection[str], key: str, slow: Collection[str] = ()) -> Chosen:
    """Draw the widgets for sections and notes, and return what the user chose.

    Args:
        offered: Sections that can be chosen.
        default: Sections that are chosen at first.
        key: Prefix of the widgets' keys.
        slow: Sections that take minutes to compute.
    """
    picked = st.pills(
        "Sections",
        offered,
        selection_mode="multi",
        default=[name for name in offered if name in default],
        format_func=lambda name: SECTIONS[name].title + (" (takes minutes)" if name in slow else ""),
        key=f"{key}-sections",
        persist_state="session",
        wrap=True,
    )
    sections = tuple(name for name in SECTIONS if name in picked)
    return Chosen(sections, _notes(sections, key))


def _notes(sections: Sequence[str], key: str) -> tuple[tuple[str, str], ...]:
    with st.expander("Notes for the meeting: a text at the head of a section"):
        columns = st.columns(2)
        texts = {
            name: columns[number % 2].text_area(
                as_text(SECTIONS[name].title),
                max_chars=MAX_NOTE,
                height=80,
                key=f"{key}-note-{name}",
                persist_state="session",
            )
            for number, name in enumerate(sections)
        }
    return tuple((name, text.strip()) for name, text in texts.items() if text and text.strip())


HEIGHT = 900


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """The page and the study as bytes. `rev` is a digest of both."""

    page: bytes
    study: bytes
    rev: str


@st.cache_resource(show_spinner=False)
def _files() -> LRUCache[Files]:
    return LRUCache(8)


def make(study: Study, chosen: Chosen, title: str = "", command: str = "") -> Files:
    """Make the page and the study file, both with this title and command. Raises SettingsError or StudyError."""
    named = replace(study, name=title or study.name)
    if command:
        named = replace(named, made=replace(study.made, command=command))
    data = study_bytes(named)
    rev = sha256(data + repr(chosen).encode("utf-8", "replace")).hexdigest()

    def render_files() -> Files:
        return Files(render(named, chosen.sections, dict(chosen.notes)).encode("utf-8"), data, rev)

    return _files().get(rev, render_files)


def show_file(files: Files, chosen: Chosen) -> None:
    """Draw the download buttons, and the page in a frame."""
    left, right = st.columns(2)
    left.download_button(
        f"Download the page ({megabytes(len(files.page))})",
        files.page,
        "qviz_report.html",
        "text/html",
        type="primary",
        on_click="ignore",
        width="stretch",
    )
    right.download_button(
        f"Download the study ({megabytes(len(files.study))})",
        files.study,
        "qviz_study.json",
        "application/json",
        on_click="ignore",
        width="stretch",
        help="All figures and pictures in one file. Drop it on this page on any machine; the models are not needed.",
    )
    st.caption(f"{len(chosen.sections)} sections: {', '.join(SECTIONS[name].title for name in chosen.sections)}.")
    frame(files.page.decode(), files.rev, HEIGHT, key="report-frame")


def show(here: Page, study: Study) -> None:
    """Draw a saved study: the finding, one line per variant, the choice of sections, and the page."""
    page.verdict(headline(study), _origin(here, study))
    st.html(_findings(study))
    clicks.button(st, "Close this study", _close, "study-close", st.rerun)
    sections = available(study)
    chosen = choose(sections, sections, key=f"study-{study.made.images_digest[:12]}")
    if not chosen.sections:
        st.info("Choose a section.")
        return
    show_file(make(study, chosen), chosen)


def _close() -> None:
    workspace.keep(replace(workspace.current(), study=None))


def _origin(here: Page, study: Study) -> str:
    """A sentence on when the study was made, and whether its models are loaded."""
    origin = f"A saved study, made {study.made.date}" if study.made.date else "A saved study"
    loaded = {model.digest for model in here.models.all} if here.models is not None else set()
    missing = [model.name for model in study.models if model.sha256 not in loaded]
    if not missing:
        return f"{origin}. Its models are loaded: the other pages show them."
    if len(missing) == len(study.models):
        return (
            f"{origin}. It needs no models. The other pages show the loaded models, which are not those of the study."
        )
    return f"{origin}. It needs no models. All of them are loaded except {', '.join(missing)}."


def _findings(study: Study) -> str:
    rows = (
        f'<li style="--swatch:{variant_colour(position)}"><b>{escape(finding.name)}</b> {escape(finding.sentence)}'
        f" {escape(finding.layer)}</li>"
        for position, finding in enumerate(findings(study))
    )
    return f'<ul class="qviz qviz-findings">{"".join(rows)}</ul>'
