"""The video that the user dropped, stored on the server's disk.

The decoder needs a file, and Streamlit would lose the upload when the user switches pages.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from qviz.datasets.video import SUFFIXES, Frame, check_video, read_frames
from qviz.errors import QvizError
from qviz.structures import digest_of
from qviz.ui import requested, server, uploads

STATE = "qviz_video"
MAX_VIDEOS = 8
"""Maximum number of video files on disk, over all sessions. The oldest one is deleted first."""
TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A dropped video: its original name, and the path of the copy, which is named after the digest."""

    name: str
    digest: str
    path: Path


@st.cache_resource(show_spinner=False)
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder, which is deleted when the server stops."""
    return tempfile.TemporaryDirectory(prefix="qviz-video-")


def dropped() -> VideoFile | None:
    """Draw the drop zone, and return the video that was dropped last, or None."""
    with uploads.zone_of("video", "Drop a clip"):
        uploaded = st.file_uploader("A video", type=[suffix[1:] for suffix in SUFFIXES], key="video-file")
    if uploaded is not None:
        data = uploaded.getvalue()
        digest = digest_of(data)
        current: VideoFile | None = requested.last(STATE)
        if current is None or current.digest != digest or not current.path.exists():
            requested.note(STATE, _written(uploaded.name, digest, data))
    clip: VideoFile | None = requested.last(STATE)
    return clip if clip is not None and clip.path.exists() else None


def _written(name: str, digest: str, data: bytes) -> VideoFile:
    folder = Path(_folder().name)
    server.context().engine.allow_reading(folder)
    suffix = Path(name).suffix.lower()
    path = folder / f"{digest}{suffix if suffix in SUFFIXES else ''}"
    others = sorted((entry for entry in folder.iterdir() if entry != path), key=lambda entry: entry.stat().st_mtime)
    for old in others[: max(0, len(others) + 1 - MAX_VIDEOS)]:
        old.unlink(missing_ok=True)
    path.write_bytes(data)
    try:
        check_video(path)
    except QvizError:
        path.unlink()
        raise
    return VideoFile(name[:100], digest, path)


@st.cache_resource(show_spinner=False, max_entries=32)
def frame_of(path: str, index: int) -> Frame | None:
    """One frame, decoded in a worker; None if the index is past the end. Raises QvizError if it cannot be decoded."""
    frames = server.context().engine.submit_urgent(read_frames, path, index, 1, 1).result(timeout=TIMEOUT)
    return frames[0] if frames else None
