"""`qviz evaluate`: the gate on a bound of the interval, the Markdown summary, and images without annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.keys import EVALUATE, OUT_OF_RANGE, missing
from tests.conftest import Sample
from tests.datasets.tfrecords import png

FEW = ("cat_chelsea.jpg", "dog_shepherd.jpg", "hens.jpg", "mariachi.jpg")


@pytest.fixture(scope="module")
def dataset(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the sample's images."""
    document = json.loads(sample.annotations.read_text())
    ids = {row["id"] for row in document["images"] if row["file_name"] in FEW}
    document["images"] = [row for row in document["images"] if row["id"] in ids]
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] in ids]
    path = tmp_path_factory.mktemp("few") / "few.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def call(sample: Sample, dataset: Path) -> tuple[object, ...]:
    models = sample.models["float32"], sample.models["int8_wrong_range"]
    return ("evaluate", *models, "--dataset", dataset, "--images", sample.images, "--workers", "1")


def test_a_gate_compares_the_chosen_bound(run: Run, call: tuple[object, ...]) -> None:
    loss = run(*call, "--json").json["losses"][0]["ap"]
    assert loss["low"] < loss["value"] < loss["high"]
    middle = {"lower": (loss["low"] + loss["value"]) / 2, "upper": (loss["value"] + loss["high"]) / 2}
    for bound, limit, status in (
        (None, middle["lower"], 1),
        ("lower", middle["lower"], 0),
        (None, middle["upper"], 0),
        ("upper", middle["upper"], 1),
    ):
        confident = ("--confident", bound) if bound else ()
        result = run(*call, "--json", "--max-ap-loss", limit, *confident)
        assert (result.status, result.json["gate"]["confident"]) == (status, bound)
        assert result.json["gate"]["passed"] is (status == 0)


def test_a_gate_on_recall_at_a_confidence(run: Run, call: tuple[object, ...], sample: Sample) -> None:
    result = run(*call, "--json", "--at", "0.3", "--max-recall-loss", "0.05", "--max-ap-loss", "1")
    first, second = result.json["operating_points"]
    loss = result.json["losses"][0]["operating_point"]["recall"]["value"]
    assert first["threshold"] == second["threshold"] == 0.3
    assert loss == pytest.approx(first["recall"] - second["recall"], abs=1e-6)
    gate = result.json["gate"]
    assert (result.status, gate["passed"], gate["recall"]["passed"]) == (1, False, False)
    assert len(gate["recall"]["failed"]) == 1 and gate["failed"] == []
    passed = run(*call[:2], sample.models["float16"], *call[3:], "--at", "0.5", "--max-recall-loss", "0.2")
    assert passed.status == 0
    assert "at a confidence of 0.50" in passed.out and "points of recall lost: passed" in passed.out


def test_slices_of_images_and_objects(run: Run, call: tuple[object, ...]) -> None:
    result = run(*call, "--json", "--slices", "size,brightness", "--max-recall-loss", "1", "--gate-slices")
    rows = result.json["slices"]
    assert {row["trait"] for row in rows} <= {"size", "brightness"} and rows
    assert missing(EVALUATE, result.json) == []
    objects = result.json["operating_points"][0]["truths"]
    assert sum(row["truths"] for row in rows if row["trait"] == "size") == objects
    assert (result.status, result.json["gate"]["slices"]) == (0, True)


def test_a_limit_on_masks_of_a_detector_of_boxes(run: Run, call: tuple[object, ...]) -> None:
    result = run(*call, "--json", "--max-mask-ap-loss", "0.5", "--max-ap-loss", "1")
    gate = result.json["gate"]
    assert (result.status, gate["max_ap_loss"], gate["mask_ap"]["max_mask_ap_loss"]) == (2, 1, 0.5)
    assert gate["mask_ap"]["inconclusive"].startswith("None of the models returns masks") and not gate["passed"]


def test_alarms_by_slice(run: Run, call: tuple[object, ...]) -> None:
    """Every image leaves the ranges of `int8_wrong_range`."""
    result = run(*call, "--json", "--slices", "size", "--out-of-range")
    assert missing(EVALUATE | {"out_of_range": [OUT_OF_RANGE]}, result.json) == []
    (rows,) = result.json["out_of_range"]
    assert rows["alarms"] == rows["images"] and {row["share"] for row in rows["slices"]} == {1.0}
    assert [row["group"] for row in rows["slices"]] == [row["group"] for row in result.json["slices"]]
    assert rows["gain"] is None


def test_slices_by_the_columns_of_a_file(run: Run, call: tuple[object, ...], tmp_path: Path) -> None:
    """Columns are traits; the exported list of images is safe in a spreadsheet; an unknown trait is refused."""
    traits, images = tmp_path / "traits.csv", tmp_path / "images.csv"
    rows = [f"{name},{'=1+1' if number % 2 else 'rain'}" for number, name in enumerate(FEW)]
    traits.write_text("\n".join(["image,weather", *rows]))
    result = run(*call, "--json", "--traits", traits, "--slice-images", images)
    assert result.status == 0, result.err
    assert {(row["trait"], row["group"]) for row in result.json["slices"]} == {("weather", "rain"), ("weather", "=1+1")}
    lines = images.read_text().splitlines()
    assert lines[0] == "trait,group,image" and len(lines) == 1 + len(FEW)
    assert f"weather,'=1+1,{FEW[1]}" in lines and f"weather,rain,{FEW[0]}" in lines
    refused = run(*call, "--traits", traits, "--slices", "class+fog")
    assert refused.status == 2 and "There is no trait 'fog'; there are " in refused.err and "weather" in refused.err


def test_an_undecided_gate_is_explained_on_standard_error(run: Run, call: tuple[object, ...]) -> None:
    loss = run(*call, "--json").json["losses"][0]["ap"]
    limit = min((loss["low"] + loss["high"]) / 2, 0.9 * (loss["high"] - loss["low"]))
    limit = max(limit, loss["low"] + 1e-4)
    result = run(*call, "--max-ap-loss", limit, "--confident", "lower")
    assert "Undecided with 4 images" in result.err
    strict = run(*call, "--max-ap-loss", limit, "--strict")
    assert (strict.status, "cannot conclude" in strict.out) == (2, True)


def test_the_summary_is_appended(run: Run, call: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# before\n")
    result = run(*call, "--markdown", path, "--max-ap-loss", "0.001")
    text = path.read_text()
    assert result.status == 1
    assert text.startswith("# before\n## qviz: few.json, 4 images")
    assert "**failed** by ssdlite" in text
    run(*call, "--markdown", path)
    assert path.read_text().count("## qviz") == 2


def test_a_summary_that_cannot_be_written_is_an_error(run: Run, call: tuple[object, ...], tmp_path: Path) -> None:
    result = run(*call, "--markdown", tmp_path / "nowhere" / "summary.md")
    assert (result.status, result.out) == (2, "")
    assert "summary.md cannot be written (No such file or directory)." in result.err


def test_the_reference_as_truth_needs_no_dataset(run: Run, sample: Sample, tmp_path: Path) -> None:
    for name in FEW[:2]:
        (tmp_path / name).write_bytes((sample.images / name).read_bytes())
    models = sample.models["float32"], sample.models["float16"]
    result = run("evaluate", *models, "--images", tmp_path, "--reference-as-truth", "--json", "--workers", "1")
    assert result.status == 0
    assert (result.json["dataset"]["images"], result.json["dataset"]["reference_as_truth"]) == (2, True)
    assert result.json["models"][0]["ap"] == pytest.approx(1.0)
    assert "serve as the ground truth" in result.err


def test_a_reference_without_objects_cannot_stand_for_the_truth(run: Run, sample: Sample, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    models = sample.models["float32"], sample.models["float16"]
    result = run("evaluate", *models, "--images", tmp_path, "--reference-as-truth", "--workers", "1")
    assert (result.status, result.out) == (2, "")
    assert "detects no object with a confidence of 0.25 or more on these images" in result.err


REFUSED = [
    ((), "No dataset is given; add --dataset FILE, or --reference-as-truth with --images PATH"),
    (("--reference-as-truth",), "No dataset is given"),
    (("--images", "."), "No dataset is given"),
    (("--dataset", "x.json", "--strict"), "--strict needs a limit, and none is given"),
    (("--dataset", "x.json", "--confident", "lower"), "--confident needs a limit, and none is given"),
    (("--dataset", "x.json", "--at", "2"), "The operating point is 2.0; a confidence between 0 and 1 is expected"),
    (("--dataset", "x.json", "--at", "none.json"), "not a file that can be read (No such file or directory)"),
    (("--dataset", "x.json", "--slice-images", "x.csv"), "--slice-images writes the images of slices; add e.g."),
    (("--dataset", "x.json", "--out-of-range"), "--out-of-range is about slices; add e.g. --slices all."),
    (("--dataset", "x.json", "--calibration", "."), "--calibration measures what images of a slice bring; add"),
    (("--dataset", "x.json", "--gate-slices"), "--gate-slices needs a limit, and none is given"),
    (("--dataset", "x.json", "--max-ap-loss", "2"), "'2' is not a number between -1 and 1"),
    (("--dataset", "x.json", "--images", "a.jpg", "b.jpg"), "A dataset has its own images"),
    (("--dataset", "nowhere.json"), "nowhere.json does not exist"),
]


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
def test_an_incomplete_call_is_refused(options: tuple[str, ...], sentence: str, run: Run, sample: Sample) -> None:
    model = sample.models["int8"]
    result = run("evaluate", model, model, *options, "--workers", "1")
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err
    assert "Traceback" not in result.err
