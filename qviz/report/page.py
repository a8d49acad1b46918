"""The HTML file: sections filled in, plotly.js inlined once, everything from outside escaped.

The content security policy lets nothing be fetched (blob: is what a chart makes of itself to be saved as a picture) and
runs two scripts only, known by their sha256. Browsers hash a script's text as it stands in the file in UTF-8, so the
file has to be written without changing its line ends.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from qviz.analysis.study import Study
from qviz.errors import SettingsError
from qviz.plots.alone import INK, plotly_js
from qviz.report.figures import Drawn
from qviz.report.sections import SECTIONS, available
from qviz.report.words import FILTERS

FOLDER = Path(__file__).with_name("templates")
MOST_NOTE = 5000
"""Characters of one note."""


def render(study: Study, sections: Sequence[str] | None = None, notes: Mapping[str, str] | None = None) -> str:
    """The page. sections: names of SECTIONS, in the order given; None: all that the study has something for.

    notes: a section's name -> text that stands at its head. Raises SettingsError.
    """
    chosen = list(dict.fromkeys(sections)) if sections is not None else available(study)
    _check(study, chosen, notes or {})
    drawn = Drawn(study)
    rows = [
        {
            "name": name,
            "title": SECTIONS[name].title,
            "note": (notes or {}).get(name, ""),
            "content": SECTIONS[name].content(study, drawn),
        }
        for name in chosen
    ]
    script = _file("page.js").replace('"INK"', f'"{INK}"')
    library = plotly_js() if drawn.count else ""
    return (
        _environment()
        .get_template("page.html")
        .render(
            study=study,
            sections=rows,
            style=_file("page.css"),
            library=library,
            script=script,
            policy=_policy(script, library),
        )
    )


def _check(study: Study, chosen: Sequence[str], notes: Mapping[str, str]) -> None:
    known = ", ".join(SECTIONS)
    if not chosen:
        raise SettingsError(f"No section is chosen; choose some of {known}.")
    for name in (*chosen, *notes):
        if name not in SECTIONS:
            raise SettingsError(f"{name!r} is no section of the report; choose some of {known}.")
    for name in chosen:
        if name not in available(study):
            raise SettingsError(f"The study has nothing for the section {name!r}: {SECTIONS[name].needs}.")
    for name, text in notes.items():
        if name not in chosen:
            raise SettingsError(f"There is a note for the section {name!r}, which is not chosen.")
        if len(text) > MOST_NOTE:
            raise SettingsError(f"The note for {name!r} has {len(text)} characters; at most {MOST_NOTE} are taken.")


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    return found


def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{_hash(text)}'" for text in scripts if text)
    return (
        f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {hashes};"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
