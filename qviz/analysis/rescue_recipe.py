"""The recipe of a rescued variant: as a command that builds it again, and as JSON that needs no images.

The JSON holds the measured ranges under the names that `qviz quantize --save-ranges` uses, so that the file itself can
be given as `--calibration`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from qviz.analysis.float_sets import orders_text
from qviz.analysis.rescue import Candidate, Rescue, Tried
from qviz.quantize import ALGORITHMS, recipe_of


def command(candidate: Candidate, source: str, calibration: Sequence[str], output: str) -> str:
    """`qviz quantize ...`, quoted for a shell. calibration: images, folders, or one file of ranges."""
    words = ["qviz", "quantize", source, "--recipe", candidate.recipe]
    if candidate.algorithm != "minmax":
        words += ["--algorithm", candidate.algorithm]
    if candidate.kept:
        words += ["--keep-operators", orders_text(candidate.kept)]
    if needs_images(candidate) or recipe_of(candidate.recipe).needs_calibration:
        words += ["--ranges", candidate.method] if candidate.method != "minmax" else []
        words += ["--calibration", *calibration]
    return shlex.join([*words, "-o", output])


def needs_images(candidate: Candidate) -> bool:
    """The builder looks at the calibration images themselves; ranges do not stand in for them."""
    return ALGORITHMS[candidate.algorithm].needs_images


def recipe_json(found: Rescue, row: Tried, output: str, command_line: str) -> dict[str, Any]:
    """All that says how the file `output` came about and builds it again."""
    made = row.candidate
    ranges = found.ranges.get(made.method) if recipe_of(made.recipe).needs_calibration else None
    chosen = found.chosen if found.chosen is not None and found.chosen.tried.candidate == made else None
    return {
        "file": {"name": output, "sha256": row.digest, "bytes": row.bytes, "scheme": row.scheme},
        "source": {"name": found.reference, "sha256": found.reference_digest},
        "recipe": made.recipe,
        "algorithm": made.algorithm,
        "keep_operators": orders_text(made.kept),
        "budget": found.budget.to_json(),
        "search": {"images": found.search_images, "loss": row.search_loss},
        "report": None if chosen is None else {"images": chosen.images, **chosen.to_json()["loss"]},
        "command": command_line,
        **(ranges.to_json() if ranges is not None else {}),
    }
