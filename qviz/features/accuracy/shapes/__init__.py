"""AP of keypoints and masks, for models that return them and datasets that have them.

This is pycocotools' AP with the `iouType` keypoints or segm. Instead of the IoU of boxes, it uses the similarity of
keypoints (OKS) or the IoU of masks. For keypoints, the 20 detections with the highest scores of an image count, and
there is no size `small`. OKS uses COCO's standard deviations for 17 keypoints, which must be in COCO's order, and 1 / n
for any other number n. It also uses the annotated area, which in YOLO label files is the area of the box. Masks of
detections consist of 64 x 64 cells of their box.

Only categories in which some object has a shape of this kind count. Their objects without such a shape are ignored, as
pycocotools ignores a person without labelled keypoints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qviz.context import Context
from qviz.decoders import DECODERS
from qviz.detector import PAGE_SCORE
from qviz.features.accuracy.ap import METRICS, AveragePrecision, Metric, VariantLoss, figures_of
from qviz.features.accuracy.bootstrap import Bootstrap
from qviz.features.accuracy.coco.tables import ClassTable, MatchTables
from qviz.features.accuracy.evaluator import Evaluator
from qviz.features.accuracy.shapes.match_images import (
    IOU_TYPES,
    Kind,
    MatchedGroup,
    ShapeImage,
    ShapeTask,
    match_job,
)
from qviz.features.comparison.shapes import sigmas_of
from qviz.features.detection.inference import detect_images, in_order
from qviz.features.detection.models import LoadedModel
from qviz.result import to_json
from qviz.structures import Dataset

KINDS: tuple[Kind, ...] = ("keypoints", "masks")
IMAGES_AT_ONCE = 25
"""Number of images in a job, so that matching takes a fraction of a second."""


@dataclass(frozen=True, slots=True)
class ShapeAccuracy:
    """AP of the keypoints or of the masks of all models.

    Attributes:
        kind: `keypoints` or `masks`.
        objects: Number of annotated objects that count; 0 if AP could not be measured.
        models: One entry per model, the reference first; None for a model without such shapes. In an entry, `olrp` and
            `laece` are None; for keypoints, `ap_small` is also None.
        losses: One entry per variant; None if the reference or the variant has no such shapes.
        points: Number of keypoints of an object; 0 for masks.
        remark: Reason why AP could not be measured; empty if it was measured.
    """

    kind: str
    objects: int
    models: tuple[AveragePrecision | None, ...]
    losses: tuple[VariantLoss | None, ...]
    points: int = 0
    remark: str = ""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that tables show."""
        return tuple(metric for metric in METRICS if self.kind == "masks" or metric.size != "small")

    def to_json(self) -> dict[str, Any]:
        """The entry in `shapes` of `qviz evaluate --json`, without figures: these are with the models and losses."""
        sigmas = sigmas_of(self.points).tolist() if self.kind == "keypoints" else None
        return {"kind": self.kind, "objects": self.objects, "sigmas": sigmas, "remark": self.remark}


def shape_figures(shapes: Sequence[ShapeAccuracy], models: int) -> list[dict[str, Any]]:
    """For each model, in JSON: kind -> figures, or null. Kinds that could not be measured are left out."""
    return [{row.kind: to_json(row.models[index]) for row in shapes if row.models} for index in range(models)]


def shape_losses(shapes: Sequence[ShapeAccuracy], variants: int) -> list[dict[str, Any]]:
    """For each variant, in JSON: kind -> loss of AP with its interval, or null."""
    rows = [[(row.kind, row.losses[index]) for row in shapes if row.models] for index in range(variants)]
    return [{kind: None if loss is None else to_json(loss.ap) for kind, loss in row} for row in rows]


def has_shapes(dataset: Dataset) -> bool:
    """Whether any object has keypoints or a mask."""
    return any(getattr(image, kind) is not None for image in dataset.images for kind in KINDS)


def shape_accuracies(
    context: Context, evaluator: Evaluator, models: Sequence[LoadedModel]
) -> tuple[ShapeAccuracy, ...]:
    """One entry for keypoints and one for masks, each only if some model returns them.

    The evaluator must have been created with `shapes=True` if any are annotated. Raises Cancelled.
    """
    able = [model for model in models if (d := DECODERS.get(model.inspection.decoder)) is not None and d.has_shapes]
    if not able:
        return ()
    first = evaluator.dataset.images[0]
    detected = detect_images(context.quiet(), able, [first.encoded()], 1, PAGE_SCORE).inferences
    runs = [detected.get((model.digest, evaluator.digests[first.id])) for model in models]
    results = []
    for kind in KINDS:
        shapes = [None if run is None else getattr(run.detections, kind) for run in runs]  # also without objects
        if any(shape is not None for shape in shapes):
            sizes = [None if shape is None else int(shape.shape[1]) for shape in shapes]
            results.append(_accuracy(context, evaluator, models, kind, sizes))
    return tuple(results)


def _accuracy(
    context: Context, evaluator: Evaluator, models: Sequence[LoadedModel], kind: Kind, sizes: Sequence[int | None]
) -> ShapeAccuracy:
    """The accuracy of one kind of shape.

    sizes: for each model, the number of its keypoints, or any number if it has masks; None if it has no such shapes.
    """
    size = next(size for size in sizes if size is not None)
    points = size if kind == "keypoints" else 0
    counts = _counts(evaluator.dataset, kind, points)
    if not counts:
        return ShapeAccuracy(kind, 0, (), (), points, _remark(evaluator.dataset, kind, points))
    categories = [category for category in evaluator.dataset.categories if category.id in counts]
    tables: list[Mapping[str, MatchTables] | None] = []
    for model, model_size in zip(models, sizes, strict=True):
        task = ShapeTask(kind, tuple(sorted(counts)), evaluator.classes(model), points)
        tables.append(_tables(context, evaluator, model, task) if model_size == size else None)
    figures = [
        None if one is None else figures_of(model.name, categories, one)[0]
        for model, one in zip(models, tables, strict=True)
    ]
    return ShapeAccuracy(kind, sum(counts.values()), tuple(figures), tuple(_losses(figures, tables)), points)


def _counts(dataset: Dataset, kind: Kind, points: int) -> Counter[int]:
    """Category id -> number of objects that count. Crowds and objects without the shape do not count."""
    counts: Counter[int] = Counter()
    for image in dataset.images:
        for index, shape in enumerate(getattr(image, kind) if getattr(image, kind) is not None else ()):
            usable = shape is not None and (kind == "masks" or (len(shape) == points and shape[:, 2].any()))
            counts[int(image.category_ids[index])] += usable and not image.is_crowd[index]
    return +counts


def _remark(dataset: Dataset, kind: Kind, points: int) -> str:
    others = {len(row) for image in dataset.images for row in _rows(image.keypoints) if row is not None}
    if kind == "keypoints" and others:
        given = " or ".join(map(str, sorted(others)[:3]))
        reason = f"The annotations have {given} keypoints per object and the model has {points}"
    else:
        reason = f"The annotations have no {kind}"
    return f"{reason}, so AP of {kind} is not measured."


def _rows(column: np.ndarray | None) -> Sequence[np.ndarray | None]:
    return () if column is None else column.tolist()


def _tables(context: Context, evaluator: Evaluator, model: LoadedModel, task: ShapeTask) -> Mapping[str, MatchTables]:
    """Size -> the matches of one model. Raises Cancelled."""
    detections = evaluator.detections(model)
    images = sorted(evaluator.dataset.images, key=lambda image: image.id)
    rows = [
        ShapeImage(replace(image, source=b"", fields={}, object_fields={}), detections[image.id]) for image in images
    ]
    parts = [rows[start : start + IMAGES_AT_ONCE] for start in range(0, len(rows), IMAGES_AT_ONCE)]
    jobs = in_order(context, parts, lambda part: [context.engine.submit(match_job, task, part)])
    groups = [group for _, (job,) in jobs for group in job.result()]
    return tables_of(groups, task, [image.id for image in images])


def tables_of(groups: Sequence[MatchedGroup], task: ShapeTask, images: Sequence[int]) -> dict[str, MatchTables]:
    """Size -> tables of the task's categories. images: sorted ids of all images; groups: sorted by image."""
    from pycocotools.cocoeval import Params

    params = Params(IOU_TYPES[task.kind])
    index = {number: position for position, number in enumerate(images)}
    by_category = {category: [group for group in groups if group.category == category] for category in task.categories}
    return {
        size: MatchTables(
            tuple(_class_table(rows, size, index, len(params.iouThrs)) for rows in by_category.values()),
            np.asarray(params.recThrs),
            len(images),
        )
        for size in params.areaRngLbl
    }


def _class_table(rows: Sequence[MatchedGroup], size: str, index: Mapping[int, int], levels: int) -> ClassTable:
    scores = np.concatenate([np.empty(0), *(row.scores for row in rows)])
    images = np.repeat([index[row.image] for row in rows], [len(row.scores) for row in rows]).astype(np.int32)
    order = np.argsort(-scores, kind="stable")
    true, ignored = (
        np.concatenate([np.empty((levels, 0), bool), *columns], axis=1)[:, order]
        for columns in ([row.true[size] for row in rows], [row.ignored[size] for row in rows])
    )
    truths = np.zeros(len(index), np.uint16)
    for row in rows:
        truths[index[row.image]] = row.truths[size]
    return ClassTable.of(scores[order], images[order], true, ignored, truths)


def _losses(
    figures: Sequence[AveragePrecision | None], tables: Sequence[Mapping[str, MatchTables] | None]
) -> Iterator[VariantLoss | None]:
    reference, first = figures[0], tables[0]
    bootstrap = Bootstrap(first["all"]) if first is not None and len(figures) > 1 else None
    for variant, matched in zip(figures[1:], tables[1:], strict=True):
        if bootstrap is None or reference is None or variant is None or matched is None:
            yield None
        else:
            yield bootstrap.loss(reference, variant, matched["all"])
