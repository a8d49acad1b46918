"""Frames of a video file, decoded by OpenCV in a worker, a part at a time, within the limits of images.

A video comes from outside: only containers that hold their own pictures are opened (MP4, MOV, WebM, MKV, AVI, by their
first bytes, not by the name), so that no playlist makes the decoder read other files or addresses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qviz.errors import ImageError
from qviz.limits import limits
from qviz.structures import EncodedImage

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
QUALITY = 95
"""Of the JPEG that a frame becomes: both models, the pages and every later run see these pixels."""
DEFAULT_RATE = 30.0
"""Frames per second where a file states none."""
FAR = 2000
"""Frames to skip from which on the decoder seeks, as a job may not take long."""
_OPEN: dict[str, _Capture] = {}
"""The video that this worker has open, at most one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. seconds: from the start, by its index and the rate; brightness: mean grey level, 0 to 255."""

    index: int
    seconds: float
    brightness: float
    image: EncodedImage


@dataclass(slots=True, eq=False)
class _Capture:
    """An open decoder, its next frame and its rate."""

    reader: Any
    next_index: int
    rate: float


def is_video(head: bytes) -> bool:
    """Whether the first 12 bytes are those of MP4, MOV, WebM, MKV or AVI."""
    is_mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    return is_mp4 or head[:4] == b"\x1aE\xdf\xa3" or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def check_video(path: Path) -> None:
    """Raises ImageError where a file is missing or no video that is read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read ({error.strerror}); give a video file or a folder of frames."
        ) from error
    if not is_video(head):
        raise ImageError(
            f"{path.name} is not an MP4, MOV, WebM, MKV or AVI video; convert it, or give a folder of frames."
        )


def read_frames(path: str, start: int, count: int, every: int) -> list[Frame]:
    """In a worker: `count` frames from `start` on, each `every`-th; fewer at the end of the video.

    The decoder stays open for the next part. Raises ImageError where the file is no video, or its frames are too large.
    """
    import cv2

    capture = _at(path, start)
    name = Path(path).stem[:80]
    frames: list[Frame] = []
    while len(frames) < count:
        index = capture.next_index
        if not capture.reader.grab():
            break
        capture.next_index += 1
        if (index - start) % every:
            continue
        ok, pixels = capture.reader.retrieve()
        if not ok:
            break
        encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not encoded:
            break
        grey = float(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).mean())
        image = EncodedImage(f"{name}_{index:06d}.jpg", data.tobytes())
        frames.append(Frame(index, index / capture.rate, grey, image))
    return frames


def _at(path: str, start: int) -> _Capture:
    """The decoder before frame `start`."""
    capture = _OPEN.get(path)
    if capture is None or capture.next_index > start:
        capture = _opened(path)
        _OPEN.clear()
        _OPEN[path] = capture
    if start - capture.next_index > FAR:
        import cv2

        capture.reader.set(cv2.CAP_PROP_POS_FRAMES, start)
        capture.next_index = start
    while capture.next_index < start and capture.reader.grab():  # exact in every format, where seeking is not
        capture.next_index += 1
    return capture


def _opened(path: str) -> _Capture:
    import cv2

    check_video(Path(path))
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "protocol_whitelist;file"
    reader = cv2.VideoCapture(str(Path(path).resolve()), cv2.CAP_FFMPEG)
    if not reader.isOpened():
        raise ImageError(
            f"{Path(path).name} cannot be decoded; convert it to MP4 with H.264, or give a folder of frames."
        )
    width, height = (int(reader.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > limits().image_megapixels * 1_000_000:
        raise ImageError(
            f"{Path(path).name} has frames of {width} x {height} pixels; at most {limits().image_megapixels} megapixels"
            " are read."
        )
    rate = float(reader.get(cv2.CAP_PROP_FPS))
    return _Capture(reader, 0, rate if 0.1 <= rate <= 1000 else DEFAULT_RATE)
