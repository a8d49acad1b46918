"""Run qviz on damaged files: each must give a result or an error sentence, and other results must stay correct.

A model is loaded, described as by `qviz info --json`, and run on an image. Some of the models that run are also
compared layer by layer with a valid one, traced, or quantized. After every few files, two valid models are run in the
same workers; their results must be the same to the last bit. The detections of every model that runs must be those of
LiteRT's own interpreter (`other_route`).
"""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.datasets.images import image_sizes
from qviz.detector import preview_job
from qviz.engine import Engine, LocalEngine, importing
from qviz.errors import ImageError, QvizError, WorkerError
from qviz.features.building.build import start_building
from qviz.features.building.source import source_of
from qviz.features.comparison import Comparison, compare_variant
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel, ModelSource, load_model
from qviz.features.inspection import info
from qviz.features.layer_error import layers
from qviz.features.tracing import trace
from qviz.structures import EncodedImage, Inference
from tests.fuzz.images import hostile_image
from tests.fuzz.models import ROOT, Mutant, base, mutant
from tests.fuzz.other_route import by_other_route, differences

JOB_SECONDS = 10.0
TIMEOUT = 20 * JOB_SECONDS
"""Seconds after which a file is considered to hang, even if each of its jobs kept its own limit."""
WITNESS_EVERY = 8
SCORE = 0.05
"""Confidence threshold of all detections."""
DEEPER = {0: "layers", 3: "quantize", 5: "layers", 7: "trace"}
"""Last digit of a model's number -> what else is done with it if it runs."""


@dataclass(slots=True)
class Tally:
    """The outcomes of several files.

    Attributes:
        ends: Outcome -> number of files.
        failures: One paragraph per crash or invalid result.
    """

    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        self.ends["FAILED"] += 1
        self.failures.append(what)
        print(what, file=sys.stderr, flush=True)


@contextmanager
def fuzz_engine(workers: int = 2, seconds: float = JOB_SECONDS) -> Iterator[LocalEngine]:
    with LocalEngine(workers, seconds, 2 << 30, importing("qviz.detector")) as engine:
        yield engine


class Witness:
    """The results of two valid models on a photograph, to be compared with later results of the same models."""

    def __init__(self, engine: Engine) -> None:
        self.image: EncodedImage = next(iter(load_images([ROOT / "sample_data/images/hens.jpg"])))
        self._engine = engine
        self.models = [load_model(engine, ModelSource(f"{name}.tflite", base(name))) for name in ("float32", "int8")]
        self._first = self._numbers()
        assert self._first is not None, "the valid models do not run"

    def same(self) -> bool:
        return self._numbers() == self._first

    def _numbers(self) -> list[bytes] | None:
        """The detections of each model; None if one was stopped."""
        result = detect_images(Context(self._engine), self.models, [self.image], 1, SCORE)
        if result.skipped:
            return None
        return [_bits(result.inferences[model.digest, self.image.digest]) for model in self.models]


def _bits(inference: Inference) -> bytes:
    result = inference.detections
    return b"|".join(values.tobytes() for values in (result.boxes, result.scores, result.class_ids))


def fuzz_models(engine: Engine, numbers: Iterable[int], make: Callable[[int], Mutant] = mutant) -> Tally:
    """Try the models with these numbers. make: function that makes a model from its number."""
    witness = Witness(engine)

    def one(number: int) -> str:
        damaged = make(number)
        source = ModelSource(damaged.name, damaged.data)
        return tried_model(engine, source, witness, DEEPER.get(number % 10, ""))

    def label(number: int) -> str:
        damaged = make(number)
        return f"{damaged.name} ({damaged.kind} of {damaged.base})"

    return each(engine, list(numbers), one, label, witness)


def fuzz_images(engine: Engine, numbers: Iterable[int]) -> Tally:
    """Try the hostile images with these numbers."""

    def one(number: int) -> str:
        hostile = hostile_image(number)
        return tried_image(engine, EncodedImage(hostile.name, hostile.data))

    def label(number: int) -> str:
        hostile = hostile_image(number)
        return f"{hostile.name} ({hostile.kind} of {hostile.base})"

    return each(engine, list(numbers), one, label, Witness(engine))


def each(
    engine: Engine, numbers: list[int], one: Callable[[int], str], label: Callable[[int], str], witness: Witness
) -> Tally:
    """Try several files, as many at a time as there are workers.

    Args:
        one: Tries the file with a number and returns its outcome.
        label: Returns the name of the file with a number.
    """
    tally = Tally()
    with ThreadPoolExecutor(engine.workers) as threads:
        for start in range(0, len(numbers), WITNESS_EVERY):
            jobs = {number: threads.submit(one, number) for number in numbers[start : start + WITNESS_EVERY]}
            for number, job in jobs.items():
                try:
                    tally.ends[job.result(timeout=TIMEOUT)] += 1
                except WorkerError as error:
                    tally.fail(f"{label(number)}: {type(error).__name__} where none may be: {error}")
                except Late:
                    tally.fail(f"{label(number)} hung for more than {TIMEOUT:.0f} s")
                except Exception as error:
                    tally.fail(f"{label(number)}: {type(error).__name__}\n{''.join(traceback.format_exception(error))}")
            if not witness.same():
                tally.fail(f"healthy models gave other numbers, or none, after {', '.join(map(label, jobs))}")
    return tally


def tried_model(engine: Engine, source: ModelSource, witness: Witness, deeper: str = "") -> str:
    """The outcome of one model. Raises all errors except QvizError, and AssertionError for a NaN or infinite number."""
    try:
        model = load_model(engine, source)
    except QvizError as error:
        assert str(error).startswith(source.name) and len(str(error)) < 5_000, str(error)[:5_000]
        return f"refused: {type(error).__name__}"
    reference = witness.models[0]
    json.dumps(info(Context(engine), [model], against=reference).to_json(), allow_nan=False)
    model = replace(model, inspection=model.inspection.following(reference.inspection))
    result = detect_images(Context(engine), [reference, model], [witness.image], 1, SCORE)
    inference = result.inferences.get((model.digest, witness.image.digest))
    if inference is None:
        assert result.skipped, "neither a result nor a sentence"
        return "refused as it ran"
    check_numbers(inference)
    checked = _check_route(engine, model, witness, inference)
    compared = compare_variant(reference, model, result.images, result.inferences, 0.25, 0.5)
    json.dumps(Comparison(reference.name, (compared,)).to_json(), allow_nan=False)
    return checked + _looked_into(engine, model, witness, deeper)


def _check_route(engine: Engine, model: LoadedModel, witness: Witness, inference: Inference) -> str:
    """Assert that another route gives the same detections; returns the outcome, which is `ran` if both routes agree."""
    if model.inspection.runtime:
        return "ran, not compared"  # by ONNX Runtime
    try:
        results = engine.submit(by_other_route, model.blob, model.settings, witness.image, SCORE).result()
    except WorkerError:
        return "ran, not compared"
    assert not (what := differences(inference.detections, *results)), what
    return "ran" if results[1] is not None else "ran, decoded by qviz alone"


def _looked_into(engine: Engine, model: LoadedModel, witness: Witness, deeper: str) -> str:
    """Compare the model's layers, trace an object in it, or quantize it, as `deeper` says; returns the outcome."""
    if not deeper:
        return ""
    reference, image = witness.models[0], witness.image
    try:
        if deeper == "layers":
            json.dumps(layers(Context(engine), reference, model, [image]).to_json(), allow_nan=False)
        elif deeper == "trace":
            json.dumps(trace(Context(engine), reference, model, image, quick=True).to_json(), allow_nan=False)
        else:
            start_building(engine, source_of(model), "dynamic_range").result()
    except QvizError as error:
        return f", {deeper} refused: {type(error).__name__}"
    return f", {deeper} done"


def check_numbers(inference: Inference) -> None:
    """Assert that all detections are finite and all scores are in [0, 1]."""
    for result in (inference.detections, inference.candidates):
        if result is not None:
            assert np.isfinite(result.boxes).all() and np.isfinite(result.scores).all()
            assert (result.scores >= 0).all() and (result.scores <= 1).all()


def tried_image(engine: Engine, image: EncodedImage) -> str:
    """The outcome of one image. Raises all errors except QvizError.

    Raises WorkerError if reading the header kills or stops a worker, because the server itself reads the headers of
    annotated images.
    """
    try:
        engine.submit(image_sizes, image).result()
    except ImageError as error:
        assert len(str(error)) < 1_000, str(error)
    try:
        width, height, jpeg = engine.submit(preview_job, image, 320).result()
    except QvizError as error:
        return f"refused: {type(error).__name__}"
    assert min(width, height) >= 2 and width * height <= 50_000_000 and jpeg[:2] == b"\xff\xd8"
    return "decoded"
