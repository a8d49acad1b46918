"""A model card: the figures of a study that a reviewer needs, as Markdown with a YAML head.

Every figure comes from the study; nothing is computed here. The card lists what the study does not contain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from qviz.errors import SettingsError
from qviz.features.reporting.study import Study
from qviz.result import Result
from qviz.store.whole_files import write_whole


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Card(Result):
    """A model card.

    Attributes:
        study: The study from which all figures of the card come.
        sections: Titles of its sections, in order.
    """

    JSON_NAMES: ClassVar = {"study": None}
    ROWS: ClassVar = "models"

    study: Study
    sections: tuple[str, ...]

    @property
    def models(self) -> tuple[Any, ...]:
        """The models of the study, the reference first."""
        return self.study.models

    @property
    def markdown(self) -> str:
        """The card: a YAML head between two lines `---`, then Markdown."""
        text: str = self._module("text_card").markdown(self.study, self.sections)
        return text

    def plot(self, **options: Any) -> Any:
        """Always raises SettingsError, because a card has only tables."""
        raise SettingsError("A model card has no chart; qviz report makes a page with charts.")

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the card as Markdown (`.md` or any other suffix), the models (`.csv`) or the section titles (`.json`).

        Returns the path.
        """
        target = Path(path)
        if target.suffix in (".csv", ".json"):
            return Result.save(self, target)
        try:
            write_whole(target, self.markdown.encode())
        except OSError as error:
            raise SettingsError(f"{target} cannot be written ({error.strerror}); name a file where you may.") from error
        return target


def card(study: Study) -> Card:
    """The model card of a study, with a section for each part that the study has."""
    return Card(study, tuple(_sections(study)))


def _sections(study: Study) -> Iterator[str]:
    yield from ("Finding", "Files", "How it was measured", "Settings")
    if study.evaluation is not None:
        yield "Accuracy"
        if study.losses:
            yield "Loss by class"
        if study.evaluation.operating is not None:
            yield "At the confidence in use"
        if study.evaluation.slices is not None:
            yield "Slices"
    yield "Objects"
    if study.robustness is not None:
        yield "Robustness"
    if study.profile is not None and study.profile.models:
        yield "Latency and size"
    yield from ("Known problems", "Limits of these figures", "Repeat it")


def head(study: Study) -> dict[str, Any]:
    """The YAML head: the keys that model hubs read, with AP in [0, 1], unrounded."""
    evaluation = study.evaluation
    rows = zip(study.models, evaluation.models, strict=True) if evaluation is not None else ()
    dataset = {"name": evaluation.dataset if evaluation is not None else "", "type": "object-detection"}
    return {
        "pipeline_tag": "object-detection",
        "library_name": "tflite",
        "tags": ["object-detection", "tflite", "quantization", "qviz"],
        "model-index": [
            {
                "name": model.name,
                "results": [
                    {
                        "task": {"type": "object-detection"},
                        "dataset": dataset,
                        "metrics": [
                            {"type": key, "value": value}
                            for key in ("ap", "ap50", "ap75", "ar")
                            if (value := getattr(figures, key)) is not None
                        ],
                    }
                ],
            }
            for model, figures in rows
        ],
    }


def yaml_lines(value: Any, indent: int = 0) -> list[str]:
    """The lines of plain data as YAML in block style. Texts are quoted; keys are not, so they must need no quotes.

    Example:
        >>> yaml_lines({"name": "a: b", "values": [1, 2]})
        ['name: "a: b"', 'values:', '  - 1', '  - 2']
    """
    pad = " " * indent
    if isinstance(value, dict):
        rows = ((f"{pad}{key}:", item) for key, item in value.items())
    else:
        rows = ((f"{pad}-", item) for item in value)
    lines: list[str] = []
    for start, item in rows:
        if isinstance(item, (dict, list)) and item:
            lines += [start, *yaml_lines(item, indent + 2)]
        else:
            lines.append(f"{start} {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    """The value as JSON, which is valid YAML; characters that YAML does not allow are replaced."""
    if isinstance(value, str):
        value = "".join(c if c.isprintable() else "\ufffd" for c in value.encode("utf-8", "replace").decode())
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
