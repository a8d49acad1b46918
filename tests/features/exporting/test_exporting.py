"""Exports are read back: COCO and YOLO by qviz's own readers, FiftyOne's format by FiftyOne where it is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qviz.cli import main
from qviz.datasets.annotated import read_dataset
from qviz.engine import LocalEngine
from qviz.errors import InputError, SettingsError
from qviz.features.exporting.text import worst_table
from qviz.session import Session
from qviz.structures import Dataset
from qviz.ui.demo import FOLDER, MODELS
from tests.features.exporting.sarif_schema import schema_errors


@pytest.fixture(scope="module")
def session(engine: LocalEngine) -> Iterator[Session]:
    models = [FOLDER / name for name in MODELS]
    with Session(*models, images=FOLDER / "images", engine=engine, cache=False) as session:
        yield session


def boxes(dataset: Dataset) -> list[list[float]]:
    names = {category.id: category.name for category in dataset.categories}
    rows = [
        [image.name, *(round(float(value), 1) for value in box), names[int(number)]]
        for image in dataset.images
        for box, number in zip(image.boxes, image.category_ids, strict=True)
    ]
    return sorted(rows)


def test_coco_and_yolo_have_the_reference_objects_of_the_changed_images(session: Session, tmp_path: Path) -> None:
    result = session.export(form="coco", worst=3)
    assert [image.lost + image.spurious for image in result.images] == sorted(
        (image.lost + image.spurious for image in result.images), reverse=True
    )
    folders = {form: session.export(form=form, worst=3).save(tmp_path / form) for form in ("coco", "yolo")}
    coco = read_dataset(folders["coco"] / "annotations.json", folders["coco"] / "images")
    yolo = read_dataset(folders["yolo"] / "data.yaml")
    expected = sorted(
        [image.file, *(round(value, 1) for value in row.reference_box or ()), row.label]
        for image in result.images
        for row in image.objects
        if row.reference_box is not None
    )
    assert len(expected) == 12
    for dataset in (coco, yolo):
        got = boxes(dataset)
        assert [(row[0], row[-1]) for row in got] == [(row[0], row[-1]) for row in expected]
        assert np.allclose([row[1:5] for row in got], [row[1:5] for row in expected], atol=0.11)
    assert coco.images[0].read() == result.images[0].data


def test_pictures_have_both_halves_in_the_colours_of_the_changes(session: Session, tmp_path: Path) -> None:
    result = session.export(worst=1)
    (image,) = result.images
    path = result.save(tmp_path / "pictures") / image.file
    pixels = np.asarray(Image.open(path).convert("RGB"), int)
    assert pixels.shape == (320, 646, 3)
    lost = next(row for row in image.objects if row.change == "lost")
    x1, y1, x2, y2 = (round(value) for value in lost.reference_box or ())
    middle = (x1 + x2) // 2
    left, right = pixels[max(y1, 0) : y2, middle], pixels[max(y1, 0) : y2, middle + 326]
    red = np.array([224, 64, 42])
    assert np.abs(left - red).sum(1).min() < 60 < np.abs(right - red).sum(1).min()
    assert "| s03.jpg | 2 lost, 2 spurious, 2 shifted | `out/worst_01.jpg` |" in worst_table(result, "out/")


def test_fiftyone_reads_its_format(session: Session, tmp_path: Path) -> None:
    folder = session.export(form="fiftyone").save(tmp_path / "fiftyone")
    labels = json.loads((folder / "labels.json").read_text())
    rows = [row for objects in labels["labels"].values() for row in objects]
    assert sum(row["attributes"]["change"] == "lost" for row in rows) == 12
    assert {path.stem for path in (folder / "data").iterdir()} == set(labels["labels"])
    importers = pytest.importorskip("fiftyone.utils.data.importers")
    with importers.FiftyOneImageDetectionDatasetImporter(str(folder)) as importer:
        loaded = {Path(path).stem: detections.detections for path, _, detections in importer}
    assert {name: len(objects) for name, objects in loaded.items()} == {
        name: len(objects) for name, objects in labels["labels"].items()
    }


def test_fiftyone_opens_the_dataset_with_all_attributes(session: Session, tmp_path: Path) -> None:
    """Needs FiftyOne and its database, whose address is in FIFTYONE_DATABASE_URI."""
    if "FIFTYONE_DATABASE_URI" not in os.environ:
        pytest.skip("no database for FiftyOne: set FIFTYONE_DATABASE_URI")
    fiftyone = pytest.importorskip("fiftyone")
    result = session.export(form="fiftyone")
    dataset = fiftyone.Dataset.from_dir(
        str(result.save(tmp_path / "fiftyone")), dataset_type=fiftyone.types.FiftyOneImageDetectionDataset
    )
    objects = [row for sample in dataset for row in sample["ground_truth"].detections]
    lost = [row for row in objects if row["change"] == "lost"]
    assert len(dataset) == len(result.images) == 8 and len(lost) == 12
    assert {row["model"] for row in objects} == {"reference", "variant"}
    assert all(row["lost_because"] for row in lost)
    shifted = dataset.filter_labels("ground_truth", fiftyone.ViewField("change") == "shifted")
    deltas = [row["score_delta"] for sample in shifted for row in sample["ground_truth"].detections]
    assert deltas and all(-1 <= delta <= 1 for delta in deltas)


def test_a_folder_with_files_is_left_alone(session: Session, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("x")
    with pytest.raises(InputError, match="is not empty; name a new folder"):
        session.export(worst=1).save(tmp_path)
    with pytest.raises(SettingsError, match="There is no form 'zip'; known: pictures, coco, yolo and fiftyone"):
        session.export(form="zip")


def test_evaluate_writes_alerts_and_the_worst_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    words = ["evaluate", *MODELS, "--dataset", "annotations.json", "--dataset-images", "images", "--no-cache"]
    files = ["--sarif", "a.sarif", "--worst-images", "worst", "--markdown", "s.md"]
    files = [word if word.startswith("--") else str(tmp_path / word) for word in files]
    with pytest.raises(SystemExit, match="1"):
        main([*words, "--max-ap-loss", "0.01", *files])
    alerts = json.loads((tmp_path / "a.sarif").read_text())
    assert schema_errors(alerts) == []
    (run,) = alerts["runs"]
    levels = {row["ruleId"]: row["level"] for row in run["results"]}
    assert levels == {"ap-loss": "error", "shared-concat-scale": "warning"}
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(levels)
    (location,) = run["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == MODELS[1]
    run["results"][0]["level"] = "fatal"
    (error,) = schema_errors(alerts)
    assert error == "$.runs[0].results[0].level: 'fatal' is not one of ['none', 'note', 'warning', 'error']"
    assert len(list((tmp_path / "worst").iterdir())) == 6
    assert "`worst/worst_06.jpg`" in (tmp_path / "s.md").read_text()
