"""Writes annotations.json (COCO instances) from boxes.json, the boxes drawn by hand.

boxes.json: sample name -> rows [category name, x, y, width, height, iscrowd], in pixels of the
sample image, x and y its top left corner. A sample without COCO objects has an empty list, so
that a forgotten one is told from an empty one. Category ids are COCO's own (1..90, ten unused);
`area` is that of the box, as no outlines were drawn.
"""

import json
from pathlib import Path

from coco_labels import LABELS
from image_credits import LICENCES
from photographs import HERE, Sample
from PIL import Image

CATEGORY_IDS = {name.replace("_", " "): number for number, name in enumerate(LABELS.split(), start=1) if name != "???"}


def write_annotations(samples: list[Sample], sample_data: Path) -> None:
    """Write sample_data/annotations.json for the images in sample_data/images."""
    boxes = json.loads((HERE / "boxes.json").read_text())
    names = {sample.name for sample in samples}
    if names != boxes.keys():
        raise ValueError(f"samples.csv and boxes.json differ in {sorted(names ^ boxes.keys())}")
    images = [_image(number, sample, sample_data / "images") for number, sample in enumerate(samples, start=1)]
    rows = [(image, row) for image, sample in zip(images, samples, strict=True) for row in boxes[sample.name]]
    instances = {
        "info": {"description": "Sample photographs with boxes drawn by hand", "version": "1.0"},
        "licenses": [
            {"id": number, "name": name, "url": url} for number, (name, url) in enumerate(LICENCES.items(), start=1)
        ],
        "images": images,
        "annotations": [_annotation(number, *row) for number, row in enumerate(rows, start=1)],
        "categories": [{"id": number, "name": name} for name, number in CATEGORY_IDS.items()],
    }
    text = json.dumps(instances, indent=1, ensure_ascii=False)
    (sample_data / "annotations.json").write_text(text + "\n", encoding="utf-8")


def _image(number: int, sample: Sample, folder: Path) -> dict:
    with Image.open(folder / f"{sample.name}.jpg") as picture:
        width, height = picture.size
    photograph = sample.photograph
    return {
        "id": number,
        "file_name": f"{sample.name}.jpg",
        "width": width,
        "height": height,
        "license": list(LICENCES).index(photograph.licence) + 1,
        "title": photograph.title,
        "author": photograph.author,
        "source_url": photograph.source,
    }


def _annotation(number: int, image: dict, row: list) -> dict:
    category, x, y, width, height, crowd = row
    inside = 0 <= x < x + width <= image["width"] and 0 <= y < y + height <= image["height"]
    if not inside:
        raise ValueError(f"box {row} leaves {image['file_name']}, which is {image['width']} x {image['height']}")
    return {
        "id": number,
        "image_id": image["id"],
        "category_id": CATEGORY_IDS[category],
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": crowd,
        "segmentation": [],
    }
