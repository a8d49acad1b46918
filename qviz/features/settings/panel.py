"""The settings of one model on the Overview page: shown with their sources, and a form that changes them."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from qviz.errors import QvizError
from qviz.features.detection.models import LoadedModel
from qviz.structures import Settings
from qviz.structures.settings import CHANNELS, RESIZES
from qviz.ui import workspace

SOURCES = {
    "guess": "found by trying images",
    "default": "usual for this head",
    "given": "set here",
    "sidecar": "from NAME.qviz.json",
    "file": "from the file",
    "reference": "as for the reference",
}
"""Source of a setting -> in words."""


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
    """Widgets for the settings; they are applied together."""
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
