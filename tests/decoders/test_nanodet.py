"""NanoDet, PicoDet and the levels of YOLOv8: scores and binned distances."""

import itertools

import numpy as np
import pytest

from qviz.decoders import DECODERS
from qviz.decoders.distance_heads import NANODET, PICODET, YOLOV8_LEVELS, NanoDetPlus
from qviz.errors import ModelError
from tests.decoders.heads import BOX, CELL, CELLS, CLASS, LIMITS, assert_planted, graph_of, head_of

SIZES = {8: (8, 12), 16: (4, 6), 32: (2, 3), 64: (1, 2)}
"""stride -> rows, columns"""


def distances(middle_x: float, middle_y: float, bins: int = 8) -> np.ndarray:
    """Logits whose mean bins reach from a point to the sides of BOX at stride 16, the mass on two neighbouring bins."""
    left, top, right, bottom = BOX
    in_cells = [
        (middle_x - left) / 16,
        (middle_y - top) / 16,
        (right - middle_x) / 16,
        (bottom - middle_y) / 16,
    ]
    logits = np.full((4, bins), -50.0)
    for side, length in enumerate(in_cells):
        low = int(length)
        share = length - low
        logits[side, low] = np.log(max(1 - share, 1e-12))
        logits[side, low + 1] = np.log(max(share, 1e-12))
    return logits.reshape(-1)


def levels(strides=(8, 16, 32), bins=8, classes=3, score=0.8) -> dict[str, np.ndarray]:
    """name -> (cells, columns); the object lies in row 1, column 2 of stride 16, whose middle is at 40, 24."""
    arrays = {}
    for stride in strides:
        rows, columns = SIZES[stride]
        arrays[f"s{stride}"] = np.zeros((rows * columns, classes))
        arrays[f"d{stride}"] = np.zeros((rows * columns, 4 * bins))
    arrays["s16"][1 * 6 + 2, CLASS] = score
    arrays["d16"][1 * 6 + 2] = distances(40, 24, bins)
    return arrays


def decode(decoder, arrays, names=None, ends=()):
    graph = graph_of(*(array.shape for array in arrays), names=names or (), ends=ends)
    assert decoder.matches(graph)
    return decoder.decode(head_of(graph, *arrays), LIMITS)


@pytest.mark.parametrize("missing", ["s8", "d8", "s32", "d32"])
def test_a_missing_level_does_not_match(missing):
    shapes = [array.shape for name, array in levels().items() if name != missing]
    assert not NANODET.matches(graph_of(*shapes))


@pytest.mark.parametrize("decoder", [PICODET, YOLOV8_LEVELS])
def test_other_families_do_not_match(decoder):
    assert not decoder.matches(graph_of(*(array.shape for array in levels().values())))


def test_distances_of_unknown_width_do_not_match():
    arrays = levels(bins=5)
    assert not NANODET.matches(graph_of(*(array.shape for array in arrays.values())))


def test_levels_of_different_class_counts_do_not_match():
    arrays = levels()
    arrays["s8"] = arrays["s8"][:, :2]
    assert not NANODET.matches(graph_of(*(array.shape for array in arrays.values())))


@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::37])
def test_outputs_come_in_any_order(order):
    arrays = list(levels().values())
    assert_planted(decode(NANODET, [arrays[i] for i in order]), 0.8)


@pytest.mark.parametrize(
    ("decoder", "strides", "bins"),
    [
        (NANODET, (8, 16, 32), 8),
        (NANODET, (8, 16, 32), 11),
        (PICODET, (8, 16, 32, 64), 8),
        (YOLOV8_LEVELS, (8, 16, 32), 16),
    ],
)
@pytest.mark.parametrize("form", ["n c", "1 n c", "1 c n", "1 h w c", "1 c h w"])
def test_each_family_in_each_layout(decoder, strides, bins, form):
    arrays = []
    for name, array in levels(strides, bins, classes=5).items():
        rows, columns = SIZES[int(name[1:])]
        arrays.append(
            {
                "n c": array,
                "1 n c": array[None],
                "1 c n": array.T[None],
                "1 h w c": array.reshape(1, rows, columns, -1),
                "1 c h w": array.reshape(1, rows, columns, -1).transpose(0, 3, 1, 2),
            }[form]
        )
    assert_planted(decode(decoder, arrays), 0.8)


def test_logits_go_through_the_sigmoid():
    arrays = levels()
    for stride in (8, 16, 32):
        arrays[f"s{stride}"] -= 9
    arrays["s16"][1 * 6 + 2, CLASS] = 0
    assert_planted(decode(NANODET, list(arrays.values())), 0.5)


class TestEqualClassAndDistanceColumns:
    """32 classes and 8 bins a side: both tensors have 32 columns."""

    def arrays(self) -> list[np.ndarray]:
        arrays = list(levels(classes=32).values())
        return [arrays[i] for i in (1, 0, 3, 2, 5, 4)]  # distances first

    def test_an_ambiguous_head_is_refused(self):
        arrays = self.arrays()
        for values in arrays:
            values[0, 0] -= 3  # logits all of them
        with pytest.raises(ModelError, match=r"32 columns at stride 8.*neither their names nor their values"):
            decode(NANODET, arrays)

    def test_classes_are_recognized_by_name(self):
        names = ("dis_8", "cls_8", "dis_16", "cls_16", "dis_32", "cls_32")
        assert_planted(decode(NANODET, self.arrays(), names), 0.8)

    def test_classes_are_recognized_by_operator(self):
        assert_planted(decode(NANODET, self.arrays(), ends=("RESHAPE", "LOGISTIC") * 3), 0.8)

    def test_classes_are_recognized_by_value(self):
        arrays = self.arrays()
        for sides in arrays[::2]:
            sides[0, 0] = -3
        assert_planted(decode(NANODET, arrays), 0.8)


class TestNanoDetPlus:
    """One output; cells predict from their corner, at 32, 16."""

    GRAPH = graph_of((1, CELLS + 2, 3 + 32))

    def planted(self) -> np.ndarray:
        values = np.zeros((1, CELLS + 2, 35))
        values[0, CELL + 1, CLASS] = 0.8  # column 3 of row 1: its corner at 48, 16 lies within BOX
        values[0, CELL + 1, 3:] = distances(48, 16)
        return values

    @pytest.mark.parametrize(
        "graph",
        [
            graph_of((1, CELLS, 35)),  # three levels
            graph_of((1, CELLS + 2, 32)),  # no class
            graph_of((1, CELLS + 2, 84)),  # YOLOv8 of four levels
            graph_of((1, 35, CELLS + 2)),
            graph_of((1, CELLS + 2, 35), ends=("SOFTMAX",)),
        ],
    )
    def test_other_heads_do_not_match(self, graph):
        assert not NanoDetPlus().matches(graph)

    def test_finds_the_object(self):
        assert NanoDetPlus().matches(self.GRAPH)
        assert NanoDetPlus().class_count(self.GRAPH) == 3
        assert_planted(NanoDetPlus().decode(head_of(self.GRAPH, self.planted()), LIMITS), 0.8)


def test_defaults_of_every_decoder_are_complete():
    for decoder in DECODERS.values():
        assert {"mean", "std", "channels", "resize", "nms_iou", "max_detections"} <= decoder.defaults.given().keys()
