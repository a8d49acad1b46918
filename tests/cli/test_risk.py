"""`qviz risk`: JSON keys, CSV, table and refusals; changes are those of `qviz compare`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample


def test_risk_of_the_sample(run: Run, sample: Sample, tmp_path: Path) -> None:
    models = sample.models["float32"], sample.models["int8_wrong_range"]
    call = (*models, "--images", sample.images, "--cache", tmp_path)
    result = run("risk", *call, "--json")
    assert (result.status, keys.missing(keys.RISK, result.json)) == (0, [])
    document = result.json
    assert document["cross_fitted"] and document["images"] == len(list(sample.images.iterdir()))
    (variant,) = run("compare", *call, "--json").json["variants"]
    changes = {
        (image["image"], *row["reference_box"]): row["change"]
        for image in variant["images"]
        for row in image["objects"]
        if row["reference_box"]
    }
    objects = {(row["image"], *row["box"]): row["change"] for row in document["objects"]}
    assert objects == changes
    lost, relabelled = document["tests"]
    assert lost["events"] == variant["summary"]["lost"] and lost["shown"] and not relabelled["shown"]
    assert all(0 <= row["lost"] <= 1 and row["relabelled"] is None for row in document["objects"])
    assert sum(row["objects"] for row in document["per_class"]) == len(document["objects"])
    rows = list(csv.DictReader(io.StringIO(run("risk", *call, "--csv").out)))
    assert [float(row["lost"]) for row in rows] == [row["lost"] for row in document["objects"]]
    table = run("risk", *call).out
    assert "Relabelled: the risk is not shown. Its AUROC on other images is" in table
    assert "lost, tenths of the objects by rising risk" in table and "classes with the highest risk" in table


def test_images_that_calibrate_are_refused(run: Run, sample: Sample) -> None:
    image = sample.images / "hens.jpg"
    models = sample.models["float32"], sample.models["int8"]
    result = run("risk", *models, "--images", image, "--calibration", image)
    assert result.status == 2
    assert "All images are calibration images too; the risk is tested on other ones. Give others." in result.err
