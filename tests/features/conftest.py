"""Fixtures that feature tests share: one worker that loads TensorFlow once, sources to build from, and calibrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.building.calibration import Calibration, calibrate
from qviz.features.building.source import Source
from qviz.structures import EncodedImage, Settings, digest_of
from qviz.tensorflow_models import SourceKind, convert_job, read_packed
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.features.building import build

SETTINGS = Settings((127.5,) * 3, (127.5,) * 3, "rgb", "stretch")
IMAGES = 6


def source_of(kind: SourceKind, data: bytes, float_data: bytes) -> Source:
    digests = digest_of(data), digest_of(float_data)
    return Source(kind, data, digests[0], float_data, digests[1], read_graph(float_data), SETTINGS)


@pytest.fixture(autouse=True)
def shared_workers(lent_builder: None) -> None:
    """Features build their variants in the worker of the fixture `workers`."""


@pytest.fixture(scope="session")
def images(sample: Sample) -> list[EncodedImage]:
    return list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:IMAGES]))


def calibrated(engine: LocalEngine, source: Source, images: list[EncodedImage]) -> Calibration:
    calibration = calibrate(Context(engine), source, images)
    assert calibration.skipped == ()
    return calibration


@pytest.fixture(scope="session")
def tflite(sample: Sample) -> Source:
    data = sample.models["float32"].read_bytes()
    return source_of(SourceKind.TFLITE, data, data)


@pytest.fixture(scope="session")
def ranges(engine: LocalEngine, tflite: Source, images: list[EncodedImage]) -> Calibration:
    return calibrated(engine, tflite, images)


@pytest.fixture(scope="session")
def saved_model(sample: Sample, tflite: Source) -> Source:
    """The SavedModel from which the sample's FP32 file was converted."""
    return source_of(SourceKind.SAVED_MODEL, read_packed(sample.folder / "saved_model"), tflite.data)


@pytest.fixture(scope="session")
def keras(workers: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return keras_source(workers, tmp_path_factory.mktemp("keras"), "dense")


@pytest.fixture(scope="session")
def yolo(workers: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return keras_source(workers, tmp_path_factory.mktemp("yolo"), "yolo")


def keras_source(workers: LocalEngine, folder: Path, style: str) -> Source:
    """A source: a Keras file that is made in a worker, with the .tflite file that is converted from it."""
    path = folder / f"{style}.keras"
    workers.submit(build.keras_file, str(path), style).result()
    data = path.read_bytes()
    float_data = workers.submit(convert_job, workers.share(data, digest_of(data)), SourceKind.KERAS).result()
    return source_of(SourceKind.KERAS, data, float_data)


@pytest.fixture(scope="session")
def dense(keras: Source) -> Source:
    """The dense detector as a float32 .tflite file."""
    return source_of(SourceKind.TFLITE, keras.float_data, keras.float_data)


@pytest.fixture(scope="session")
def dense_ranges(engine: LocalEngine, dense: Source, images: list[EncodedImage]) -> Calibration:
    return calibrated(engine, dense, images)
