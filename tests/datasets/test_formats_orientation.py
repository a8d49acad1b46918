"""Boxes annotated on pixels without EXIF rotation (as COCO does) match the decoded image."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from qviz.context import Context
from qviz.datasets.annotated import read_dataset
from qviz.datasets.coco import parse_coco
from qviz.datasets.images import read_image
from qviz.engine import Engine
from qviz.features.accuracy import evaluate
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from tests.conftest import Sample


def tagged(picture: Pillow.Image, orientation: int) -> bytes:
    exif, buffer = Pillow.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(buffer, "JPEG", exif=exif, quality="keep" if picture.format == "JPEG" else 95)
    return buffer.getvalue()


SIZES = [
    (6, (30, 20), (20, 30)),  # the annotated (width, height) equals the stored size: not rotated
    (6, (20, 30), (30, 20)),  # equals the rotated size
    (6, None, (30, 20)),
    (6, (77, 99), (30, 20)),  # equals neither: rotated, as in image viewers
    (1, (30, 20), (20, 30)),
    (3, (30, 20), (20, 30)),  # 180 degrees: the size is the same, so it is rotated
]


@pytest.mark.parametrize(("orientation", "size", "shape"), SIZES)
def test_annotated_size_decides_whether_exif_rotates(
    orientation: int, size: tuple[int, int] | None, shape: tuple[int, int]
) -> None:
    data = tagged(Pillow.new("RGB", (30, 20), "red"), orientation)
    assert read_image(EncodedImage("x", data, size=size)).pixels.shape[:2] == shape


def test_rotation_by_180_degrees_is_always_applied() -> None:
    picture = Pillow.new("RGB", (32, 16), "red")
    picture.paste("blue", (0, 0, 16, 16))
    decoded = read_image(EncodedImage("x", tagged(picture, 3), size=(32, 16))).pixels
    assert decoded[8, 28].argmax() == 2


def test_cache_keys_differ_with_and_without_rotation() -> None:
    digests = {EncodedImage("x", b"1", size=size).digest for size in (None, (3, 4), (4, 3))}
    assert len(digests) == 3
    assert EncodedImage("x", b"1").digest in EncodedImage("x", b"1", size=(3, 4)).digest


ODD = [{}, {"width": 4}, {"width": 4, "height": 0}, {"width": "4", "height": 3}, {"width": 4, "height": 1 << 40}]


@pytest.mark.parametrize("size_fields", ODD)
def test_invalid_annotated_sizes_are_ignored(size_fields: dict[str, object]) -> None:
    content = {"images": [{"id": 1, "file_name": "a.jpg", **size_fields}], "annotations": [], "categories": []}
    (image,) = parse_coco(json.dumps(content).encode(), "x.json", {"a.jpg": b""}).images
    assert image.size is None


def test_ap_is_the_same_with_and_without_the_exif_tag(
    sample: Sample, loaded: dict[str, LoadedModel], engine: Engine, tmp_path: Path
) -> None:
    """The same photographs with a rotation tag; their boxes were drawn on the stored pixels."""
    content = json.loads(sample.annotations.read_bytes())
    content["images"] = [image for image in content["images"] if image["width"] != image["height"]][:4]
    image_ids = {image["id"] for image in content["images"]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in image_ids]
    for folder, orientation in (("as_drawn", None), ("tagged", 6)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.json").write_text(json.dumps(content))
        for image in content["images"]:
            data = (sample.images / image["file_name"]).read_bytes()
            if orientation:
                with Pillow.open(io.BytesIO(data)) as picture:
                    data = tagged(picture, orientation)
            (tmp_path / folder / image["file_name"]).write_bytes(data)
    scores = [
        evaluate(Context(engine), [loaded["float32"]], read_dataset(tmp_path / folder / "x.json")).models[0].ap
        for folder in ("as_drawn", "tagged")
    ]
    assert scores[0] is not None
    assert np.isclose(scores[0], scores[1], atol=1e-9)
    assert scores[0] > 0.2
