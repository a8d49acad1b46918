"""The choice of images to calibrate with: the sample's views, those of the session, or others that are dropped."""

from __future__ import annotations

from pathlib import PurePosixPath

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.datasets.files import is_image_name, load_images, unzip_images
from qviz.errors import ImageError
from qviz.structures import EncodedImage
from qviz.ui import sample
from qviz.ui.page import Page

LOADED = "Loaded images"
OTHER = "Other images"


def choose(
    here: Page, place: DeltaGenerator, key: str, label: str = "Calibration images"
) -> tuple[str, tuple[EncodedImage, ...]]:
    """The way chosen and its images. key: the widgets' keys begin with it. Raises ImageError."""
    ways = _ways(here)
    way = place.segmented_control(label, ways, default=next(iter(ways)), key=f"{key}-images") or ""
    if way == LOADED:
        return way, here.workspace.images
    if way == OTHER:
        return way, _dropped(key)
    return way, tuple(_views()) if way else ()


def usual(here: Page) -> tuple[EncodedImage, ...]:
    """Those that are chosen where nobody chose: the sample's calibration views, or the loaded images."""
    return tuple(_views()) if here.workspace.is_sample and _views() else here.workspace.images


def _ways(here: Page) -> list[str]:
    ways = [LOADED] if here.workspace.images else []
    if here.workspace.is_sample:
        ways.insert(0, f"The sample's {len(_views())} calibration views")
    return [*ways, OTHER]


@st.cache_resource(show_spinner=False)
def _views() -> list[EncodedImage]:
    folder = sample.FOLDER / "calibration"
    return list(load_images([folder])) if folder.is_dir() else []


def _dropped(key: str) -> tuple[EncodedImage, ...]:
    with st.container(key=f"{key}-drop"):
        st.html(
            f'<style>.st-key-{key}-drop [data-testid="stFileUploaderDropzoneInstructions"]::after'
            ' { content: "Drop photos, or a zip of them" }</style>'
        )
        files = st.file_uploader("Photos", accept_multiple_files=True, key=f"{key}-files", label_visibility="collapsed")
    return tuple(image for file in files for image in _images_of(PurePosixPath(file.name).name, file.getvalue()))


def _images_of(name: str, data: bytes) -> list[EncodedImage]:
    if name.lower().endswith(".zip"):
        return unzip_images(name, data)
    if not is_image_name(name):
        raise ImageError(f"{name} is no image and no zip archive of images.")
    return [EncodedImage(name, data)]
