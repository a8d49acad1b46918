"""One session's files: told apart by their bytes, never mixed with another session's."""

from collections.abc import Callable

import pytest

from qviz.features.detection.models import ModelSource
from qviz.limits import limits
from qviz.structures import EncodedImage, Settings
from qviz.ui.workspace import Workspace


def test_the_same_bytes_are_kept_once_and_equal_names_told_apart() -> None:
    first, second = EncodedImage("a.jpg", b"1"), EncodedImage("a.jpg", b"2")
    held = Workspace().with_images([first]).with_images([second, EncodedImage("b.jpg", b"1")])
    assert [image.name for image in held.images] == ["a.jpg", "b.jpg"]
    assert [image.data for image in held.images] == [b"2", b"1"]
    both = Workspace().with_images([first, second])
    assert [image.name for image in both.images] == ["a.jpg", "a.jpg (2)"]


def test_more_models_than_fit_are_named_not_dropped_silently() -> None:
    held = Workspace().with_models([ModelSource(f"{n}.tflite", bytes([n])) for n in range(limits().session_models + 1)])
    assert len(held.models) == limits().session_models
    assert str(limits().session_models) in held.notices[0]


@pytest.mark.parametrize(("line", "kept"), [("session_images = 3", 3), ("session_images_mb = 2", 2)])
def test_more_images_than_fit_are_counted(line: str, kept: int, limited: Callable[[str], None]) -> None:
    limited(line)
    held = Workspace().with_images([EncodedImage(f"{n}.jpg", bytes([n]) * (1 << 20)) for n in range(5)])
    assert [image.name for image in held.images] == [f"{n}.jpg" for n in range(kept)]
    assert held.notices[0].startswith(f"Only {kept} of 5 images were loaded: a session holds at most ")


def test_settings_of_one_model_leave_the_others_alone() -> None:
    one, two = ModelSource("1.tflite", b"1"), ModelSource("2.tflite", b"2")
    held = Workspace().with_models([one, two]).with_settings(one.digest, Settings(channels="bgr"))
    assert [model.settings.channels for model in held.models] == ["bgr", None]


def test_a_removed_reference_is_no_longer_chosen() -> None:
    one = ModelSource("1.tflite", b"1")
    assert Workspace(models=(one,), reference=one.digest).without_model(one.digest).reference is None
