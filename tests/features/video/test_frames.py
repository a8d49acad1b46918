"""Running models on frames: what is stored does not run again, and a worker that ends takes no other frame with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import ImageError
from qviz.features.detection.inference import Batcher
from qviz.features.detection.models import ModelSource, load_models
from qviz.features.video.frames import FrameRunner, Part, Picture, RanFrame, clip_parts, folder_parts
from qviz.store import Store
from qviz.structures import EncodedImage, Image, Settings
from tests.squares import Squares

FRAMES = 5
SETTINGS = Settings((0.0,) * 3, (255.0,) * 3, "rgb", "stretch")


@pytest.fixture(scope="module")
def clip(squares: Squares, tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = cv2.imread(str(sorted(squares.images.glob("*.png"))[0]))
    assert image is not None
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, image.shape[1::-1])
    for number in range(FRAMES):
        writer.write(np.roll(image, 8 * number, axis=1))
    writer.release()
    return path


@pytest.fixture
def runner(engine: LocalEngine, squares: Squares, clip: Path) -> FrameRunner:
    engine.allow_reading(clip)
    files = [squares.model("reference", precision) for precision in ("float32", "int8")]
    models = load_models(engine, [ModelSource(file.name, file.read_bytes(), SETTINGS) for file in files])
    return FrameRunner(Context(engine), models, 0.25)


def rows_of(runner: FrameRunner, parts: partial[Iterator[Part]]) -> list[RanFrame | ImageError]:
    return [row for rows in runner.run(parts) for row in rows]


def test_what_is_stored_does_not_run_again(
    runner: FrameRunner, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    with_store = FrameRunner(Context(runner.context.engine, store), runner.models, 0.25)
    first = rows_of(with_store, partial(clip_parts, clip, 1))
    monkeypatch.setattr(Store, "put", lambda *_: pytest.fail("a frame ran again"))
    second = rows_of(with_store, partial(clip_parts, clip, 1))
    assert len(first) == len(second) == FRAMES
    for one, other in zip(first, second, strict=True):
        assert isinstance(one, RanFrame) and isinstance(other, RanFrame)
        assert (one.index, one.seconds, one.brightness) == (other.index, other.seconds, other.brightness)
        np.testing.assert_equal(
            [answer.detections.boxes for answer in one.answers.values()],
            [answer.detections.boxes for answer in other.answers.values()],
        )


class Deadly(Part):
    """Ends its worker if it has several frames, or the frame `bad` and a model to run on it."""

    def __init__(self, images: tuple[Image, ...]) -> None:
        self.images = images

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(image.digest for image in self.images)

    def one(self, position: int) -> Part:
        return Deadly(self.images[position : position + 1])

    def pictures(self) -> Iterator[Picture | ImageError]:
        if len(self.images) > 1:
            os._exit(1)
        for image in self.images:
            yield Picture(int(image.name), 0.0, 0.0, image)

    def encoded(self, picture: Picture) -> EncodedImage:
        raise NotImplementedError


def test_a_worker_that_ends_takes_no_other_frame_with_it(runner: FrameRunner) -> None:
    images = tuple(Image(str(number), np.zeros((32, 32, 3), np.uint8), f"d{number}") for number in range(2))

    def parts(batcher: Batcher) -> Iterator[Part]:
        yield Deadly(images)

    rows = rows_of(runner, partial(parts))
    assert [row.index for row in rows if isinstance(row, RanFrame)] == [0, 1]
    assert all(sorted(row.answers) == [0, 1] for row in rows if isinstance(row, RanFrame))


def test_an_unreadable_frame_of_a_folder_is_reported(runner: FrameRunner, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((32, 32, 3), 90, np.uint8))
    (tmp_path / "0.png").write_bytes(b"no image")
    first, second = rows_of(runner, partial(folder_parts, sorted(tmp_path.iterdir()), 2, 4.0))
    assert isinstance(first, ImageError) and "0.png" in str(first)
    assert isinstance(second, RanFrame)
    assert (second.index, second.seconds, second.brightness) == (2, 0.5, 90)
