"""A small study of the sample, and the same with names that contain markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import unannotated
from qviz.engine import Engine
from qviz.features.comparison import ComparedImage, ComparedObject, Comparison
from qviz.features.detection.models import LoadedModel
from qviz.features.reporting.study import Provenance, Study
from qviz.features.reporting.work import StudyOptions, make_study
from tests.conftest import Sample

PHOTOGRAPHS = ("astronaut.jpg", "berlin_street.jpg", "irish_session.jpg")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"
PROVENANCE = Provenance(date="2026-11-22", command="qviz report a.tflite b.tflite -o 'report.html'")


def sample_study(engine: Engine, models: Sequence[LoadedModel], sample: Sample, annotated: bool = True) -> Study:
    """A study of three photographs; with AP and layers if `annotated`."""
    dataset = read_coco(sample.annotations, sample.images)
    few = tuple(image for image in dataset.images if image.name in PHOTOGRAPHS)
    if annotated:
        return make_study(Context(engine), models, few, replace(dataset, images=few), made=PROVENANCE)
    images = unannotated(sample.images, [sample.images / name for name in PHOTOGRAPHS]).images
    return make_study(Context(engine), models, images, options=StudyOptions(layers=False), made=PROVENANCE)


def hostile(study: Study) -> Study:
    """The study, with markup in place of every text that comes from files."""
    models = tuple(
        replace(model, name=f"={number}{HOSTILE}", file=HOSTILE, facts=(HOSTILE,), settings={HOSTILE: HOSTILE})
        for number, model in enumerate(study.models)
    )
    names = dict(zip((model.name for model in study.models), (model.name for model in models), strict=True))
    layers = {
        names[name]: replace(
            errors, layers=tuple(replace(layer, tensor=HOSTILE, op_kind=HOSTILE) for layer in errors.layers)
        )
        for name, errors in study.layers.items()
    }
    evaluation = study.evaluation
    if evaluation is not None:
        losses = tuple(
            replace(loss, per_class=tuple(replace(row, label=HOSTILE + row.label) for row in loss.per_class))
            for loss in evaluation.losses
        )
        evaluation = replace(evaluation, losses=losses, skipped=(HOSTILE,))
    return replace(
        study, name=HOSTILE, models=models, layers=layers, evaluation=evaluation,
        comparison=_compared(study.comparison),
        images=tuple(replace(image, name=HOSTILE) for image in study.images),
        made=replace(study.made, command=HOSTILE, date=HOSTILE, dataset=HOSTILE, versions={HOSTILE: HOSTILE}),
    )  # fmt: skip


def _compared(comparison: Comparison) -> Comparison:
    variants = tuple(
        replace(variant, images=tuple(_image(image) for image in variant.images)) for variant in comparison.variants
    )
    return replace(comparison, variants=variants, skipped=(HOSTILE,))


def _image(image: ComparedImage) -> ComparedImage:
    return replace(image, image=HOSTILE, objects=tuple(_object(row) for row in image.objects))


def _object(row: ComparedObject) -> ComparedObject:
    label = row.variant_label and HOSTILE
    return replace(row, label=HOSTILE, variant_label=label, lost_because=row.lost_because and HOSTILE)
