"""The frame of every page: title, style, menu, the session's models, notices; and the one place that shows errors.

Pages are found by Streamlit in `pages/`; its own menu is off (`.streamlit/config.toml`) and drawn here, so that a deep
link on a fresh server gets the same frame as a visit through the home page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import streamlit as st
from streamlit import config

from qviz.chart_style import REFERENCE, variant_colour
from qviz.engine import let_go_of_the_past
from qviz.errors import QvizError
from qviz.formatting import as_text
from qviz.limits import limits
from qviz.ui import clicks, sample, server, uploads, view, workspace
from qviz.ui.server import Models

MENU = (
    ("app.py", "Overview", "What was lost, and on which images."),
    ("pages/compare.py", "Compare", "One image: boxes side by side."),
    ("pages/layers.py", "Layers", "Where in the network the error comes from."),
    ("pages/accuracy.py", "Accuracy", "AP and its loss by class."),
    ("pages/robustness.py", "Robustness", "When light and pose break a variant before the reference."),
    ("pages/variants.py", "Variants", "What each variant gains, and how a better one is made."),
    ("pages/report.py", "Report", "One HTML page for the meeting."),
    ("pages/glossary.py", "Glossary", "What each word and figure means, with unit and direction."),
)
STYLE = Path(__file__).with_name("style.css")


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What a page begins with.

    Attributes:
        workspace: Models, images and annotations of this session.
        models: The loaded models, or None where no model is loaded.
        view: What the user looks at.
    """

    workspace: workspace.Workspace
    models: Models | None
    view: view.View

    @property
    def loaded(self) -> Models:
        """The loaded models, on a page that has called `require`."""
        assert self.models is not None, "`require` ends a page without models"
        return self.models

    def require(self, needs: str, sentence: str, note: str, zone: str = "Models and images") -> Models:
        """The loaded models. Where something is missing, the page's empty state is shown instead and the page ends.

        Args:
            needs: Of `models`, `variants`, `images`, separated by spaces.
            sentence, note: What the page would show, and what to drop for it.
            zone: Label of the drop zone.
        """
        present = {
            "models": self.models is not None,
            "variants": self.models is not None and bool(self.models.variants),
            "images": bool(self.workspace.images),
        }
        if self.models is None or not all(present[name] for name in needs.split()):
            verdict(sentence, note)
            uploads.drop_zone(zone)
            st.stop()
        return self.models


@contextlib.contextmanager
def begin(title: str) -> Iterator[Page]:
    """Draw the frame and hand out the session; an error inside becomes its sentence."""
    st.set_page_config(page_title=f"{title} · qviz", page_icon="🔬", layout="wide")
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")
    try:
        _keep_options()
        if workspace.KEY not in st.session_state:
            let_go_of_the_past()  # of visitors who have left
            workspace.keep(sample.opening())
        uploads.heed_drop()
        held = server.settled(workspace.current())
        found = server.models(held)
        _sidebar(held, found)
        _purpose(title)
        _notices(held, found)
        server.show_pending(held)
        yield Page(held, found, view.current())
    except QvizError as error:
        st.error(as_text(str(error)))
        st.stop()  # also where there is no page to draw yet


def _keep_options() -> None:
    """What has to hold however the server was started: from another folder it does not read our `.streamlit`.

    maxUploadSize: larger uploads are refused while they arrive, and the drop zone says the same figure. fastReruns: two
    runs of a session at once would lose a page change.
    """
    for name, wanted in (("server.maxUploadSize", limits().upload_mb), ("runner.fastReruns", False)):
        if config.get_option(name) != wanted:
            config.set_option(name, wanted)


def _purpose(title: str) -> None:
    """What the page is for, in a sentence above its finding."""
    text = next((text for _, label, text in MENU if label == title), "")
    st.html(f'<p class="qviz qviz-purpose"><b>{escape(title)}</b> · {escape(text)}</p>')


def verdict(sentence: str, note: str = "") -> None:
    """The finding, before everything else on the page."""
    st.html(f'<p class="qviz qviz-verdict">{escape(sentence)}</p>')
    if note:
        st.html(f'<p class="qviz qviz-note">{escape(note)}</p>')


def _sidebar(held: workspace.Workspace, found: Models | None) -> None:
    with st.sidebar:
        st.html('<div class="qviz-brand">qviz<small>what quantization does to a detector</small></div>')
        for path, label, text in MENU:
            st.page_link(path, label=label, help=text)
        if found is not None:
            st.html(_legend(found))
            images = f"{len(held.images)} images" + (" · bundled sample" if held.is_sample else "")
            st.caption(images)
        if not held.is_sample:
            clicks.button(st, "Back to the sample", _back, "sample-back", st.rerun, width="stretch")


def _back() -> None:
    workspace.keep(sample.sample())
    view.change(image=None, variants=(), classes=())


def _legend(found: Models) -> str:
    rows = [(REFERENCE, f"{found.name(found.reference)} · reference")]
    rows += [(variant_colour(i), found.name(variant)) for i, variant in enumerate(found.variants)]
    spans = "".join(f'<span style="--swatch:{colour}"><b>{_breakable(text)}</b></span>' for colour, text in rows)
    return f'<div class="qviz qviz-legend">{spans}</div>'


def _breakable(name: str) -> str:
    """A long name is broken at its underscores, not before its last letter."""
    return escape(name).replace("_", "_<wbr>")


def _notices(held: workspace.Workspace, found: Models | None) -> None:
    """Sentences about files that could not be taken in; they stay until they are read."""
    sentences = [*held.notices, *(found.failed if found is not None else ())]
    if not sentences:
        return
    with st.container(border=True):
        for sentence in sentences[:8]:
            st.warning(as_text(sentence))
        if len(sentences) > 8:
            st.caption(f"and {len(sentences) - 8} more")
        if held.notices:
            clicks.button(st, "Understood", _understood, "notices-read", st.rerun)


def _understood() -> None:
    workspace.keep(replace(workspace.current(), notices=()))
