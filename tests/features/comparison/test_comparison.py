"""Comparisons on the sample: results, and images or models that are skipped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import DatasetError, ImageError
from qviz.features.comparison import compare_image
from qviz.features.comparison.matching import summarise
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.progress import Advance
from qviz.session import Session
from qviz.structures import Detections, EncodedImage, Inference
from tests.conftest import Sample

NAMES = ("astronaut.jpg", "berlin_street.jpg", "horses_nokota.jpg")


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return [EncodedImage(name, (sample.images / name).read_bytes()) for name in NAMES]


def run(*objects: tuple[float, int, float]) -> Inference:
    boxes = [[left, 0, left + 100, 100] for left, *_ in objects]
    result = Detections.of(boxes, [score for *_, score in objects], [class_id for _, class_id, _ in objects])
    return Inference(result, None, 400, 100, 1.0)


def test_an_object_has_the_boxes_and_scores_of_both_models() -> None:
    reference, variant = run((0, 0, 0.75), (200, 1, 0.5)), run((0, 1, 0.5), (300, 0, 0.25))
    result = compare_image("x", "d", reference, variant, (("cat", "dog"), ("Katze", "Hund")), 0.25, 0.5)
    relabelled, lost, spurious = result.objects
    assert (relabelled.change, relabelled.label, relabelled.variant_label) == ("relabelled", "cat", "Hund")
    assert (relabelled.reference_score, relabelled.variant_score, relabelled.score_delta) == (0.75, 0.5, -0.25)
    assert (relabelled.reference_box, relabelled.iou) == ((0, 0, 100, 100), 1.0)
    assert (lost.change, lost.label, lost.variant_label, lost.score_delta) == ("lost", "dog", None, None)
    assert (lost.variant_box, lost.lost_because) == (None, "unknown")
    assert (spurious.change, spurious.label, spurious.variant_label) == ("spurious", "Katze", "Katze")
    assert (spurious.reference_box, spurious.reference_score, spurious.score_delta) == (None, None, None)
    assert result.summary == summarise(["relabelled", "lost", "spurious"], [])  # type: ignore[list-item]


def test_a_model_compared_with_itself_is_unchanged(
    loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine
) -> None:
    paths = [sample.images / name for name in NAMES]
    session = Session(loaded["float32"], loaded["float32"], images=paths, engine=engine, cache=False)
    (variant,) = session.compare().variants
    assert variant.summary.kept > 8
    assert variant.summary == summarise(["kept"] * variant.summary.kept, [0.0])  # type: ignore[list-item]


def test_the_planted_fault_is_visible(loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine) -> None:
    models = [loaded[name] for name in ("float32", "int8", "int8_wrong_range")]
    reports: list[tuple[int, int]] = []
    paths = [sample.images / name for name in NAMES]
    progress = Advance(lambda *done: reports.append(done))
    session = Session(*models, images=paths, engine=engine, cache=False, progress=progress)
    result = session.compare()
    good, bad = (variant.summary for variant in result.variants)
    assert good.agreement > 0.8
    assert bad.agreement < 0.65
    assert bad.lost > good.lost
    assert reports == [(1, 3), (2, 3), (3, 3)]
    assert [image.image for image in result.variants[0].images] == list(NAMES)
    assert [warning.code for warning in result.warnings if not warning.advice] == ["input_range"]
    lost = [row for variant in result.variants for image in variant.images for row in image.objects if row.lost_because]
    assert {row.lost_because for row in lost} <= {"gone", "threshold", "nms"}  # the head can be read in all of these
    frame = result.to_frame()
    assert len(frame) == sum(len(image.objects) for variant in result.variants for image in variant.images)
    assert json.dumps(result.to_json(), allow_nan=False)


def test_a_broken_image_is_skipped_with_a_reason(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], engine: LocalEngine
) -> None:
    broken = EncodedImage("broken.jpg", images[0].data[:500])
    text = EncodedImage("text.jpg", b"{}")
    images_and_files = [broken, images[0], text, images[1]]
    result = detect_images(
        Context(engine), [loaded["float32"], loaded["int8"]], iter(images_and_files), len(images_and_files), 0.25
    )
    assert [name for name, _ in result.images] == list(NAMES[:2])
    assert len(result.inferences) == 4
    assert [sentence.split()[0] for sentence in result.skipped] == [
        "broken.jpg",
        "text.jpg",
    ]  # once, not once per model


def test_a_broken_model_is_skipped_with_a_reason(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], engine: LocalEngine
) -> None:
    good, other = loaded["float32"], loaded["int8"]
    damaged_blob = engine.share(b"no model", "digest of a damaged file")
    damaged = replace(
        other, blob=damaged_blob, model=replace(other.model, name="damaged.tflite", digest=damaged_blob.digest)
    )
    result = detect_images(Context(engine), [good, damaged], images[:2], 2, 0.25)
    assert len(result.inferences) == 2
    assert [sentence.split(":")[0] for sentence in result.skipped] == [
        f"damaged.tflite on {name}" for name in NAMES[:2]
    ]


def test_many_images_stay_in_order(
    loaded: dict[str, LoadedModel], images: list[EncodedImage], engine: LocalEngine
) -> None:
    images_and_files = [EncodedImage(f"{i}.jpg", images[i % 3].data) for i in range(14)]
    result = detect_images(Context(engine), [loaded["int8"]], iter(images_and_files), 14, 0.25)
    assert [name for name, _ in result.images] == [image.name for image in images_and_files]
    assert len(result.inferences) == 3  # keyed by content, not by name


def test_no_readable_image_is_an_error(loaded: dict[str, LoadedModel], engine: LocalEngine, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    model = loaded["int8"]
    session = Session(model, model, images=tmp_path / "a.jpg", engine=engine, cache=False)
    for call in (session.detect, session.compare):
        with pytest.raises(ImageError, match=r"a\.jpg is empty"):
            call()


def annotated(folder: Path, sample: Sample, *broken: str) -> Path:
    """Three images of the sample, of which those named are damaged."""
    document = json.loads(sample.annotations.read_text())
    document["images"] = [image for image in document["images"] if image["file_name"] in NAMES]
    for name in NAMES:
        data = (sample.images / name).read_bytes()
        (folder / name).write_bytes(data[:500] if name in broken else data)
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder / "annotations.json"


def test_a_broken_image_of_a_dataset_is_skipped(
    loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine, tmp_path: Path
) -> None:
    session = Session(loaded["float32"], engine=engine, cache=False)
    result = session.evaluate(annotated(tmp_path, sample, NAMES[0]))
    assert result.images == 2
    assert any(sentence.startswith("astronaut.jpg is damaged") for sentence in result.skipped)
    assert any("annotations of an unknown image" in sentence for sentence in result.skipped)
    alone = session.evaluate(annotated(tmp_path, sample))
    assert alone.images == 3


def test_a_dataset_without_readable_images_is_an_error(
    loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine, tmp_path: Path
) -> None:
    session = Session(loaded["float32"], engine=engine, cache=False)
    with pytest.raises(DatasetError, match="No image could be run with every model"):
        session.evaluate(annotated(tmp_path, sample, *NAMES))
    with pytest.raises(DatasetError, match="is not a folder"):
        session.evaluate(sample.annotations, tmp_path / "nowhere")
