"""The HTML file of a report, with plotly.js inlined once and all text from files escaped.

The content security policy forbids all requests (except blob: URLs, which a chart needs to save its picture) and all
scripts but two, which are identified by their sha256. Browsers hash the text of a script as it is in the file, in
UTF-8. The file must therefore be written without changing its line ends. A new section needs a row in `SECTIONS`, a row
in `CONTENT` and a template.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from qviz.chart_style import CHANGES, bracket
from qviz.features.accuracy.ap import TABLE_METRICS, evidence
from qviz.features.accuracy.errors import KINDS_HELP
from qviz.features.accuracy.shapes import ShapeAccuracy
from qviz.features.accuracy.text import shape_caption
from qviz.features.accuracy.text_operating import (
    METHOD_WORDS,
    confidence_text,
    operating_sentences,
    recovery_sentence,
    threshold_text,
)
from qviz.features.comparison.text import COLOURS, level
from qviz.features.corruption_sweep.text import verdict as robustness_verdict
from qviz.features.cost.text import tradeoff_verdict
from qviz.features.layer_error.metrics import CLIPPED_SHARE, CUMULATIVE, FALL, LOCAL
from qviz.features.layer_error.outliers import outliers, worst_layer
from qviz.features.layer_error.text import layers_verdict
from qviz.features.object_risk.text import sentences as risk_sentences
from qviz.features.reporting.plot import ReportCharts, pictures, plotly_js
from qviz.features.reporting.sections import LEAD, SECTIONS, available, check_choice
from qviz.features.reporting.study import Study
from qviz.features.reporting.text import findings, first_steps, headline, next_steps
from qviz.features.reporting.work import study_tradeoff
from qviz.features.slices.text import alarm_sentences, variant_sentences
from qviz.features.video.text import finding as video_finding
from qviz.formatting import UNKNOWN, megabytes, points, score, share, signed_points, three


def percent(value: float | None) -> str:
    """A share as a percentage, e.g. 12.3% for .123."""
    return UNKNOWN if value is None else f"{value:.1%}"


def setting(value: Any) -> str:
    """A setting's value; three equal values are written once."""
    if value is None:
        return UNKNOWN
    if isinstance(value, (list, tuple)):
        return setting(value[0]) if len(set(value)) == 1 else ", ".join(setting(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


FILTERS = {
    "bracket": bracket,
    "megabytes": megabytes,
    "percent": percent,
    "points": points,
    "score": score,
    "level_colour": COLOURS.get,
    "setting": setting,
    "share": share,
    "signed_points": signed_points,
    "three": three,
}


MAX_ROWS = 12
"""Maximum number of classes, and of layers, per variant in a table."""


def _verdict(study: Study, charts: ReportCharts) -> dict[str, Any]:
    return {"headline": headline(study), "findings": findings(study), "colours": charts.colours}


def _models(study: Study, charts: ReportCharts) -> dict[str, Any]:
    summaries = study.summaries
    return {
        "colours": charts.colours,
        "summaries": summaries,
        "images": max((len(variant.images) for variant in study.comparison.variants), default=0),
        "levels": {name: level(summary.agreement) for name, summary in summaries.items()},
        "bars": {name: _bar(summary) for name, summary in summaries.items()},
        "changes": CHANGES,
    }


def _bar(summary: Any) -> list[tuple[str, int, float]]:
    """(change, count, share of all objects in percent) of every change that occurs."""
    counts = {name: int(getattr(summary, name)) for name in CHANGES}
    total = sum(counts.values()) or 1
    return [(name, count, 100 * count / total) for name, count in counts.items() if count]


def _accuracy(study: Study, charts: ReportCharts) -> dict[str, Any]:
    figures = study.evaluation.models if study.evaluation is not None else ()
    return {
        "evaluation": study.evaluation,
        "metrics": TABLE_METRICS,
        "rows": list(zip((model.name for model in study.models), figures, strict=True)),
        "losses": study.losses,
        "charts": charts.accuracy(),
        "kinds": KINDS_HELP,
        "shapes": [_shape_table(study, row) for row in study.evaluation.shapes] if study.evaluation is not None else [],
    }


def _shape_table(study: Study, row: ShapeAccuracy) -> dict[str, Any]:
    """AP of keypoints or masks: the caption, and for each model its name, figures and loss, both perhaps None."""
    names, losses = [model.name for model in study.models], (None, *row.losses)
    rows = list(zip(names, row.models, losses, strict=True)) if row.models else []
    return {"caption": row.remark or shape_caption(row), "metrics": row.metrics, "rows": rows}


def _operating(study: Study, charts: ReportCharts) -> dict[str, Any]:
    """Precision, recall and false positives at the confidence in use, and the threshold that recovers lost F1."""
    operating = study.evaluation.operating if study.evaluation is not None else None
    assert operating is not None, "the section needs an operating point"
    names = [model.name for model in study.models]
    losses = list(zip(names[1:], operating.losses, strict=True))
    return {
        "sentences": operating_sentences(operating, names) if losses else [],
        "confidence": confidence_text(operating),
        "rows": [(name, point.figures) for name, point in zip(names, operating.models, strict=True)],
        "losses": dict(losses),
        "recoveries": [(name, row) for name, loss in losses for row in loss.recoveries],
        "recovery_sentences": [text for name, loss in losses if (text := recovery_sentence(loss, name))],
        "methods": METHOD_WORDS,
        "threshold": threshold_text,
    }


def _slices(study: Study, charts: ReportCharts) -> dict[str, Any]:
    result = study.evaluation.slices if study.evaluation is not None else None
    assert result is not None, "the section needs slices"
    names = [model.name for model in study.variants]
    ranges = study.ranges.items()
    alarms = [" ".join(alarm_sentences(row.alarms, row.images, row.slices, name)) for name, row in ranges]
    return {
        "sentences": [*variant_sentences(result, names), *alarms],
        "names": names,
        "rows": result.rows[:MAX_ROWS],
        "ranges": [study.ranges.get(name) for name in names] if study.ranges else None,
        "remarks": result.remarks,
        "charts": charts.slices(),
    }


def _risk(study: Study, charts: ReportCharts) -> dict[str, Any]:
    rows = [(name, risk_sentences(result), result) for name, result in study.risks.items()]
    return {
        "rows": rows,
        "shown": any(test.shown for _, _, result in rows for test in result.tests),
        "charts": charts.risk(),
    }


def _video(study: Study, charts: ReportCharts) -> dict[str, Any]:
    reference = study.reference.name
    rows = [
        (
            name,
            result,
            video_finding(result, [reference, name]),
            list(zip((reference, name), result.summary, strict=True)),
        )
        for name, result in study.videos.items()
    ]
    return {"rows": rows, "charts": charts.video()}


def _classes(study: Study, charts: ReportCharts) -> dict[str, Any]:
    rows = {
        name: sorted((r for r in loss.per_class if (r.loss.value or 0.0) > 0), key=lambda r: evidence(r.loss))[
            :MAX_ROWS
        ]
        for name, loss in study.losses.items()
    }
    return {"rows": {name: losses for name, losses in rows.items() if losses}, "charts": charts.classes()}


def _images(study: Study, charts: ReportCharts) -> dict[str, Any]:
    return {"pictures": pictures(study, charts.colours), "changes": CHANGES, "several": len(study.variants) > 1}


def _layers(study: Study, charts: ReportCharts) -> dict[str, Any]:
    return {
        "headline": layers_verdict(study.layers, study.experiments),
        "charts": charts.layers(),
        "metrics": (LOCAL, CUMULATIVE, FALL, CLIPPED_SHARE),
        "rows": {name: _layers_of(study, name) for name in study.layers},
    }


def _layers_of(study: Study, name: str) -> list[Any]:
    """The layers of a variant for the table: the one to look at first, then the outliers."""
    layers = study.layers[name].layers
    first, odd = worst_layer(layers), outliers(layers)
    shown = [layer for layer in layers if layer is first or layer.order in odd]
    shown.sort(key=lambda layer: (layer is not first, -(layer.fall_db or 0.0)))
    return shown[:MAX_ROWS]


def _robustness(study: Study, charts: ReportCharts) -> dict[str, Any]:
    result = study.robustness
    assert result is not None, "the section needs a sweep"
    names = dict(zip(result.models, (model.name for model in study.models), strict=False))
    return {
        "headline": robustness_verdict(result, names),
        "charts": charts.robustness(),
        "result": result,
        "rows": [(names[row.model], row) for row in result.summary],
    }


def _tradeoff(study: Study, charts: ReportCharts) -> dict[str, Any]:
    assert study.profile is not None, "the section needs a measurement"
    result = study_tradeoff(study)
    measured = {row.digest: row for row in study.profile.models}
    digests = {model.name: model.sha256 for model in study.models}
    rows = [(point, measured[digests[point.name]], result.dominated_by(point.name)) for point in result.points]
    return {
        "headline": tradeoff_verdict(result, study.reference.name),
        "charts": charts.tradeoff(),
        "rows": rows,
        "kind": result.quality_kind,
        "threads": study.profile.models[0].threads if study.profile.models else 1,
        "remarks": [*study.profile.skipped, *study.profile.remarks],
    }


def _next(study: Study, charts: ReportCharts) -> dict[str, Any]:
    first, rest = first_steps(next_steps(study))
    return {"steps": first, "rest": rest, "colours": charts.colours}


def _provenance(study: Study, charts: ReportCharts) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for model in study.models for key in model.settings))
    shown = [key for key in keys if any(model.settings.get(key) is not None for model in study.models)]
    skipped = [*study.comparison.skipped, *(study.evaluation.remarks if study.evaluation is not None else ())]
    return {"settings": shown, "skipped": list(dict.fromkeys(skipped))}


CONTENT: Mapping[str, Callable[[Study, ReportCharts], dict[str, Any]]] = {
    "verdict": _verdict,
    "models": _models,
    "accuracy": _accuracy,
    "classes": _classes,
    "operating": _operating,
    "slices": _slices,
    "risk": _risk,
    "images": _images,
    "layers": _layers,
    "robustness": _robustness,
    "video": _video,
    "tradeoff": _tradeoff,
    "next": _next,
    "made": _provenance,
}
"""Section -> the values of its template."""


FOLDER = Path(__file__).with_name("templates")


def render(study: Study, sections: Sequence[str] | None = None, notes: Mapping[str, str] | None = None) -> str:
    """The page as HTML.

    Args:
        sections: Names in `SECTIONS`, in the order of the page; None for all sections for which the study has content.
        notes: Section -> text at the beginning of the section.

    Raises:
        SettingsError: A section is unknown, or the study has no content for it.
    """
    chosen = list(dict.fromkeys(sections)) if sections is not None else available(study)
    check_choice(study, chosen, notes or {})
    charts = ReportCharts(study)
    rows = [
        {
            "name": name,
            "title": SECTIONS[name].title,
            "note": (notes or {}).get(name, ""),
            "content": CONTENT[name](study, charts),
        }
        for name in chosen
    ]
    script = _file("page.js")
    library = plotly_js() if charts.count else ""
    page = _environment().get_template("page.html")
    policy = _policy(script, library)
    style = _file("page.css")
    lead = 0
    while lead < len(rows) and rows[lead]["name"] in LEAD:
        lead += 1
    texts = {"style": style, "library": library, "script": script, "policy": policy}
    return page.render(study=study, lead=rows[:lead], sections=rows[lead:], **texts)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


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
