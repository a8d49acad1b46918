from __future__ import annotations

import pytest

from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel
from qviz.features.reporting.study import Study
from tests.conftest import Sample
from tests.features.reporting.study import sample_study


@pytest.fixture(scope="session")
def study(engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample) -> Study:
    """A study of float32, int8 and int8 with a wrong range, with AP."""
    return sample_study(engine, [loaded[name] for name in ("float32", "int8", "int8_wrong_range")], sample)
