"""The traits by which objects are sliced, and the groups of each trait.

A numeric trait of images, such as brightness, is cut into two groups that differ as much as possible (Otsu's threshold
over the images, with at least a tenth of the images on each side). The cut depends only on the images, not on what the
models find. Fields of the annotations and columns of a CSV file are traits as well (see `columns`). If a field has the
name of a measured trait, it replaces that trait. Other traits have fixed groups. A trait with a single group is left
out.

`class+size` crosses two traits: each of its groups has the objects that are in one group of the first trait and in one
group of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from qviz.errors import SettingsError
from qviz.features.slices.columns import Column, columns_of
from qviz.features.slices.image_traits import ImageTraits
from qviz.formatting import listed, three
from qviz.structures import Dataset

MIN_SIDE = 0.1
"""Each side of a cut must have at least this share of the images."""
MAX_GROUPS = 100
"""Maximum number of groups of one trait. If there are more, those with most objects are used."""
CROSS = "+"


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """All objects that are not crowds, image by image; the arrays are (n,) unless stated otherwise.

    Attributes:
        image: Index of each object's image.
        boxes: (n, 4) boxes, xyxy in pixels.
        areas, labels: Areas and category names as annotated.
        names: Names of the images.
        traits: Traits of the images; None for an image that could not be read.
        columns: Name -> each further field of the images or objects.
    """

    image: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    traits: tuple[ImageTraits | None, ...]
    columns: Mapping[str, Column] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, traits: Sequence[ImageTraits | None]) -> Objects:
        """The objects of a dataset. `traits` has one entry per image."""
        label = {category.id: category.name for category in dataset.categories}
        single = [~image.is_crowd for image in dataset.images]
        rows = list(zip(dataset.images, single, strict=True))
        ids = np.concatenate([image.category_ids[chosen] for image, chosen in rows])
        return cls(
            np.repeat(np.arange(len(rows)), [int(chosen.sum()) for chosen in single]),
            np.concatenate([image.boxes[chosen] for image, chosen in rows]),
            np.concatenate([image.areas[chosen] for image, chosen in rows]),
            np.array([label[int(number)] for number in ids], dtype=object),
            tuple(image.name for image in dataset.images),
            tuple(traits),
            columns_of(dataset),
        )

    def number(self, name: str) -> np.ndarray:
        """(images,) values of an image trait, NaN where it is unknown."""
        values = [None if one is None else getattr(one, name) for one in self.traits]
        return np.array([np.nan if value is None else value for value in values], np.float64)

    def continuous(self, name: str) -> np.ndarray | None:
        """(n,) values of a continuous trait for each object, NaN where unknown; None if the trait has only groups."""
        if (column := self.columns.get(name)) is not None:
            numbers = column.numbers
            return numbers if numbers is None or column.of_objects else numbers[self.image]
        if name == "size":
            return np.sqrt(self.areas)
        return self.number(name)[self.image] if name in MEASURED else None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One slice.

    Attributes:
        trait, name: Name of the trait, and of the group.
        meaning: The group in words, e.g. `darker images (brightness < 40)`.
        members: (objects,) bool, whether each object is in the group.
        eligible: (objects,) bool, whether the trait of each object is known.
    """

    trait: str
    name: str
    meaning: str
    members: np.ndarray
    eligible: np.ndarray


Grouped = list[tuple[str, str, np.ndarray]]
"""(name, meaning, members) of each group."""


def _cut(trait: str, low: str, high: str, below: str, above: str) -> Callable[[Objects], Grouped]:
    def groups(objects: Objects) -> Grouped:
        values = objects.number(trait)
        cut = otsu(values[~np.isnan(values)])
        if cut is None:
            return []
        of_objects = values[objects.image]
        return [
            (low, f"{below} images ({trait} < {three(cut)})", of_objects < cut),
            (high, f"{above} images ({trait} ≥ {three(cut)})", of_objects >= cut),
        ]

    return groups


def _column(name: str, column: Column, image: np.ndarray) -> Grouped:
    """The groups by a field. `image` is the index of each object's image."""
    subject = "objects" if column.of_objects else "images"
    numbers = column.numbers
    if numbers is None:
        texts = column.texts
        counts = dict(zip(*np.unique(texts.astype(str), return_counts=True), strict=True))
        repeated = np.array([text if counts[text] > 1 else "" for text in texts], dtype=object)
        groups = _values(repeated if column.of_objects else repeated[image], f"{subject} with {name} {{}}")
        return [row for row in groups if row[0]]
    cut = otsu(numbers[~np.isnan(numbers)])
    if cut is None:
        return []
    of_objects = numbers if column.of_objects else numbers[image]
    return [
        (f"< {three(cut)}", f"{subject} with {name} < {three(cut)}", of_objects < cut),
        (f"≥ {three(cut)}", f"{subject} with {name} ≥ {three(cut)}", of_objects >= cut),
    ]


def otsu(values: np.ndarray) -> float | None:
    """The cut with the largest variance between its two sides, rounded to three figures; None if no cut is allowed."""
    ordered = np.sort(values)
    count = np.arange(1, len(ordered))
    total = np.cumsum(ordered)
    if len(ordered) < 2:
        return None
    means = total[:-1] / count, (total[-1] - total[:-1]) / (len(ordered) - count)
    between = count * (len(ordered) - count) * (means[1] - means[0]) ** 2
    allowed = (count >= MIN_SIDE * len(ordered)) & (len(ordered) - count >= MIN_SIDE * len(ordered))
    allowed &= ordered[1:] > ordered[:-1]
    if not allowed.any():
        return None
    index = int(np.where(allowed, between, -1).argmax())
    cut = float(f"{(ordered[index] + ordered[index + 1]) / 2:.3g}")
    return cut if ordered[index] < cut <= ordered[index + 1] else float(ordered[index + 1])


TIMES = {"night": (21, 5), "morning": (5, 11), "midday": (11, 17), "evening": (17, 21)}
"""Hours from which and up to which an image was taken."""


def _time_of_day(objects: Objects) -> Grouped:
    hours = objects.number("hour")[objects.image]
    rows = []
    for name, (start, end) in TIMES.items():
        members = (hours >= start) & (hours < end) if start < end else (hours >= start) | (hours < end)
        rows.append((name, f"images taken from {start} to {end} o'clock", members))
    return rows


def _folder(objects: Objects) -> Grouped:
    folders = np.array([str(PurePosixPath(name.replace("\\", "/")).parent) for name in objects.names], dtype=object)
    return _values(folders[objects.image], "images in the folder {}")


def _class(objects: Objects) -> Grouped:
    return _values(objects.labels, "objects of the class {}")


def _values(values: np.ndarray, meaning: str) -> Grouped:
    names, counts = np.unique(values.astype(str), return_counts=True)
    chosen = names[np.argsort(-counts, kind="stable")][:MAX_GROUPS]
    return [(str(name), meaning.replace("{}", str(name)), values == name) for name in chosen]


def _size(objects: Objects) -> Grouped:
    areas = objects.areas
    return [
        ("small", "small objects (below 32² pixels)", areas < 32**2),
        ("medium", "medium objects (32² to 96² pixels)", (areas >= 32**2) & (areas < 96**2)),
        ("large", "large objects (from 96² pixels)", areas >= 96**2),
    ]


def _aspect(objects: Objects) -> Grouped:
    sides = np.maximum(objects.boxes[:, 2:] - objects.boxes[:, :2], 1e-9)
    ratio = sides[:, 0] / sides[:, 1]
    return [
        ("tall", "tall objects (at least twice as high as wide)", ratio <= 0.5),
        ("wide", "wide objects (at least twice as wide as high)", ratio >= 2),
        ("compact", "compact objects (sides differ less than twofold)", (ratio > 0.5) & (ratio < 2)),
    ]


def _in_image(objects: Objects) -> tuple[np.ndarray, np.ndarray]:
    """((n, 4) boxes as fractions of the image, (n, 2) width and height of the image in pixels), NaN where unknown."""
    sides = np.column_stack([objects.number("width"), objects.number("height")])[objects.image]
    return objects.boxes / np.tile(sides, 2), sides


def _position(objects: Objects) -> Grouped:
    boxes, _ = _in_image(objects)
    off_centre = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5).max(axis=1)
    return [
        ("middle", "objects in the middle of the image (its inner half)", off_centre <= 0.25),
        ("outside", "objects outside the middle of the image", off_centre > 0.25),
    ]


def _truncation(objects: Objects) -> Grouped:
    _, sides = _in_image(objects)
    near = np.maximum(2.0, 0.005 * sides.max(axis=1))
    boxes = objects.boxes
    gap = np.minimum(boxes[:, :2], sides - boxes[:, 2:]).min(axis=1)
    return [
        ("cut", "objects cut by the border of the image", gap <= near),
        ("whole", "objects that do not touch the border", gap > near),
    ]


def _crowding(objects: Objects) -> Grouped:
    count = np.bincount(objects.image, minlength=len(objects.names))[objects.image]
    return [
        ("single", "images with a single object", count == 1),
        ("few", "images with 2 to 7 objects", (count >= 2) & (count <= 7)),
        ("crowded", "images with 8 objects or more", count >= 8),
    ]


TRAITS: dict[str, Callable[[Objects], Grouped]] = {
    "brightness": _cut("brightness", "dark", "bright", "darker", "brighter"),
    "contrast": _cut("contrast", "low", "high", "lower-contrast", "higher-contrast"),
    "sharpness": _cut("sharpness", "blurred", "sharp", "more blurred", "sharper"),
    "noise": _cut("noise", "clean", "noisy", "less noisy", "noisier"),
    "saturation": _cut("saturation", "pale", "colourful", "paler", "more colourful"),
    "time_of_day": _time_of_day,
    "folder": _folder,
    "crowding": _crowding,
    "class": _class,
    "size": _size,
    "aspect": _aspect,
    "position": _position,
    "truncation": _truncation,
}
"""Name of a trait -> function that groups objects by it."""


MEASURED = ("brightness", "contrast", "sharpness", "noise", "saturation")
"""Traits of images that are numbers."""


def names_of(names: str | Sequence[str], columns: Sequence[str] = ()) -> list[str]:
    """The names of the chosen traits. `all` selects every trait and field, without crossed traits.

    Args:
        names: Names, as a sequence or as text with commas; `class+size` crosses two traits.
        columns: Names of the fields that the images or objects have.

    Raises:
        SettingsError: A name is unknown.
    """
    available = list(dict.fromkeys([*columns, *TRAITS]))
    given = names.split(",") if isinstance(names, str) else list(names)
    chosen: list[str] = []
    for name in filter(None, map(str.strip, given)):
        if name.lower() == "all" and "all" not in columns:
            chosen += available
        else:
            chosen.append(_trait_name(name, available))
    if not chosen:
        raise SettingsError(f"No trait is given; there are {listed(available, 30)}, and all.")
    return list(dict.fromkeys(chosen))


def _trait_name(name: str, available: Sequence[str]) -> str:
    if name in available:
        return name
    plain = {other.lower().replace("-", "_").replace(" ", "_"): other for other in reversed(available)}
    if (same := plain.get(name.lower().replace("-", "_").replace(" ", "_"))) is not None:
        return same
    first, cross, second = name.partition(CROSS)
    if cross and first and second and CROSS not in second:
        return CROSS.join(_trait_name(part.strip(), available) for part in (first, second))
    raise SettingsError(f"There is no trait {name[:60]!r}; there are {listed(available, 30)}, and all.")


def groups_of(objects: Objects, names: Sequence[str]) -> tuple[list[Group], list[str]]:
    """(groups of the chosen traits that have members, sentences about traits with fewer than two such groups)."""
    groups: list[Group] = []
    left_out = []
    for name in names:
        rows = [row for row in _grouped(objects, name) if row[2].any()]
        if len(rows) < 2:
            left_out.append(name)
            continue
        eligible = np.any([members for _, _, members in rows], axis=0)
        groups += [Group(name, group, meaning, np.asarray(members, bool), eligible) for group, meaning, members in rows]
    sentence = f"These images do not differ in, or do not state: {listed(left_out, 20)}."
    return groups, [sentence] if left_out else []


def _grouped(objects: Objects, name: str) -> Grouped:
    if (column := objects.columns.get(name)) is not None:
        return _column(name, column, objects.image)
    if name in TRAITS:
        return TRAITS[name](objects)
    first, _, second = name.partition(CROSS)
    return _crossed((first, _grouped(objects, first)), (second, _grouped(objects, second)))


def _crossed(first: tuple[str, Grouped], second: tuple[str, Grouped]) -> Grouped:
    """The groups of objects that are in a group of both traits, those with most objects first."""
    rows = []
    for group, meaning, members in first[1]:
        for other, other_meaning, other_members in second[1]:
            both = np.asarray(members, bool) & np.asarray(other_members, bool)
            subject = "images" if is_of_images(meaning) and is_of_images(other_meaning) else "objects"
            words = f"{subject} with {first[0]} {group} and {second[0]} {other}"
            rows.append((f"{group}{CROSS}{other}", words, both))
    rows = [row for row in rows if row[2].any()]
    return sorted(rows, key=lambda row: -int(row[2].sum()))[:MAX_GROUPS]


def is_of_images(meaning: str) -> bool:
    """Whether a slice with this meaning is a set of images and not of objects: `images` comes first in the text."""
    images, objects = meaning.find("images"), meaning.find("objects")
    return images >= 0 and (objects < 0 or images < objects)
