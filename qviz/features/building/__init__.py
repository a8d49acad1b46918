"""Builds quantized variants, and judges none.

    recipe + float network (+ ranges of its activations) -> a .tflite file, read again, run once, named for what it is

* `RECIPES` and `ALGORITHMS` say what there is; `check` says before anything runs why a recipe does not fit a network.
* `calibrate` measures ranges through our own runner, once for all recipes; `start_building` builds one variant.
* `qat.train` teaches the float network for a recipe first, where the recipe alone costs too much.
* TensorFlow, tf_keras and litert-quantizer are imported inside functions, in worker processes.
"""

from qviz.features.building.build import Built, Source, build_job, builders, start_building
from qviz.features.building.calibration import calibrate, calibrate_job, see_ranges
from qviz.features.building.conditions import builder_of, check, recipe_of
from qviz.features.building.ranges import METHODS, Calibration, ImageRanges, calibration_of, joined
from qviz.features.building.recipes import ALGORITHMS, RECIPES, Algorithm, Builder, Options, Recipe

__all__ = [
    "ALGORITHMS",
    "METHODS",
    "RECIPES",
    "Algorithm",
    "Builder",
    "Built",
    "Calibration",
    "ImageRanges",
    "Options",
    "Recipe",
    "Source",
    "build_job",
    "builder_of",
    "builders",
    "calibrate",
    "calibrate_job",
    "calibration_of",
    "check",
    "joined",
    "recipe_of",
    "see_ranges",
    "start_building",
]
