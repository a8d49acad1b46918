"""The frame of every page: title, style, menu, the session's models, notices, and the handler that shows errors.

Streamlit finds the pages in `pages/`. Its own menu is switched off (`.streamlit/config.toml`) and we draw one here, so
that a page opened by a deep link on a fresh server looks the same as one opened from the home page.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st
from streamlit import config
from streamlit.delta_generator import DeltaGenerator
from streamlit.delta_generator_singletons import context_dg_stack, get_default_dg_stack_value

from qviz.engine import free_closed_sessions
from qviz.errors import QvizError
from qviz.features.detection.models import ModelSource
from qviz.formatting import as_text, listed, plural
from qviz.limits import limits
from qviz.ui import clicks, demo, projects, sample, server, tray, uploads, view, workspace
from qviz.ui.reruns import keep_links
from qviz.ui.server import Models

MENU = (
    ("app.py", "Overview", "What was lost, and on which images."),
    ("pages/diagnosis.py", "Diagnosis", "Why a variant loses objects, and what brings them back."),
    ("pages/compare.py", "Compare", "One image: boxes side by side."),
    ("pages/layers.py", "Layers", "Where in the network the error comes from."),
    ("pages/accuracy.py", "Accuracy", "AP and its loss by class."),
    ("pages/robustness.py", "Robustness", "When light and pose break a variant before the reference."),
    ("pages/backends.py", "Backends", "Whether the same files answer alike on other kernels."),
    ("pages/video.py", "Video", "What flickers in a clip, and in which second."),
    ("pages/variants.py", "Variants", "What each variant gains, and how a better one is made."),
    ("pages/report.py", "Report", "One HTML page for the meeting."),
    ("pages/glossary.py", "Glossary", "What each word and figure means, with unit and direction."),
)
MAX_NOTICES = 8
MAX_FOLDED = 200
"""Maximum number of further notices, which are folded away."""
LARGE = "qviz_large_type"
STYLE = Path(__file__).with_name("style.css")


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The data of the session that a page gets when it starts to draw.

    Attributes:
        workspace: Models, images and annotations of this session.
        models: The loaded models, or None if no model is loaded.
        view: The current view: threshold, image, variants, filters.
    """

    workspace: workspace.Workspace
    models: Models | None
    view: view.View

    @property
    def loaded(self) -> Models:
        """The loaded models; only for a page that has called `require`."""
        assert self.models is not None, "`require` ends a page without models"
        return self.models

    def require(self, needs: str, sentence: str, note: str, zone: str = "Models and images") -> Models:
        """Return the loaded models. If something is missing, show the page's empty state and stop the page.

        Args:
            needs: What the page needs: any of `models`, `variants` and `images`, separated by spaces.
            sentence, note: Texts of the empty state: what the page will show, and which files to drop.
            zone: Label of the drop zone.
        """
        present = {
            "models": self.models is not None,
            "variants": self.models is not None and bool(self.models.variants),
            "images": bool(self.workspace.images),
        }
        if self.models is None or not all(present[name] for name in needs.split()):
            verdict(sentence, note)
            self._say_what_is_missing([name for name in needs.split() if not present[name]])
            uploads.drop_zone(zone)
            st.stop()
        return self.models

    def _say_what_is_missing(self, missing: Sequence[str]) -> None:
        """Draw what is loaded and what is missing, unless nothing is loaded."""
        loaded = {"model": len(self.models.all) if self.models is not None else 0, "image": len(self.workspace.images)}
        texts = [plural(count, noun) for noun, count in loaded.items() if count]
        if texts:
            names = {"models": "a .tflite model", "variants": "a quantized variant", "images": "an image"}
            small_text(f"Loaded: {listed(texts)}. Missing: {listed([names[name] for name in missing][:1])}.")


@contextlib.contextmanager
def begin(title: str) -> Iterator[Page]:
    """Draw the frame of a page and yield its Page. A QvizError raised inside is shown on the page as its message."""
    keep_links()
    draw_into_page()
    _go_on(title)
    st.set_page_config(page_title=f"{title} · qviz", page_icon="🔬", layout="wide")
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")
    sidebar = None
    try:
        _set_options()
        view.ignore_older_address(title)
        if workspace.KEY not in st.session_state:
            free_closed_sessions()
            workspace.keep(projects.opened(sample.opening))
        else:
            projects.follow()
        clicks.finish_callbacks(st.session_state.get(view.PAGE) == title)
        view.current(title)  # after the project is opened, because this writes the project into the address
        uploads.take_dropped_files()
        current = server.with_quarantine(server.with_finished_conversions(workspace.current()))
        server.start_models(current)  # runs while the project is saved
        current = projects.saved(workspace.keep(current))
        tray.stop_quiet_jobs_of_other_projects()
        models = server.models(current)
        if server.with_quarantine(current) is not current:
            st.rerun()
        sidebar = _sidebar(current, models)
        _purpose(title)
        _notices(current, models)
        server.show_conversions(current)
        here = Page(current, models, view.current())
        _missing(here)
        yield here
        st.session_state.pop(GOING, None)
    except QvizError as error:
        st.error(as_text(str(error)))
        st.stop()  # also if the error came before `yield`
    finally:
        if sidebar is not None:
            sidebar.finish()


GOING, GOING_SECONDS = "qviz_going", 2.0
"""Session key of the page that a click opens. For this many seconds, that page is opened again if an older message
brings another page back."""


def go(title: str, path: str, query: dict[str, str]) -> NoReturn:
    """Open another page. If the old page has sent a message at the same moment, that message does not bring it back."""
    st.session_state[GOING] = title, path, query, time.monotonic()
    st.switch_page(path, query_params=query)


def _go_on(title: str) -> None:
    going = st.session_state.get(GOING)
    if going is None or going[0] == title:
        return
    _, path, query, since = going
    if time.monotonic() - since < GOING_SECONDS:
        st.switch_page(path, query_params=query)
    st.session_state.pop(GOING, None)


def draw_into_page() -> None:
    """Make the page itself the current container, even if a fragment has drawn before.

    Streamlit 1.67 leaves a fragment's container as the current one. The next page that runs in the same thread would
    be drawn into that container, which the new page does not have, so the browser would show a blank page.
    """
    context_dg_stack.set(get_default_dg_stack_value())


@dataclass(slots=True, eq=False)
class Sidebar:
    """The parts of the sidebar that may still change while the page is drawn.

    Attributes:
        links: Page title -> placeholder of its link in the menu.
        queries: Page title -> query parameters of its link.
        tray: Placeholder of the job tray.
        has_tray: Whether the tray has been drawn.
    """

    links: dict[str, DeltaGenerator]
    queries: dict[str, dict[str, str]]
    tray: DeltaGenerator
    has_tray: bool = False

    def draw_tray(self) -> None:
        """Draw the tray if there is a job and the tray has not been drawn yet."""
        if not self.has_tray and tray.entries():
            self.has_tray = True
            with self.tray:
                tray.draw({label: path for path, label, _ in MENU})

    def finish(self) -> None:
        """Update the sidebar after the page was drawn: links to the changed view, and jobs that the page started."""
        for path, label, text in MENU:
            query = view.link_query(label)
            if query != self.queries[label]:
                self.links[label].page_link(path, label=label, help=text, query_params=query)
        self.draw_tray()


def _set_options() -> None:
    """Set the Streamlit options that we need, in case the server was started in a folder without our `.streamlit`.

    maxUploadSize refuses larger uploads during the transfer, and the drop zone shows the limit. fastReruns is off,
    because a page change could get lost if two runs of a session were active at the same time.
    """
    for name, value in (("server.maxUploadSize", limits().upload_mb), ("runner.fastReruns", False)):
        if config.get_option(name) != value:
            config.set_option(name, value)


def _purpose(title: str) -> None:
    """Draw one sentence on what the page is for, above its finding."""
    text = next((text for _, label, text in MENU if label == title), "")
    st.html(f'<p class="qviz qviz-purpose"><b>{escape(title)}</b> · {escape(text)}</p>')


def verdict(sentence: str, note: str = "") -> None:
    """Draw the page's finding, which is at the top of every page. note: small text below it."""
    below = f'<p class="qviz qviz-note">{escape(note)}</p>' if note else ""
    st.html(f'<p class="qviz qviz-verdict">{escape(sentence)}</p>{below}')


def small_text(text: str) -> None:
    """Draw a note below a finding or a form. The text is escaped, because it may contain names from files."""
    st.html(f'<p class="qviz qviz-note">{escape(text)}</p>')


def _sidebar(current: workspace.Workspace, models: Models | None) -> Sidebar:
    queries = {label: view.link_query(label) for _, label, _ in MENU}
    with st.sidebar:
        large = " qviz-large" if st.session_state.get(LARGE) else ""
        st.html(f'<div class="qviz-brand{large}">qviz<small>what quantization does to a detector</small></div>')
        links = {
            label: st.page_link(path, label=label, help=text, query_params=queries[label]) for path, label, text in MENU
        }
        sidebar = Sidebar(links, queries, st.container())
        sidebar.draw_tray()
        if models is not None:
            st.html(_legend(models))
            origin = ""
            if current.is_sample:
                origin = "bundled sample" if sample.holds_images(current) else "sample models"
            elif sample.holds_images(current):
                origin = "sample images"
            parts = [plural(len(current.images), "image"), _annotated(current), as_text(current.name), origin]
            st.caption(" · ".join(filter(None, parts)))
        projects.menu(current, _reset_view)
        if dropped := workspace.drops():
            label = f"Undo: {as_text(dropped[0].text)}"
            clicks.button(
                st,
                label,
                _undo_drop,
                "drop-undo",
                st.rerun,
                width="stretch",
                help=f"Undo the last drop: {as_text(listed(dropped[0].names, 3))}",
            )
        if sample.is_installed() and (not current.is_sample or dropped):
            clicks.button(st, "Back to the sample", _open_sample, "sample-back", st.rerun, width="stretch")
        st.toggle("Large type", key=LARGE, persist_state="session", help="Larger text and charts, for a projector")
    return sidebar


def _annotated(current: workspace.Workspace) -> str:
    """`88 annotated objects`: the number of objects in the loaded annotations; empty without annotations."""
    if current.dataset is None:
        return ""
    return plural(sum(len(image.boxes) for image in current.dataset.images), "annotated object")


def _undo_drop() -> None:
    workspace.undo_drop()
    _reset_view()


def _open_sample() -> None:
    projects.leave(sample.sample())
    _reset_view()


def open_demo() -> None:
    """Open the demo as a project of its own."""
    projects.leave(workspace.Workspace())
    workspace.keep(demo.demo())
    _reset_view()


def _reset_view() -> None:
    """Clear the choice of image, variants and classes, because other data have been opened."""
    view.change(image=None, variants=(), classes=())


def _legend(models: Models) -> str:
    texts = [f"{models.name(models.reference)} · reference", *map(models.name, models.variants)]
    rows = zip(models.colours.values(), texts, strict=True)
    spans = "".join(f'<span style="--swatch:{colour}"><b>{_breakable(text)}</b></span>' for colour, text in rows)
    return f'<div class="qviz qviz-legend">{spans}</div>'


def _breakable(name: str) -> str:
    """The name as HTML that may break after each underscore."""
    return escape(name).replace("_", "_<wbr>")


def _notices(current: workspace.Workspace, models: Models | None) -> None:
    """Draw the models in quarantine, and the notices about files, which stay until the user dismisses them."""
    for source in current.models:
        if source.digest in current.quarantine:
            _quarantined(source, current.quarantine[source.digest])
    sentences = [*current.notices, *(models.failed if models is not None else ())]
    if not sentences:
        return
    with st.container(border=True):
        for sentence in sentences[:MAX_NOTICES]:
            st.warning(as_text(sentence))
        if rest := sentences[MAX_NOTICES:]:
            with st.expander(f"and {len(rest)} more"):
                st.markdown("\n".join(f"- {as_text(sentence)}" for sentence in rest[:MAX_FOLDED]))
        if current.notices:
            clicks.button(st, "Dismiss", _dismiss_notices, "notices-read", st.rerun)


def _quarantined(source: ModelSource, reason: str) -> None:
    """Draw a warning that a model is not run automatically, with the reason and a button that runs it again."""
    with st.container(border=True):
        name = source.shown or source.name
        st.warning(as_text(f"{name} is not run automatically, because it crashed its worker process: {reason}"))
        clicks.button(st, "Run it again", lambda: server.run_again(source), f"again-{source.digest}", st.rerun)


def _missing(here: Page) -> None:
    """Warn about values in the address that are invalid or name something that is not loaded."""
    for sentence in view.remarks():
        st.warning(as_text(sentence))
    missing = []
    if here.view.image and here.workspace.images and here.workspace.image_named(here.view.image) is None:
        missing.append(f"the image {here.view.image}")
    if here.models is not None:
        missing += [f"the variant {name}" for name in here.view.variants if here.models.variant_named(name) is None]
    if missing:
        text = f"The address names {listed(missing)}, which {'is' if len(missing) == 1 else 'are'} not loaded here."
        st.warning(as_text(text))


def link(path: str, label: str, where: Any = st, help: str | None = None, **values: Any) -> None:
    """Draw a link to another page, which opens with the current view except for the fields given in `values`."""
    title = next(title for other, title, _ in MENU if other == path)
    where.page_link(path, label=label, help=help, query_params=view.link_query(title, **values))


def unknown(what: str) -> None:
    """Warn that the address names something that does not exist. `what` is e.g. `the class zebra, which …`."""
    st.warning(as_text(f"The address names {what}."))


def _dismiss_notices() -> None:
    workspace.keep(replace(workspace.current(), notices=()))
