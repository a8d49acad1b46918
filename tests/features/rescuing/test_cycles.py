"""A budget of cycles on an NPU is a constraint on candidates."""

from __future__ import annotations

from pathlib import Path

import pytest

from qviz import optional
from qviz.context import Context
from qviz.datasets.files import load_images, unannotated_images
from qviz.engine import LocalEngine
from qviz.errors import SettingsError
from qviz.features.building.source import source_of
from qviz.features.detection.models import ModelSource, load_model
from qviz.features.rescuing import Request, Rescue, rescue
from qviz.features.rescuing.result import AGREEMENT, Budget
from qviz.store import FILE, Store
from qviz.structures import EncodedImage
from tests.conftest import Sample
from tests.features.layer_error.small_detector import SETTINGS, small_detector

installed = pytest.mark.skipif(not optional.is_installed("vela"), reason="ethos-u-vela is not installed")
NPU = "ethos-u55-256"


def run(context: Context, images: list[EncodedImage], max_cycles: int) -> Rescue:
    data = small_detector(planted=False, outlier=True)
    reference = load_model(context.engine, ModelSource("small.tflite", data, settings=SETTINGS))
    request = Request(Budget(AGREEMENT, 0.2, max_cycles, NPU), integers_only=True)
    dataset = unannotated_images("photographs", images[6:])
    return rescue(context, reference, source_of(reference), images[:6], dataset, request)


@installed
def test_no_candidate_above_the_cycles_is_chosen(sample: Sample, engine: LocalEngine, tmp_path: Path) -> None:
    images = list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:26]))
    with Store(tmp_path / FILE) as store:
        free = run(Context(engine, store), images, 10**9)
        assert free.within_budget and free.best is not None and free.best.npu_cycles is not None
        assert {row.npu for row in free.tried if row.within} == {NPU}
        assert {row.npu_cycles for row in free.tried if not row.within} == {
            None
        }  # not estimated where objects are lost
        limit = free.best.npu_cycles - 1
        strict = run(Context(engine, store), images, limit)
    assert any(row.npu_cycles is not None and row.npu_cycles > limit for row in strict.tried)
    assert all((row.npu_cycles or limit + 1) <= limit for row in strict.tried if row.within)
    assert strict.best is not None and (strict.best.within or f"in at most {limit:,} cycles on {NPU}" in str(strict))
    assert free.to_json()["budget"]["max_cycles"] == 10**9


def test_a_budget_of_cycles_that_cannot_be_checked_is_refused() -> None:
    for values in ({"max_cycles": 5}, {"npu": NPU}):
        with pytest.raises(SettingsError, match="needs both the number and the NPU"):
            Budget.of(None, 0.9, **values)
    with pytest.raises(SettingsError, match="A budget of 0 cycles leaves nothing to run"):
        Budget.of(None, 0.9, 0, NPU)
    with pytest.raises(SettingsError, match="add --integers-only"):
        Request(Budget(AGREEMENT, 0.1, 1000, NPU))
