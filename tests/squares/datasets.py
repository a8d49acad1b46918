"""Correct and faulty annotations, label files and folders of the scenes.

A variant of the annotations is a function that takes a COCO dictionary, such as that of `scenes.coco()`, and returns a
changed copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from tests.squares import scenes
from tests.squares.network import CLASS_STEP

Coco = dict[str, Any]
Variant = Callable[[Coco], Coco]

LABELS = "red\ngreen\nblue\n"
LABELS_4 = "red\ngreen\nblue\nyellow\n"
LABELS_80 = "".join(
    f"{scenes.CLASSES[number // CLASS_STEP]}\n" if number % CLASS_STEP == 0 else f"class{number}\n"
    for number in range(80)
)
"""The classes 0, 39 and 78 are red, green and blue."""
NUMBERED_LABELS = "0 red\n1 green\n2 blue\n"
NUMBERED_LABELS_WITH_GAPS = f"0: red\n{CLASS_STEP}: green\n{2 * CLASS_STEP}: blue\n"
"""Labels for the end-to-end head. A class id is the number at the beginning of a line, not the index of the line."""
BACKGROUND_LABELS = "background\nred\ngreen\nblue\n"


def write_annotations(path: Path, *variants: Variant) -> Path:
    """Write the COCO file of the scenes, changed by the variants in their order. Returns the path."""
    coco = scenes.coco()
    for variant in variants:
        coco = variant(coco)
    path.write_text(json.dumps(coco))
    return path


def _with_boxes(coco: Coco, change: Callable[[list[float]], list[float]]) -> Coco:
    changed = deepcopy(coco)
    for annotation in changed["annotations"]:
        annotation["bbox"] = change(annotation["bbox"])
    return changed


def _with_file_names(coco: Coco, change: Callable[[str], str]) -> Coco:
    changed = deepcopy(coco)
    for image in changed["images"]:
        image["file_name"] = change(image["file_name"])
    return changed


def _with_image_ids(coco: Coco, image_id: Callable[[int], Any], annotation_id: Callable[[int], Any]) -> Coco:
    """Change the ids of images: `image_id` in the list of images, `annotation_id` in the annotations."""
    changed = deepcopy(coco)
    for image in changed["images"]:
        image["id"] = image_id(image["id"])
    for annotation in changed["annotations"]:
        annotation["image_id"] = annotation_id(annotation["image_id"])
    return changed


def corner_boxes(coco: Coco) -> Coco:
    """Boxes are x1, y1, x2, y2 in place of x, y, width, height."""
    return _with_boxes(coco, lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]])


def normalised_boxes(coco: Coco) -> Coco:
    """Boxes are fractions of the image."""
    return _with_boxes(coco, lambda box: [value / scenes.SIZE for value in box])


def category_off_by_one(coco: Coco) -> Coco:
    """Annotations count the categories from 0, the list of categories from 1."""
    changed = deepcopy(coco)
    for annotation in changed["annotations"]:
        annotation["category_id"] -= 1
    return changed


def every_box_twice(coco: Coco) -> Coco:
    """Each annotation is repeated with another id, so that there are 64 objects."""
    changed = deepcopy(coco)
    changed["annotations"] += [{**row, "id": row["id"] + 1000} for row in coco["annotations"]]
    return changed


def image_id_twice(coco: Coco) -> Coco:
    """The first two images are listed twice with the same ids; there are still 8 images and 32 objects."""
    changed = deepcopy(coco)
    changed["images"] += deepcopy(coco["images"][:2])
    return changed


def file_twice(coco: Coco) -> Coco:
    """The first two files are listed again under new ids, with their annotations."""
    changed = deepcopy(coco)
    for image in coco["images"][:2]:
        again = {**image, "id": image["id"] + 100}
        changed["images"].append(again)
        changed["annotations"] += [
            {**row, "id": row["id"] + 1000, "image_id": again["id"]}
            for row in coco["annotations"]
            if row["image_id"] == image["id"]
        ]
    return changed


def float_image_ids(coco: Coco) -> Coco:
    """Annotations write image ids as 1.0, as pandas does."""
    return _with_image_ids(coco, int, float)


def string_image_ids(coco: Coco) -> Coco:
    """Images and annotations write image ids as "1"."""
    return _with_image_ids(coco, str, str)


def mixed_image_ids(coco: Coco) -> Coco:
    """Images write their ids as 1, annotations as "1"."""
    return _with_image_ids(coco, int, str)


def string_category_ids(coco: Coco) -> Coco:
    """Annotations write category ids as "1", the list of categories as 1."""
    changed = deepcopy(coco)
    for annotation in changed["annotations"]:
        annotation["category_id"] = str(annotation["category_id"])
    return changed


def two_categories_one_name(coco: Coco) -> Coco:
    """The third category is called red, as the first."""
    changed = deepcopy(coco)
    changed["categories"][2]["name"] = changed["categories"][0]["name"]
    return changed


def windows_paths(coco: Coco) -> Coco:
    r"""File names are C:\data\train\s00.png."""
    return _with_file_names(coco, lambda name: f"C:\\data\\train\\{name}")


def windows_relative_paths(coco: Coco) -> Coco:
    r"""File names are images\s00.png."""
    return _with_file_names(coco, lambda name: f"images\\{name}")


def other_suffix(coco: Coco) -> Coco:
    """File names end in .jpg; the files are .png."""
    return _with_file_names(coco, lambda name: Path(name).with_suffix(".jpg").name)


def upper_case(coco: Coco) -> Coco:
    """File names are S00.PNG; the files are s00.png."""
    return _with_file_names(coco, str.upper)


def no_suffix(coco: Coco) -> Coco:
    """File names are s00; the files are s00.png."""
    return _with_file_names(coco, lambda name: Path(name).stem)


def before_resizing(coco: Coco) -> Coco:
    """Sizes and boxes are those of images of 640 pixels, but the files have 320 pixels."""
    changed = _with_boxes(coco, lambda box: [2 * value for value in box])
    for image in changed["images"]:
        image["width"], image["height"] = 2 * image["width"], 2 * image["height"]
    return changed


def write_yolo(folder: Path, first_class: int = 0, corners: bool = False, without_label_file: int = 0) -> Path:
    """Write images/val, labels/val and data.yaml. Returns the path of data.yaml.

    Args:
        first_class: Class id of red in the label files; data.yaml counts from 0.
        corners: Whether rows are `class x1 y1 x2 y2` in place of centre and size.
        without_label_file: Number of images, the first ones, without a label file.
    """
    scenes.write_images(folder / "images" / "val")
    labels = folder / "labels" / "val"
    labels.mkdir(parents=True)
    for name, squares in list(zip(scenes.NAMES, scenes.SQUARES, strict=True))[without_label_file:]:
        rows = []
        for class_id, left, top, _ in squares:
            start = np.array([left, top])
            box = [*start, *(start + scenes.SIDE)] if corners else [*(start + scenes.SIDE / 2), *[scenes.SIDE] * 2]
            rows.append(" ".join([str(class_id + first_class), *(f"{value / scenes.SIZE:.6f}" for value in box)]))
        (labels / name).with_suffix(".txt").write_text("\n".join(rows) + "\n")
    names = ", ".join(scenes.CLASSES)
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/val\nval: images/val\nnames: [{names}]\n")
    return folder / "data.yaml"


def write_two_cameras(folder: Path) -> Path:
    """Write images/camA and images/camB, with the same file names in both, and annotations.json. Returns its path."""
    from PIL import Image

    coco = scenes.coco()
    for number, image in enumerate(coco["images"]):
        camera = "camA" if number < len(scenes.NAMES) // 2 else "camB"
        image["file_name"] = f"{camera}/{scenes.NAMES[number % (len(scenes.NAMES) // 2)]}"
        path = folder / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scenes.images()[number]).save(path, compress_level=1)
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder / "annotations.json"


def write_dark_16_bit(folder: Path, bits: int = 12) -> Path:
    """Write the images as 16-bit PNG files that only use the lower `bits` bits. Returns the folder."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in zip(scenes.NAMES, scenes.images(), strict=True):
        values = pixels.astype(np.uint16) << (bits - 8)
        cv2.imwrite(str(folder / name), values[..., ::-1])
    return folder
