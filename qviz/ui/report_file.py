"""The page of a study, made and shown: two downloads, and the page itself as it will open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

import streamlit as st

from qviz.analysis.study import Study
from qviz.analysis.study_file import study_bytes
from qviz.analysis.written import megabytes
from qviz.report import SECTIONS, render
from qviz.ui.calls import Kept
from qviz.ui.frame import frame
from qviz.ui.report_choice import Chosen

HEIGHT = 900


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """The page and the study as bytes. rev: a digest of both."""

    page: bytes
    study: bytes
    rev: str


@st.cache_resource(show_spinner=False)
def _files() -> Kept[Files]:
    return Kept(8)


def make(study: Study, chosen: Chosen, title: str = "", command: str = "") -> Files:
    """Both files. Raises SettingsError, StudyError."""
    named = replace(study, name=title or study.name)
    if command:
        named = replace(named, made=replace(study.made, command=command))
    data = study_bytes(named)
    rev = sha256(data + repr(chosen).encode("utf-8", "replace")).hexdigest()

    def made() -> Files:
        return Files(render(named, chosen.sections, dict(chosen.notes)).encode("utf-8"), data, rev)

    return _files().get(rev, made)


def show(files: Files, chosen: Chosen) -> None:
    """The downloads, and the page in a frame."""
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
        help="All figures and pictures in a file: drop it on this page, on any machine, with or without the models.",
    )
    st.caption(f"{len(chosen.sections)} sections: {', '.join(SECTIONS[name].title for name in chosen.sections)}.")
    frame(files.page.decode(), files.rev, HEIGHT, key="report-frame")
