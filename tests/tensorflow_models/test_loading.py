"""Loading a SavedModel, a Keras file and a training export in worker processes, up to detections."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.errors import ModelError, NoDecoderError
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import (
    LoadedModel,
    ModelSource,
    load_model,
    load_models,
    read_source,
    ready,
    start_loading,
)
from qviz.features.inspection.lint import lint_comparison, lint_model
from qviz.structures import Detections, EncodedImage, Settings
from qviz.structures.boxes import iou_matrix
from qviz.tensorflow_models import SourceKind
from qviz.tflite.runner import Runner
from tests.conftest import ROOT, Sample
from tests.tensorflow_models.test_sources import zipped

pytestmark = pytest.mark.slow


def detected(
    engine: LocalEngine, models: Sequence[LoadedModel], images: Sequence[EncodedImage]
) -> list[list[Detections]]:
    result = detect_images(Context(engine), models, images, len(images), 0.25)
    assert result.skipped == []
    return [[result.inferences[model.digest, image.digest].detections for image in images] for model in models]


def test_the_sample_saved_model_equals_the_float32_file(
    engine: LocalEngine, sample: Sample, loaded: dict[str, LoadedModel], tmp_path: Path
) -> None:
    folder = sample.folder / "saved_model"
    archive = tmp_path / "ssd.zip"
    files = [file for file in folder.rglob("*") if file.is_file()]
    archive.write_bytes(zipped({f"ssd/{file.relative_to(folder).as_posix()}": file.read_bytes() for file in files}))
    sources = ready([read_source(folder), read_source(archive)])
    assert [source.converted_from for source in sources] == ["SavedModel", "SavedModel"]
    assert sources[0].digest == sources[1].digest  # the same network gives the same file
    model = load_model(engine, sources[0])
    assert [warning.code for warning in lint_model(model) if not warning.advice] == ["converted"]
    assert model.layers_available

    images = list(load_images([sample.images / f"{name}.jpg" for name in ("sheep", "kitten", "berlin_street")]))
    for actual, expected in zip(*detected(engine, [model, loaded["float32"]], images), strict=True):
        assert len(actual) == len(expected) > 0
        assert actual.class_ids.tolist() == expected.class_ids.tolist()
        assert np.diag(iou_matrix(actual.boxes, expected.boxes)).min() > 0.99
        np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-4)


def test_keras_files_and_an_open_batch(exports: Path, engine: LocalEngine) -> None:
    names = ("model.keras", "model.h5", "exported")
    sources = ready([read_source(exports / name) for name in names])
    assert [source.converted_from for source in sources] == [".keras file", ".h5 file", "SavedModel"]
    assert [source.kind for source in sources] == [SourceKind.TFLITE] * 3
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    (first, *others) = (Runner(source.data).run([image])[0] for source in sources)
    assert first.shape == (1, 16, 2)
    assert first.std() > 0.01
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-6)
    for source in sources:
        with pytest.raises(NoDecoderError, match=r"has outputs that no decoder can read.*\[1, 16, 2\]") as caught:
            load_model(engine, source)
        assert str(caught.value).startswith(source.name)


REFUSED = [
    ("lambda.keras", "lambda.keras has a Lambda layer: Python code"),
    ("lambda.h5", "lambda.h5 has a Lambda layer: Python code"),
    ("only.weights.h5", "has weights without the network"),
    ("open.keras", r"of \[\?, \?, \?, 3\]; TensorFlow Lite needs a fixed height and width"),
    ("writes", r"operators that access files, the network or Python \(WriteFile\)"),
    ("saves", r"operators that access files, the network or Python \(SaveV2\)"),
    ("counts", "changes its variables while it runs"),
]


def test_unsupported_models_are_refused(exports: Path) -> None:
    for name, sentence in REFUSED:
        with pytest.raises(ModelError, match=sentence):
            ready([read_source(exports / name)])
    assert not list(exports.glob("written*"))


def test_damaged_models_are_refused() -> None:
    damaged = [
        ModelSource("a.zip", zipped({"saved_model.pb": b"no graph"}), kind=SourceKind.SAVED_MODEL),
        ModelSource("a.keras", b"no archive", kind=SourceKind.KERAS),
        ModelSource("a.h5", b"no HDF5", kind=SourceKind.H5),
    ]
    for source in damaged:
        with pytest.raises(ModelError, match=rf"^{source.name} is .*damaged"):
            ready([source])


def squares() -> EncodedImage:
    """400 x 200, black, with a red and a green cell of the 4 x 4 grid."""
    pixels = np.zeros((200, 400, 3), np.uint8)
    pixels[50:100, 100:200] = (255, 0, 0)
    pixels[150:200, 300:400] = (0, 200, 0)
    return EncodedImage("squares.png", cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())


def test_a_training_export_runs_in_tensorflow(exports: Path, engine: LocalEngine, sample: Sample) -> None:
    source = read_source(exports / "training", Settings(labels=("red", "green"), mean=(127.5,) * 3))
    reference, variant = load_models(engine, [source, read_source(sample.models["int8"])])
    assert not reference.layers_available
    assert variant.settings.mean == (127.5,) * 3
    assert (reference.settings.mean, reference.settings.class_offset) == (None, 1)  # it prepares images itself
    (warning,) = lint_model(reference)
    assert warning.code == "tensorflow_reference"
    assert "export_tflite_graph_tf2.py" in warning.message
    assert "[1, ?, ?, 3]" in warning.message
    assert [w.code for w in lint_comparison(reference, [variant])] == ["labels_differ"]

    result = detect_images(Context(engine), [reference, variant], [squares()], 1, 0.25)
    assert result.skipped == []
    inference = result.inferences[reference.digest, squares().digest]
    assert (inference.width, inference.height) == (400, 200)
    np.testing.assert_allclose(inference.detections.boxes, [[100, 50, 200, 100], [300, 150, 400, 200]])
    np.testing.assert_allclose(inference.detections.scores, [1.0, 200 / 255], atol=0.02)
    assert inference.detections.class_ids.tolist() == [0, 1]
    assert inference.candidates is not None
    assert inference.candidates.class_ids.tolist() == [0, 1]  # the column of the background is left out


def test_the_command_line_never_loads_tensorflow(sample: Sample) -> None:
    code = "import sys; from qviz.cli import main\ntry: main()\nfinally: assert 'tensorflow' not in sys.modules"
    arguments = ["info", str(sample.folder / "saved_model"), "--json"]
    shown = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    (model,) = json.loads(shown.stdout)["models"]
    assert (model["name"], model["scheme"]) == ("saved_model", "float32")
    assert [warning["code"] for warning in model["warnings"] if not warning["advice"]] == ["converted"]


def test_a_source_must_be_converted_before_loading(engine: LocalEngine) -> None:
    with pytest.raises(ModelError, match="is a SavedModel, which has to be converted first"):
        start_loading(engine, ModelSource("a.zip", b"x", kind=SourceKind.SAVED_MODEL))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder without saved_model"):
        read_source(tmp_path)
