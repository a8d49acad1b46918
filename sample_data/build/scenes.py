"""Remakes scenes/: photographs of places with cut-out things set into them, and their exact boxes.

    python sample_data/build/scenes.py [--work FOLDER]

Needs what images.py needs, numpy and SciPy. Scene number n of `SEED` is drawn with
default_rng([SEED, n]); no draw looks at a detector. A second run gives the same bytes.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from annotations import CATEGORY_IDS
from images import PILLOW, SAMPLE_DATA
from photographs import save_jpeg
from PIL import Image
from scene_credits import write_scene_credits
from scene_layout import THEMES, Background, draw_stamps, draw_view, read_backgrounds
from scene_licences import SCENE_LICENCES, licence_of
from scene_painting import Sprite, arrange, paint, seen_masks
from scipy import ndimage
from stamps import Stamp, read_stamps

SEED = 20260
QUALITY = 88
NEAR = 0.4  # metres: with the eye this low or lower the distance is out of focus


@dataclass(frozen=True)
class Scene:
    """One finished scene; a box is [x, y, width, height], an area the pixels seen."""

    name: str
    background: Background
    sprites: list[Sprite]
    pixels: np.ndarray

    @property
    def licence(self) -> str:
        parts = (sprite.placement.stamp.licence for sprite in self.sprites)
        return licence_of({self.background.photograph.licence, *parts})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="keep the unpacked packages here")
    work = parser.parse_args().work
    if PIL.__version__ != PILLOW:
        raise SystemExit(f"Pillow {PIL.__version__} is installed, the bytes are those of {PILLOW}")
    folder = SAMPLE_DATA / "scenes"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        scenes = make_scenes(read_stamps(), read_backgrounds(), work or Path(temporary))
    for path in folder.glob("*.jpg"):
        path.unlink()
    for scene in scenes:
        save_jpeg(Image.fromarray(scene.pixels), folder / f"{scene.name}.jpg", QUALITY)
    (folder / "annotations.json").write_text(json.dumps(instances(scenes), indent=1) + "\n", encoding="utf-8")
    write_scene_credits(scenes, folder)


def make_scenes(stamps: list[Stamp], backgrounds: list[Background], work: Path) -> list[Scene]:
    """All scenes, theme after theme; each theme's backgrounds in turn."""
    used: dict[str, int] = {}
    scenes = []
    for theme, (count, _, _, eye) in THEMES.items():
        places = [background for background in backgrounds if theme in background.themes]
        for number in range(count):
            rng = np.random.default_rng([SEED, len(scenes)])
            name = f"scene_{len(scenes) + 1:03d}_{theme}"
            scenes.append(make_scene(name, theme, eye, places[number % len(places)], stamps, used, work, rng))
    return scenes


def make_scene(
    name: str,
    theme: str,
    eye: float,
    background: Background,
    stamps: list[Stamp],
    used: dict[str, int],
    work: Path,
    rng: np.random.Generator,
) -> Scene:
    """One scene of `theme` in front of `background`; `used` counts what was drawn so far."""
    photograph = background.photograph.open(work)
    crop = photograph.crop(background.crop) if background.crop else photograph
    view = draw_view(theme, background, crop.size, rng)
    edges = [share / 100 * side for share, side in zip(view.window, crop.size * 2, strict=True)]
    picture = np.asarray(crop.resize(view.size, Image.Resampling.LANCZOS, box=tuple(edges)), float)
    picture = (picture[:, ::-1] if view.mirrored else picture) * (np.array(background.tint or (100, 100, 100)) / 100)
    if 0 < eye <= NEAR:
        picture = ndimage.gaussian_filter(picture, (sigma := rng.uniform(1.0, 2.2), sigma, 0))
    eye *= rng.uniform(0.75, 1.2)
    sprites = arrange(draw_stamps(theme, background, stamps, used, rng), theme, view, eye, work, rng)
    return Scene(name, background, sprites, paint(picture, sprites, theme, rng))


def instances(scenes: list[Scene]) -> dict:
    """The scenes in COCO's form, with the category ids of annotations.json."""
    names = list(SCENE_LICENCES)
    images = [
        {
            "id": number,
            "file_name": f"{scene.name}.jpg",
            "width": scene.pixels.shape[1],
            "height": scene.pixels.shape[0],
            "license": names.index(scene.licence) + 1,
        }
        for number, scene in enumerate(scenes, start=1)
    ]
    rows = [
        (number, sprite.placement.stamp.category, visible)
        for number, scene in enumerate(scenes, start=1)
        for sprite, visible in seen_masks(scene.sprites)
    ]
    return {
        "info": {"description": "Composed scenes with exact boxes", "version": "1.0"},
        "licenses": [{"id": n, "name": name, "url": SCENE_LICENCES[name]} for n, name in enumerate(names, start=1)],
        "images": images,
        "annotations": [_annotation(number, *row) for number, row in enumerate(rows, start=1)],
        "categories": [{"id": number, "name": name} for name, number in CATEGORY_IDS.items()],
    }


def _annotation(number: int, image: int, category: str, visible: np.ndarray) -> dict:
    rows, columns = np.nonzero(visible)
    left, top = int(columns.min()), int(rows.min())
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORY_IDS[category],
        "bbox": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
        "area": int(visible.sum()),
        "iscrowd": 0,
        "segmentation": [],
    }


if __name__ == "__main__":
    main()
