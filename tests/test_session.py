"""The public API: names, help, one call per analysis, honest errors."""

from __future__ import annotations

import inspect
import itertools
import warnings
from pathlib import Path
from typing import Any

import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.errors import ImageError, QvizError, SettingsError
from qviz.result import Result
from qviz.session import Session
from tests.conftest import Sample
from tests.squares import Squares

OTHER_ARGUMENTS = ("load", "dataset", "doctor", "card")
ANALYSES = sorted(
    name
    for name in qviz.__all__
    if inspect.isfunction(getattr(qviz, name)) and name not in OTHER_ARGUMENTS and not name.startswith("device_")
)
OUTPUTS = {"report": {"sections": ["verdict", "models"]}}


@pytest.fixture(scope="session")
def arguments(sample: Sample, engine: LocalEngine) -> dict[str, Any]:
    """Arguments that every analysis accepts."""
    return {
        "images": sorted(sample.images.iterdir())[:2],
        "dataset": sample.annotations,
        "dataset_images": sample.images,
        "calibration": sorted((sample.folder / "calibration").iterdir())[:10],
        "engine": engine,
        "cache": False,
    }


def test_every_public_name_is_the_same_object_at_each_access() -> None:
    for names in itertools.permutations(("report", "quantize", "compare", "Session")):
        assert [getattr(qviz, name) for name in names] == [getattr(qviz, name) for name in names]
    for name in qviz.__all__:
        first, second = getattr(qviz, name), getattr(qviz, name)
        assert first is second
        assert not inspect.ismodule(first)
    assert set(qviz.__all__) <= set(dir(qviz))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compair'"):
        _ = qviz.compair  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ANALYSES)
def test_help_shows_how_to_call_it(name: str) -> None:
    function = getattr(qviz, name)
    parameters = inspect.signature(function).parameters
    method_parameters = inspect.signature(getattr(Session, name)).parameters
    assert list(parameters)[:2] == ["reference", "variants"]
    assert set(method_parameters) - {"self"} - set(parameters) <= {"options", "plan", "limits"}
    assert f"qviz.{name}(" in (function.__doc__ or "")
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in list(parameters.values())[2:])


QUICK: dict[str, dict[str, Any]] = {
    "backends": {"on": ["xnnpack", "builtin"]},
    "quantize": {"recipe": "dynamic_range"},
    "trace": {"quick": True},
    "what_if": {"sets": [[0, 1, 2]]},
    "robustness": {"corruptions": ["night"], "severities": [3], "layer_images": 0},
    "calibration": {"draws": 1, "mistakes": (), "further": False},
    "rescue": {"max_ap_loss": 0.5, "recipes": ["dynamic_range"], "tries": 1},
    "qat": {"steps": 1},
    "profile": {"runs": 3},
    "video": {"every": 10},
    "report": {"sections": ["models"]},
    "npu_cost": {"accelerator": "ethos-u55-256"},
    "evaluate": {},
}
"""Arguments that make an analysis quick."""


def recorded(sample: Sample, images: list[Path], folder: Path) -> Path:
    """A file with the first tensors of int8, recorded here."""
    pack = folder / "pack"
    qviz.device_pack(sample.models["int8"], pack, images=images, inner="0-2")
    qviz.device_run(pack)
    qviz.device_read(pack, tensors=folder / "phone.zip")
    return folder / "phone.zip"


@pytest.mark.slow
@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_accepts_plain_paths(
    name: str, sample: Sample, arguments: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    models = [sample.models["float32"], sample.models["int8"]]
    options = dict(arguments)
    if name == "qat":  # a step of the sample takes half a minute
        models = [request.getfixturevalue("tiny_detector")]
    if name == "trace":
        options["image"] = options.pop("images")[0]
    if name == "video":
        options["video"] = sample.images
    if name == "recorded_layers":
        options["recording"] = recorded(sample, options["images"], tmp_path)
    if name == "npu_cost":
        pytest.importorskip("ethosu", reason='Vela is not installed (pip install "qviz-tflite[vela]")')
    if name in ("robustness", "report", "rescue", "calibration"):
        options.pop("images")
    result = getattr(qviz, name)(*models, **options, **QUICK.get(name, {}))
    assert isinstance(result, Result)
    assert 0 < len(repr(result)) <= 500
    assert str(result)
    assert isinstance(result.to_json(), dict)
    assert "<" in result._repr_html_()


def test_every_repr_is_short(sample: Sample, engine: LocalEngine) -> None:
    with Session(*sample.models.values(), engine=engine, cache=False) as session:
        shown = [session, *session.models, session.models[0].inspection, session.models[0].model, *session.sources]
        assert [len(repr(value)) for value in shown if len(repr(value)) > 500] == []


def test_models_with_equal_names_are_numbered(sample: Sample, engine: LocalEngine, tmp_path: Path) -> None:
    for folder, name in (("a", "int8"), ("b", "float16")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.tflite").write_bytes(sample.models[name].read_bytes())
    variants = [tmp_path / folder / "model.tflite" for folder in "ab"]
    images = sorted(sample.images.iterdir())[:1]
    with Session(sample.models["float32"], *variants, images=images, engine=engine, cache=False) as session:
        assert [model.name for model in session.models[1:]] == ["model.tflite", "model.tflite (2)"]
        detections = session.detect()
        assert set(detections) == {model.name for model in session.models}
        with pytest.raises(SettingsError, match=r"2 variants are open; name one of: model\.tflite"):
            session.layers()
        assert session.variant(2).name == session.variant("(2)").name == "model.tflite (2)"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "fast"}, "unknown setting, 'mode'"),
        ({"std": 0}, "std is 0"),
        ({"threads": 0}, "--threads is 0"),
        ({"workers": 0}, "--workers is 0"),
    ],
)
def test_invalid_settings_are_refused(options: dict[str, Any], sentence: str, sample: Sample) -> None:
    with pytest.raises(SettingsError, match=sentence):
        qviz.open(sample.models["float32"], **options)


def test_missing_inputs_are_named(sample: Sample, engine: LocalEngine) -> None:
    with Session(sample.models["float32"], sample.models["int8"], engine=engine, cache=False) as session:
        with pytest.raises(ImageError, match="No images are given"):
            session.compare()
        with pytest.raises(QvizError, match=r"nowhere\.jpg does not exist"):
            session.compare("nowhere.jpg")


def test_version_0_1_calls_work_with_a_deprecation_warning(sample: Sample, engine: LocalEngine) -> None:
    images = sorted(sample.images.iterdir())[:1]
    with pytest.warns(DeprecationWarning, match=r"qviz\.open"):
        models = qviz.load([sample.models["float32"], sample.models["int8"]], engine)
    with pytest.warns(DeprecationWarning, match="loaded models"):
        old = qviz.compare(models, images, engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        new = qviz.compare(*[sample.models[n] for n in ("float32", "int8")], images=images, engine=engine, cache=False)
    assert old.to_json() == new.to_json()


def test_with_one_variant_the_image_of_a_trace_may_come_first(squares: Squares) -> None:
    image = squares.images / "s03.png"
    models = squares.model("reference"), squares.model("spread_weights", "int8_per_tensor")
    with qviz.open(*models, mean=0, std=255) as session:
        by_path, by_name = session.trace(image), session.trace(None, image)
        assert by_path.object.label == by_name.object.label and by_path.image == by_name.image
