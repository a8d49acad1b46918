"""Inferences are restored bit for bit, and keys cover everything that detections depend on."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from qviz.features.detection.cache import from_bytes, key_of, to_bytes
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, EncodedImage, Inference


def random_detections(count: int, seed: int = 0) -> Detections:
    draw = np.random.default_rng(seed)
    return Detections.of(draw.normal(0, 1e4, (count, 4)), draw.random(count), draw.integers(0, 90, count))


def are_equal(first: Detections | None, second: Detections | None) -> bool:
    if first is None or second is None:
        return first is second
    pairs = [(getattr(first, field.name), getattr(second, field.name)) for field in fields(Detections)]
    return all(
        a is b if a is None or b is None else (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in pairs
    )


ODD = Detections(
    np.array([[-0.0, 1e-45, 3.4e38, -1.5], [np.inf, np.nan, 0.1, 1 / 3]], np.float32),
    np.array([1e-30, 1.0], np.float32),
    np.array([-1, 2**31 - 1], np.int32),
)
PLACED = Detections(
    random_detections(8).boxes[::2], random_detections(8).scores[::-2], random_detections(8).class_ids[1::2]
)
SHAPES = replace(
    random_detections(4),
    keypoints=np.random.default_rng(1).random((4, 17, 3), np.float32),
    masks=np.random.default_rng(1).integers(0, 256, (4, 64, 8), np.uint8),
    corners=np.random.default_rng(1).random((4, 4, 2), np.float32),
)
CASES = [
    Inference(SHAPES, None, 2, 3, 0.1),
    Inference(SHAPES[:0], replace(SHAPES, masks=None, keypoints=None), 2, 3, 0.1),
    Inference(Detections.none(), None, 1, 1, 0.0),
    Inference(Detections.none(), Detections.none(), 640, 480, 12.5),
    Inference(random_detections(3), Detections.none(), 640, 480, 1 / 3),
    Inference(Detections.none(), random_detections(700), 640, 480, 1e-9),
    Inference(random_detections(100), random_detections(5000, 1), 10**6, 1, 12345.678),
    Inference(ODD, random_detections(1), 2, 3, 0.1),
    Inference(PLACED, PLACED, 2, 3, 0.1),
    *(
        Inference(random_detections(n, n), random_detections(m, m) if m else None, n + 1, m + 1, n / 7)
        for n in range(4)
        for m in range(4)
    ),
]


@pytest.mark.parametrize("restored", CASES)
def test_inferences_are_restored_bit_for_bit(restored: Inference) -> None:
    back = from_bytes(to_bytes(restored))
    assert back is not None
    assert are_equal(back.detections, restored.detections)
    assert are_equal(back.candidates, restored.candidates)
    assert (back.width, back.height, back.milliseconds) == (restored.width, restored.height, restored.milliseconds)
    assert back.detections.scores.flags.writeable


WHOLE = to_bytes(Inference(random_detections(3), random_detections(5), 640, 480, 1.0))
NONE = [
    b"",
    b"\n",
    b"{}\n",
    b"[]\n",
    b"null\n",
    b"\xff\xfe",
    WHOLE[:-1],
    WHOLE + b"\0",
    WHOLE[:40],
    WHOLE.replace(b"[3, 5]", b"[-3, 11]", 1),
    WHOLE.replace(b"[3, 5]", b"[11, -3]", 1),
    WHOLE.replace(b"[3, 5]", b"[4, 5]", 1),
    WHOLE.replace(b"[3, 5]", b"[3.0, 5]", 1),
    WHOLE.replace(b"[3, 5]", b"[3000000000, 4000000000]", 1),
    WHOLE.replace(b"[3, 5]", b'"ab"', 1),
    WHOLE.replace(b'"width": 640', b'"width": null', 1),
    WHOLE.replace(b"rows", b"row_", 1),
    WHOLE.replace(b"[{}, {}]", b'[{"masks": [0, -1]}, {}]', 1),
    WHOLE.replace(b"[{}, {}]", b'[{"masks": [99999999999]}, {}]', 1),
    WHOLE.replace(b"[{}, {}]", b'[{"boxes": [4]}, {}]', 1),
    WHOLE.replace(b"[{}, {}]", b"[[], {}]", 1),
]


@pytest.mark.parametrize("data", NONE)
def test_invalid_entries_are_missing(data: bytes) -> None:
    assert from_bytes(WHOLE) is not None
    assert from_bytes(data) is None


def test_truncated_entries_are_missing() -> None:
    assert [end for end in range(len(WHOLE)) if from_bytes(WHOLE[:end]) is not None] == []


def test_keys_depend_on_everything_that_changes_detections(
    loaded: dict[str, LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = loaded["int8"], EncodedImage("a.jpg", b"bytes")

    def with_settings(**changed: object) -> LoadedModel:
        settings = replace(model.settings, **changed)  # type: ignore[arg-type]
        return replace(model, inspection=replace(model.inspection, settings=settings))

    first = key_of(model, image.digest, 0.25, 1, True)
    assert (
        key_of(with_settings(labels=("other", "names")), EncodedImage("b.jpg", b"bytes").digest, 0.25, 1, True) == first
    )
    others = [
        key_of(loaded["float32"], image.digest, 0.25, 1, True),
        key_of(model, EncodedImage("a.jpg", b"other").digest, 0.25, 1, True),
        key_of(model, EncodedImage("a.jpg", b"bytes", size=(640, 480)).digest, 0.25, 1, True),
        key_of(model, image.digest, 0.26, 1, True),
        key_of(model, image.digest, 0.25, 2, True),
        key_of(model, image.digest, 0.25, 1, False),
        key_of(with_settings(mean=(0.0, 0.0, 0.0)), image.digest, 0.25, 1, True),
        key_of(with_settings(nms_iou=0.1), image.digest, 0.25, 1, True),
        key_of(with_settings(max_detections=7), image.digest, 0.25, 1, True),
        key_of(with_settings(resize="letterbox"), image.digest, 0.25, 1, True),
    ]
    monkeypatch.setattr("qviz.features.detection.cache.CODE", ("decoders",))
    others.append(key_of(model, image.digest, 0.25, 1, True))  # other code
    assert len({first, *others}) == 1 + len(others)
