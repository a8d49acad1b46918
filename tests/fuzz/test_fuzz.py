"""A small share of `make fuzz`, and every file that once crashed qviz or gave a wrong result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qviz import optional
from qviz.engine import LocalEngine
from qviz.features.detection.models import ModelSource
from qviz.structures import EncodedImage, digest_of
from tests.fuzz.containers import fuzz_onnx, fuzz_videos
from tests.fuzz.documents import KINDS as DOCUMENTS
from tests.fuzz.documents import fuzz_documents
from tests.fuzz.images import hostile_image
from tests.fuzz.meanings import KINDS as MEANINGS
from tests.fuzz.meanings import meaning
from tests.fuzz.models import KINDS, mutant
from tests.fuzz.recordings import fuzz_recordings
from tests.fuzz.run import Witness, fuzz_engine, fuzz_images, fuzz_models, tried_image, tried_model

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with fuzz_engine() as running:
        yield running


@pytest.mark.slow
def test_a_share_of_the_damaged_models(engine: LocalEngine) -> None:
    tally = fuzz_models(engine, range(2_000, 2_000 + 3 * len(KINDS)))
    assert tally.failures == []
    assert tally.ends.total() == 3 * len(KINDS)
    assert tally.ends["refused: ModelError"] and any(end.startswith("ran") for end in tally.ends), tally.ends


@pytest.mark.slow
def test_a_share_of_the_hostile_images(engine: LocalEngine) -> None:
    tally = fuzz_images(engine, range(500, 560))
    assert tally.failures == []
    assert tally.ends["refused: ImageError"] and tally.ends["decoded"], tally.ends


@pytest.mark.slow
def test_one_of_each_impossible_meaning(engine: LocalEngine) -> None:
    small = [number for number in range(200) if meaning(number).base == "small"][: len(MEANINGS)]
    assert len({meaning(number).kind for number in small}) == len(MEANINGS)
    tally = fuzz_models(engine, small, meaning)
    assert tally.failures == []
    assert tally.ends["refused: ModelError"] and any(end.startswith("ran") for end in tally.ends), tally.ends


def test_a_share_of_the_hostile_documents() -> None:
    tally = fuzz_documents(range(3_000, 3_100))
    assert tally.failures == []
    assert tally.ends.total() == 100
    for kind in DOCUMENTS:
        assert any(end.startswith(kind) and "refused" in end for end in tally.ends) == (kind != "annotations"), kind
    assert tally.ends["annotations read, AP as pycocotools' on the file"] > 1, tally.ends
    assert tally.ends["annotations read without some entries; AP as the peers'"] > 5, tally.ends


def test_a_share_of_the_damaged_videos_and_onnx_files(engine: LocalEngine) -> None:
    videos = fuzz_videos(engine, range(12))
    assert videos.failures == []
    assert videos.ends["refused: ImageError"] and videos.ends["some frames"] + videos.ends["all frames"], videos.ends
    if optional.is_installed("onnx"):
        assert fuzz_onnx(engine, range(10)).failures == []


def test_a_share_of_the_damaged_recordings(engine: LocalEngine) -> None:
    tally = fuzz_recordings(engine, range(24))
    assert tally.failures == []
    assert tally.ends["refused: RecordingError"] and tally.ends["read"], tally.ends


@pytest.fixture(scope="module")
def witness(engine: LocalEngine) -> Witness:
    return Witness(engine)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_recorded_case_gives_a_result_or_an_error_sentence(
    engine: LocalEngine, witness: Witness, path: Path
) -> None:
    case = json.loads(path.read_text())
    what = {"model": mutant, "meaning": meaning, "image": hostile_image}[case["what"]](case["number"])
    assert digest_of(what.data) == case["sha256"], "the generator makes another file: keep this one some other way"
    if case["what"] in ("model", "meaning"):
        end = tried_model(engine, ModelSource(what.name, what.data), witness, case.get("deeper", ""))
    else:
        end = tried_image(engine, EncodedImage(what.name, what.data))
    assert end in case["ends"]
    assert witness.same()


def test_the_same_number_is_the_same_file() -> None:
    assert mutant(5) == mutant(5) and mutant(5).data != mutant(5 + len(KINDS)).data
    assert hostile_image(3) == hostile_image(3)
