"""Video files and folders of frames, end to end with the sample's models; what is no video is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from qviz.datasets.video import read_frames
from qviz.errors import ImageError
from qviz.features.video import natural
from qviz.features.video.text import finding
from tests.cli.conftest import Run, run  # noqa: F401
from tests.cli.keys import VIDEO, missing
from tests.conftest import Sample

DARK = (4, 5, 9)


@pytest.fixture(scope="module")
def picture(sample: Sample) -> np.ndarray:
    image = cv2.imread(str(sample.images / "dog_shepherd.jpg"))
    assert image is not None
    return cv2.resize(image, (320, 240))


@pytest.fixture(scope="module")
def frames(picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of one photograph; three of them are black. frame_2 comes before frame_10."""
    folder = tmp_path_factory.mktemp("frames")
    for number in range(12):
        cv2.imwrite(str(folder / f"frame_{number}.png"), picture * 0 if number in DARK else picture)
    return folder


@pytest.fixture(scope="module")
def clip(picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames at 10 per second; the second half is darker."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (320, 240))
    for number in range(40):
        writer.write(picture if number < 20 else picture // 4)
    writer.release()
    return path


def test_planted_blinks_and_no_jitter(run: Run, sample: Sample, frames: Path) -> None:  # noqa: F811
    """The same model twice on still frames: it blinks where frames are black, twice, and nothing moves."""
    model = sample.models["float32"]
    result = run("video", model, model, "--video", frames, "--rate", "6", "--json", "--workers", "1", "--no-cache")
    assert result.status == 0, result.err
    document = result.json
    assert missing(VIDEO, document) == []
    assert [row["index"] for row in document["frames"]] == list(range(12))
    assert [row["index"] for row in document["frames"] if row["brightness"] < 1] == list(DARK)
    (track,) = document["tracks"]
    assert (track["label"], track["first"], track["last"], track["blinks"]) == ("dog", 0, 11, 2)
    assert track["reference_presence"] == track["variant_presence"] == 9 / 12
    for summary in document["summary"]:
        assert (summary["jitter"], summary["blinks_per_minute"]) == (0, pytest.approx(60))  # 2 s
    agreements = [row["models"][1]["agreement"] for row in document["frames"]]
    assert agreements == [None if n in DARK else 1 for n in range(12)]


def test_a_file_is_read_in_parts(clip: Path) -> None:
    parts = [read_frames(str(clip), start, 16, 1) for start in (0, 16, 32)]
    assert [[frame.index for frame in part] for part in parts] == [
        [*range(16)],
        [*range(16, 32)],
        [*range(32, 40)],
    ]
    assert [frame.seconds for frame in parts[1][:2]] == [1.6, 1.7]
    again = read_frames(str(clip), 16, 16, 1)  # backwards
    assert [frame.image.digest for frame in again] == [frame.image.digest for frame in parts[1]]
    third = read_frames(str(clip), 0, 5, 3)
    assert [frame.index for frame in third] == [0, 3, 6, 9, 12]
    assert third[1].image.digest == parts[0][3].image.digest
    assert parts[2][-1].brightness < 0.35 * parts[0][0].brightness


def test_a_video_with_another_variant(sample: Sample, clip: Path) -> None:
    import qviz

    models = sample.models["float32"], sample.models["int8_wrong_range"]
    result = qviz.video(*models, video=clip, every=4, workers=1, cache=False)
    assert [row.index for row in result.frames] == list(range(0, 40, 4))
    assert result.seconds == pytest.approx(4.0)
    dog = max(result.tracks, key=lambda track: track.frames)
    assert (dog.label, dog.first, dog.last, dog.reference_presence) == ("dog", 0, 36, 1)
    assert "blinks" in finding(result, ["float", "int8"]) and len(repr(result)) <= 500
    assert len(result.to_frame()) == 20


@pytest.fixture(scope="module")
def dusk(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 s at 4 frames per second: a slow pan and zoom over a photograph of a sheep; in second 3 it is dusk."""
    image = cv2.imread(str(sample.images / "sheep.jpg"))
    assert image is not None
    image = cv2.resize(image, (336, 252))
    path = tmp_path_factory.mktemp("dusk") / "dusk.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 4, (320, 240))
    for number in range(20):
        left, top = number // 2, number // 4
        frame = cv2.resize(image[top : top + 246 - top, left : left + 328 - left], (320, 240))
        writer.write(frame // 3 if number // 4 == 3 else frame)
    writer.release()
    return path


def test_the_second_at_dusk_is_named(sample: Sample, dusk: Path) -> None:
    """The variant with the wrong range loses the sheep in the dark, and only there; the camera's motion is steady."""
    import qviz

    models = sample.models["float32"], sample.models["int8_wrong_range"]
    result = qviz.video(*models, video=dusk, score=0.6, workers=1, cache=False)
    assert [row.index for row in result.frames] == list(range(20))
    sheep = max(result.tracks, key=lambda track: track.frames)
    assert (sheep.label, sheep.first, sheep.last, sheep.reference_presence) == ("sheep", 0, 19, 1)
    assert (sheep.blinks, sheep.variant_presence) == (1, 16 / 20)
    assert result.worst_second == (3, 0)
    text = finding(result, ["float", "int8"])
    assert "They agree least in second 3 (agreement 0.00). It is dark there: brightness" in text
    reference = result.summary[0]
    assert reference.jitter is not None and reference.jitter < 0.02


REFUSED = [
    (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "is not an MP4, MOV, WebM, MKV or AVI video"),
    (b"\0\0\0\x18ftypmp42" + b"\0" * 64, "cannot be decoded"),
    (b"", "is not an MP4"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_what_is_no_video_is_refused(data: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=sentence):
        read_frames(str(path), 0, 4, 1)
    with pytest.raises(ImageError, match="cannot be read"):
        read_frames(str(tmp_path / "none.mp4"), 0, 4, 1)


def test_names_are_in_the_order_of_their_numbers() -> None:
    names = ["f_10.png", "f_2.png", "f_1.png", "a.png", "7.png"]
    assert sorted(names, key=natural) == ["7.png", "a.png", "f_1.png", "f_2.png", "f_10.png"]
