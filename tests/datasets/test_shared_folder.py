"""A folder of the server's machine is opened where the administrator allows it, and nothing outside of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qviz.datasets.shared_folder import read_shared, shared_folders
from qviz.errors import ImageError

Limited = Callable[[str], None]


@pytest.fixture
def root(tmp_path: Path, limited: Limited) -> Path:
    """A folder with images in two folders below it, beside a secret."""
    root = tmp_path / "photos"
    for name in ("night/1.jpg", "night/2.png", "day/1.jpg", "day/notes.txt", ".hidden/1.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.jpg").write_bytes(b"secret")
    limited(f'images_folder = "{root}"')
    return root


def test_no_folder_is_open_by_default() -> None:
    assert shared_folders() == []
    with pytest.raises(ImageError, match="shares no folder"):
        read_shared(".")


def test_folders_with_images_are_offered_and_read(root: Path) -> None:
    assert shared_folders() == ["day", "night"]
    images, remarks = read_shared("night")
    assert [(image.name, image.data) for image in images] == [("1.jpg", b"night/1.jpg"), ("2.png", b"night/2.png")]
    assert remarks == []
    assert [image.name for image in read_shared(".")[0]] == ["day/1.jpg", "night/1.jpg", "2.png"]


def test_what_lies_outside_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "way_out").symlink_to(tmp_path / "secret")
    (root / "night/3.jpg").symlink_to(tmp_path / "secret/key.jpg")
    (root / "night/4.jpg").symlink_to(root / "day/1.jpg")
    (root / "night/5.jpg").symlink_to(root / "night/5.jpg")
    os.mkfifo(root / "night/6.jpg")
    for name in ("..", "../secret", "way_out", str(tmp_path / "secret"), "night/1.jpg", "none", "a\0b", "night/../.."):
        with pytest.raises(ImageError):
            read_shared(name)
    images, remarks = read_shared("night")
    assert [image.data for image in images] == [b"night/1.jpg", b"night/2.png", b"day/1.jpg"]
    assert remarks == ["Left out of night: 3 files, unreadable or outside of the folder."]
    assert "way_out" not in shared_folders()


def test_a_folder_is_read_up_to_the_limits(root: Path, limited: Limited) -> None:
    (root / "night/0.jpg").write_bytes(bytes((1 << 20) + 1))
    limited(f'images_folder = "{root}"\nsession_images = 1\nimage_mb = 1')
    images, remarks = read_shared("night")
    assert [image.data for image in images] == [b"night/1.jpg"]
    assert remarks == [
        "Left out of night: 1 image of more than 1 MB.",
        "Only 1 of 3 images of night were opened: as many as a session may hold.",
    ]
