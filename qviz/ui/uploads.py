"""Dropped files into the workspace: models, images, archives, annotations, labels and settings, told apart by content.

Each bad file gets its sentence; the others go on. The drop zone empties itself, so that a file is taken in once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from qviz.datasets.annotated import is_annotation, parse_dataset, unpack_dataset
from qviz.datasets.files import is_image_name, unzip_images
from qviz.datasets.labels import LABEL_SUFFIXES, parse_labels
from qviz.datasets.sidecar import SUFFIX, parse_sidecar
from qviz.errors import QvizError
from qviz.features.detection.models import ModelSource, check_model_size
from qviz.features.reporting.study import Study, is_study, read_study
from qviz.limits import limits
from qviz.structures import Dataset, EncodedImage, Settings
from qviz.tensorflow_models import kind_of_bytes
from qviz.ui import server, view, workspace

ZONE, COUNT = "qviz_drop_zone", "qviz_drops"


@dataclass(slots=True)
class _Sorted:
    """The files of one drop by what they are."""

    models: list[ModelSource] = field(default_factory=list)
    images: list[EncodedImage] = field(default_factory=list)
    annotations: list[tuple[str, bytes]] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    sidecars: dict[str, Settings] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    study: Study | None = None
    notices: list[str] = field(default_factory=list)


def drop_zone(label: str) -> None:
    """The page's drop zone for everything; the next run takes in what was dropped (`heed_drop`)."""
    st.file_uploader(label, accept_multiple_files=True, key=_zone(), label_visibility="collapsed")


def heed_drop() -> None:
    """Take in what lies in the drop zone, before the page is drawn.

    Every run looks, instead of a callback: Streamlit tells a change once, and cuts the run that was told short when
    another one is asked for meanwhile. The zone is emptied last: what was cut short is taken in by the next run.
    """
    files = st.session_state.get(_zone())
    if not files:
        return
    try:
        take_in([(file.name, file.getvalue()) for file in files])
    except Exception:  # told once, not in every run from now on; a run that is cut short is none of these
        _empty_zone()
        raise
    _empty_zone()
    _let_go([file.file_id for file in files])


def _zone() -> str:
    return f"{ZONE}-{st.session_state.get(COUNT, 0)}"


def _empty_zone() -> None:
    st.session_state[COUNT] = st.session_state.get(COUNT, 0) + 1  # a new key is an empty zone


def _let_go(file_ids: Sequence[str]) -> None:
    """Streamlit keeps uploads as long as the session; the workspace has its own copy by now."""
    context = get_script_run_ctx()
    manager = context.uploaded_file_mgr if context is not None else None
    if context is not None and isinstance(manager, MemoryUploadedFileManager):
        for file_id in file_ids:
            manager.remove_file(context.session_id, file_id)


def take_in(files: Sequence[tuple[str, bytes]]) -> None:
    """Put files into the session's workspace; the first new image comes into view."""
    found = _sort(files)
    held = workspace.current()
    models = [replace(m, sidecar=found.sidecars.pop(m.name, m.sidecar)) for m in found.models]
    loading, failed = server.load_sources([source for source in models if source.is_ready])
    good = {model.digest for model in loading} | {source.digest for source in models if not source.is_ready}
    if good and held.is_sample:
        held = replace(held, models=(), reference=None, is_sample=False)  # one's own models replace the sample's
    held = held.with_models([model for model in models if model.digest in good])
    held = held.with_notices([*found.notices, *failed])
    held = _with_labels(_with_sidecars(held, found), found.labels)
    held = replace(held, study=found.study or held.study)
    held = _with_datasets(held.with_images(found.images), found.datasets)
    workspace.keep(_with_annotations(held, found.annotations))
    if found.images:
        view.change(image=held.images[0].name)


def _sort(files: Sequence[tuple[str, bytes]]) -> _Sorted:
    found = _Sorted()
    for name, data in files:
        try:
            _sort_one(found, PurePosixPath(name).name, data)
        except QvizError as error:
            found.notices.append(str(error))
    return found


def _sort_one(found: _Sorted, name: str, data: bytes) -> None:
    if len(data) > (most := limits().upload_mb) << 20:
        raise QvizError(f"{name} has {len(data) >> 20} MB; files of up to {most} are taken in here.")
    ending = PurePosixPath(name).suffix.lower()
    if ending == ".tflite" or data[4:8] == b"TFL3":
        check_model_size(name, len(data))
        found.models.append(ModelSource(name, data))
    elif kind := kind_of_bytes(name, data):
        found.models.append(ModelSource(name, data, kind=kind))
    elif ending == ".zip":
        _sort_archive(found, name, data)
    elif name.endswith(SUFFIX):
        found.sidecars[name.removesuffix(SUFFIX)] = parse_sidecar(data, name)
    elif is_study(data):
        found.study = read_study(data, name)
    elif is_annotation(data):
        found.annotations.append((name, data))
    elif ending in LABEL_SUFFIXES:
        found.labels = parse_labels(data, name)
    elif is_image_name(name):
        found.images.append(EncodedImage(name, data))
    else:
        found.notices.append(f"{name} is no model, image, archive, annotation or label file.")


def _sort_archive(found: _Sorted, name: str, data: bytes) -> None:
    """An annotated dataset with its images, or images alone; these also where the annotations cannot be used."""
    try:
        dataset = unpack_dataset(data, name)
    except QvizError as error:
        found.notices.append(str(error))
        dataset = None
    if dataset is None:
        found.images += unzip_images(name, data)
    else:
        found.datasets.append(dataset)
        found.images += [EncodedImage(image.name, image.read()) for image in dataset.images]


def _with_sidecars(held: workspace.Workspace, found: _Sorted) -> workspace.Workspace:
    """Settings dropped alone go to the model of that name."""
    for name, settings in found.sidecars.items():
        if not any(model.name == name for model in held.models):
            held = held.with_notices([f"{name}{SUFFIX} belongs to {name}, which is not loaded."])
        models = tuple(replace(m, sidecar=settings) if m.name == name else m for m in held.models)
        held = replace(held, models=models)
    return held


def _with_labels(held: workspace.Workspace, labels: tuple[str, ...] | None) -> workspace.Workspace:
    """A label file holds for all models."""
    if labels is None:
        return held
    models = tuple(replace(model, said=replace(model.said, labels=labels)) for model in held.models)
    return replace(held, models=models)


def _with_datasets(held: workspace.Workspace, datasets: Sequence[Dataset]) -> workspace.Workspace:
    """The last one dropped is the session's."""
    for dataset in datasets:
        held = replace(held, dataset=dataset).with_notices([f"{dataset.name}: {said}" for said in dataset.skipped])
    return held


def _with_annotations(held: workspace.Workspace, dropped: Sequence[tuple[str, bytes]]) -> workspace.Workspace:
    """COCO annotations find their images among those loaded."""
    for name, data in dropped:
        try:
            files = {image.name: image.data for image in held.images}
            labels = next((model.said.labels for model in held.models if model.said.labels), ())
            dataset = parse_dataset(data, name, files, labels)
            held = replace(held, dataset=dataset).with_notices([f"{name}: {said}" for said in dataset.skipped])
        except (QvizError, json.JSONDecodeError) as error:
            held = held.with_notices([str(error)])
    return held
