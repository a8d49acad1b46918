"""Convert a workspace to JSON and bytes, and back.

Files on disk are not trusted: they are checked like dropped files, and parts that are missing or damaged are left out
and named in a notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from qviz.datasets.coco_fields import checked_fields, checked_object_fields
from qviz.datasets.object_shapes import checked_keypoints, checked_masks, shapes_document
from qviz.errors import ProjectError, QvizError
from qviz.features.detection.models import ModelSource
from qviz.limits import limits
from qviz.structures import Category, Dataset, DatasetImage, EncodedImage, Settings, digest_of
from qviz.tensorflow_models import SourceKind
from qviz.ui.workspace import EarlierModel, Workspace

VERSION = 1
MAX_NAME, MAX_REASON = 80, 400
"""Maximum number of characters of a name, and of the reason for a quarantine."""
MAX_TIME = 2**32
"""Maximum time of a removal, in seconds since 1970."""


def to_document(workspace: Workspace) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(JSON document, sha256 -> bytes that the document refers to). Notices and an opened study are not included."""
    blobs: dict[str, bytes] = {}
    sources = (*workspace.models, *(row.source for row in workspace.earlier))
    digests = {id(file.data): file.digest for file in sources}  # already computed when the files were dropped
    digests |= {id(image.data): image.digest[:64] for image in workspace.images}

    def blob(data: bytes) -> str:
        digest = digests.get(id(data)) or digest_of(data)
        blobs[digest] = data
        return digest

    document = {
        "version": VERSION,
        "models": [_model_json(source, blob) for source in workspace.models],
        "images": [{"name": image.name, "data": blob(image.data), "size": image.size} for image in workspace.images],
        "dataset": None if workspace.dataset is None else _dataset_json(workspace.dataset, blob),
        "reference": workspace.reference,
        "is_sample": workspace.is_sample,
        "name": workspace.name,
        "earlier": [_model_json(row.source, blob) | {"removed": row.removed} for row in workspace.earlier],
        "quarantine": dict(workspace.quarantine),
    }
    return document, blobs


def _model_json(source: ModelSource, blob: Callable[[bytes], str]) -> dict[str, Any]:
    return {
        "name": source.name,
        "data": blob(source.data),
        "kind": str(source.kind),
        "settings": _settings_json(source.settings),
        "sidecar": _settings_json(source.sidecar),
        "converted_from": source.converted_from,
        "refusal": source.refusal,
        "shown": source.shown,
    }


def _settings_json(settings: Settings) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.given().items()}


def _dataset_json(dataset: Dataset, blob: Callable[[bytes], str]) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "categories": [[category.id, category.name] for category in dataset.categories],
        "skipped": list(dataset.skipped),
        "images": [
            {
                "id": image.id,
                "name": image.name,
                "data": blob(image.read()),
                "boxes": image.boxes.tolist(),
                "category_ids": image.category_ids.tolist(),
                "is_crowd": image.is_crowd.tolist(),
                "areas": image.areas.tolist(),
                "size": image.size,
                "source_id": image.source_id,
                "fields": dict(image.fields),
                "object_fields": {name: values.tolist() for name, values in image.object_fields.items()},
                **shapes_document(image.keypoints, image.masks),
            }
            for image in dataset.images
        ],
    }


def from_document(document: Mapping[str, Any], read: Callable[[str], bytes]) -> Workspace:
    """The workspace that a document describes, with a notice for each part that is missing or damaged.

    Raises ProjectError if the document has another version.
    """
    if document.get("version") != VERSION:
        version = repr(document.get("version"))[:40]
        raise ProjectError(f"The project is of version {version}; this qviz reads version {VERSION}.")
    notices: list[str] = []
    is_sample = document.get("is_sample") is True
    name = _text(document.get("name"))[:MAX_NAME]
    workspace = Workspace(reference=_text(document.get("reference")) or None, is_sample=is_sample, name=name)
    workspace = workspace.with_models(list(_restored(document.get("models"), lambda row: _model(row, read), notices)))
    images = list(_restored(document.get("images"), lambda row: _image(row, read), notices))
    workspace = replace(workspace.with_images(images), notices=workspace.notices)
    if document.get("dataset") is not None:
        rows = list(_restored([document["dataset"]], lambda row: _dataset(row, read), notices))
        workspace = replace(workspace, dataset=rows[0] if rows else None)
    earlier = list(_restored(document.get("earlier"), lambda row: _earlier(row, read), notices))
    workspace = replace(workspace, earlier=tuple(earlier[: limits().session_models]))
    return replace(workspace, quarantine=_quarantine(document.get("quarantine"))).with_notices(notices)


def _quarantine(value: Any) -> dict[str, str]:
    """Digest -> reason. Empty if the value is damaged; a model that crashes is put into quarantine again anyway."""
    rows = value.items() if isinstance(value, dict) else ()
    return {digest: reason[:MAX_REASON] for digest, reason in rows if isinstance(reason, str)}


T = TypeVar("T")


def _restored(rows: Any, restore: Callable[[Mapping[str, Any]], T], notices: list[str]) -> Iterator[T]:
    """Yield each row restored, and add a notice for each row that cannot be restored."""
    for row in rows if isinstance(rows, list) else []:
        name = _text(row.get("name"))[:80] if isinstance(row, dict) else ""
        try:
            yield restore(row)
        except QvizError as error:
            notices.append(f"{name or 'A part of the project'} is left out. {error}")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            notices.append(f"{name or 'A part of the project'} is left out: its description in the project is damaged.")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _model(row: Mapping[str, Any], read: Callable[[str], bytes]) -> ModelSource:
    settings, sidecar = (Settings.from_json(row[name], "The project") for name in ("settings", "sidecar"))
    return ModelSource(
        str(row["name"]),
        read(row["data"]),
        settings,
        sidecar,
        kind=SourceKind(row["kind"]),
        converted_from=_text(row["converted_from"]),
        refusal=_text(row["refusal"]),
        shown=_text(row.get("shown"))[:MAX_NAME],
    )


def _earlier(row: Mapping[str, Any], read: Callable[[str], bytes]) -> EarlierModel:
    return EarlierModel(_model(row, read), min(max(int(row["removed"]), 0), MAX_TIME))


def _image(row: Mapping[str, Any], read: Callable[[str], bytes]) -> EncodedImage:
    return EncodedImage(str(row["name"]), read(row["data"]), size=_size(row["size"]))


def _size(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))


def _dataset(row: Mapping[str, Any], read: Callable[[str], bytes]) -> Dataset:
    categories = tuple(Category(int(number), str(name)) for number, name in row["categories"])
    images = tuple(_dataset_image(image, read) for image in row["images"])
    return Dataset(str(row["name"]), images, categories, tuple(map(str, row["skipped"])))


def _dataset_image(row: Mapping[str, Any], read: Callable[[str], bytes]) -> DatasetImage:
    boxes = np.array(row["boxes"], np.float64).reshape(-1, 4)
    columns = {name: np.array(row[name], dtype) for name, dtype in _COLUMNS.items()}
    if any(column.shape != (len(boxes),) for column in columns.values()) or not np.isfinite(boxes).all():
        raise ValueError("boxes, classes and areas differ in number")
    source_id = row["source_id"]
    if source_id is not None and not isinstance(source_id, (int, str)):
        raise ValueError("an image's id is neither a number nor text")
    return DatasetImage(
        int(row["id"]),
        str(row["name"]),
        read(row["data"]),
        boxes,
        columns["category_ids"],
        columns["is_crowd"],
        columns["areas"],
        _size(row["size"]),
        source_id,
        checked_fields(row.get("fields")),
        checked_object_fields(row.get("object_fields"), len(boxes)),
        checked_keypoints(row.get("keypoints"), len(boxes)),
        checked_masks(row.get("masks"), len(boxes), _size(row["size"])),
    )


_COLUMNS: dict[str, Any] = {"category_ids": np.int64, "is_crowd": bool, "areas": np.float64}
