"""Check annotations before AP is computed, among other things by comparing them with the images.

The reader of each format reports problems that only it can see (notation of numbers, ids, missing files). This module
adds the checks that apply to every format. Each problem has a count, examples and the likely fix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from qviz.features.accuracy.dataset_checks import CHECKS, ImageFacts, label_problems
from qviz.progress import Progress
from qviz.result import Result
from qviz.structures import Dataset, DatasetProblem

SHOWN_EXAMPLES = 2
"""Maximum number of examples in a sentence."""


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """One category: its number of objects, including crowds, and its number of images with such objects."""

    name: str
    objects: int
    images: int


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DatasetHealth(Result):
    """The content of a dataset, and problems of its annotations.

    Attributes:
        dataset: Name of the dataset.
        images, annotations: Number of images and annotated objects that could be read.
        categories: Counts of each category, in the order of the annotations.
        problems: Problems of the annotations, those that make AP meaningless first.
    """

    ROWS: ClassVar[str] = "problems"

    dataset: str
    images: int
    annotations: int
    categories: tuple[CategoryCount, ...]
    problems: tuple[DatasetProblem, ...]

    @property
    def serious(self) -> bool:
        """Whether AP on this dataset would be meaningless."""
        return any(problem.serious for problem in self.problems)


def dataset_health(
    dataset: Dataset, labels: Sequence[str] | None = None, progress: Progress = Progress()
) -> DatasetHealth:
    """Check annotations against their images, and against a model's class names if they are given.

    Raises DatasetError if nothing can be read.
    """
    counts: Counter[int] = Counter()
    shown: Counter[int] = Counter()
    for image in dataset.images:
        counts.update(image.category_ids.tolist())
        shown.update(set(image.category_ids.tolist()))
    return DatasetHealth(
        dataset=dataset.name,
        images=len(dataset.images),
        annotations=dataset.annotations,
        categories=tuple(CategoryCount(row.name, counts[row.id], shown[row.id]) for row in dataset.categories),
        problems=problems_of(dataset, ImageFacts.of(dataset.images, progress), labels),
    )


def problems_of(dataset: Dataset, facts: ImageFacts, labels: Sequence[str] | None = None) -> tuple[DatasetProblem, ...]:
    """Problems found by the reader and by all checks, those that make AP meaningless first."""
    shown = {image.id: image.name for image in dataset.images}
    problems = [problem for check in CHECKS for problem in check(dataset, facts, shown)]
    if labels is not None:
        problems += label_problems(dataset, labels)
    return tuple(sorted((*dataset.problems, *problems), key=lambda problem: not problem.serious))


def sentence_of(problem: DatasetProblem) -> str:
    """A problem with its first examples and its fix."""
    examples = f" ({'; '.join(problem.examples[:SHOWN_EXAMPLES])})" if problem.examples else ""
    message = problem.message
    return f"{message[:-1]}{examples}. {problem.fix}" if message.endswith(".") else f"{message}{examples} {problem.fix}"


def sentences_of(problems: Sequence[DatasetProblem]) -> tuple[str, ...]:
    """One or two sentences per problem; problems that are mere advice share one sentence.

    A problem is left out if the message of another problem contains its message.
    """
    advice = [problem.message.split(":")[0].removesuffix(".") for problem in problems if problem.advice]
    rest = [f"{'; '.join(advice)}. `qviz dataset` lists them."] if advice else []
    quoted = [row for row in problems if any(row is not other and row.message in other.message for other in problems)]
    return (*(sentence_of(row) for row in problems if not row.advice and row not in quoted), *rest)
