"""Every recipe on a network in the style of YOLOv8: SiLU, splits, concatenations, an upsampling neck, grids inside."""

from __future__ import annotations

import pytest

from qviz.datasets.images import read_image
from qviz.detector import Detector
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.build import start_building
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import RECIPES, Builder, Options
from qviz.features.building.source import Source
from qviz.features.detection.models import ModelSource, load_model
from qviz.structures import EncodedImage, Scheme, Settings
from qviz.tensorflow_models import SourceKind
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts
from tests.features.building.test_building import sqnr
from tests.features.conftest import calibrated, source_of

pytestmark = pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
BLOCKWISE = "dynamic_range_int4_blockwise"
LEAST_DB = {"float16": 100, "dynamic_range": 80, "weight_only_int8": 80, "int8": 40, "int16x8": 70}


@pytest.fixture(scope="module")
def lite(yolo: Source) -> Source:
    return source_of(SourceKind.TFLITE, yolo.float_data, yolo.float_data)


@pytest.fixture(scope="module")
def ranges(engine: LocalEngine, lite: Source, images: list[EncodedImage]) -> Calibration:
    return calibrated(engine, lite, images)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != BLOCKWISE])
def test_every_recipe(
    name: str, workers: LocalEngine, lite: Source, ranges: Calibration, images: list[EncodedImage]
) -> None:
    """Upsampling becomes TILE, which litert-quantizer leaves in float although it has an integer kernel."""
    row = RECIPES[name]
    built = start_building(workers, lite, name, Options(), ranges if row.needs_calibration else None).result()
    facts = scheme_facts(read_graph(built.data))
    assert (facts.scheme, facts.weight_bits) == (built.scheme, row.weight_bits)
    assert sqnr(lite.data, built.data, images[0]) > LEAST_DB.get(name, 60)
    if not row.needs_calibration:
        assert (built.scheme, built.remark, built.stayed_float) == (row.scheme, "", ())
        return
    assert (built.scheme, built.remark, facts.float_islands) == (row.scheme, "", ())
    assert all("--io" in tensor.reason for tensor in built.stayed_float)


def test_incompatible_recipes_are_refused(workers: LocalEngine, yolo: Source) -> None:
    with pytest.raises(QuantizeError, match=f"No operator in this network suits recipe {BLOCKWISE}"):
        start_building(workers, yolo, BLOCKWISE)


def test_int8_by_the_converter(
    engine: LocalEngine, workers: LocalEngine, yolo: Source, images: list[EncodedImage]
) -> None:
    """The converter quantizes TILE too; the result still detects."""
    built = start_building(workers, yolo, "int8", Options(io="uint8"), None, images).result()
    assert (built.builder, built.scheme, built.remark) == (Builder.CONVERTER, Scheme.INT8, "")
    assert built.stayed_float == ()
    assert sqnr(yolo.float_data, built.data, images[0]) > 30
    settings = Settings((127.5,) * 3, (127.5,) * 3, "rgb", "stretch", decoder="yolov8")  # 7 columns may be YOLOX's too
    models = [load_model(engine, ModelSource("yolo", data, settings)) for data in (yolo.float_data, built.data)]
    assert [str(model.scheme) for model in models] == ["float32", "int8"]
    image = read_image(images[0])
    first, second = (Detector(model.model.data, model.settings).detect(image, 0.001).detections for model in models)
    assert len(first) > 0 and len(first) == len(second)
    assert abs(first.scores.mean() - second.scores.mean()) < 0.05
