"""Each cause on a file with that fault planted, each suspect cleared by experiment, and the cures that follow."""

from __future__ import annotations

import itertools
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageOps
import pytest

from qviz.cli import build_parser
from qviz.engine import LocalEngine
from qviz.errors import Cancelled
from qviz.features import diagnosis
from qviz.features.diagnosis import Diagnosis
from qviz.features.diagnosis.text import best_cure, note, what_helps, why
from qviz.features.what_if.text import culprit_sentence
from qviz.formatting import score
from qviz.progress import Progress
from qviz.session import Session
from tests.conftest import Sample
from tests.squares import Squares
from tests.test_squares import session

NAMES = ("biplane.jpg", "dog_shepherd.jpg", "horses_nokota.jpg")


class Partials(Progress):
    """Collects the results so far; sets `stop`, if there is one, at the first."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.results: list[Diagnosis] = []
        self._stop = stop

    def partial(self, result: object) -> None:
        assert isinstance(result, Diagnosis)
        self.results.append(result)
        if self._stop is not None:
            self._stop.set()


@pytest.fixture
def opened(engine: LocalEngine, squares: Squares) -> Callable[..., Session]:
    def pair(reference: Path, variant: Path, **settings: Any) -> Session:
        given = {"dataset": None, "dataset_images": None, "images": squares.images} | settings
        return session(engine, squares, reference, variant, **given)

    return pair


def test_a_wrong_input_range_is_named_and_its_cure_is_a_command(sample: Sample, engine: LocalEngine) -> None:
    files, images = (sample.models["float32"], sample.models["int8_wrong_range"]), [sample.images / n for n in NAMES]
    progress = Partials()
    with Session(*files, images=images, engine=engine, cache=False, progress=progress) as opened_sample:
        result = opened_sample.diagnose()
        experiment = opened_sample.what_if(quick=True)
    first = result.causes[0]
    assert (first.code, first.operators[0]) == ("input_range", 0) and (first.explained or 0) > 0.4
    assert result.same_network.value == "yes" and result.complete and result.images == len(NAMES)
    assert "clips" in result.verdict and first.subject in result.verdict
    assert result.experiment is not None and result.experiment.named == experiment.named
    assert first.subject in culprit_sentence(experiment), "Layers, Trace and report name the same operators"
    assert not [partial for partial in progress.results[:-1] if partial.complete]
    assert progress.results[0].causes == () and progress.results[-1].causes == result.causes
    cure = best_cure(result)
    assert cure is not None and cure.code == "recalibrate" and cure.predicted is not None
    assert (cure.predicted.value or 0) > (result.agreement or 0)
    words = shlex.split(cure.command)
    parsed = build_parser("quantize").parse_args(words[1:])
    assert words[0] == "qviz" and str(parsed.reference) == str(files[0]) and parsed.recipe == "int8"
    assert why(result) == first.sentence and cure.sentence in what_helps(result)
    assert all(trace.culprits[0].order in first.operators for trace in result.traces)


def test_nothing_is_blamed_on_quantization_in_another_network(opened: Callable[..., Session], squares: Squares) -> None:
    with opened(squares.model("reference"), squares.model("bgr_inside")) as pair:
        result = pair.diagnose()
    (cause,) = result.causes
    assert (cause.code, cause.operators, cause.explained) == ("not_same_network", (), None)
    assert result.verdict == result.same_network.reason and "channels" in result.cures[0].sentence
    assert result.experiment is None and not result.suspects


def test_weights_on_one_scale_are_distinguished_from_activations(
    opened: Callable[..., Session], squares: Squares
) -> None:
    with opened(squares.model("spread_weights"), squares.model("spread_weights", "int8_per_tensor")) as pair:
        result = pair.diagnose()
    first = result.causes[0]
    assert first.code == "weights"
    assert "output channel 2" in first.sentence and "rounded to zero, as all channels share one scale" in first.sentence
    measured_weights = next(row for row in first.evidence if "own weights" in row.figure)
    assert (measured_weights.value or 0) < 0.5 * 100 * (first.explained or 0), (
        "with the variant's weights nothing comes back"
    )
    assert "wide_operators" not in {cure.code for cure in result.cures}, "16-bit activations do not mend weights"


def test_the_first_answer_is_from_few_images_and_does_not_change_the_last(
    opened: Callable[..., Session], squares: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in squares.images.iterdir():
        PIL.ImageOps.mirror(PIL.Image.open(path)).save(tmp_path / f"mirrored_{path.name}")
    files, images = ("spread_weights", "int8_per_tensor"), [squares.images, tmp_path]
    progress = Partials()
    with opened(squares.model(files[0]), squares.model(*files), images=images, progress=progress) as pair:
        result = pair.diagnose()
        reported = list(progress.results)
        monkeypatch.setattr(diagnosis, "FIRST_IMAGES", 100)
        at_once = pair.diagnose()
    first = next(partial for partial in reported if partial.causes)
    assert (first.images, first.complete, result.images) == (8, False, 16)
    assert first.causes[0].evidence[0].where == "on 8 images" and "on 8 images" in first.verdict
    assert "So far measured on 8 of 16 images" in note(first) and "Measured on 16 images" in note(result)
    assert all(partial.causes for partial in reported[reported.index(first) :]), "it stays until there is a better one"
    assert (result.causes, result.suspects, result.cures) == (at_once.causes, at_once.suspects, at_once.cures)


def test_a_shared_scale_is_a_cause_where_it_costs_objects(opened: Callable[..., Session], squares: Squares) -> None:
    with opened(squares.model("end_to_end"), squares.model("end_to_end", "int8"), labels=None) as pair:
        result = pair.diagnose()
        graph = pair.models[1].inspection.graph
    first = result.causes[0]
    assert first.code == "shared_scale" and (first.explained or 0) > 0.5
    assert any(graph.ops[order].kind == "CONCATENATION" for order in first.operators)
    assert {"split_head", "wide_operators", "keep_float", "int16x8"} >= {cure.code for cure in result.cures} != set()
    predicted = [cure for cure in result.cures if cure.predicted is not None]
    assert list(result.cures[: len(predicted)]) == predicted, "those without a prediction come last"
    for one, other in itertools.pairwise(predicted):
        first_shown, second_shown = (score(cure.predicted and cure.predicted.value) for cure in (one, other))
        assert first_shown > second_shown or (first_shown == second_shown and (one.bytes or 0) <= (other.bytes or 0))
    for cure in result.cures:
        assert cure.plan is not None and all(name in cure.command for name in cure.plan.cures)


def test_what_looks_wrong_and_costs_nothing_is_no_cause(sample: Sample, engine: LocalEngine) -> None:
    files = sample.models["float32"], sample.models["int8_wrong_range"]
    with Session(*files, images=[sample.images / NAMES[2]], engine=engine, cache=False) as pair:
        result = pair.diagnose()
    assert result.suspects and all("not a cause" in row.sentence or "chance" in row.sentence for row in result.suspects)
    causes = {order for cause in result.causes for order in cause.operators}
    assert all(causes.isdisjoint(suspect.operators) for suspect in result.suspects)


def test_equal_models_have_no_cause(sample: Sample, engine: LocalEngine) -> None:
    files = sample.models["float32"], sample.models["float16"]
    with Session(*files, images=[sample.images / NAMES[0]], engine=engine, cache=False) as pair:
        result = pair.diagnose()
    assert result.causes == () == result.cures and result.complete
    assert result.agreement == 1.0 and "every object" in result.verdict


def test_it_stops_when_it_is_cancelled(sample: Sample, engine: LocalEngine) -> None:
    stop = threading.Event()
    files = sample.models["float32"], sample.models["int8_wrong_range"]
    with (
        Session(*files, images=sample.images, engine=engine, cache=False, cancel=stop, progress=Partials(stop)) as pair,
        pytest.raises(Cancelled),
    ):
        pair.diagnose()


def test_a_fix_is_measured_on_images_that_nothing_else_used(
    opened: Callable[..., Session], squares: Squares, tmp_path: Path
) -> None:
    images = sorted(squares.images.glob("*.png"))
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    for path in images[:2]:
        with PIL.Image.open(path) as picture:
            picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(calibration / path.name)
    files = squares.model("end_to_end"), squares.model("end_to_end", "int8")
    with opened(*files, labels=None, images=images) as pair:
        result = pair.diagnose(fix=True, calibration=calibration)
    best = result.cures[0]
    assert best.measured is not None and result.before is not None
    assert best.measured.images == result.before.images and result.images + best.measured.images == len(images) >= 8
    assert (best.measured.value or 0) > (result.before.value or 0)
    assert result.save(tmp_path / "fixed.tflite").stat().st_size == best.bytes
