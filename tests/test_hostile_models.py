"""Damaged .tflite files through the engine: each gives a result or a sentence, and no other process dies."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from qviz.analysis.detecting import detect_images
from qviz.analysis.models import ModelSource, load_model
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine, importing
from qviz.errors import QvizError
from qviz.structures import EncodedImage
from tests.conftest import Sample

SEED = 20261122
COUNT = int(os.environ.get("QVIZ_MUTANTS", "300"))
EDGE = 40_000
"""Bytes at the head and the tail of a file in which the flatbuffer keeps its tables."""


def mutants(data: bytes, count: int) -> Iterator[bytes]:
    """Bytes flipped in the head and the tail, one to sixteen at once, and every fifth file cut short."""
    draw = np.random.default_rng(SEED)
    for number in range(count):
        if number % 5 == 4:
            yield data[: int(draw.integers(0, len(data)))]
            continue
        damaged = bytearray(data)
        for _ in range(int(draw.integers(1, 17))):
            near = int(draw.integers(8, EDGE))
            at = near if draw.random() < 0.5 else len(data) - near
            damaged[at] ^= int(draw.integers(1, 256))
        yield bytes(damaged)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_mutant_gives_a_result_or_a_sentence(sample: Sample) -> None:
    image: list[EncodedImage] = list(load_images([sample.images / "hens.jpg"]))
    data = sample.models["int8"].read_bytes()
    ends: Counter[str] = Counter()
    with LocalEngine(2, time_limit=10, memory_limit=2 << 30, warm_up=importing("qviz.detector")) as engine:
        for number, damaged in enumerate(mutants(data, COUNT)):
            try:
                model = load_model(engine, ModelSource(f"mutant-{number}.tflite", damaged))
                found = detect_images(engine, [model], image, 1, 0.25)
                ends["ran" if found.images else "was refused"] += 1
                assert found.images or found.skipped
            except QvizError as error:
                assert str(error).startswith(f"mutant-{number}.tflite")
                ends[type(error).__name__] += 1
        whole = load_model(engine, ModelSource("whole.tflite", data))
        assert detect_images(engine, [whole], image, 1, 0.25).skipped == []
    assert ends.total() == COUNT
    assert ends["ran"] > 0 and ends["ModelError"] > 0, ends
    print(dict(ends))
