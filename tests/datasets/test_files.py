from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qviz.datasets.files import find_images, is_image_name, load_images, unzip_images
from qviz.errors import ImageError

CONTENT = bytes(range(200)) * 20

NAMES = [
    ("a.jpg", True),
    ("deep/er/A.JPEG", True),
    ("a.png", True),
    ("a.webp", True),
    ("a.tiff", True),
    ("a.svg", False),
    ("jpg", False),
    ("a.jpg.txt", False),
    (".hidden.jpg", False),
    ("folder/._a.jpg", False),  # the resource fork that macOS adds to archives
    ("__MACOSX/a.jpg", False),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_image_names(name: str, expected: bool) -> None:
    assert is_image_name(name) is expected


def packed(*names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names:
            archive.writestr(name, CONTENT)
    return buffer.getvalue()


def test_only_images_of_an_archive_are_read() -> None:
    images = unzip_images("x.zip", packed("b/2.png", "notes.txt", "a/1.jpg", ".dot.jpg", "__MACOSX/a/._1.jpg"))
    assert [image.name for image in images] == ["2.png", "1.jpg"]
    assert {image.data for image in images} == {CONTENT}


def test_paths_leaving_the_archive_are_reduced_to_file_names() -> None:
    assert [image.name for image in unzip_images("x.zip", packed("../../etc/1.jpg", "/2.jpg"))] == ["1.jpg", "2.jpg"]


def locked() -> bytes:
    """An archive whose entry has the encryption flag set."""
    data = bytearray(packed("1.jpg"))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def bomb() -> bytes:
    """A small archive whose image claims 4 GB."""
    data = bytearray(packed("1.jpg"))
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    return bytes(data)


REFUSED = [
    (b"", "damaged or password-protected"),
    (b"not a zip at all", "damaged or password-protected"),
    (packed("1.jpg")[:-30], "damaged or password-protected"),
    (packed("1.jpg")[30:], "damaged or password-protected"),
    (locked(), "damaged or password-protected"),
    (packed("notes.txt", ".dot.jpg"), "has no images; their names end in .jpg, .jpeg, .png"),
    (bomb(), "would unpack to 1 images and 4095 MB"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_unreadable_archives_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(ImageError) as caught:
        unzip_images("x.zip", data)
    assert str(caught.value).startswith("x.zip ")
    assert sentence in str(caught.value)


def test_an_archive_of_too_many_images(limited: Callable[[str], None]) -> None:
    limited("archive_images = 2")
    assert len(unzip_images("x.zip", packed("1.jpg", "2.jpg"))) == 2
    with pytest.raises(ImageError, match="would unpack to 3 images"):
        unzip_images("x.zip", packed("1.jpg", "2.jpg", "3.jpg"))


@pytest.mark.parametrize("line", ["archive_mb = 3", "image_mb = 1"])
def test_an_archive_with_too_many_bytes(line: str, limited: Callable[[str], None]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("1.jpg", "2.jpg"):
            archive.writestr(name, bytes(2 << 20))
    assert len(unzip_images("x.zip", buffer.getvalue())) == 2
    limited(line)
    with pytest.raises(ImageError, match="would unpack to 2 images and 4 MB"):
        unzip_images("x.zip", buffer.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_an_image_error_for_every_compression(method: int) -> None:
    whole, rng = packed("1.jpg", "2.jpg", method=method), random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
        try:
            unzip_images("x.zip", bytes(damaged))
        except ImageError:
            refused += 1
    assert refused > 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".d.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.zip").write_bytes(packed("in/1.jpg"))
    return tmp_path


def test_a_folder_is_searched_recursively_and_sorted(folder: Path) -> None:
    assert [path.name for path in find_images([folder / "images"])] == ["a.PNG", "b.jpg", "c.webp"]


def test_files_and_archives_keep_the_order_given(folder: Path) -> None:
    paths = [folder / "x.zip", folder / "images" / "notes.txt", folder / "images" / "sub"]
    assert [(image.name, image.data) for image in load_images(paths)] == [
        ("1.jpg", CONTENT),
        ("notes.txt", b"notes.txt"),  # a file given by name is always tried; decoding decides
        ("c.webp", b"sub/c.webp"),
    ]


@pytest.mark.parametrize(("name", "sentence"), [("empty", "has no images"), ("nowhere.jpg", "does not exist")])
def test_a_path_without_images_is_refused(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        find_images([folder / "images", folder / name])
