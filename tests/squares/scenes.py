"""Eight images of 320 x 320 pixels with 32 coloured squares, drawn with numpy, and their COCO annotations.

The boxes that the detector returns are cells of a grid of 32 pixels. The squares are up to a few pixels off these
cells, with an IoU of 0.68 to 1, so that AP is 66.6, neither 0 nor 100.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

SIZE, SIDE = 320, 32
"""Side of an image and of a square, in pixels."""
CLASSES = ("red", "green", "blue")
GREY, DARK, NOISE = 110, 30, 6
"""Value of the background, of a square's two dark channels, and standard deviation of the noise, in 0..255."""

RED, GREEN, BLUE = range(3)
SQUARES = (
    ((GREEN, 61, 257, 246), (GREEN, 191, 97, 250), (RED, 0, 62, 208), (BLUE, 159, 0, 249)),
    ((RED, 189, 192, 211), (GREEN, 225, 158, 184), (RED, 128, 34, 204), (BLUE, 0, 158, 188)),
    ((RED, 94, 158, 228), (RED, 191, 130, 132), (GREEN, 131, 190, 139), (BLUE, 130, 3, 143)),
    ((BLUE, 163, 161, 239), (BLUE, 126, 255, 215), (BLUE, 94, 95, 178), (GREEN, 131, 65, 169)),
    ((GREEN, 0, 2, 223), (BLUE, 193, 224, 212), (BLUE, 30, 64, 219), (RED, 286, 127, 141)),
    ((BLUE, 32, 66, 133), (GREEN, 128, 61, 140), (GREEN, 99, 158, 162), (GREEN, 94, 288, 198)),
    ((GREEN, 258, 125, 196), (GREEN, 259, 63, 195), (GREEN, 31, 35, 184), (GREEN, 32, 97, 168)),
    ((GREEN, 255, 62, 172), (BLUE, 29, 2, 251), (RED, 254, 255, 176), (RED, 0, 3, 168)),
)
"""For each image, its four squares: class, left, top, and value of the channel of the square's colour."""

NAMES = tuple(f"s{number:02d}.png" for number in range(len(SQUARES)))


@cache
def images() -> np.ndarray:
    """The images, uint8 (8, 320, 320, 3), RGB. The array is shared and read-only."""
    random = np.random.default_rng(14)
    scenes = np.full((len(SQUARES), SIZE, SIZE, 3), GREY, np.float64)
    for scene, squares in zip(scenes, SQUARES, strict=True):
        for class_id, left, top, brightness in squares:
            square = scene[top : top + SIDE, left : left + SIDE]
            square[:] = DARK
            square[..., class_id] = brightness
    scenes += random.normal(0, NOISE, scenes.shape)
    pixels = scenes.clip(0, 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def coco() -> dict[str, Any]:
    """The annotations as a new dictionary: 8 images (ids from 1), 32 boxes, categories 1 to 3."""
    annotations = [
        {
            "image_id": image_id,
            "category_id": class_id + 1,
            "bbox": [left, top, SIDE, SIDE],
            "area": SIDE * SIDE,
            "iscrowd": 0,
        }
        for image_id, squares in enumerate(SQUARES, 1)
        for class_id, left, top, _ in squares
    ]
    return {
        "images": [
            {"id": image_id, "file_name": name, "width": SIZE, "height": SIZE} for image_id, name in enumerate(NAMES, 1)
        ],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)],
    }


def write_images(folder: Path) -> Path:
    """Write s00.png to s07.png into the folder, which is created if it does not exist. Returns the folder."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in zip(NAMES, images(), strict=True):
        Image.fromarray(pixels).save(folder / name, compress_level=1)
    return folder
