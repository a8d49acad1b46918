"""Prepare recorded results that take the place of a model: replace their ids by names of images and classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from qviz.datasets.files import ImageFiles
from qviz.datasets.labels import canonical_name
from qviz.datasets.recorded_results import ResultIndex, read_results
from qviz.engine import Blob, Engine
from qviz.errors import ModelError
from qviz.features.detection.models import LoadedModel
from qviz.formatting import listed, plural
from qviz.structures import Dataset, EncodedImage, digest_of

Images = ImageFiles | Dataset | Sequence[EncodedImage]


def for_images(engine: Engine, models: Sequence[LoadedModel], images: Images) -> list[LoadedModel]:
    """The models; recorded results among them get the names of these images and the class ids of the reference.

    If the images are a dataset, it also provides names for the ids of images and categories.

    Raises:
        ModelError: None of the images has recorded results.
    """
    if not any(model.is_recorded for model in models):
        return list(models)
    names = _names(images)
    labels = models[0].inspection.labels
    return [_prepared(engine, model, images, names, labels) if model.is_recorded else model for model in models]


def unusable(engine: Engine, models: Sequence[LoadedModel], images: Images) -> dict[str, str]:
    """Digest -> reason, of the recorded results for which `for_images` would raise ModelError."""
    reasons = {}
    for model in models:
        try:
            for_images(engine, [model], images)
        except ModelError as error:
            reasons[model.digest] = str(error)
    return reasons


def _names(images: Images) -> list[str]:
    if isinstance(images, ImageFiles):
        return [path.name for path in images.paths]
    return [image.name for image in (images.images if isinstance(images, Dataset) else images)]


def _prepared(
    engine: Engine, model: LoadedModel, images: Images, names: Sequence[str], labels: Sequence[str]
) -> LoadedModel:
    blob = model.blob
    if isinstance(images, Dataset):
        ids = {str(image.source_id): image.name for image in images.images if image.source_id is not None}
        categories = {str(category.id): category.name for category in images.categories}
        data = engine.submit_urgent(rename_job, blob, ids, categories).result()
        blob = engine.share(data, digest_of(data))
    labels_of_results, missing, examples = engine.submit_urgent(facts_job, blob, tuple(names)).result()
    if names and missing == len(names):
        raise ModelError(
            f"{model.name} has results for none of the images ({listed(names, 2)}); it names"
            f" {listed(examples, 2) or 'none'}. Give the images that it was recorded on; if it names them by number,"
            " give their annotation file."
        )
    inspection = replace(
        model.inspection,
        settings=replace(model.settings, labels=joined_labels(labels, labels_of_results)),
        remark=_remark(model.name, missing, len(names)),
    )
    return replace(model, blob=blob, inspection=inspection)


def _remark(name: str, missing: int, count: int) -> str:
    if not missing:
        return ""
    counts = "it counts as an image" if missing == 1 else "they count as images"
    return f"{name} has no results for {missing} of {plural(count, 'image')}; {counts} without objects."


def joined_labels(reference: Sequence[str], recorded: Sequence[str]) -> tuple[str, ...]:
    """The reference's labels in their order, followed by the recorded labels that it does not have."""
    names = {canonical_name(label) for label in reference}
    return (*reference, *(label for label in recorded if canonical_name(label) not in names))


def rename_job(blob: Blob, images: dict[str, str], categories: dict[str, str]) -> bytes:
    """Replace ids of images and categories by names, and return the results as JSON; runs in a worker.

    images, categories: id as a string -> name.
    """
    results = read_results(blob.read()).renamed(images, categories)
    rows = []
    for image, category, box, score in zip(
        results.images, results.categories, results.boxes.tolist(), results.scores.tolist(), strict=True
    ):
        x1, y1, x2, y2 = box
        named = {"file_name" if isinstance(image, str) else "image_id": image}
        named |= {"label" if isinstance(category, str) else "category_id": category}
        rows.append({**named, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    return json.dumps({"images": [{"image": name} for name in results.empty], "results": rows}).encode()


def facts_job(blob: Blob, names: tuple[str, ...]) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    """Read recorded results in a worker.

    Returns (labels, number of these images without results, up to two images in the file).
    """
    results = read_results(blob.read())
    index = ResultIndex([*results.images, *results.empty])
    missing = sum(index.find(name) is None for name in names)
    examples = tuple(str(key) for key in list(dict.fromkeys([*results.images, *results.empty]))[:2])
    return results.labels(), missing, examples
