"""How a model's images are prepared, in words and by where it is known from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from qviz.features.detection.models import LoadedModel
from qviz.features.settings.panel import difference, in_words
from qviz.structures import Settings

SAME = (0.0, 0.0, 0.0)


def model(settings: Settings, **sources: str) -> LoadedModel:
    return cast(LoadedModel, SimpleNamespace(settings=settings, inspection=SimpleNamespace(sources=sources)))


YOLOX = Settings(mean=SAME, std=(1.0, 1.0, 1.0), channels="bgr", resize="letterbox")
SSD = Settings(mean=(127.5,) * 3, std=(127.5,) * 3, channels="rgb", resize="stretch")
NANODET = Settings(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395), channels="bgr", resize="stretch")


def test_settings_are_grouped_by_their_source() -> None:
    tried = model(YOLOX, mean="default", std="guess", channels="guess", resize="default")
    assert in_words(tried, 80) == ("BGR, pixels 0 to 255: found by trying 16 images. Letterboxed: usual for this head")
    assert "found by trying 5 images" in in_words(tried, 5)
    stated = model(SSD, mean="file", std="file", channels="file", resize="file")
    assert in_words(stated, 80) == "RGB, stretched, pixels -1 to 1: from the file"
    assert "pixels less 103.53, 116.28, 123.675, divided by 57.375" in in_words(model(NANODET), 0)


def test_a_variant_names_only_what_it_reads_differently() -> None:
    assert difference(model(SSD), model(SSD)) == ""
    assert difference(model(YOLOX), model(SSD)) == "BGR, letterboxed, pixels 0 to 255"
