"""The workspace that a session starts with: the files given to `qviz app`, or else the bundled sample."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import streamlit as st

from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.errors import QvizError
from qviz.features.detection.models import ModelSource, read_source
from qviz.structures import Dataset, EncodedImage
from qviz.ui.workspace import Workspace

FOLDER = Path(__file__).resolve().parents[2] / "sample_data"
STEM = "ssdlite_mobilenet_v2_"
ORDER = ("float32", "int8", "int8_wrong_range", "dynamic_range", "float16")


def opening() -> Workspace:
    """The workspace of a new session."""
    request = json.loads(os.environ.get("QVIZ_OPEN", "{}"))
    workspace = Workspace() if request.get("models") else sample()
    for path in request.get("models", ()):
        try:
            workspace = workspace.with_models([read_source(Path(path))])
        except QvizError as error:
            workspace = workspace.with_notices([str(error)])
    if not request.get("images"):
        return workspace if workspace.is_sample else workspace.with_images(_sample_images())
    try:
        return workspace.with_images(list(load_images(Path(path) for path in request["images"])))
    except QvizError as error:
        return workspace.with_notices([str(error)])


def is_installed() -> bool:
    """Whether the sample is installed; it comes with the repository, but not with the wheel."""
    return (FOLDER / "annotations.json").is_file()


def sample() -> Workspace:
    """A workspace with the bundled models, images and boxes; an empty one if they are not installed."""
    if not is_installed():
        return Workspace()
    return Workspace(models=_sample_models(), images=tuple(_sample_images()), dataset=_sample_dataset(), is_sample=True)


@st.cache_resource(show_spinner=False)
def bundled() -> dict[str, bytes]:
    """sha256 -> bytes of the bundled models and images. Projects do not store these bytes."""
    models = {model.digest: model.data for model in _sample_models()}
    return models | {image.digest: image.data for image in _sample_images()}


def holds_images(workspace: Workspace) -> bool:
    """Whether the workspace's images are exactly the bundled ones."""
    bundled = {image.digest for image in _sample_images()}
    return bool(bundled and workspace.images) and all(image.digest in bundled for image in workspace.images)


def holds_any_image(workspace: Workspace) -> bool:
    """Whether at least one of the workspace's images is a bundled one."""
    bundled = {image.digest for image in _sample_images()}
    return any(image.digest in bundled for image in workspace.images)


def without_images(workspace: Workspace) -> Workspace:
    """The workspace without the bundled images and their annotations, to make room for the user's own."""
    dataset = None if workspace.dataset is _sample_dataset() else workspace.dataset
    return replace(workspace, images=(), dataset=dataset)


@st.cache_resource(show_spinner=False)
def _sample_models() -> tuple[ModelSource, ...]:
    names = ORDER if is_installed() else ()
    return tuple(read_source(FOLDER / "models" / f"{STEM}{name}.tflite") for name in names)


@st.cache_resource(show_spinner=False)
def _sample_images() -> list[EncodedImage]:
    return list(load_images([FOLDER / "images"])) if is_installed() else []


@st.cache_resource(show_spinner=False)
def _sample_dataset() -> Dataset | None:
    return None if not is_installed() else read_coco(FOLDER / "annotations.json", FOLDER / "images")
