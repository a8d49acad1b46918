"""A constructed study without detections, for tests that need no figures."""

from __future__ import annotations

from qviz.features.comparison import ComparedVariant, Comparison
from qviz.features.reporting.study import Provenance, StudiedModel, Study


def plain_study(variants: int) -> Study:
    """A reference and `variants` variants, compared on no image."""
    models = tuple(
        StudiedModel(f"m{number}", f"m{number}.tflite", "int8", 10, str(number) * 64, (), {}, {}, 1)
        for number in range(variants + 1)
    )
    rows = tuple(ComparedVariant(model.name, model.scheme, model.sha256, ()) for model in models[1:])
    return Study("made up", models, Comparison("m0", rows), (), {}, Provenance())
