"""Cures are measured on other images than those that calibrated them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.datasets.coco import read_coco
from qviz.errors import DatasetError
from qviz.features.diagnosis.fixing import split
from qviz.structures import EncodedImage
from tests.conftest import Sample


def test_calibration_images_are_left_out_although_the_annotations_give_them_a_size(sample: Sample) -> None:
    dataset = read_coco(sample.annotations, sample.images)
    assert all(image.size for image in dataset.images)
    calibration = [EncodedImage(f"copy_{image.name}", image.read()) for image in dataset.images[:7]]
    halves = split(dataset, calibration)
    assert {image.id for half in halves for image in half.images} == {image.id for image in dataset.images[7:]}
    with pytest.raises(DatasetError, match="All images were used for calibration"):
        split(replace(dataset, images=dataset.images[:8]), calibration)
