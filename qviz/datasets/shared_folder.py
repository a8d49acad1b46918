"""Images in a folder on the server's machine that the administrator has opened to visitors (`images_folder`).

A visitor chooses one of the folders below it, by a name that is not trusted. Links are resolved first. A chosen folder
that then lies outside raises an error; files that lie outside are left out, and only their number is stated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from qviz.datasets.files import distinct_names, is_image_name
from qviz.errors import ImageError
from qviz.formatting import plural
from qviz.limits import limits
from qviz.structures import EncodedImage

MAX_FOLDERS = 500
"""Maximum number of folders that are offered."""
MAX_ENTRIES = 100_000
"""Maximum number of files that are examined."""
HERE = "."


def shared_folders() -> list[str]:
    """Paths, relative to `images_folder`, of the folders that contain images; `.` is that folder itself.

    The list is empty if the administrator has not opened a folder, or if it cannot be read.
    """
    root = _root()
    if root is None:
        return []
    names: list[str] = []
    for path in _files(root):
        name = path.parent.relative_to(root).as_posix()
        if name not in names[-1:]:
            names.append(name)
        if len(names) > MAX_FOLDERS:
            break
    return list(dict.fromkeys(names))[:MAX_FOLDERS]


def read_shared(name: str) -> tuple[list[EncodedImage], list[str]]:
    """(the images in a folder and its subfolders, sentences about what was left out).

    At most as many images are read as a session may contain. Raises ImageError if the folder does not exist, lies
    outside `images_folder`, or contains no images.
    """
    root = _root()
    if root is None:
        raise ImageError(
            "This server shares no folder of images; its administrator can set images_folder in limits.toml."
        )
    try:
        folder = (root / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise ImageError(f"The folder {name[:200]} is not on the server.") from None
    if not folder.is_relative_to(root) or not folder.is_dir():
        raise ImageError(f"{name[:200]} is not a folder that this server shares.")
    paths = list(_files(folder))
    images: list[EncodedImage] = []
    bounds = limits()
    bytes_left, outside, large = bounds.session_images_mb << 20, 0, 0
    for path, shown in zip(paths, distinct_names(path.as_posix() for path in paths), strict=True):
        data = _read(path, root, bounds.image_mb << 20)
        if data is None:
            outside += 1
        elif len(data) > bounds.image_mb << 20:
            large += 1
        elif len(images) == bounds.session_images or (bytes_left := bytes_left - len(data)) < 0:
            break
        else:
            images.append(EncodedImage(shown, data))
    if not images:
        raise ImageError(f"The folder {name[:200]} has no image that can be read.")
    remarks = []
    if outside:
        remarks.append(f"Left out of {name}: {plural(outside, 'file')}, unreadable or outside of the folder.")
    if large:
        remarks.append(f"Left out of {name}: {plural(large, 'image')} of more than {bounds.image_mb} MB.")
    if len(images) + outside + large < len(paths):
        remarks.append(
            f"Only {len(images)} of {len(paths)} images of {name} were opened: as many as a session may hold."
        )
    return images, remarks


def _root() -> Path | None:
    """The folder that is open to visitors, with links resolved; None if there is none."""
    if not (named := limits().images_folder):
        return None
    root = Path(named).resolve()
    return root if root.is_dir() else None


def _files(folder: Path) -> Iterator[Path]:
    """Paths of images, sorted by folder and name. Links to folders are not followed."""
    count = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            count += 1
            if count > MAX_ENTRIES:
                return
            if is_image_name(name):
                yield Path(parent, name)


def _read(path: Path, root: Path, max_bytes: int) -> bytes | None:
    """The first `max_bytes` + 1 bytes of a file; None if it is not a readable file or lies outside the root."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root) or not real.is_file():
            return None
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            return file.read(max_bytes + 1)
    except (OSError, RuntimeError):
        return None
