"""Draws what stands where: the numbers of a scene, before anything is painted.

`backgrounds.csv` names the places: `crop` of the photograph in pixels, empty for the whole; `tint`
for a grey one, percent of red, green and blue; then percent of that crop: `horizon` (where the eye's
height meets the picture), `ground` (the rows where feet may stand), `sides` (the columns), `sky` (the
rows where flying objects may be). Chosen by eye: no COCO object larger than a few pixels is in them.
Sizes follow the ground: at row y an object of m metres is m * (y - horizon) / eye pixels tall, `eye` being
the height of the camera in metres. Seen from above, `eye` is how many metres the picture is wide.
"""

import csv
import itertools
from dataclasses import dataclass, replace

import numpy as np
from photographs import HERE, Photograph, read_photographs
from scene_licences import may_stand_together
from stamps import Stamp

LONGEST = 640
SMALLEST, LARGEST = 44, 0.72  # an object's longest side: pixels, of the picture's shorter side
TRIES = 60
AGAIN = 4  # a second one in the same scene counts like this many elsewhere

# theme: number of scenes, fewest and most objects, eye in metres (or the picture's width, seen from above)
THEMES = {
    "wild": (17, 2, 4, 1.7),
    "farm": (15, 2, 5, 1.1),
    "road": (14, 2, 4, 1.2),
    "table": (9, 3, 6, 0.62),
    "desk": (10, 3, 5, 0.56),
    "play": (8, 2, 4, 0.26),
    "lawn": (5, 2, 3, 1.3),
    "yard": (7, 2, 3, 0.7),
    "sky": (9, 1, 2, 0.0),
    "water": (6, 1, 3, 0.0),
    "birds": (5, 2, 4, 0.34),
}
FROM_ABOVE = {"table", "desk", "lawn"}
AIR_SHARE = {"airplane": (0.2, 0.55), "bird": (0.12, 0.28)}  # of the picture's width
BOAT_SHARE = (0.35, 0.6)  # of the picture's height, for a boat at its lower edge


@dataclass(frozen=True)
class Background:
    """One row of backgrounds.csv; the pairs are percent of the crop."""

    key: str
    photograph: Photograph
    crop: tuple[int, ...]
    tint: tuple[int, ...]
    themes: tuple[str, ...]
    horizon: float
    ground: tuple[float, ...]
    sides: tuple[float, ...]
    sky: tuple[float, ...]


@dataclass(frozen=True)
class Placement:
    """A stamp, how tall it is before turning (pixels), turned by degrees, and its foot's middle."""

    stamp: Stamp
    height: float
    foot: tuple[float, float]
    mirrored: bool
    turn: float


@dataclass(frozen=True)
class View:
    """A background as seen in one scene: `window` in percent of its crop, `size` in pixels."""

    background: Background
    window: tuple[float, float, float, float]
    size: tuple[int, int]
    mirrored: bool

    def row(self, percent: float) -> float:
        """The pixel row of a row given in percent of the crop."""
        _, top, _, bottom = self.window
        return (percent - top) / (bottom - top) * self.size[1]

    def column(self, percent: float) -> float:
        left, _, right, _ = self.window
        column = (percent - left) / (right - left) * self.size[0]
        return self.size[0] - column if self.mirrored else column


def read_backgrounds() -> list[Background]:
    """The backgrounds in the table's order."""
    photographs = read_photographs()
    with (HERE / "backgrounds.csv").open(newline="", encoding="utf-8") as table:
        return [
            Background(
                row["key"],
                photographs[row["photograph"]],
                tuple(map(int, row["crop"].split())),
                tuple(map(int, row["tint"].split())),
                tuple(row["themes"].split()),
                float(row["horizon"] or 0),
                *(tuple(map(float, row[name].split())) for name in ("ground", "sides", "sky")),
            )
            for row in csv.DictReader(table)
        ]


def draw_view(theme: str, background: Background, size: tuple[int, int], rng: np.random.Generator) -> View:
    """A window of 75-100 % of the crop's sides that keeps the ground (or the sky), scaled to `LONGEST`."""
    share = rng.uniform(0.75, 1.0)
    left = rng.uniform(0, 100 * (1 - share))
    top = 0.0 if theme == "sky" else 100 * (1 - share)
    window = (left, top, left + 100 * share, top + 100 * share)
    scale = LONGEST / max(size)
    pixels = (round(size[0] * scale), round(size[1] * scale))
    return View(background, window, pixels, bool(rng.random() < 0.5))


def draw_stamps(
    theme: str, background: Background, stamps: list[Stamp], used: dict[str, int], rng: np.random.Generator
) -> list[Stamp]:
    """What stands in a scene: of the theme's categories and stamps those used least so far, most of all in this scene."""
    _, min_count, max_count, _ = THEMES[theme]
    chosen: list[Stamp] = []
    here: dict[str, int] = {}
    for _ in range(int(rng.integers(min_count, max_count + 1))):
        licences = {background.photograph.licence, *(stamp.licence for stamp in chosen)}
        fitting = [s for s in stamps if theme in s.themes and may_stand_together(licences | {s.licence})]
        if not fitting:
            break
        category = _least_used([s.category for s in fitting], used, here, rng)
        key = _least_used([s.key for s in fitting if s.category == category], used, here, rng)
        chosen.append(next(s for s in fitting if s.key == key))
        for name, counts in itertools.product((category, key), (used, here)):
            counts[name] = counts.get(name, 0) + 1
    return chosen


def _least_used(names: list[str], used: dict[str, int], here: dict[str, int], rng: np.random.Generator) -> str:
    names = sorted(set(names))
    order = rng.permutation(len(names))
    return min((names[i] for i in order), key=lambda name: used.get(name, 0) + AGAIN * here.get(name, 0))


def draw_placement(stamp: Stamp, theme: str, view: View, eye: float, rng: np.random.Generator) -> Placement:
    """A place for `stamp`: one draw in six may lie across the picture's left or right edge."""
    width, height = view.size
    band = view.background.sky if stamp.surface == "air" else view.background.ground
    y = rng.uniform(*(np.clip(view.row(percent), 0, height) for percent in band))
    left, right = sorted(np.clip(view.column(percent), 0, width) for percent in view.background.sides)
    spread = 0.08 * width if rng.random() < 1 / 6 else 0.0
    x = rng.uniform(left - spread, right + spread)
    tall = _height(stamp, theme, view, y, eye, rng)
    mirrored = stamp.flip and bool(rng.random() < 0.5)
    max_turn = 8.0 if stamp.surface == "air" else stamp.turn if theme in FROM_ABOVE else min(stamp.turn, 25.0)
    return Placement(stamp, tall, (float(x), float(y)), mirrored, float(rng.uniform(-max_turn, max_turn)))


def _height(stamp: Stamp, theme: str, view: View, y: float, eye: float, rng: np.random.Generator) -> float:
    width, height = view.size
    if stamp.surface == "air":
        return -width * rng.uniform(*AIR_SHARE[stamp.category])  # negative: a width
    if stamp.surface == "water":
        far = view.row(view.background.horizon)
        return height * rng.uniform(*BOAT_SHARE) * (0.35 + 0.65 * (y - far) / (height - far))
    if theme in FROM_ABOVE:
        return stamp.metres * width / eye * (0.85 + 0.3 * y / height)
    return stamp.metres * (y - view.row(view.background.horizon)) / eye


def with_height(placement: Placement, cut_size: tuple[int, int], shorter: int) -> Placement:
    """The height in pixels, with the object's longest side kept within `SMALLEST` and `LARGEST`."""
    width, height = cut_size
    tall = placement.height if placement.height > 0 else -placement.height * height / width
    longest = tall * max(width, height) / height
    return replace(placement, height=tall * np.clip(longest, SMALLEST, LARGEST * shorter) / longest)
