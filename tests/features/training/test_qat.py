"""Training: the rebuilt network equals the file, the loss falls, resuming gives the same result."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.errors import Cancelled, QuantizeError
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import recipe_of
from qviz.features.building.source import Source
from qviz.features.training import QatResult, split, train
from qviz.features.training.batches import packed
from qviz.features.training.keras_operators import OPERATORS
from qviz.features.training.loss import columns_of
from qviz.features.training.plan import Plan, check_training, plan_for, trained_ends
from qviz.features.training.trainer import Job
from qviz.progress import Progress
from qviz.structures import EncodedImage, Scheme, digest_of
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.features.training import nets

PICTURES = np.random.default_rng(0).uniform(-1, 1, (2, nets.SIDE, nets.SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def pictures(sample: Sample) -> list[EncodedImage]:
    return list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:12]))


def test_every_rebuilt_operator_equals_the_file(workers: LocalEngine) -> None:
    data = workers.submit(nets.many_operators).result()
    kinds = nets.kinds(data)
    for kind in ("TRANSPOSE_CONV", "STRIDED_SLICE", "SPLIT", "TRANSPOSE", "RESIZE_BILINEAR", "PAD", "SOFTMAX", "MEAN"):
        assert kind in kinds, kinds
    assert kinds <= OPERATORS.keys()
    assert workers.submit(nets.rebuilt_error, data, PICTURES).result() < 1e-4


@pytest.mark.parametrize("groups", [2, 8])
def test_rebuilt_grouped_convolutions_equal_the_file(groups: int, workers: LocalEngine) -> None:
    data = workers.submit(nets.grouped, groups).result()
    assert workers.submit(nets.rebuilt_error, data, PICTURES).result() < 1e-4


def test_the_rebuilt_sample_equals_the_file(workers: LocalEngine, tflite: Source) -> None:
    graph = tflite.graph
    assert [graph.tensors[index].shape for index in trained_ends(graph)] == [(1, 1917, 4), (1, 1917, 91)]
    random_images = np.random.default_rng(0).uniform(-1, 1, (2, 300, 300, 3)).astype(np.float32)
    assert workers.submit(nets.rebuilt_error, tflite.data, random_images).result() < 1e-3


def test_unsupported_operators_are_refused_first(tflite: Source) -> None:
    ops = [replace(op, kind="TOPK_V2") if op.kind == "ADD_N" else op for op in tflite.graph.ops]
    with pytest.raises(QuantizeError, match="does not support the operators TOPK_V2"):
        plan_for(replace(tflite.graph, ops=tuple(ops)), recipe_of("int8"))


@pytest.mark.parametrize(
    ("recipe", "steps", "sentence"),
    [
        ("float16", 10, "float16 cannot be trained: it only rounds to half precision"),
        ("dynamic_range_int4_blockwise", 10, "its scales belong to blocks"),
        ("int8", 0, "0 training steps are not possible"),
    ],
)
def test_models_that_cannot_be_trained_are_refused(recipe: str, steps: int, sentence: str, tflite: Source) -> None:
    with pytest.raises(QuantizeError, match=sentence):
        plan_for(tflite.graph, recipe_of(recipe), steps)


def test_a_quantized_model_is_refused(sample: Sample) -> None:
    with pytest.raises(QuantizeError, match="The file is already int8"):
        check_training(read_graph(sample.models["int8"].read_bytes()), recipe_of("int8"))


class Recorded(Progress):
    """Counts and losses of the partial results."""

    def __init__(self) -> None:
        self.counts: list[tuple[int, int]] = []
        self.losses: list[tuple[float, ...]] = []

    def advance(self, done: int, total: int) -> None:
        self.counts.append((done, total))

    def partial(self, result: object) -> None:
        assert isinstance(result, QatResult) and result.gain is None
        self.losses.append(result.losses)


def test_training_lowers_the_loss_and_the_file_has_the_trained_weights(
    engine: LocalEngine, dense: Source, pictures: list[EncodedImage], tmp_path: Path
) -> None:
    checkpoint, progress = tmp_path / "kept.npz", Recorded()
    plan = Plan("dynamic_range_int4", steps=60, batch=4, rate=5e-3)
    result = train(Context(engine, progress=progress), dense, pictures, plan, None, checkpoint)
    assert len(result.losses) == 60 and progress.losses[-1] == result.losses
    assert progress.counts[-1] == (60, 60)
    assert result.built is not None and result.untrained is not None
    assert np.mean(result.losses[-10:]) < 0.7 * np.mean(result.losses[:10])
    assert result.built.scheme is result.untrained.scheme is Scheme.DYNAMIC_RANGE
    graph = dense.graph
    axes = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
    weights = {graph.tensors[op.inputs[1] or 0].name: axes[op.kind] for op in graph.ops if op.kind in axes}
    assert len(weights) == 5
    assert nets.off_the_grid(result.float_data, result.built.data, weights) < 0.01  # already rounded as in training
    assert nets.off_the_grid(dense.data, result.untrained.data, weights) > 0.4
    with pytest.raises(QuantizeError, match="belongs to another training"):
        train(Context(engine), dense, pictures, replace(plan, steps=61), None, checkpoint)


class StopsAfterTheFirstSteps(Progress):
    """Sets an event after the first loss."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def partial(self, result: object) -> None:
        self._event.set()


def test_int8_training_trains_ranges_and_can_be_stopped(
    engine: LocalEngine, dense: Source, dense_ranges: Calibration, pictures: list[EncodedImage], tmp_path: Path
) -> None:
    checkpoint, stop = tmp_path / "kept.npz", threading.Event()
    plan = Plan("int8", steps=1000, batch=4, rate=1e-2)
    context = Context(engine, progress=StopsAfterTheFirstSteps(stop))
    result = train(context, dense, pictures, plan, dense_ranges, checkpoint, stop)
    assert result.built is not None and result.untrained is not None
    assert 1 <= len(result.losses) < 1000
    assert result.built.scheme is result.untrained.scheme is Scheme.INT8
    inputs = [read_graph(model.data).tensors for model in (result.built, result.untrained)]
    scales = [[t.quantization.scales[0] for t in side if t.dtype == "int8" and t.quantization] for side in inputs]
    assert len(scales[0]) == len(scales[1]) and scales[0] != scales[1]  # including those of activations
    again = train(Context(engine), dense, pictures, plan, dense_ranges, checkpoint, stop)
    assert again.built is not None and again.built.data == result.built.data
    assert (again.resumed_at, again.losses) == (len(result.losses), result.losses)


def test_resuming_gives_the_same_result(
    workers: LocalEngine, dense: Source, pictures: list[EncodedImage], tmp_path: Path
) -> None:
    archive = packed(pictures)
    shared = workers.share(dense.data, dense.digest), workers.share(archive, digest_of(archive))
    plan = Plan("dynamic_range", steps=8, batch=4)
    job = Job(*shared, dense.settings, plan, None, "training", tmp_path / "kept.npz")
    whole, broken, same = workers.submit(nets.steps_with_and_without_a_break, job, 8).result()
    assert whole == broken and same


def test_a_cancelled_training_stops(
    engine: LocalEngine, dense: Source, pictures: list[EncodedImage], tmp_path: Path
) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        train(Context(engine, cancel=cancel), dense, pictures, Plan("dynamic_range"), None, tmp_path / "kept.npz")


def test_a_damaged_checkpoint_is_refused(
    engine: LocalEngine, dense: Source, pictures: list[EncodedImage], tmp_path: Path
) -> None:
    (tmp_path / "kept.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(QuantizeError, match=r"kept\.npz is damaged"):
        train(Context(engine), dense, pictures, Plan("dynamic_range"), None, tmp_path / "kept.npz")


def test_the_holdout_is_split_by_content(pictures: list[EncodedImage]) -> None:
    used, holdout = split([*pictures, *pictures])
    assert (len(used), len(holdout)) == (9, 3)
    assert not {image.digest for image in used} & {image.digest for image in holdout}
    assert split(pictures[::-1]) == (used, holdout)
    with pytest.raises(QuantizeError, match="at least 10 different images"):
        split(pictures[:9] * 2)


def _scores(rows: int, classes: int) -> np.ndarray:
    result = np.full((2, rows, classes), 0.01)
    result[:, 0, 0] = 0.9
    return result


def test_columns_are_classified() -> None:
    random = np.random.default_rng(0)
    boxes = random.uniform(0, 1, (2, 100, 4))
    assert not columns_of(boxes).scores.any()
    logits = columns_of(random.normal(-6, 1, (2, 100, 7)))
    assert logits.scores.all() and logits.logits
    with_objectness = np.concatenate([300 * boxes, _scores(100, 1), np.full((2, 100, 2), 0.6)], axis=2)
    assert columns_of(with_objectness, objectness=4).objectness == 4
    assert columns_of(boxes, objectness=4).objectness is None
    yolo = columns_of(np.moveaxis(np.concatenate([300 * boxes, _scores(100, 5)], axis=2), 1, 2))  # (2, 9, 100)
    assert yolo.channels_first and yolo.rows == 100
    assert yolo.scores.tolist() == [False] * 4 + [True] * 5 and not yolo.logits
