"""Load dropped files into the workspace: models, images, archives, annotations, labels and settings, told apart by
their content.

A file that cannot be read adds a notice, and the other files are still loaded. The drop zone empties itself afterwards,
so that each file is loaded only once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from qviz.datasets.annotated import is_annotation, parse_dataset, unpack_dataset
from qviz.datasets.files import is_image_name, unzip_images
from qviz.datasets.images import may_have_16_bits
from qviz.datasets.labels import LABEL_SUFFIXES
from qviz.datasets.recognised_labels import recognised_labels
from qviz.datasets.recorded_results import is_recorded
from qviz.datasets.sidecar import SUFFIX, parse_sidecar
from qviz.decoders import DECODERS
from qviz.errors import QvizError
from qviz.features.detection.dark import dark_images
from qviz.features.detection.models import ModelSource, check_model_size
from qviz.features.reporting.study import Study, is_study, read_study
from qviz.formatting import plural
from qviz.limits import limits
from qviz.onnx_model import SUFFIX as SUFFIX_ONNX
from qviz.onnx_model import is_available
from qviz.store.projects import is_project
from qviz.structures import Dataset, EncodedImage, Settings
from qviz.tensorflow_models import kind_of_bytes
from qviz.tflite.other_formats import BUNDLE, refusal_of, unbundled
from qviz.ui import projects, sample, server, view, workspace
from qviz.ui.workspace import Workspace

ZONE, COUNT = "qviz_drop_zone", "qviz_drops"


@dataclass(slots=True)
class _Drop:
    """The files of one drop, sorted by kind."""

    models: list[ModelSource] = field(default_factory=list)
    images: list[EncodedImage] = field(default_factory=list)
    annotations: list[tuple[str, bytes]] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    sidecars: dict[str, Settings] = field(default_factory=dict)
    labels: list[tuple[str, bytes]] = field(default_factory=list)
    study: Study | None = None
    project: bytes = b""
    notices: list[str] = field(default_factory=list)


def drop_zone(label: str) -> None:
    """Draw the page's drop zone, which takes all kinds of files. The next run loads them (`take_dropped_files`)."""
    st.file_uploader(label, accept_multiple_files=True, key=_zone(), label_visibility="collapsed")


def zone_of(key: str, text: str) -> DeltaGenerator:
    """A container for a separate drop zone. Its instructions show `text`, which says what it takes; without quotes."""
    container = st.container(key=f"{key}-drop")
    instructions = f'.st-key-{key}-drop [data-testid="stFileUploaderDropzoneInstructions"]::after'
    container.html(f'<style>{instructions} {{ content: "{text}" }}</style>')
    return container


def take_dropped_files() -> None:
    """Load the files in the drop zone, before the page is drawn.

    Each run checks the drop zone instead of relying on a callback, because Streamlit reports a change only once and may
    abandon that run. The zone is emptied last, so that the next run loads the files if this run is abandoned.
    """
    files = st.session_state.get(_zone())
    if not files:
        return
    try:
        load_files([(file.name, file.getvalue()) for file in files])
    except Exception:  # so that only this run reports it; abandoning a run raises no Exception
        _empty_zone()
        raise
    _empty_zone()
    _free_uploads([file.file_id for file in files])


def _zone() -> str:
    return f"{ZONE}-{st.session_state.get(COUNT, 0)}"


def _empty_zone() -> None:
    st.session_state[COUNT] = st.session_state.get(COUNT, 0) + 1  # a widget with a new key starts empty


def _free_uploads(file_ids: Sequence[str]) -> None:
    """Delete Streamlit's copies of the files, which it would keep until the session ends. The workspace has its own."""
    context = get_script_run_ctx()
    manager = context.uploaded_file_mgr if context is not None else None
    if context is not None and isinstance(manager, MemoryUploadedFileManager):
        for file_id in file_ids:
            manager.remove_file(context.session_id, file_id)


def load_files(files: Sequence[tuple[str, bytes]]) -> None:
    """Add files, given as (name, bytes), to the session's workspace, and show a new image."""
    drop = _recognise(files)
    if drop.project:
        workspace.forget_drops()
        projects.imported(drop.project)
    current = workspace.current()
    if drop.images and sample.holds_images(current):
        current = sample.without_images(current)  # the user's images are not mixed with the sample's
    models = [replace(m, sidecar=drop.sidecars.pop(m.name, m.sidecar)) for m in drop.models]
    loaded, failures = server.load_sources([source for source in models if source.is_ready])
    good = {model.digest for model in loaded} | {source.digest for source in models if not source.is_ready}
    if good and current.is_sample:
        current = replace(current, models=(), reference=None, is_sample=False)  # the user's models replace the sample's
    current = current.with_replaced([model for model in models if model.digest in good])
    notices = unmended(current.notices, [PurePosixPath(name).name for name, _ in files])
    current = replace(current, notices=notices).with_notices([*drop.notices, *failures, *_dark(drop.images)])
    current = _with_labels(_with_sidecars(current, drop), drop.labels)
    current = replace(current, study=drop.study or current.study)
    current = _with_datasets(current.with_images(drop.images), drop.datasets)
    workspace.keep_drop([PurePosixPath(name).name for name, _ in files], _with_annotations(current, drop))
    _show_new(drop.images)


def add_images(images: Sequence[EncodedImage], notices: Sequence[str], source: str) -> None:
    """Add images to the session's workspace, in place of the sample's. `source` is the name that Undo shows."""
    current = workspace.current()
    if sample.holds_images(current):
        current = sample.without_images(current)
    current = current.with_notices([*notices, *_dark(images)])
    workspace.keep_drop([source], current.with_images(images))
    _show_new(images)


def _show_new(images: Sequence[EncodedImage]) -> None:
    """Show the new image if there is only one; else clear the choice, so that pages show the worst image."""
    if images:
        view.change(image=workspace.current().images[0].name if len(images) == 1 else None)


def _dark(images: Sequence[EncodedImage]) -> list[str]:
    """A one-item list with a sentence about 16-bit images that are nearly black, on which detectors find little.

    Empty if none is.
    """
    digests = {image.digest for image in images if may_have_16_bits(image.data)}
    dark = list(dark_images(server.context(), images, digests).values()) if digests else []
    others = f" So {'is' if len(dark) == 2 else 'are'} {plural(len(dark) - 1, 'other image')}." if len(dark) > 1 else ""
    return [dark[0] + others] if dark else []


def unmended(notices: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The notices that mention none of these files, which have been dropped again.

    If such a file is still wrong, a new notice is added later.
    """
    named = [re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])") for name in names]
    return tuple(sentence for sentence in notices if not any(pattern.search(sentence) for pattern in named))


def _recognise(files: Sequence[tuple[str, bytes]]) -> _Drop:
    drop = _Drop()
    for name, data in files:
        try:
            _recognise_one(drop, PurePosixPath(name).name, data)
        except QvizError as error:
            drop.notices.append(str(error))
    return drop


def _recognise_one(drop: _Drop, name: str, data: bytes) -> None:
    max_mb, ending = limits().upload_mb, PurePosixPath(name).suffix.lower()
    if len(data) > max_mb << 20:
        raise QvizError(f"{name} is {len(data) >> 20} MB; the limit for a dropped file is {max_mb} MB.")
    if ending == ".tflite" or data[4:8] == b"TFL3" or (ending == SUFFIX_ONNX and is_available()):
        check_model_size(name, len(data))
        drop.models.append(ModelSource(name, data))
    elif ending == BUNDLE:
        drop.models.append(ModelSource(name, unbundled(name, data)))
    elif kind := kind_of_bytes(name, data):
        drop.models.append(ModelSource(name, data, kind=kind))
    elif ending == ".zip" and is_project(data):
        drop.project = data
    elif ending == ".zip":
        _unpack(drop, name, data)
    elif name.endswith(SUFFIX):
        drop.sidecars[name.removesuffix(SUFFIX)] = parse_sidecar(data, name)
    elif is_study(data):
        drop.study = read_study(data, name)
    elif ending == ".json" and is_recorded(data):
        check_model_size(name, len(data))
        drop.models.append(ModelSource(name, data))
    elif is_annotation(data):
        drop.annotations.append((name, data))
    elif ending in LABEL_SUFFIXES:
        drop.labels.append((name, data))
    elif is_image_name(name):
        drop.images.append(EncodedImage(name, data))
    else:
        drop.notices.append(refusal_of(name) or f"{name} is not a model, image, archive, annotation or label file.")


def _unpack(drop: _Drop, name: str, data: bytes) -> None:
    """Add an archive's annotated dataset with its images, or only the images if it has no readable annotations."""
    problem = ""
    try:
        dataset = unpack_dataset(data, name)
    except QvizError as error:
        problem, dataset = str(error), None
    if dataset is None:
        images = unzip_images(name, data)
        drop.images += images
        if problem:
            drop.notices.append(problem + _without_annotations(len(images)))
    else:
        drop.datasets.append(dataset)
        drop.images += [EncodedImage(image.name, image.read()) for image in dataset.images]


def _with_sidecars(current: Workspace, drop: _Drop) -> Workspace:
    """Apply settings files that were dropped without a model to the loaded model of the same name."""
    for name, settings in drop.sidecars.items():
        if not any(model.name == name for model in current.models):
            current = current.with_notices([f"{name}{SUFFIX} belongs to {name}, which is not loaded."])
        models = tuple(replace(m, sidecar=settings) if m.name == name else m for m in current.models)
        current = replace(current, models=models)
    return current


def _with_labels(current: Workspace, dropped: Sequence[tuple[str, bytes]]) -> Workspace:
    """Apply a label file to all models. A file that does not look like one adds a notice instead."""
    counts = _class_counts(current) if dropped else set()
    for name, data in dropped:
        try:
            labels = recognised_labels(data, name, counts)
        except QvizError as error:
            current = current.with_notices([str(error)])
            continue
        models = tuple(replace(model, settings=replace(model.settings, labels=labels)) for model in current.models)
        current = replace(current, models=models)
    return current


def _class_counts(current: Workspace) -> set[int]:
    """The class counts of the models whose output shapes reveal them."""
    loaded, _ = server.load_sources(current.runnable)
    rows = ((DECODERS.get(model.inspection.decoder), model.inspection.graph) for model in loaded)
    counts = (decoder.class_count(graph) for decoder, graph in rows if decoder is not None)
    return {count for count in counts if count}


def _with_datasets(current: Workspace, datasets: Sequence[Dataset]) -> Workspace:
    """Make the dataset that was dropped last the session's dataset."""
    for dataset in datasets:
        current = replace(current, dataset=dataset).with_notices(
            [f"{dataset.name}: {text}" for text in dataset.skipped]
        )
    return current


def _with_annotations(current: Workspace, drop: _Drop) -> Workspace:
    """Make dropped COCO annotations the session's dataset, with their images taken from the loaded ones."""
    for name, data in drop.annotations:
        try:
            files = {image.name: image.data for image in current.images}
            labels = next((model.settings.labels for model in current.models if model.settings.labels), ())
            dataset = parse_dataset(data, name, files, labels)
            current = replace(current, dataset=dataset).with_notices([f"{name}: {text}" for text in dataset.skipped])
        except (QvizError, json.JSONDecodeError) as error:
            current = current.with_notices([f"{error}{_without_annotations(len(drop.images))}"])
    return current


def _without_annotations(images: int) -> str:
    """A sentence that confirms what was loaded although its annotations do not fit; empty if there are no images."""
    return f" The {plural(images, 'image')} {'is' if images == 1 else 'are'} loaded without them." if images else ""
