"""Paints a scene: cut-outs onto a photograph, lit like it, with shadows and soft edges.

Pictures are float arrays (h, w, 3) in [0, 255], alphas (h, w) in [0, 1]. A box is the extent of what
is visible of an object: its alpha > 128 of 255 within the picture and not behind another's. An object of
which less than `LEAST_SEEN` is visible is placed again, or left out, never painted without a box.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scene_layout import FROM_ABOVE, TRIES, Placement, View, draw_placement, with_height
from scipy import ndimage
from stamps import Stamp

OPAQUE = 128 / 255
LEAST_SEEN, MOSTLY_SEEN, CROWDED_SHARE = 0.35, 0.85, 0.3
POST_METRES, POST_WIDE = 1.7, 0.06
POST_GREY = (128.0, 130.0, 132.0)


@dataclass(frozen=True)
class Sprite:
    """A placed stamp on the picture's canvas: colours, alpha, and the pixels it would have uncropped."""

    placement: Placement
    colours: np.ndarray
    alpha: np.ndarray
    whole: int
    foot: float

    @property
    def mask(self) -> np.ndarray:
        return self.alpha > OPAQUE


def arrange(
    stamps: list[Stamp], theme: str, view: View, eye: float, work: Path, rng: np.random.Generator
) -> list[Sprite]:
    """The objects from the farthest to the nearest; each is sufficiently visible."""
    crowded = rng.random() < CROWDED_SHARE and theme != "sky"
    min_visible_share = LEAST_SEEN if crowded else MOSTLY_SEEN
    sprites: list[Sprite] = []
    for stamp in stamps:
        for _ in range(TRIES):
            sprite = _sprite(draw_placement(stamp, theme, view, eye, rng), theme, view.size, work)
            together = sorted([*sprites, sprite], key=lambda each: each.foot)
            if min(visible.sum() / each.whole for each, visible in seen_masks(together)) >= min_visible_share:
                sprites = together
                break
    return sprites


def seen_masks(sprites: list[Sprite]) -> list[tuple[Sprite, np.ndarray]]:
    """Each object with the mask of its visible pixels."""
    covered = np.zeros(sprites[0].alpha.shape, bool)
    visible = []
    for sprite in reversed(sprites):
        visible.append((sprite, sprite.mask & ~covered))
        covered |= sprite.mask
    return visible[::-1]


def paint(background: np.ndarray, sprites: list[Sprite], theme: str, rng: np.random.Generator) -> np.ndarray:
    """The finished picture, uint8: objects far to near, then one light, one blur and one grain for all."""
    picture = background.copy()
    for sprite in sprites:
        if sprite.placement.stamp.surface == "post":
            _post(picture, sprite)
        if sprite.placement.stamp.surface == "ground":
            picture *= 1 - _shadow(sprite, theme)[..., None]
        lit = _lit(sprite, background, rng)
        picture += (lit - picture) * sprite.alpha[..., None]
    picture = ndimage.gaussian_filter(picture, (sigma := rng.uniform(0.0, 0.8), sigma, 0))
    picture *= rng.uniform(0.75, 1.15) * (1 + rng.uniform(-0.05, 0.05) * np.array([1.0, 0.0, -1.0]))
    picture += rng.normal(0, rng.uniform(0.0, 3.0), picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _sprite(placement: Placement, theme: str, size: tuple[int, int], work: Path) -> Sprite:
    """The stamp scaled, turned and set on a canvas of `size`, its edge feathered by about a pixel."""
    cut = placement.stamp.cut_out(work)
    placement = with_height(placement, cut.size, min(size))
    scale = placement.height / cut.height
    picture = cut.resize(
        (max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.BICUBIC
    )
    if placement.mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.rotate(placement.turn, Image.Resampling.BICUBIC, expand=True)
    pixels = np.pad(np.asarray(picture, float), ((3, 3), (3, 3), (0, 0)))
    soft = np.clip(1.2 * ndimage.gaussian_filter(pixels[..., 3] / 255, 0.6) - 0.1, 0, 1)
    rows = np.flatnonzero((soft > OPAQUE).any(axis=1))
    x, y = placement.foot
    centred = theme in FROM_ABOVE or placement.stamp.surface == "air"
    below = (rows[0] + rows[-1]) / 2 if centred else rows[-1] + 1
    raised = placement.height / placement.stamp.metres * POST_METRES if placement.stamp.surface == "post" else 0.0
    corner = (round(x - soft.shape[1] / 2), round(y - below - raised))
    colours = ndimage.grey_dilation(pixels[..., :3], (3, 3, 1)) * (pixels[..., 3:] == 0) + pixels[..., :3] * (
        pixels[..., 3:] > 0
    )
    return Sprite(placement, _on(colours, corner, size), _on(soft, corner, size), int((soft > OPAQUE).sum()), y)


def _on(patch: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """`patch` on an empty canvas of `size`, its top left at `corner`, what hangs over cut off."""
    width, height = size
    canvas = np.zeros((height, width, *patch.shape[2:]))
    left, top = corner
    inside = np.s_[
        max(0, -top) : max(0, min(patch.shape[0], height - top)),
        max(0, -left) : max(0, min(patch.shape[1], width - left)),
    ]
    part = patch[inside]
    canvas[max(0, top) : max(0, top) + part.shape[0], max(0, left) : max(0, left) + part.shape[1]] = part
    return canvas


def _lit(sprite: Sprite, background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The object's colours moved a third of the way to the brightness of the ground, a quarter to its tint."""
    surroundings = background[sprite.mask].mean(axis=0) + 1
    brightness = sprite.colours[sprite.mask].mean() + 1
    gain = np.clip((surroundings.mean() / brightness) ** 0.35, 0.65, 1.3) * rng.uniform(0.9, 1.1)
    tint = (surroundings / surroundings.mean()) ** 0.25
    return np.clip(sprite.colours * gain * tint, 0, 255)


def _shadow(sprite: Sprite, theme: str) -> np.ndarray:
    """How much darker the ground is: the object's shape laid flat at its feet, or around it seen from above."""
    tall = max(6.0, sprite.placement.height)
    if theme in FROM_ABOVE:
        return 0.4 * ndimage.shift(ndimage.gaussian_filter(sprite.alpha, tall / 14), (tall / 18, tall / 22), order=1)
    rows = np.arange(sprite.alpha.shape[0], dtype=float)
    source = np.clip(sprite.foot - (sprite.foot + 0.05 * tall - rows) / 0.14, -1, len(rows))
    source_rows = np.floor(source).astype(int)
    inside = (source_rows >= 0) & (source_rows < len(rows))
    flat = np.where(inside[:, None], sprite.alpha[np.clip(source_rows, 0, len(rows) - 1)], 0.0)
    return 0.5 * ndimage.gaussian_filter(flat, (max(1.0, tall / 60), max(1.5, tall / 30)))


def _post(picture: np.ndarray, sprite: Sprite) -> None:
    """A grey post from the sign's lower half to the ground, in place."""
    metre = sprite.placement.height / sprite.placement.stamp.metres
    columns = np.arange(picture.shape[1]) - sprite.placement.foot[0]
    across = np.clip(POST_WIDE * metre / 2 + 0.5 - np.abs(columns), 0, 1)
    rows = np.arange(picture.shape[0])
    along = (rows <= sprite.foot) & (rows >= sprite.foot - (POST_METRES + 0.3) * metre)
    alpha = (along[:, None] * across)[..., None]
    rounded = np.array(POST_GREY) * (0.8 + 0.3 * np.cos(columns / max(1.0, POST_WIDE * metre / 2)))[None, :, None]
    picture += (rounded - picture) * alpha
