from __future__ import annotations

import pytest

from qviz.decoders import DECODERS, choose, fitting
from qviz.errors import NoDecoderError, SettingsError
from tests.graphs import graph, image_tensor, tensor

ODD = graph([image_tensor(), tensor(1, "logits", (1, 1000)), tensor(2, "aux", (7, 7), "int8")], [1, 2])


def test_an_unknown_head_is_refused_in_one_sentence_with_its_shapes() -> None:
    with pytest.raises(NoDecoderError) as caught:
        choose(ODD, None)
    message = str(caught.value)
    assert message.startswith(
        "has outputs that no decoder can read: 'logits' [1, 1000] float32, 'aux' [7, 7] int8. Export"
    )
    assert len(message) < 300


LOOKS = [
    ([("logits", (1, 1000))], "looks like a classifier: it returns one score per class, 'logits' [1, 1000] float32"),
    ([("logits", (1, 1, 1, 1001))], "has outputs that no decoder can read"),  # no softmax: it could be anything
    ([("ld_3d", (1, 195)), ("flag", (1, 1))], "looks like a landmark model"),
    ([("mesh", (1, 1, 1, 1404)), ("face", (1, 1, 1, 1))], "looks like a landmark model"),
    ([("map", (1, 257, 257, 21))], "looks like a segmentation model"),
    ([(f"o{i}", (7, 7)) for i in range(9)], "'o3' [7, 7] float32 and 5 more."),
]


@pytest.mark.parametrize(("outputs", "sentence"), LOOKS, ids=range(len(LOOKS)))
def test_models_of_other_tasks_are_named(outputs: list[tuple[str, tuple[int, ...]]], sentence: str) -> None:
    tensors = [tensor(i, name, shape) for i, (name, shape) in enumerate(outputs, start=1)]
    with pytest.raises(NoDecoderError) as caught:
        choose(graph([image_tensor(), *tensors], [t.index for t in tensors]), None)
    assert sentence in str(caught.value)


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
