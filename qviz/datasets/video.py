"""Frames of a video file, which OpenCV decodes in a worker, some at a time; the limits on images apply to frames.

Videos are untrusted. Only formats that contain the pictures themselves are opened (MP4, MOV, WebM, MKV, AVI). They are
recognised by their first bytes and not by name, so that no playlist can make the decoder read other files or URLs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qviz.errors import ImageError
from qviz.limits import limits
from qviz.structures import EncodedImage

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
DEFAULT_RATE = 30.0
"""Frames per second if a file does not state them."""
FAR = 2000
"""If more frames than this are to be skipped, the decoder seeks instead of decoding them, as jobs must be short."""
_OPEN: dict[str, _Capture] = {}
"""The video that is open in this worker, by path; at most one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. seconds: its time, computed from its index and the rate; brightness: mean grey level, 0 to 255."""

    index: int
    seconds: float
    brightness: float
    image: EncodedImage


@dataclass(slots=True, eq=False)
class _Capture:
    """An open decoder, the index of its next frame, and its rate in frames per second."""

    reader: Any
    next_index: int
    rate: float


def is_video(head: bytes) -> bool:
    """Whether the first 12 bytes are those of MP4, MOV, WebM, MKV or AVI."""
    is_mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    return is_mp4 or head[:4] == b"\x1aE\xdf\xa3" or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def check_video(path: Path) -> None:
    """Raise ImageError if a file is missing, or if it is not a video in a supported container."""
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


def decode_frames(path: str, start: int, count: int, every: int) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield (index, seconds, (h, w, 3) uint8 BGR pixels) of frame `start` and every `every`-th one after it.

    It runs in a worker, where the decoder stays open for the next part. It ends with the video, or after `count`
    frames. Raises ImageError if the file is not a video or its frames are too large.
    """
    capture = _at(path, start)
    decoded = 0
    while decoded < count:
        index = capture.next_index
        if not capture.reader.grab():
            break
        capture.next_index += 1
        if (index - start) % every:
            continue
        ok, pixels = capture.reader.retrieve()
        if not ok:
            break
        decoded += 1
        yield index, index / capture.rate, pixels


def encoded_frame(path: str, index: int, pixels: np.ndarray) -> EncodedImage:
    """A frame as a PNG, which has exactly these pixels. pixels: (h, w, 3) uint8 BGR."""
    import cv2

    encoded, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    name = frame_name(path, index)
    if not encoded:
        raise ImageError(f"{name} cannot be encoded; convert the video to MP4 with H.264.")
    return EncodedImage(name, data.tobytes())


def frame_name(path: str, index: int) -> str:
    """The name of a frame as an image."""
    return f"{Path(path).stem[:80]}_{index:06d}.png"


def brightness_of(pixels: np.ndarray) -> float:
    """Mean grey level, 0 to 255, of (h, w, 3) uint8 BGR pixels."""
    import cv2

    return float(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).mean())


def read_frames(path: str, start: int, count: int, every: int) -> list[Frame]:
    """Up to `count` frames as images, see `decode_frames`; runs in a worker."""
    return [
        Frame(index, seconds, brightness_of(pixels), encoded_frame(path, index, pixels))
        for index, seconds, pixels in decode_frames(path, start, count, every)
    ]


def _at(path: str, start: int) -> _Capture:
    """The decoder of a video, positioned before frame `start`."""
    capture = _OPEN.get(path)
    if capture is None or capture.next_index > start:
        capture = _opened(path)
        _OPEN.clear()
        _OPEN[path] = capture
    if start - capture.next_index > FAR:
        import cv2

        capture.reader.set(cv2.CAP_PROP_POS_FRAMES, start)
        capture.next_index = start
    while capture.next_index < start and capture.reader.grab():  # exact in every format, unlike seeking
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
