"""The settings of a model on the Overview page, with their sources and a form to change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from qviz.errors import QvizError
from qviz.features.detection.models import LoadedModel
from qviz.features.settings import IMAGES
from qviz.formatting import plural
from qviz.structures import Settings
from qviz.structures.settings import CHANNELS, RESIZES
from qviz.ui import workspace

SOURCES = {
    "guess": "found by trying images",
    "default": "usual for this head",
    "given": "set here",
    "sidecar": "from its .qviz.json",
    "file": "from the file",
    "reference": "as for the reference",
}
"""Source of a setting -> the words for it on the page."""


PREPARATION = ("mean", "std", "channels", "resize")
RESIZED = {
    "stretch": "stretched",
    "letterbox": "letterboxed",
    "letterbox-top-left": "letterboxed to the top left",
}


def in_words(model: LoadedModel, images: int) -> str:
    """`RGB, pixels 0 to 255: found by trying 16 images. Stretched: usual for this head.`

    How images are prepared for a model, grouped by the source of the settings. images: the number of loaded images.
    """
    sources, by_source = model.inspection.sources, dict[str, list[str]]()
    for name, text in _preparation(model.settings).items():
        source = "guess" if name == "mean" and sources.get("std") == "guess" else sources.get(name, "default")
        by_source.setdefault(SOURCES.get(source, source), []).append(text)
    tried = f"found by trying {plural(min(images, IMAGES), 'image')}"
    sentences = [
        f"{', '.join(texts)}: {tried if images and source == SOURCES['guess'] else source}"
        for source, texts in by_source.items()
    ]
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def difference(model: LoadedModel, reference: LoadedModel) -> str:
    """In words, how the preparation of a variant's images differs from the reference's; empty if it does not."""
    other = _preparation(reference.settings)
    return ", ".join(text for name, text in _preparation(model.settings).items() if other.get(name) != text)


def _preparation(settings: Settings) -> dict[str, str]:
    """Setting -> what it does to an image, in words; `mean` also stands for `std`."""
    texts = {}
    if settings.channels:
        texts["channels"] = settings.channels.upper()
    if settings.resize:
        texts["resize"] = RESIZED[settings.resize]
    if settings.mean is not None and settings.std is not None:
        texts["mean"] = _pixels(settings.mean, settings.std)
    return texts


def _pixels(mean: Sequence[float], std: Sequence[float]) -> str:
    """`pixels 0 to 255`, the range after normalisation; or the mean and the std if the channels differ."""
    if len({*mean}) == len({*std}) == 1:
        return f"pixels {(0 - mean[0]) / std[0]:.3g} to {(255 - mean[0]) / std[0]:.3g}"
    return f"pixels less {_plain(list(mean))}, divided by {_plain(list(std))}"


def as_text(model: LoadedModel) -> str:
    """All settings with their sources, e.g. `mean 127.5 (from the file)`."""
    sources = model.inspection.sources
    values = model.settings.to_json()
    return ", ".join(
        f"{name} {_plain(value)} ({SOURCES.get(sources[name], sources[name])})"
        for name, value in values.items()
        if name in sources
    )


def _plain(value: object) -> str:
    if isinstance(value, list):
        return f"{value[0]:g}" if len(set(value)) == 1 else ", ".join(f"{number:g}" for number in value)
    return str(value)


def form(model: LoadedModel) -> None:
    """A form with widgets for the settings, which are applied together."""
    settings = model.settings
    with st.form(f"settings-{model.digest}", border=False):
        mean = st.text_input("mean (pixels 0..255; one number or three)", _plain(list(settings.mean or (0.0,))))
        std = st.text_input("std", _plain(list(settings.std or (1.0,))))
        channels = st.selectbox("channels", CHANNELS, CHANNELS.index(settings.channels or "rgb"))
        resize = st.selectbox("resize", RESIZES, RESIZES.index(settings.resize or "stretch"))
        decoders = model.inspection.decoders
        decoder = st.selectbox("decoder", decoders, decoders.index(model.inspection.decoder))
        nms_iou = st.number_input("nms_iou", 0.0, 1.0, settings.nms_iou or 0.6, 0.05)
        max_detections = st.number_input("max_detections", 1, 1000, settings.max_detections or 100)
        class_offset = st.selectbox(
            "class_offset (1: the file counts background as class 0)", (0, 1), settings.class_offset or 0
        )
        values = {
            "mean": mean.split(","),
            "std": std.split(","),
            "channels": channels,
            "resize": resize,
            "decoder": decoder,
            "nms_iou": nms_iou,
            "max_detections": max_detections,
            "class_offset": class_offset,
        }
        if st.form_submit_button("Apply", type="primary"):
            _apply(model, values)


def _apply(model: LoadedModel, values: dict[str, object]) -> None:
    current = workspace.current()
    source = next(source for source in current.models if source.digest == model.digest)
    try:
        settings = replace(Settings.from_json(values, model.name), labels=source.settings.labels)
    except QvizError as error:
        st.error(str(error))
        return
    workspace.keep(current.with_settings(model.digest, settings))
    st.rerun()
