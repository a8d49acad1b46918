from __future__ import annotations

import pytest

from qviz.decoders import DECODERS, choose, fitting
from qviz.errors import NoDecoderError, SettingsError
from tests.graphs import graph, image_tensor, tensor

ODD = graph([image_tensor(), tensor(1, "logits", (1, 1000)), tensor(2, "aux", (7, 7), "int8")], [1, 2])


def test_an_unknown_head_is_refused_with_its_shapes_and_all_decoders() -> None:
    with pytest.raises(NoDecoderError) as caught:
        choose(ODD, None)
    message = str(caught.value)
    assert "'logits' [1, 1000] float32, 'aux' [7, 7] int8" in message
    assert all(f"{name} ({decoder.expects})" in message for name, decoder in DECODERS.items())


def test_a_decoder_that_does_not_fit_is_refused() -> None:
    with pytest.raises(
        NoDecoderError, match=r"does not fit the decoder 'ssd_raw': its outputs are 'logits' \[1, 1000\]"
    ):
        choose(ODD, "ssd_raw")


def test_an_unknown_name_lists_the_available_decoders() -> None:
    with pytest.raises(SettingsError) as caught:
        choose(ODD, "yolo99")
    assert str(caught.value) == f"decoder is 'yolo99'; choose one of {', '.join(DECODERS)}."


def test_the_first_matching_decoder_is_used_by_default() -> None:
    shapes = [(1, 25, 4), (1, 25), (1, 25)]
    tensors = [tensor(i, shape=shape) for i, shape in enumerate(shapes, start=1)]
    of = graph([image_tensor(), *tensors], [1, 2, 3])
    assert fitting(of)[0] == "tflite_post_process"
    assert choose(of, None) == choose(of, "tflite_post_process")
    assert choose(of, None)[1] is DECODERS["tflite_post_process"]


def test_every_decoder_completes_a_models_settings() -> None:
    for name, decoder in DECODERS.items():
        missing = {"mean", "std", "channels", "resize", "nms_iou", "max_detections"} - set(decoder.defaults.given())
        assert (name, missing) == (name, set())
