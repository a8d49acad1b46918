"""The Video page: a clip, the timeline of both models, the chosen frame (which opens on Compare), and the tracks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from qviz.chart_style import REFERENCE, variant_colour
from qviz.context import Context
from qviz.features.detection.models import LoadedModel
from qviz.features.video import VideoResult, video
from qviz.features.video.panel_file import VideoFile, frame_of
from qviz.features.video.plot import figure
from qviz.features.video.text import finding
from qviz.formatting import hundred, plural
from qviz.structures import EncodedImage
from qviz.ui import clicks, glossary, jobs, page, requested, view, workspace
from qviz.ui.jobs import Work
from qviz.ui.page import Page

COMPARE = "pages/compare.py"
REQUEST = "qviz-video-request"
SHOWN_TRACKS = 200


def show(here: Page, variant: LoadedModel, clip: VideoFile, headline: Any) -> None:
    """Draw everything below the drop zone; the verdict goes into the container `headline`."""
    left, middle, right = st.columns([2, 2, 3], vertical_alignment="bottom")
    last = requested.last(REQUEST)  # sets the widgets again after a reload
    usual_step, usual_alarm = last[1:3] if last is not None and last[0] == clip.digest else (1, False)
    every = int(
        left.number_input("Run every N-th frame", 1, 1000, usual_step, key="video-every", persist_state="session")
    )
    help_text = (
        "Compares the reference's activations with the variant's calibrated ranges, once per second of the clip."
    )
    out_of_range = middle.checkbox(
        "Out-of-range alarm", usual_alarm, key="video-alarm", persist_state="session", help=help_text
    )
    request = clip.digest, every, out_of_range, here.loaded.reference.identity, variant.identity, here.view.score
    clicks.button(right, "Run", partial(requested.keep, REQUEST, request), "video-run", st.rerun, type="primary")
    if last != request:
        with headline:
            page.verdict(
                f"Run both models on {clip.name}: what flickers, and in which second.",
                f"Objects with a confidence of {here.view.score:.2f} or more.",
            )
        return
    result = _result(here, variant, clip, (every, out_of_range), request)
    if result is not None:
        _draw(here, variant, clip, result, headline)


def _result(
    here: Page, variant: LoadedModel, clip: VideoFile, options: tuple[int, bool], request: object
) -> VideoResult | None:
    """`options`: the step between frames, and whether the alarm is on."""
    reference, score, (every, alarm) = here.loaded.reference, here.view.score, options

    def run(context: Context) -> VideoResult:
        result = video(context, reference, variant, clip.path, every=every, score=score, out_of_range=alarm)
        return replace(result, name=clip.name)

    work = Work(jobs.subject_of(reference.digest, variant.digest))
    return jobs.result("video", ("video", request), run, "video", "Running frames", "frames", work=work)


def _draw(here: Page, variant: LoadedModel, clip: VideoFile, result: VideoResult, headline: Any) -> None:
    names = [here.loaded.name(here.loaded.reference), here.loaded.name(variant)]
    with headline:
        page.verdict(
            finding(result, names),
            f"{clip.name}: {plural(len(result.frames), 'frame')}, {result.seconds:.1f} s,"
            f" {plural(len(result.tracks), 'track')}. A blink: an object that a model misses between two frames in"
            " which it finds it.",
        )
    inks = [REFERENCE, variant_colour(list(here.loaded.variants).index(variant))]
    key = f"video-line-{clip.digest[:12]}"
    st.plotly_chart(
        figure(result, names, inks),
        width="stretch",
        key=key,
        on_select=clicks.callback(lambda: _clicked(key)),
        selection_mode="points",
    )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _frame(here, clip, result)
    with right:
        glossary.table(_summary(result, names), {}, key="video-summary")
        glossary.table(_tracks(result), {}, key="video-tracks")
        st.caption("Tracks; those that the variant shows least come first. Presence in % of the frames of a track.")
    for remark in result.remarks:
        st.text(remark)


def _jump(frame: int) -> None:
    st.session_state["video-frame"] = frame


def _clicked(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        st.session_state["video-frame"] = int(points[-1]["customdata"])


def _frame(here: Page, clip: VideoFile, result: VideoResult) -> None:
    """Draw a slider over the frames, initially at the worst second, the frame, and a button to open it on Compare."""
    indices = [row.index for row in result.frames]
    second = result.worst_second[0] if result.worst_second is not None else 0
    worst = next((row.index for row in result.frames if int(row.seconds) == second), indices[0])
    if st.session_state.get("video-frame") not in indices:
        st.session_state["video-frame"] = worst
    if len(indices) > 1:
        slider, jump = st.columns([4, 1], vertical_alignment="bottom")
        slider.select_slider("Frame", indices, key="video-frame")
        go = clicks.callback(lambda: _jump(worst))
        jump.button("Worst second", on_click=go, key="video-worst", width="stretch")
    frame = frame_of(str(clip.path), st.session_state["video-frame"])
    if frame is None:
        st.text("This frame cannot be read any more; drop the video again.")
        return
    row = result.frames[indices.index(frame.index)]
    counts = ", ".join(f"{model.objects}" for model in row.models)
    st.image(frame.image.data, caption=f"{row.seconds:.2f} s, brightness {row.brightness:.0f}; objects: {counts}")

    def load() -> None:
        image = EncodedImage(f"{Path(clip.name).stem[:60]}_{frame.index:06d}.png", frame.image.data)
        loaded = workspace.keep(here.workspace.with_images([image]))
        view.change(image=loaded.images[0].name)

    def open_page() -> None:
        page.go("Compare", COMPARE, view.link_query("Compare"))

    def open_trace() -> None:
        page.go("Compare", COMPARE, view.link_query("Compare", trace=True))

    left, right = st.columns(2)
    clicks.button(left, "Open this frame on Compare", load, "video-open", open_page, width="stretch")
    help_text = "Where in the network the confidence of the object that fell most is lost"
    clicks.button(right, "Trace its worst object", load, "video-trace", open_trace, help=help_text, width="stretch")


def _summary(result: VideoResult, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": names,
            "blinks": [row.blinks for row in result.summary],
            "per minute": [round(row.blinks_per_minute, 1) for row in result.summary],
            "presence %": [_one(row.presence) for row in result.summary],
            "jitter %": [None if row.jitter is None else round(100 * row.jitter, 2) for row in result.summary],
        }
    )


def _tracks(result: VideoResult) -> pd.DataFrame:
    rows = sorted(result.tracks, key=lambda row: (row.variant_presence - row.reference_presence, -row.blinks))
    rows = rows[:SHOWN_TRACKS]
    return pd.DataFrame(
        {
            "label": [row.label for row in rows],
            "first": [row.first for row in rows],
            "last": [row.last for row in rows],
            "reference %": [_one(row.reference_presence) for row in rows],
            "variant %": [_one(row.variant_presence) for row in rows],
            "blinks": [row.blinks for row in rows],
        }
    )


def _one(value: float | None) -> float | None:
    """The value x100, rounded to one decimal, or None."""
    return None if value is None else round(hundred(value) or 0.0, 1)
