"""The sections of a model card in Markdown. AP is x100. Names from files are escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from qviz.features.accuracy.ap import TABLE_METRICS
from qviz.features.accuracy.text import plain, table
from qviz.features.accuracy.text_operating import operating_sentences
from qviz.features.reporting.card import head, yaml_lines
from qviz.features.reporting.study import Study
from qviz.features.reporting.text import headline
from qviz.formatting import UNKNOWN, interval, milliseconds, plural, points, score, signed_points
from qviz.structures import Loss

SHOWN_CLASSES = 20
SHOWN_SLICES = 20


def markdown(study: Study, sections: Sequence[str]) -> str:
    """The whole card as Markdown: YAML head, title and sections."""
    lines = ["---", *yaml_lines(head(study)), "---", "", f"# {plain(study.name) or 'Quantized object detector'}"]
    for title in sections:
        lines += ["", f"## {title}", "", "\n\n".join(part for part in CONTENT[title](study) if part)]
    return "\n".join(lines) + "\n"


def _finding(study: Study) -> Iterator[str]:
    yield plain(headline(study))


def _files(study: Study) -> Iterator[str]:
    rows = [
        [
            plain(model.name),
            "variant" if number else "reference",
            plain(model.file),
            plain(model.scheme),
            f"{model.bytes:,}",
            f"`{model.sha256}`" if model.sha256.isalnum() else plain(model.sha256),
            plain("; ".join(model.facts)),
        ]
        for number, model in enumerate(study.models)
    ]
    yield table(["name", "role", "file", "scheme", "bytes", "SHA-256", "content"], rows)
    yield (
        "The recipe and the calibration images of a variant are not recorded in a .tflite file, so the study does not"
        " contain them: add them here."
    )


def _measured(study: Study) -> Iterator[str]:
    made = study.made
    rows = [
        ["date", made.date],
        ["annotated dataset", made.dataset],
        ["SHA-256 of the annotations", made.dataset_digest],
        ["SHA-256 of the compared images", made.images_digest],
        ["images on which objects are compared", str(made.compared)],
        ["minimum confidence of an object", score(made.score)],
        ["minimum IoU of a pair", score(made.iou)],
        ["minimum confidence for AP", f"{made.ap_score:g}"],
        *sorted(made.versions.items()),
    ]
    yield table(["what", "value"], [[plain(name), plain(value) or UNKNOWN] for name, value in rows])


def _settings(study: Study) -> Iterator[str]:
    rows = [
        [plain(model.name), plain(name), plain(str(value)), plain(model.sources.get(name, ""))]
        for model in study.models
        for name, value in model.settings.items()
        if value is not None
    ]
    yield table(["model", "setting", "value", "from"], rows)


def _accuracy(study: Study) -> Iterator[str]:
    evaluation = study.evaluation
    if evaluation is None:
        return
    yield f"{plural(evaluation.images, 'image')}, {plural(evaluation.annotations, 'object')}; AP as pycocotools, x100."
    if evaluation.reference_as_truth:
        yield "The reference's own detections serve as the ground truth: AP is agreement with it, not accuracy."
    rows = [
        [plain(model.name), *(metric.text(figures) for metric in TABLE_METRICS)]
        for model, figures in zip(study.models, evaluation.models, strict=True)
    ]
    yield table(["model", *(metric.label for metric in TABLE_METRICS)], rows)
    losses = [[plain(name), *_loss(loss.ap)] for name, loss in study.losses.items()]
    if losses:
        yield "Loss is reference minus variant, positive is worse, with its 95 % paired bootstrap interval over images."
        yield table(["variant", "loss", "95% interval", "significant"], losses)


def _classes(study: Study) -> Iterator[str]:
    rows = [
        [plain(name), plain(row.label), *_loss(row.loss), str(row.truths), str(row.images)]
        for name, loss in study.losses.items()
        for row in loss.per_class[:SHOWN_CLASSES]
    ]
    yield table(["variant", "class", "loss", "95% interval", "significant", "objects", "images"], rows)
    left_out = max((len(loss.per_class) - SHOWN_CLASSES for loss in study.losses.values()), default=0)
    yield (
        f"The {SHOWN_CLASSES} worst classes of each variant; {left_out} more are in the study." if left_out > 0 else ""
    )


def _operating(study: Study) -> Iterator[str]:
    operating = study.evaluation.operating if study.evaluation is not None else None
    if operating is None:
        return
    rows = [
        [
            plain(model.name),
            points(point.figures.precision),
            points(point.figures.recall),
            str(point.figures.misses),
            f"{point.figures.false_positives_per_image:.2f}",
        ]
        for model, point in zip(study.models, operating.models, strict=True)
    ]
    yield table(["model", "precision", "recall", "misses", "false positives per image"], rows)
    names = [model.name for model in study.models]
    yield from (plain(sentence) for sentence in operating_sentences(operating, names))


def _slices(study: Study) -> Iterator[str]:
    slices = study.evaluation.slices if study.evaluation is not None else None
    if slices is None:
        return
    rows = [
        [plain(row.meaning), plain(model.name), *_loss(loss.loss), str(row.truths), str(row.images)]
        for row in slices.rows[:SHOWN_SLICES]
        for model, loss in zip(study.variants, row.losses, strict=True)
    ]
    yield "Loss of recall in groups of images or objects, the clearest first."
    yield table(["slice", "variant", "loss", "95% interval", "significant", "objects", "images"], rows)


def _objects(study: Study) -> Iterator[str]:
    rows = [
        [
            plain(name),
            *(str(getattr(summary, change)) for change in ("kept", "shifted", "relabelled", "lost", "spurious")),
            score(summary.agreement),
        ]
        for name, summary in study.summaries.items()
    ]
    yield f"Objects of the reference in each variant, on {plural(study.made.compared, 'image')}."
    yield table(["variant", "kept", "shifted", "relabelled", "lost", "spurious", "agreement"], rows)


def _robustness(study: Study) -> Iterator[str]:
    result = study.robustness
    if result is None:
        return
    yield (
        f"{plural(result.images, 'image')}, {plural(len(result.corruptions), 'corruption')}, severities"
        f" {', '.join(map(str, result.severities))}. P is the clean figure, mPC the mean under corruption, rPC their"
        f" ratio; of {'AP' if result.annotated else 'agreement with the reference'}, x100."
    )
    rows = [[plain(row.model), points(row.p), points(row.mpc), points(row.rpc)] for row in result.summary]
    yield table(["model", "P", "mPC", "rPC"], rows)


def _latency(study: Study) -> Iterator[str]:
    rows = study.profile.models if study.profile is not None else ()
    yield "On the machine that made the study, not on a device."
    cells = [
        [plain(row.name), str(row.threads), str(row.runs), milliseconds(row.p50_ms), milliseconds(row.p95_ms)]
        for row in rows
    ]
    yield table(["model", "threads", "runs", "median", "95th percentile"], cells)


def _problems(study: Study) -> Iterator[str]:
    rows = [
        f"- {plain(model.name)}: {plain(warning.message)} {plain(warning.cure)} ({plain(warning.code)})"
        for model in study.models
        for warning in model.warnings
    ]
    remarks = study.evaluation.remarks if study.evaluation is not None else ()
    yield (
        "\n".join([*rows, *(f"- {plain(text)}" for text in remarks)])
        or "None was noticed in the files or the annotations."
    )


def _limits(study: Study) -> Iterator[str]:
    lines = ["- Figures hold for these images, these settings and this runtime; other kernels may differ."]
    if study.evaluation is None:
        lines.append("- Nothing is annotated: AP and recall are not known.")
    for name, loss in study.losses.items():
        if loss.ap.low is not None and loss.ap.high is not None and loss.ap.low <= 0 <= loss.ap.high:
            lines.append(f"- The loss of {plain(name)} may be nothing: its interval contains 0.")
    absent = [
        name
        for name, result in (("other light or noise", study.robustness), ("latency", study.profile))
        if result is None
    ]
    lines += [f"- Not measured: {name}." for name in absent]
    yield "\n".join(lines)


def _repeat(study: Study) -> Iterator[str]:
    command = " ".join(study.made.command.split())
    if not command:
        yield "The study does not hold the command that made it."
        return
    yield "With the same files and versions this command gives the same figures, except for times:"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    yield f"{fence}\n{command}\n{fence}"


CONTENT: dict[str, Callable[[Study], Iterator[str]]] = {
    "Finding": _finding,
    "Files": _files,
    "How it was measured": _measured,
    "Settings": _settings,
    "Accuracy": _accuracy,
    "Loss by class": _classes,
    "At the confidence in use": _operating,
    "Slices": _slices,
    "Objects": _objects,
    "Robustness": _robustness,
    "Latency and size": _latency,
    "Known problems": _problems,
    "Limits of these figures": _limits,
    "Repeat it": _repeat,
}
"""Title of a section -> the function that yields its paragraphs and tables."""


def _loss(loss: Loss) -> list[str]:
    return [signed_points(loss.value), interval(loss.low, loss.high) or UNKNOWN, "yes" if loss.significant else "no"]
