"""The choice of images to calibrate or train with: the session's, the sample's views, or photos dropped for this."""

from __future__ import annotations

from pathlib import PurePosixPath

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.datasets.files import is_image_name, load_images, unzip_images
from qviz.errors import ImageError
from qviz.formatting import plural
from qviz.structures import EncodedImage
from qviz.ui import clicks, page, sample, uploads
from qviz.ui.page import Page

LOADED = "Loaded images"
OTHER = "Other images"


def choose_images(
    here: Page, container: DeltaGenerator, key: str, label: str = "Calibration images"
) -> tuple[str, tuple[EncodedImage, ...]]:
    """Let the user choose images: the sample's calibration views, the session's images, or other dropped files.

    key: prefix of the widgets' keys. Returns (name of the choice, its images). Raises ImageError.
    """
    names = _choices(here)
    name = (
        container.segmented_control(
            label, names, default=next(iter(names)), key=f"{key}-images", persist_state="session", wrap=True
        )
        or ""
    )
    if name == LOADED:
        return name, here.workspace.images
    if name == OTHER:
        return name, dropped(key)
    return name, tuple(sample_views()) if name else ()


def usual_images(here: Page) -> tuple[EncodedImage, ...]:
    """The images that are chosen by default: the sample's calibration views, or the loaded images."""
    return tuple(sample_views()) if here.workspace.is_sample and sample_views() else here.workspace.images


def _choices(here: Page) -> list[str]:
    names = [LOADED] if here.workspace.images else []
    if here.workspace.is_sample:
        names.insert(0, f"The sample's {plural(len(sample_views()), 'calibration view')}")
    return [*names, OTHER]


@st.cache_resource(show_spinner=False)
def sample_views() -> list[EncodedImage]:
    """The sample's views for calibration."""
    folder = sample.FOLDER / "calibration"
    return list(load_images([folder])) if folder.is_dir() else []


def dropped(key: str) -> tuple[EncodedImage, ...]:
    """Draw an uploader and return the photos dropped into it; the session keeps them. Raises ImageError."""
    with uploads.zone_of(key, "Drop photos, or a zip of them"):
        zone, photos = f"{key}-files", f"{key}-photos"

        def changed() -> None:
            if not st.session_state.get(zone):
                st.session_state.pop(photos, None)

        files = st.file_uploader(
            "Photos",
            accept_multiple_files=True,
            key=zone,
            label_visibility="collapsed",
            on_change=clicks.callback(changed),
        )
    if files:  # kept in the session, because the uploader is empty after the user has left the page
        st.session_state[photos] = tuple(
            image for file in files for image in _images_of(PurePosixPath(file.name).name, file.getvalue())
        )
    images: tuple[EncodedImage, ...] = st.session_state.get(photos, ())
    if images and not files:
        page.small_text(f"{plural(len(images), 'photo')} dropped before: drop others to replace them.")
    return images


def _images_of(name: str, data: bytes) -> list[EncodedImage]:
    if name.lower().endswith(".zip"):
        return unzip_images(name, data)
    if not is_image_name(name):
        raise ImageError(f"{name} is neither an image nor a zip archive of images.")
    return [EncodedImage(name, data)]
