"""The table of cut-outs and the pictures made of them.

`stamps.csv` names each stamp once: `category` is COCO's name; `surface` says what it may stand on
(ground, water, air, or post for a sign); `metres` is how tall it is upright; `themes` are the
kinds of scene it may be in; `turn` is the largest turn in degrees; `cut` is "white" or "black" for a
photograph without alpha on such a ground, else empty; `crop` is its part in pixels.

Chosen by eye from contact sheets: photographs of a COCO class, whole and in a common view. Left out
were drawings, animals that COCO does not name (donkey, lion, goat), stamps with a piece of their old
ground, and whatever is under the GFDL, an older CC BY-SA, or from a source without a free licence.
The stop sign is a drawing (a printed sign looks like it); the boats are models.
"""

import csv
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from packages import PACKAGES, read_packed
from photographs import HERE
from PIL import Image
from scipy import ndimage

SMALLEST_PIECE = 0.02  # of the opaque pixels: loose specks below this are not part of the object
WHITE_FROM, WHITE_TO = 225, 250  # darkest channel: opaque below, transparent above
BLACK_TO, BLACK_FROM = 35, 70  # lightest channel: transparent below, opaque above
LOOP = 60  # pixels: a white area this large is background, a smaller one a highlight


@dataclass(frozen=True)
class Stamp:
    """One row of stamps.csv."""

    key: str
    package: str
    path: str
    category: str
    licence: str
    author: str
    source: str
    surface: str
    metres: float
    themes: tuple[str, ...]
    flip: bool
    turn: float
    cut: str
    crop: tuple[int, ...]

    @property
    def title(self) -> str:
        return Path(self.path).stem

    @cache  # noqa: B019 - a build script that ends
    def cut_out(self, work: Path) -> Image.Image:
        """The object in RGBA, cropped to its opaque pixels."""
        blob = read_packed(PACKAGES[self.package].unpacked(work), self.path)
        picture = Image.open(io.BytesIO(blob)).convert("RGBA")
        pixels = np.asarray(picture.crop(self.crop) if self.crop else picture).copy()
        if self.cut:
            pixels[..., 3] = CUTS[self.cut](pixels[..., :3])
        pixels[~_pieces(pixels[..., 3])] = 0
        rows, columns = np.nonzero(pixels[..., 3] > 128)
        return Image.fromarray(pixels).crop((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


def read_stamps() -> list[Stamp]:
    """The stamps in the table's order."""
    with (HERE / "stamps.csv").open(newline="", encoding="utf-8") as table:
        return [
            Stamp(
                **row
                | {
                    "metres": float(row["metres"]),
                    "themes": tuple(row["themes"].split()),
                    "flip": row["flip"] == "yes",
                    "turn": float(row["turn"]),
                    "crop": tuple(map(int, row["crop"].split())),
                }
            )
            for row in csv.DictReader(table)
        ]


def _off_white(rgb: np.ndarray) -> np.ndarray:
    """Alpha (h, w) uint8: nothing where large areas are white, soft at their edges."""
    darkest = rgb.min(axis=2).astype(float)
    areas, count = ndimage.label(darkest >= WHITE_FROM + 10)
    sizes = ndimage.sum_labels(np.ones_like(darkest), areas, range(1, count + 1))
    background = np.isin(areas, 1 + np.flatnonzero(sizes >= LOOP))
    soft = np.clip((WHITE_TO - darkest) / (WHITE_TO - WHITE_FROM), 0, 1)
    return np.where(ndimage.binary_dilation(background, iterations=2), 255 * soft, 255).astype(np.uint8)


def _off_black(rgb: np.ndarray) -> np.ndarray:
    """Alpha (h, w) uint8: nothing where it is dark, but an object has no holes."""
    soft = np.clip((rgb.max(axis=2).astype(float) - BLACK_TO) / (BLACK_FROM - BLACK_TO), 0, 1)
    holes = ndimage.binary_fill_holes(soft > 0.5) & (soft <= 0.5)
    return np.where(holes, 255, 255 * soft).astype(np.uint8)


CUTS = {"white": _off_white, "black": _off_black}


def _pieces(alpha: np.ndarray) -> np.ndarray:
    """Where the object is: its opaque pieces without the specks, and what touches them."""
    solid = alpha > 128
    areas, count = ndimage.label(solid, np.ones((3, 3)))
    sizes = ndimage.sum_labels(solid, areas, range(1, count + 1))
    large_pieces = np.isin(areas, 1 + np.flatnonzero(sizes >= SMALLEST_PIECE * solid.sum()))
    return ndimage.binary_dilation(large_pieces, np.ones((3, 3)), iterations=2)
