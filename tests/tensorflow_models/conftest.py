"""The exported models that the tests read. They are made once in a worker, so that tests do not load TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from tests.tensorflow_models import build


@pytest.fixture(autouse=True)
def shared_workers(lent_builder: None) -> None:
    """Models are converted in the worker of the fixture `workers`."""


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory, workers: LocalEngine) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    workers.submit(build.keras_files, str(folder)).result()
    workers.submit(build.training_export, str(folder / "training" / "saved_model")).result()
    workers.submit(build.unsafe_exports, str(folder)).result()
    return folder
