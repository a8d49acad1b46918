"""Damaged videos and ONNX files, by number: with changed bytes, cut, spliced, or with an impossible number in them."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from qviz.datasets.video import read_frames
from qviz.engine import Engine
from qviz.errors import QvizError
from qviz.features.detection.models import ModelSource
from tests.features.settings.test_readings import strong
from tests.fuzz.models import ODD_REAL, SEED, Change, Draw, Mutant, cut, flipped, odd_numbers, spliced
from tests.fuzz.run import Tally, Witness, each, tried_model
from tests.test_onnx_model import onnx_file

CHANGES: dict[str, Change] = {"flipped": flipped, "cut": cut, "odd_numbers": odd_numbers, "spliced": spliced}
CODECS = {"mp4": "mp4v", "avi": "MJPG", "mkv": "mp4v"}
FRAMES, SIDES = 12, (64, 48)


@lru_cache(maxsize=4)
def video(suffix: str) -> bytes:
    """A healthy video of a dozen small frames; empty if this OpenCV cannot write one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"video.{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODECS[suffix]), 25, SIDES)
        draw = np.random.default_rng(SEED)
        for _ in range(FRAMES):
            writer.write(draw.integers(0, 256, (SIDES[1], SIDES[0], 3), np.uint8))
        writer.release()
        return path.read_bytes() if path.is_file() else b""


def damaged_video(number: int) -> Mutant:
    suffixes = [suffix for suffix in CODECS if video(suffix)]
    suffix, kind = suffixes[number % len(suffixes)], list(CHANGES)[number // len(suffixes) % len(CHANGES)]
    data = CHANGES[kind](video(suffix), np.random.default_rng([SEED, number]))
    return Mutant(number, suffix, kind, data)


def fuzz_videos(engine: Engine, numbers: range) -> Tally:
    """Read all frames of the videos with these numbers in a worker, in two parts, as `qviz video` does."""
    with tempfile.TemporaryDirectory() as folder:
        engine.allow_reading(Path(folder))

        def one(number: int) -> str:
            mutant = damaged_video(number)
            path = Path(folder) / f"{number}.{mutant.base}"
            path.write_bytes(mutant.data)
            frames = 0
            try:
                for start in (0, 8):
                    rows = engine.submit(read_frames, str(path), start, 8, 1).result()
                    assert all(row.image.data[:2] == b"\x89P" and row.seconds >= 0 for row in rows)
                    frames += len(rows)
            except QvizError as error:
                assert len(str(error)) < 1_000, str(error)
                return f"refused: {type(error).__name__}"
            return "all frames" if frames == FRAMES else "some frames" if frames else "no frame"

        def label(number: int) -> str:
            mutant = damaged_video(number)
            return f"video {number} ({mutant.kind} of {mutant.base})"

        return each(engine, list(numbers), one, label, Witness(engine))


def odd_onnx(draw: Draw) -> bytes:
    """A valid ONNX file with impossible values, labels, task, further input, or weights in another file."""
    values = strong(corners=True)
    for _ in range(int(draw.integers(0, 3))):
        row = int(draw.integers(values.shape[1]))
        values[0, row, int(draw.integers(values.shape[2])) :] = ODD_REAL[int(draw.integers(len(ODD_REAL)))]
    options = {
        "external": ("", "", "", "../../etc/passwd", "/etc/passwd", "weights.bin"),
        "second": ("", "", "", "scale_factor", "x" * 5_000, "<script>alert(1)</script>", "im_shape"),
        "names": (
            "",
            "{}",
            "{0: 'a', 0: 'b'}",
            "{9999999: 'a'}",
            "[[" * 10_000,
            "__import__('os')",
            "{0: '<b>'}",
            "\0",
        ),
        "task": ("", "detect", "segment", "classify", "pose", "obb", "\n" * 5_000),
    }
    return onnx_file(values, **{name: some[int(draw.integers(len(some)))] for name, some in options.items()})


def fuzz_onnx(engine: Engine, numbers: range) -> Tally:
    """Load and run damaged and odd versions of an ONNX file as a reference."""
    witness = Witness(engine)
    healthy = onnx_file(strong(corners=True), names="{0: 'hen', 1: 'cock'}", task="detect")

    def damaged(number: int) -> Mutant:
        kind, draw = [*CHANGES, "meaning"][number % (len(CHANGES) + 1)], np.random.default_rng([SEED, number])
        return Mutant(number, "onnx", kind, CHANGES[kind](healthy, draw) if kind in CHANGES else odd_onnx(draw))

    def one(number: int) -> str:
        return tried_model(engine, ModelSource(f"{number}.onnx", damaged(number).data), witness)

    return each(engine, list(numbers), one, lambda number: f"onnx {number} ({damaged(number).kind})", witness)
