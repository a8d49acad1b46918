"""Builds quantized variants of a float detector.

    recipe + float network (+ ranges of its activations) -> a .tflite file, read again and run once

`RECIPES` and `ALGORITHMS` list what can be built; `check` raises an error before anything runs if a recipe does not fit
a network. `quantize` does everything for one variant. A search that builds many variants of one source calls
`calibrate` once, starts its own workers with `builders`, and then calls `start_building` for each variant. TensorFlow
and litert-quantizer are imported inside functions that run in workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.errors import QuantizeError
from qviz.features.building.build import builders, start_building
from qviz.features.building.calibration import DEFAULT_METHOD, Calibration, calibrate, check_method
from qviz.features.building.conditions import builder_of, check
from qviz.features.building.cures import check_cures, mended, prepared
from qviz.features.building.recipes import Builder, Options, recipe_of
from qviz.features.building.result import Built
from qviz.features.building.source import Source
from qviz.structures import EncodedImage
from qviz.structures.json_document import NotJson, parse_json


def quantize(
    context: Context,
    source: Source,
    recipe: str,
    *,
    calibration: Sequence[EncodedImage] = (),
    measured: Calibration | None = None,
    ranges: str = DEFAULT_METHOD,
    options: Options = Options(),
    keep_ranges: bool = False,
    cures: Sequence[str] = (),
) -> Built:
    """Build one variant, in a worker process that is started for this call.

    Args:
        recipe: A name of `RECIPES`.
        calibration: Images to measure ranges on; those that cannot be read are left out and named in the result.
        measured: Ranges measured earlier on this source, to be used instead of measuring them on images.
        ranges: Method that combines a tensor's ranges on all images into one; a name in `METHODS`.
        keep_ranges: Whether to measure ranges even if the recipe does not need them, for later use as `measured`.
        cures: Names in `CURES`; each of them needs images.

    Returns:
        The variant. Its `data` is the .tflite file; its `ranges` are the ranges it was calibrated with.

    Raises:
        Cancelled, ImageError, ModelError, WorkerError.
        QuantizeError: The recipe does not fit the network or the options, or images are missing.
    """
    check(recipe_of(recipe), source.graph, options)
    check_method(ranges)
    check_cures(cures, recipe_of(recipe), len(calibration))
    with builders() as workers:  # they start while the ranges are measured
        source, changes = prepared(context, workers, source, calibration, cures) if cures else (source, ())
        needed = keep_ranges or needs_ranges(source, recipe, options, ranges, len(calibration))
        if measured is None and calibration and needed:
            context.progress.step("Measuring ranges")
            measured = calibrate(context, source, calibration, ranges)
        context.progress.step("Building and testing the file")
        built = context.wait(start_building(workers, source, recipe, options, measured, calibration))
        built = mended(context, workers, source, replace(built, changes=changes), calibration, cures)
    return replace(built, ranges=measured, wide=source.whole(built.wide))


def needs_ranges(source: Source, recipe: str, options: Options, ranges: str, images: int) -> bool:
    """Whether ranges are measured before building. TensorFlow's converter needs none: it reads the images itself."""
    row = recipe_of(recipe)
    return row.needs_calibration and builder_of(row, source.kind, options, ranges, images) is Builder.LITERT_QUANTIZER


def read_calibration(paths: Sequence[Path]) -> tuple[Calibration | None, list[EncodedImage]]:
    """(ranges, no images) if the path is one .json file, else (None, images).

    The .json file was written by `qviz quantize --save-ranges`, or is the recipe that `qviz rescue` saved. Raises
    QuantizeError, ImageError.
    """
    if len(paths) != 1 or paths[0].suffix != ".json":
        return None, list(load_images(paths))
    try:
        document = parse_json(paths[0].read_bytes())
    except (OSError, NotJson) as error:
        raise QuantizeError(f"{paths[0]} is not a file written by qviz quantize --save-ranges ({error}).") from error
    return Calibration.from_json(document, str(paths[0])), []
