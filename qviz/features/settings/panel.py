"""The small visible set of settings of one model, shown and changed."""

from __future__ import annotations

import streamlit as st

from qviz.errors import QvizError
from qviz.features.detection.models import LoadedModel
from qviz.structures import Settings
from qviz.structures.settings import CHANNELS, RESIZES, per_channel
from qviz.ui import workspace


def in_words(model: LoadedModel) -> str:
    """All settings with who said them."""
    sources = model.inspection.sources
    said = model.settings.to_json()
    return ", ".join(f"{name} {_plain(value)} ({sources[name]})" for name, value in said.items() if name in sources)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return f"{value[0]:g}" if len(set(value)) == 1 else ", ".join(f"{number:g}" for number in value)
    return str(value)


def form(held: workspace.Workspace, model: LoadedModel) -> None:
    """Widgets for the settings; applied together."""
    said = model.settings
    with st.form(f"settings-{model.digest}", border=False):
        mean = st.text_input("mean (pixels 0..255; one number or three)", _plain(list(said.mean or (0.0,))))
        std = st.text_input("std", _plain(list(said.std or (1.0,))))
        channels = st.selectbox("channels", CHANNELS, CHANNELS.index(said.channels or "rgb"))
        resize = st.selectbox("resize", RESIZES, RESIZES.index(said.resize or "stretch"))
        fits = model.inspection.decoders
        decoder = st.selectbox("decoder", fits, fits.index(model.inspection.decoder))
        nms_iou = st.number_input("nms_iou", 0.0, 1.0, said.nms_iou or 0.6, 0.05)
        most = st.number_input("max_detections", 1, 1000, said.max_detections or 100)
        offset = st.selectbox("class_offset (1: the file counts background as class 0)", (0, 1), said.class_offset or 0)
        if st.form_submit_button("Apply", type="primary"):
            _apply(held, model, (mean, std), (channels, resize, decoder, float(nms_iou), int(most), int(offset)))


def _apply(
    held: workspace.Workspace,
    model: LoadedModel,
    numbers: tuple[str, str],
    rest: tuple[str, str, str, float, int, int],
) -> None:
    channels, resize, decoder, nms_iou, most, offset = rest
    source = next(source for source in held.models if source.digest == model.digest)
    try:
        settings = Settings(
            per_channel(numbers[0].split(","), "mean", model.name),
            per_channel(numbers[1].split(","), "std", model.name),
            channels,
            resize,
            decoder,
            nms_iou,
            most,
            offset,
            source.settings.labels,
        )
    except QvizError as error:
        st.error(str(error))
        return
    workspace.keep(held.with_settings(model.digest, settings))
    st.rerun()
