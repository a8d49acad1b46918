"""The table of photographs and the pictures made of them.

`photographs.csv` names each photograph once: where it is packed, who took it, under which licence,
and how many calibration views are cut from it. `samples.csv` says which become sample images:
`crop` is "left top right bottom" in pixels of the photograph as packed, empty for the whole.
Boxes and sizes are pixels; a sample's longest side is at most 1024, a calibration view's 480.
"""

import csv
import io
import random
from dataclasses import dataclass
from pathlib import Path

from packages import PACKAGES, read_packed
from PIL import Image, ImageEnhance, ImageOps

HERE = Path(__file__).parent
SAMPLE_SIDE, SAMPLE_QUALITY = 1024, 88
VIEW_SIDE, VIEW_QUALITY = 480, 85
SMALL = 500  # a photograph no longer than this is not cut much: little would be left of it


@dataclass(frozen=True)
class Photograph:
    """One row of photographs.csv."""

    key: str
    package: str
    path: str
    title: str
    author: str
    licence: str
    source: str
    calibration_views: int

    @property
    def view_names(self) -> list[str]:
        """The calibration views' file names without their ending; each is the seed of its draws."""
        return [f"{self.key}_{number}" for number in range(1, self.calibration_views + 1)]

    def open(self, work: Path) -> Image.Image:
        """The photograph upright and in RGB."""
        blob = read_packed(PACKAGES[self.package].unpacked(work), self.path)
        return ImageOps.exif_transpose(Image.open(io.BytesIO(blob))).convert("RGB")


@dataclass(frozen=True)
class Sample:
    """One row of samples.csv: the sample image `name`.jpg is `crop` of `photograph`."""

    name: str
    photograph: Photograph
    crop: tuple[int, int, int, int] | None

    def make(self, work: Path) -> Image.Image:
        picture = self.photograph.open(work)
        return _fitted(picture.crop(self.crop) if self.crop else picture, SAMPLE_SIDE)


def read_photographs() -> dict[str, Photograph]:
    """Key -> photograph, in the table's order."""
    with (HERE / "photographs.csv").open(newline="") as table:
        return {
            row["key"]: Photograph(**row | {"calibration_views": int(row["calibration_views"])})
            for row in csv.DictReader(table)
        }


def read_samples(photographs: dict[str, Photograph]) -> list[Sample]:
    """The sample images in the table's order, which is the order of their COCO ids."""
    with (HERE / "samples.csv").open(newline="") as table:
        return [
            Sample(
                row["name"],
                photographs[row["photograph"]],
                tuple(map(int, row["crop"].split())) if row["crop"] else None,
            )
            for row in csv.DictReader(table)
        ]


def calibration_view(picture: Image.Image, seed: str) -> Image.Image:
    """A crop of 45-100 % of each side, mirrored every other time, 0.6-1.3 times as bright."""
    draw = random.Random(seed)
    smallest = 0.75 if max(picture.size) <= SMALL else 0.45
    width, height = (round(side * draw.uniform(smallest, 1.0)) for side in picture.size)
    left = round(draw.uniform(0, picture.width - width))
    top = round(draw.uniform(0, picture.height - height))
    view = _fitted(picture.crop((left, top, left + width, top + height)), VIEW_SIDE)
    if draw.random() < 0.5:
        view = ImageOps.mirror(view)
    return ImageEnhance.Brightness(view).enhance(draw.uniform(0.6, 1.3))


def save_jpeg(picture: Image.Image, path: Path, quality: int) -> None:
    """Write nothing but pixels: no EXIF, no profile, no comment, so that equal pixels are equal bytes."""
    bare = Image.frombytes("RGB", picture.size, picture.tobytes())
    bare.save(path, "JPEG", quality=quality, optimize=True)


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    """Shrunk so that the longest side is at most `side`; never enlarged."""
    scale = side / max(picture.size)
    if scale >= 1:
        return picture
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)
