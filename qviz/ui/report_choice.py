"""What a report shall hold: its sections, and a note at the head of each of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import streamlit as st

from qviz.analysis.written import as_text
from qviz.report import SECTIONS

LONGEST_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Chosen:
    """sections: in the report's own order; notes: (section, text) of those that have one."""

    sections: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]


def choose(offered: Sequence[str], usual: Collection[str], key: str, slow: Collection[str] = ()) -> Chosen:
    """The widgets. usual: chosen at first; slow: those that take minutes, which their labels say."""
    picked = st.pills(
        "Sections",
        offered,
        selection_mode="multi",
        default=[name for name in offered if name in usual],
        format_func=lambda name: SECTIONS[name].title + (" (takes minutes)" if name in slow else ""),
        key=f"{key}-sections",
    )
    sections = tuple(name for name in SECTIONS if name in picked)
    return Chosen(sections, _notes(sections, key))


def _notes(sections: Sequence[str], key: str) -> tuple[tuple[str, str], ...]:
    with st.expander("Notes for the meeting: a text at the head of a section"):
        places = st.columns(2)
        texts = {
            name: places[number % 2].text_area(
                as_text(SECTIONS[name].title),
                max_chars=LONGEST_NOTE,
                height=80,
                key=f"{key}-note-{name}",
                persist_state="session",
            )
            for number, name in enumerate(sections)
        }
    return tuple((name, text.strip()) for name, text in texts.items() if text and text.strip())
