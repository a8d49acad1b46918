"""The exported models that the tests read. They are made once in a worker, so that tests do not load TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from tests.tensorflow_models import build


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    with LocalEngine(1, time_limit=240) as engine:
        engine.submit(build.keras_files, str(folder)).result()
        engine.submit(build.training_export, str(folder / "training" / "saved_model")).result()
        engine.submit(build.unsafe_exports, str(folder)).result()
    return folder
