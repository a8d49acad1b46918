"""The HTML file: sections filled in, plotly.js inlined once, everything from outside escaped.

The content security policy lets nothing be fetched (blob: is what a chart makes of itself to be saved as a picture) and
runs two scripts only, known by their sha256. Browsers hash a script's text as it stands in the file in UTF-8, so the
file has to be written without changing its line ends.

What templates call to write figures (see `formatting`); decibels and settings are the report's own.

The sections of a report: a title, what it needs, and what its template shows. One more is a row and a template.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from qviz.chart_style import CHANGES, bracket
from qviz.errors import SettingsError
from qviz.features.accuracy.errors import KINDS_HELP
from qviz.features.comparison.text import level
from qviz.features.corruption_sweep.text import verdict as robustness_verdict
from qviz.features.cost.tradeoff import tradeoff_verdict
from qviz.features.layer_error import outliers, worst_layer
from qviz.features.layer_error.text import layers_verdict
from qviz.features.reporting.plot import INK, Drawn, pictures, plotly_js
from qviz.features.reporting.study import Study
from qviz.features.reporting.text import findings, headline, next_steps
from qviz.features.reporting.work import weighed
from qviz.formatting import UNKNOWN, megabytes, points, score, share, signed_points, three


def decibels(value: float | None) -> str:
    """SQNR without its unit, which stands in the head of the column."""
    return UNKNOWN if value is None else f"{round(value, 1) + 0.0:.1f}"  # + 0.0: no minus before nothing


def percent(value: float | None) -> str:
    """.123 -> 12.3%"""
    return UNKNOWN if value is None else f"{value:.1%}"


def setting(value: Any) -> str:
    """A setting's value; three equal ones are one."""
    if value is None:
        return UNKNOWN
    if isinstance(value, (list, tuple)):
        return setting(value[0]) if len(set(value)) == 1 else ", ".join(setting(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


FILTERS = {
    "bracket": bracket,
    "decibels": decibels,
    "megabytes": megabytes,
    "percent": percent,
    "points": points,
    "score": score,
    "setting": setting,
    "share": share,
    "signed_points": signed_points,
    "three": three,
}


MOST_ROWS = 12
"""Classes and layers that a table lists of each variant."""


@dataclass(frozen=True, slots=True)
class Section:
    """content: the template's values; there: whether the study has something for it, else what it needs."""

    title: str
    content: Callable[[Study, Drawn], dict[str, Any]]
    there: Callable[[Study], bool] = lambda study: True
    needs: str = ""


def available(study: Study) -> list[str]:
    """The sections that this study has something for."""
    return [name for name, section in SECTIONS.items() if section.there(study)]


def _verdict(study: Study, drawn: Drawn) -> dict[str, Any]:
    return {"headline": headline(study), "findings": findings(study), "colours": drawn.colours}


def _models(study: Study, drawn: Drawn) -> dict[str, Any]:
    summaries = study.summaries
    return {
        "colours": drawn.colours,
        "summaries": summaries,
        "levels": {name: level(summary.agreement) for name, summary in summaries.items()},
        "bars": {name: _bar(summary) for name, summary in summaries.items()},
        "changes": CHANGES,
    }


def _bar(summary: Any) -> list[tuple[str, int, float]]:
    """(change, count, share of all objects in per cent) of those that are there."""
    counts = {name: int(getattr(summary, name)) for name in CHANGES}
    total = sum(counts.values()) or 1
    return [(name, count, 100 * count / total) for name, count in counts.items() if count]


def _accuracy(study: Study, drawn: Drawn) -> dict[str, Any]:
    names = [model.name for model in study.models]
    figures = study.evaluation.models if study.evaluation is not None else ()
    rows = list(zip(names, figures, strict=True))
    return {
        "evaluation": study.evaluation,
        "rows": rows,
        "losses": study.losses,
        "charts": drawn.accuracy(),
        "kinds": KINDS_HELP,
    }


def _classes(study: Study, drawn: Drawn) -> dict[str, Any]:
    rows = {
        name: [row for row in loss.per_class if (row.loss.value or 0.0) > 0][:MOST_ROWS]
        for name, loss in study.losses.items()
    }
    return {"rows": {name: found for name, found in rows.items() if found}, "charts": drawn.classes()}


def _images(study: Study, drawn: Drawn) -> dict[str, Any]:
    return {"pictures": pictures(study, drawn.colours), "changes": CHANGES, "several": len(study.variants) > 1}


def _layers(study: Study, drawn: Drawn) -> dict[str, Any]:
    return {
        "headline": layers_verdict(study.layers),
        "charts": drawn.layers(),
        "rows": {name: _layers_of(study, name) for name in study.layers},
    }


def _layers_of(study: Study, name: str) -> list[Any]:
    """The layer to look at first, then those that stand out."""
    layers = study.layers[name].layers
    first, odd = worst_layer(layers), outliers(layers)
    found = [layer for layer in layers if layer.order == first or layer.order in odd]
    found.sort(key=lambda layer: (layer.order != first, -(layer.fall_db or 0.0)))
    return found[:MOST_ROWS]


def _robustness(study: Study, drawn: Drawn) -> dict[str, Any]:
    found = study.robustness
    assert found is not None, "the section is there only with a sweep"
    names = dict(zip(found.models, (model.name for model in study.models), strict=False))
    return {
        "headline": robustness_verdict(found, names),
        "charts": drawn.robustness(),
        "found": found,
        "rows": [(names[row.model], row) for row in found.summary],
    }


def _tradeoff(study: Study, drawn: Drawn) -> dict[str, Any]:
    assert study.profile is not None, "the section is there only with a measurement"
    found = weighed(study)
    measured = {row.digest: row for row in study.profile.models}
    digests = {model.name: model.sha256 for model in study.models}
    rows = [(point, measured[digests[point.name]], found.dominated_by(point.name)) for point in found.points]
    return {
        "headline": tradeoff_verdict(found, study.reference.name),
        "charts": drawn.tradeoff(),
        "rows": rows,
        "kind": found.quality_kind,
        "threads": study.profile.models[0].threads if study.profile.models else 1,
        "remarks": [*study.profile.skipped, *study.profile.remarks],
    }


def _next(study: Study, drawn: Drawn) -> dict[str, Any]:
    return {"steps": next_steps(study), "colours": drawn.colours}


def _made(study: Study, drawn: Drawn) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for model in study.models for key in model.settings))
    shown = [key for key in keys if any(model.settings.get(key) is not None for model in study.models)]
    skipped = [*study.comparison.skipped, *(study.evaluation.skipped if study.evaluation is not None else ())]
    return {"settings": shown, "skipped": list(dict.fromkeys(skipped))}


SECTIONS = {
    "verdict": Section("Verdict", _verdict),
    "models": Section("Models", _models),
    "accuracy": Section(
        "Accuracy", _accuracy, lambda study: study.evaluation is not None, "annotated images (--dataset) are needed"
    ),
    "classes": Section(
        "Loss by class", _classes, lambda study: bool(study.losses), "annotated images (--dataset) are needed"
    ),
    "images": Section("Worst images", _images, lambda study: bool(study.images), "images are needed"),
    "layers": Section("Layers", _layers, lambda study: bool(study.layers), "no variant's layers were run"),
    "robustness": Section("Robustness", _robustness, lambda study: study.robustness is not None, "no sweep was run"),
    "tradeoff": Section(
        "Trade-off", _tradeoff, lambda study: bool(study.profile and study.profile.models), "latency was not measured"
    ),
    "next": Section("What to do next", _next),
    "made": Section("How this was made", _made),
}


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
