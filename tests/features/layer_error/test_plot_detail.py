"""The charts of one layer show the result's numbers."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from qviz.chart_style import CHANGES, REFERENCE
from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.detail import LayerDetail, start_layer_detail
from qviz.features.layer_error.plot_detail import error_map, value_histograms, weight_channels
from qviz.structures import EncodedImage
from tests.conftest import Sample

COLOUR = "#009E73"


@pytest.fixture(scope="module")
def image(sample: Sample) -> EncodedImage:
    return next(iter(load_images([sample.images / "hens.jpg"])))


@pytest.fixture(scope="module")
def clipped(engine: LocalEngine, loaded: dict[str, LoadedModel], image: EncodedImage) -> LayerDetail:
    return start_layer_detail(Context(engine), loaded["float32"], loaded["int8_wrong_range"], image, 0).result()


@pytest.fixture(scope="module")
def convolution(engine: LocalEngine, loaded: dict[str, LoadedModel], image: EncodedImage) -> LayerDetail:
    return start_layer_detail(Context(engine), loaded["float32"], loaded["int8"], image, 4).result()


def test_the_histograms_are_the_counts(clipped: LayerDetail) -> None:
    reference, variant = value_histograms(clipped, COLOUR).data
    assert (reference.line.color, variant.line.color) == (REFERENCE, COLOUR)
    for trace, counts in ((reference, clipped.histogram.reference), (variant, clipped.histogram.variant)):
        assert list(trace.x) == pytest.approx(clipped.histogram.edges)
        assert list(trace.customdata[:-1]) == counts.tolist()
        assert list(trace.y[:-1]) == pytest.approx(np.maximum(counts, 0.1))
    assert min(variant.y) == 0.1  # bins that the variant cannot reach lie below the axis


def test_values_out_of_the_range_band_are_red(clipped: LayerDetail, convolution: LayerDetail) -> None:
    bands = {shape.fillcolor: (shape.x0, shape.x1) for shape in value_histograms(clipped, COLOUR).layout.shapes}
    assert bands[COLOUR] == pytest.approx((0, 1))
    assert bands[CHANGES["lost"]] == pytest.approx((clipped.histogram.edges[0], 0))
    whole = value_histograms(convolution, COLOUR).layout
    assert CHANGES["lost"] not in {shape.fillcolor for shape in whole.shapes}
    assert [note.text for note in whole.annotations] == ["representable range: 0 to 6"]


def test_the_worst_weight_channels_are_marked(convolution: LayerDetail) -> None:
    assert convolution.weights is not None
    channels, worst, whole = weight_channels(convolution, COLOUR).data
    drawn = np.array(channels.y, float)
    assert np.array_equal(drawn, convolution.weights.channels, equal_nan=True)
    assert len(channels.x) == len(drawn) == 96
    assert list(worst.y) == [drawn[channel] for channel in worst.x]
    assert max(worst.y) <= np.nanmedian(drawn)
    assert whole.name == f"whole tensor, {convolution.weights.sqnr_db:.1f} dB"


def test_the_error_map_covers_the_image(convolution: LayerDetail) -> None:
    figure = error_map(convolution, b"a jpeg")
    (heat,) = figure.data
    assert convolution.map is not None
    assert np.array_equal(heat.z, convolution.map.error)
    assert heat.zmax == pytest.approx(convolution.map.error.max())
    width, height = convolution.size
    cells = len(heat.z[0])
    assert (heat.x0 - heat.dx / 2, heat.x0 + (cells - 0.5) * heat.dx) == pytest.approx((0, width), abs=0.01)
    assert (heat.y0 - heat.dy / 2, heat.y0 + (len(heat.z) - 0.5) * heat.dy) == pytest.approx((0, height), abs=0.01)
    (picture,) = figure.layout.images
    assert (picture.x, picture.y, picture.sizex, picture.sizey) == (0, 0, width, height)
    assert base64.b64decode(picture.source.removeprefix("data:image/jpeg;base64,")) == b"a jpeg"
    axes = figure.layout.xaxis, figure.layout.yaxis
    assert (axes[0].range, axes[1].range) == ((0, width), (height, 0))  # y goes down
    assert (axes[1].scaleanchor, axes[1].scaleratio) == ("x", 1)
