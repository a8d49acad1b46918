from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from qviz.errors import ModelError, NoDecoderError, SettingsError
from qviz.features.detection.models import (
    LoadedModel,
    ModelSource,
    choose_reference,
    load_models,
    read_source,
    short_names,
)
from qviz.structures import Scheme, Settings
from tests.conftest import SCHEMES, Sample
from tests.tflite.files import relu


def test_models_of_the_sample(loaded: dict[str, LoadedModel], sample: Sample) -> None:
    assert [str(model.scheme) for model in loaded.values()] == [*SCHEMES[:4], "int8"]
    for name, model in loaded.items():
        assert model.bytes == sample.models[name].stat().st_size
        assert model.inspection.decoder == "tflite_post_process"
        assert model.inspection.sources["mean"] == "sidecar"
        assert (model.inspection.label(0), model.inspection.label(15), len(model.inspection.labels)) == (
            "person",
            "bird",
            90,
        )


NAMES = [
    (["a_float32.tflite", "a_int8.tflite"], ["float32", "int8"]),
    (["ssd_v2_int8.tflite", "ssd_v2_int8_wrong.tflite"], ["int8", "int8_wrong"]),  # a short name is never empty
    (["float32.tflite", "int8.tflite"], ["float32", "int8"]),
    (["model.tflite", "model_int8.tflite"], ["model", "model_int8"]),
    (["yolo8n.tflite", "yolo8s.tflite"], ["yolo8n", "yolo8s"]),  # words are not shortened
    (["a_b_c.tflite"], ["a_b_c"]),
    ([], []),
]


def named(like: LoadedModel, *names: str) -> list[LoadedModel]:
    return [replace(like, model=replace(like.model, name=name, digest=name)) for name in names]


@pytest.mark.parametrize(("names", "expected"), NAMES)
def test_short_names(names: list[str], expected: list[str], loaded: dict[str, LoadedModel]) -> None:
    assert list(short_names(named(loaded["int8"], *names)).values()) == expected


def kind(like: LoadedModel, scheme: Scheme, size: int) -> LoadedModel:
    return replace(like, model=replace(like.model, scheme=scheme, data=bytes(size)))


REFERENCES = [
    ([(Scheme.INT8, 9), (Scheme.FLOAT32, 1)], 1),
    ([(Scheme.FLOAT16, 9), (Scheme.FLOAT32, 1), (Scheme.INT8, 20)], 1),
    ([(Scheme.INT8, 20), (Scheme.FLOAT16, 9)], 1),
    ([(Scheme.INT8, 5), (Scheme.DYNAMIC_RANGE, 9)], 1),  # the largest of the remaining ones
    ([(Scheme.FLOAT32, 5), (Scheme.FLOAT32, 9)], 1),
]


@pytest.mark.parametrize(("kinds", "expected"), REFERENCES)
def test_the_reference_is_the_least_quantized(
    kinds: list[tuple[Scheme, int]], expected: int, loaded: dict[str, LoadedModel]
) -> None:
    models = [kind(loaded["int8"], *facts) for facts in kinds]
    assert choose_reference(models) is models[expected]


REFUSED = [
    (b"hello, I am a text", Settings(), ModelError, "x.tflite is not a TensorFlow Lite file"),
    (relu((1, 8, 8, 3)), Settings(), NoDecoderError, "x.tflite looks like a segmentation model"),
    (relu((1, 8, 8, 3)), Settings(decoder="no"), SettingsError, "x.tflite: decoder is 'no'"),
]


@pytest.mark.parametrize(("data", "settings", "error", "sentence"), REFUSED)
def test_an_error_names_the_model(
    data: bytes, settings: Settings, error: type[Exception], sentence: str, engine: LocalEngine, sample: Sample
) -> None:
    good = read_source(sample.models["int8"])
    with pytest.raises(error) as caught:
        load_models(engine, [good, ModelSource("x.tflite", data, settings)])
    assert str(caught.value).startswith(sentence)


def test_a_variant_without_a_sidecar_follows_the_reference(engine: LocalEngine, sample: Sample) -> None:
    data = sample.models["int8"].read_bytes()
    reference = ModelSource("a.tflite", data, sidecar=Settings(mean=(9.0,) * 3, labels=("a", "b")))
    variant = ModelSource("b.tflite", sample.models["float16"].read_bytes(), Settings(channels="bgr"))
    first, second = load_models(engine, [reference, variant])
    assert (second.settings.mean, second.settings.labels) == ((9.0,) * 3, ("a", "b"))
    assert (first.settings.channels, second.settings.channels) == ("rgb", "bgr")
    assert (second.inspection.sources["mean"], second.inspection.sources["channels"]) == ("reference", "given")


def test_no_models(engine: LocalEngine, tmp_path: Path) -> None:
    assert load_models(engine, []) == []
    with pytest.raises(ModelError, match="does not exist; give"):
        read_source(tmp_path / "x.tflite")
