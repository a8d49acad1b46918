"""detections of one model

A row an object: class, confidence and box in pixels of the original image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.context import Context
from qviz.errors import ImageError
from qviz.progress import Advance


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL")
    options.add_images(parser)
    options.add_settings(parser, score=0.25)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    from qviz.api import first_images
    from qviz.datasets.files import find_images, load_images
    from qviz.features.detection.detect import detect_images
    from qviz.features.detection.models import load_model, read_source
    from qviz.features.inspection.lint import lint_model
    from qviz.features.settings import guess_settings

    options.check_fraction("--score", args.score)
    paths = find_images(args.images)
    source = read_source(args.model, options.settings_of(args))
    with options.engine_of(args) as engine, options.store_of(args) as store:
        model = guess_settings(engine, load_model(engine, source), first_images(paths))
        found = detect_images(
            Context(engine, store=store, threads=args.threads, progress=Advance(options.show_progress)),
            [model],
            load_images(paths),
            len(paths),
            args.score,
        )
    options.remark_warnings(tuple(warning.to_json() for warning in lint_model(model, args.threads)))
    options.remark(found.skipped)
    if not found.images:
        raise ImageError("No image could be run.")
    images = [
        _image(name, found.inferences[model.digest, digest], model.inspection.label) for name, digest in found.images
    ]
    _print(args, images)
    return 0


def _image(name: str, inference: Any, label: Any) -> dict[str, Any]:
    rows = inference.detections
    return {
        "image": name,
        "width": inference.width,
        "height": inference.height,
        "milliseconds": inference.milliseconds,
        "detections": [
            {
                "label": label(int(class_id)),
                "class_id": int(class_id),
                "score": float(score),
                "box": [float(value) for value in box],
            }
            for box, score, class_id in zip(rows.boxes, rows.scores, rows.class_ids, strict=True)
        ],
    }


def _print(args: argparse.Namespace, images: list[dict[str, Any]]) -> None:
    if args.json:
        output.print_json({"images": images})
        return
    columns = ["image", "label", "class_id", "score", "x1", "y1", "x2", "y2"]
    rows = [
        [image["image"], row["label"], row["class_id"], row["score"], *row["box"]]
        for image in images
        for row in image["detections"]
    ]
    if args.csv:
        output.print_csv(columns, rows)
    else:
        output.print_table(
            columns, [[*row[:3], output.score(row[3]), *(f"{side:.0f}" for side in row[4:])] for row in rows]
        )
