"""Remakes images/, calibration/, annotations.json and IMAGES.md from the packages in packages.py.

    python sample_data/build/images.py [--work FOLDER]

Needs Pillow of the pinned version, Debian's apt-get and dpkg-deb, and npm. A second run gives the
same bytes: the crops are tables, the draws are seeded and the pictures carry no metadata.
"""

import argparse
import tempfile
from pathlib import Path

import PIL
from annotations import write_annotations
from image_credits import write_credits
from photographs import (
    HERE,
    SAMPLE_QUALITY,
    VIEW_QUALITY,
    Photograph,
    Sample,
    calibration_view,
    read_photographs,
    read_samples,
    save_jpeg,
)

PILLOW = "13.0.0"
SAMPLE_DATA = HERE.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="keep the unpacked packages here")
    work = parser.parse_args().work
    if PIL.__version__ != PILLOW:
        raise SystemExit(f"Pillow {PIL.__version__} is installed, the bytes are those of {PILLOW}")
    photographs = read_photographs()
    samples = read_samples(photographs)
    with tempfile.TemporaryDirectory() as temporary:
        work = work or Path(temporary)
        make_calibration(photographs, work, SAMPLE_DATA / "calibration")
        make_images(samples, work, SAMPLE_DATA / "images")
    write_annotations(samples, SAMPLE_DATA)
    write_credits(photographs, samples, HERE / "IMAGES.md")


def make_images(samples: list[Sample], work: Path, folder: Path) -> None:
    """One JPEG per sample."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        save_jpeg(sample.make(work), folder / f"{sample.name}.jpg", SAMPLE_QUALITY)
    _drop_others(folder, {f"{sample.name}.jpg" for sample in samples})


def make_calibration(photographs: dict[str, Photograph], work: Path, folder: Path) -> None:
    """Each photograph's calibration views, the file's name being the seed of its draws."""
    folder.mkdir(parents=True, exist_ok=True)
    for photograph in photographs.values():
        picture = photograph.open(work)
        for name in photograph.view_names:
            save_jpeg(calibration_view(picture, name), folder / f"{name}.jpg", VIEW_QUALITY)
    names = (name for photograph in photographs.values() for name in photograph.view_names)
    _drop_others(folder, {f"{name}.jpg" for name in names})


def _drop_others(folder: Path, names: set[str]) -> None:
    """Remove what an earlier table asked for and this one does not."""
    for path in folder.glob("*.jpg"):
        if path.name not in names:
            path.unlink()


if __name__ == "__main__":
    main()
