"""Projects: a session's workspace on disk, under an ID that stands in the address of the page.

A workspace is saved whenever it differs from what the session opened with. A reload, a new tab and a restarted server
open it again by `?project=ID`. What is on disk is not trusted: it is checked as if it had been dropped, and what is
missing or damaged is named and left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from qviz.errors import ProjectError, QvizError
from qviz.features.detection.models import ModelSource
from qviz.store import user_folder
from qviz.store.projects import Projects
from qviz.structures import Category, Dataset, DatasetImage, EncodedImage, Settings, digest_of
from qviz.tensorflow_models import SourceKind
from qviz.ui import clicks
from qviz.ui.workspace import Workspace, changed_parts, keep

KEY, PARAMETER = "qviz_project", "project"
SAVED = "qviz_saved"
"""Key of the workspace that needs no saving: as it was opened, or as it is on disk."""
VERSION = 1
MAX_NAME = 80


def projects() -> Projects:
    """The projects of this server."""
    try:
        return Projects(user_folder("data") / "projects")
    except RuntimeError as error:
        raise ProjectError("This account has no home folder; name a folder for projects in QVIZ_DATA.") from error


def opened(otherwise: Callable[[], Workspace]) -> Workspace:
    """The workspace of a new session: of the project that the address names, else what `otherwise` gives.

    A project that is not on this server, or is damaged, is named in a notice.
    """
    project = st.query_params.get(PARAMETER, "")
    try:
        workspace = _loaded(project) if project else otherwise()
    except ProjectError as error:
        workspace = otherwise().with_notices([f"{error} The page shows the models that qviz starts with."])
    st.session_state[SAVED] = workspace
    return workspace


def _loaded(project: str) -> Workspace:
    store = projects()
    workspace = from_document(store.load(project), lambda digest: store.blob(project, digest))
    st.session_state[KEY], st.session_state[SAVED] = project, workspace
    return workspace


def imported(data: bytes) -> Workspace:
    """The workspace of an exported project, under an ID of its own. Raises ProjectError."""
    return keep(_loaded(projects().imported(data)))


def leave(workspace: Workspace) -> None:
    """Go on with a workspace that belongs to no project; the project stays on disk."""
    st.session_state.pop(KEY, None)
    st.session_state[SAVED] = workspace


def saved(workspace: Workspace) -> Workspace:
    """The session's workspace, saved where it has changed, under a new ID the first time.

    A problem becomes a notice.
    """
    before: Workspace = st.session_state.setdefault(SAVED, workspace)
    if workspace is before or not changed_parts(before, workspace):
        return workspace
    st.session_state[SAVED] = workspace
    try:
        store = projects()
        project = st.session_state.setdefault(KEY, store.new_id())
        store.save(project, *to_document(workspace))
    except ProjectError as error:
        return keep(workspace.with_notices([str(error)]))
    return workspace


def delete() -> None:
    """Delete the session's project with its files; the session still shows what it held. Raises ProjectError."""
    if project := st.session_state.get(KEY):
        projects().delete(project)
        st.session_state.pop(KEY)


def menu(workspace: Workspace, on_delete: Callable[[], object]) -> None:
    """Name, download and deletion of the session's project; nothing where there is none."""
    project = st.session_state.get(KEY)
    if project is None:
        return
    with st.expander("Project"):
        st.caption("Saved on this server. Whoever has the address of this page can open and change it.")
        name = st.text_input("Name", workspace.name, max_chars=MAX_NAME, key=f"project-name-{project}")
        if name != workspace.name:
            keep(replace(workspace, name=name))
            st.rerun()
        file_name = re.sub(r"[^\w .-]", "_", name).strip() or "project"
        st.download_button(
            "Download as one file",
            lambda: projects().exported(project),
            f"{file_name}.qviz.zip",
            "application/zip",
            on_click="ignore",
            help="Drop the file on a page to open it again, here or on another server.",
            key="project-download",
            width="stretch",
        )
        clicks.button(st, "Delete this project", on_delete, "project-delete", st.rerun, width="stretch")


def parameter() -> dict[str, str]:
    """What names the project in the address; empty where there is none."""
    project = st.session_state.get(KEY)
    return {PARAMETER: project} if project else {}


# ---- a workspace as JSON and bytes ----------------------------------------------------------------------------------


def to_document(workspace: Workspace) -> tuple[dict[str, Any], dict[str, bytes]]:
    """(JSON, sha256 -> bytes that it names). Notices and an opened study are not part of it."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes) -> str:
        digest = digest_of(data)
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
            }
            for image in dataset.images
        ],
    }


def from_document(document: Mapping[str, Any], read: Callable[[str], bytes]) -> Workspace:
    """The workspace that a document describes, with a notice for each part that is missing or damaged.

    Raises ProjectError for another version.
    """
    if document.get("version") != VERSION:
        raise ProjectError(f"The project is of version {document.get('version')!r}; this qviz reads version {VERSION}.")
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
    return workspace.with_notices(notices)


T = TypeVar("T")


def _restored(rows: Any, restore: Callable[[Mapping[str, Any]], T], notices: list[str]) -> Iterator[T]:
    """Each row restored; one that cannot be is named in the notices."""
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
    )


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
        raise ValueError("an image's id is neither a number nor a text")
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
    )


_COLUMNS: dict[str, Any] = {"category_ids": np.int64, "is_crowd": bool, "areas": np.float64}
