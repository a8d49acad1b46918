"""The sections of a report: a title, what it needs, and what its template shows. One more is a row and a template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qviz.analysis.error_types import KINDS_TOLD
from qviz.analysis.outliers import outliers, worst_layer
from qviz.analysis.robustness_verdict import robustness_verdict
from qviz.analysis.study import Study
from qviz.analysis.study_extras import weighed
from qviz.analysis.study_steps import next_steps
from qviz.analysis.study_verdict import findings, headline
from qviz.analysis.tradeoff import tradeoff_verdict
from qviz.analysis.verdict import layers_verdict, level
from qviz.plots.colours import CHANGES
from qviz.report.figures import Drawn
from qviz.report.pictures import pictures

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
        "kinds": KINDS_TOLD,
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
