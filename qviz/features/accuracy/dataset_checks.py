"""Checks for annotations of every format: image sizes, duplicates, areas, names, backgrounds, crowds, classes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qviz.datasets.images import dark_range, image_sizes
from qviz.datasets.problems import MAX_EXAMPLES
from qviz.errors import DatasetError, ImageError
from qviz.features.accuracy.truth import reconcile, shared_names
from qviz.formatting import listed, plural
from qviz.progress import Progress
from qviz.structures import Dataset, DatasetImage, DatasetProblem, digest_of
from qviz.structures.boxes import area, iou_matrix

Size = tuple[int, int]
SIZE_TOLERANCE = 1
"""Number of pixels by which a side in the annotations may differ from the image file's."""
SAME_BOX = 0.9
"""Two boxes with at least this IoU are the same box, drawn or exported twice."""
LARGEST_AREA = 1.1
"""Largest permitted ratio of an object's area to its box's area; a segmentation is smaller than its box."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about the image files of a dataset, by image id.

    Attributes:
        sizes: The (width, height) of each image, with and without EXIF orientation.
        digests: sha256 of each file.
        dark: One sentence per nearly black 16-bit image, on the range of its values.
        unreadable: One sentence per image that cannot be read.
    """

    sizes: dict[int, tuple[Size, ...]] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    dark: dict[int, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, images: Sequence[DatasetImage], progress: Progress = Progress()) -> ImageFacts:
        """Read every file. Only the header is decoded, except for 16-bit images, whose pixels are decoded too."""
        facts = cls()
        progress.step("Reading images")
        for count, image in enumerate(images, start=1):
            progress.advance(count, len(images))
            try:
                encoded = image.encoded()
                facts.sizes[image.id] = image_sizes(encoded)
                facts.digests[image.id] = digest_of(encoded.data)
                if sentence := dark_range(encoded):
                    facts.dark[image.id] = sentence
            except ImageError as error:
                facts.unreadable.append(str(error))
        return facts


Names = Mapping[int, str]
"""Image id -> the name to show."""


def _no_objects(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    """Report a dataset in which nothing, or only crowds, is annotated."""
    crowds = sum(int(image.is_crowd.sum()) for image in dataset.images)
    if dataset.annotations > crowds:
        return
    what = f"Only crowds ({crowds}) are" if crowds else "No object is"
    yield DatasetProblem(
        "no_objects",
        f"{what} annotated in {plural(len(dataset.images), 'image')}: AP is unknown.",
        "Check that annotations and images belong together (ids, names, unit of the boxes).",
        len(dataset.images),
        tuple(dataset.skipped[:MAX_EXAMPLES]),
        serious=True,
    )


def _other_sizes(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    """Report images whose size in the annotations differs from that of the file."""
    wrong = [
        (image, image.size, facts.sizes[image.id][-1])
        for image in dataset.images
        if image.size is not None
        and image.id in facts.sizes
        and not any(_alike(image.size, size) for size in facts.sizes[image.id])
    ]
    if not wrong:
        return
    swapped = sum(_alike(declared, actual[::-1]) for _, declared, actual in wrong)
    ratios = {(round(actual[0] / declared[0], 3), round(actual[1] / declared[1], 3)) for _, declared, actual in wrong}
    fix = "Use the images that were annotated, or multiply each box by: size of the file / size in the annotations."
    if swapped == len(wrong):
        fix = "Swap width and height in the annotations, or rotate the images back to how they were annotated."
    elif len(ratios) == 1:
        ((across, down),) = ratios
        factor = f"{across:g}" if across == down else f"{across:g} across and {down:g} down"
        fix = f"Use the images that were annotated, or multiply every box by {factor}."
    yield DatasetProblem(
        "other_image_sizes",
        f"{plural(len(wrong), 'image')} of {len(dataset.images)} {_verb(len(wrong), 'has', 'have')} another size in the"
        " annotations than in the file: the boxes were probably drawn at that other size.",
        fix,
        len(wrong),
        tuple(
            f"{shown[image.id]}: {declared[0]} x {declared[1]} in the annotations,"
            f" {actual[0]} x {actual[1]} in the file"
            for image, declared, actual in wrong[:MAX_EXAMPLES]
        ),
        serious=2 * len(wrong) > len(dataset.images),
    )


def _alike(first: Size, second: Size) -> bool:
    return all(abs(a - b) <= SIZE_TOLERANCE for a, b in zip(first, second, strict=True))


def _repeated_boxes(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    """Report objects that are annotated twice, with the same category or with different ones."""
    names = {category.id: category.name for category in dataset.categories}
    twice: list[str] = []
    otherwise: list[str] = []
    for image in dataset.images:
        boxes = image.boxes.astype(np.float32)
        same = np.triu(iou_matrix(boxes, boxes) >= SAME_BOX, 1) & ~image.is_crowd & ~image.is_crowd[:, None]
        alike = same & (image.category_ids[:, None] == image.category_ids)
        for rows, copies in ((twice, alike.any(axis=0)), (otherwise, same.any(axis=0) & ~alike.any(axis=0))):
            for index in np.flatnonzero(copies):
                name = names.get(int(image.category_ids[index]), "")
                rows.append(f"{shown[image.id]}: {name} at {[round(side) for side in image.boxes[index].tolist()]}")
    if twice:
        yield DatasetProblem(
            "repeated_boxes",
            f"{plural(len(twice), 'box')} of {dataset.annotations} {_verb(len(twice), 'is', 'are')} annotated twice"
            f" (IoU with another of the same category at least {SAME_BOX:g}): a model finds an object once, so the copy"
            " is missed.",
            "Remove the copies; two exports may have been merged.",
            len(twice),
            tuple(twice[:MAX_EXAMPLES]),
            serious=3 * len(twice) >= dataset.annotations,
        )
    if otherwise:
        yield DatasetProblem(
            "two_categories_one_box",
            f"{plural(len(otherwise), 'box')} {_verb(len(otherwise), 'is', 'are')} annotated with a second category.",
            "Keep one category for each object, unless both are meant.",
            len(otherwise),
            tuple(otherwise[:MAX_EXAMPLES]),
        )


def _repeated_images(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    """Report files that are listed under several ids, and files with equal bytes."""
    files = [(image.id, image.source) for image in dataset.images if isinstance(image.source, Path)]
    same_file = _copies(files)
    same_bytes = [row for row in _copies(facts.digests.items()) if row not in same_file]
    for code, rows, what, fix in (
        ("same_file_twice", same_file, "under a second id", "Merge the annotations of each file under one id."),
        ("same_image_twice", same_bytes, "a second time under another name", "Keep one copy of each image."),
    ):
        if rows:
            yield DatasetProblem(
                code,
                f"{plural(len(rows), 'image')} {_verb(len(rows), 'is', 'are')} listed {what}:"
                f" {_verb(len(rows), 'its', 'their')} objects count twice.",
                fix,
                len(rows),
                tuple(f"{shown[copy]} is {shown[first]} again" for copy, first in rows[:MAX_EXAMPLES]),
                serious=3 * len(rows) >= len(dataset.images),
            )


def _copies(keys: Iterable[tuple[int, Hashable]]) -> list[tuple[int, int]]:
    """(image id, id of the first image with the same key) for every image that repeats a key."""
    firsts: dict[Hashable, int] = {}
    return [(number, firsts[key]) for number, key in keys if firsts.setdefault(key, number) != number]


def _backgrounds(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    """Report images without objects. Images without a label file are reported by the reader of the format."""
    without_labels = sum(problem.count for problem in dataset.problems if problem.code == "images_without_labels")
    empty = [image for image in dataset.images if not len(image.category_ids)]
    if len(empty) > without_labels and dataset.annotations:
        yield DatasetProblem(
            "images_without_objects",
            f"{plural(len(empty), 'image')} of {len(dataset.images)} {_verb(len(empty), 'has', 'have')} no object:"
            " every detection there is a false alarm.",
            "If they show only background, nothing needs to be done; if not, annotate them.",
            len(empty),
            tuple(shown[image.id] for image in empty[:MAX_EXAMPLES]),
            advice=True,
        )


def _crowds(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    crowds = [(image, int(image.is_crowd.sum())) for image in dataset.images if image.is_crowd.any()]
    if crowds:
        count = sum(number for _, number in crowds)
        yield DatasetProblem(
            "crowds",
            f"{plural(count, 'annotation')} of {dataset.annotations} {_verb(count, 'is a crowd', 'are crowds')} (or"
            " difficult): detections there count neither as right nor as wrong.",
            "If they are meant, nothing needs to be done; if there are many, check `iscrowd`.",
            count,
            tuple(f"{shown[image.id]}: {number}" for image, number in crowds[:MAX_EXAMPLES]),
            advice=True,
        )


def _areas(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    """Report wrong areas, which would put objects into the wrong group of small, medium or large ones."""
    wrong = [
        f"{shown[image.id]}: area {given:g}, box {boxed:.0f}"
        for image in dataset.images
        for given, boxed in zip(image.areas.tolist(), area(image.boxes).tolist(), strict=True)
        if given <= 0 or given > LARGEST_AREA * boxed + 4
    ]
    if wrong:
        yield DatasetProblem(
            "wrong_area",
            f"{plural(len(wrong), 'annotation')} {_verb(len(wrong), 'has', 'have')} an area of 0 or less, or one larger"
            " than the box: the area decides which objects count as small, medium or large.",
            "Set area to width times height in pixels, or to the segmentation's area.",
            len(wrong),
            tuple(wrong[:MAX_EXAMPLES]),
        )


def _names(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    """Report categories that have the same name."""
    for name, ids in shared_names(dataset.categories).items():
        yield DatasetProblem(
            "two_categories_one_name",
            f"{len(ids)} categories share the name {name[:60]} (ids {listed([str(number) for number in ids], 5)}): a"
            " model's class can be only one of them, and the objects of the others count as missed.",
            "Give both the same id, or different names.",
            len(ids),
            (name,),
            serious=False,
        )


def _dark(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    if facts.dark:
        yield DatasetProblem(
            "dark_16_bit",
            f"{plural(len(facts.dark), 'image')} of 16 bits {_verb(len(facts.dark), 'uses', 'use')} a small part of the"
            f" range and {_verb(len(facts.dark), 'is', 'are')} nearly black: a detector may find nothing there.",
            "Scale the values to 16 bits (12-bit values times 16), or save them with 8 bits.",
            len(facts.dark),
            tuple(f"{shown[number]}: {text}" for number, text in list(facts.dark.items())[:MAX_EXAMPLES]),
        )


def _unreadable(dataset: Dataset, facts: ImageFacts, shown: Names) -> Iterator[DatasetProblem]:
    if facts.unreadable:
        yield DatasetProblem(
            "unreadable_image",
            f"{plural(len(facts.unreadable), 'image')} cannot be read.",
            "Copy these files again.",
            len(facts.unreadable),
            tuple(facts.unreadable[:MAX_EXAMPLES]),
            serious=2 * len(facts.unreadable) > len(dataset.images),
        )


CHECKS: tuple[Callable[[Dataset, ImageFacts, Names], Iterator[DatasetProblem]], ...] = (
    _no_objects,
    _other_sizes,
    _repeated_boxes,
    _repeated_images,
    _names,
    _areas,
    _dark,
    _unreadable,
    _backgrounds,
    _crowds,
)


def label_problems(dataset: Dataset, labels: Sequence[str]) -> Iterator[DatasetProblem]:
    """Report categories that do not match a model's class names."""
    try:
        matched = reconcile(labels, dataset)
    except DatasetError as error:
        yield DatasetProblem(
            "no_common_names", str(error), "Give the label file of the model.", len(labels), serious=True
        )
        return
    missed = [(name, objects) for name, objects in matched.unmatched_categories if objects]
    if missed:
        count = sum(objects for _, objects in missed)
        yield DatasetProblem(
            "unknown_categories",
            f"{plural(len(missed), 'category')} with {plural(count, 'object')} {_verb(len(missed), 'is', 'are')}"
            " unknown to the model: these objects count as missed.",
            "Rename the categories to match the model's classes, or leave them out with --classes.",
            len(missed),
            tuple(f"{name[:60]} ({plural(objects, 'object')})" for name, objects in missed[:MAX_EXAMPLES]),
            serious=2 * count > dataset.annotations,
        )
    annotated = {int(number) for image in dataset.images for number in image.category_ids[~image.is_crowd]}
    uncovered = [
        label for number, label in enumerate(labels) if label != "???" and matched.classes.get(number) not in annotated
    ]
    if uncovered:
        named = sum(label != "???" for label in labels)
        yield DatasetProblem(
            "classes_without_objects",
            f"{plural(len(uncovered), 'class')} of the model's {named} {_verb(len(uncovered), 'has', 'have')} no object"
            " here: AP says nothing about them.",
            "Annotate images that show them, where these classes matter.",
            len(uncovered),
            tuple(uncovered[:MAX_EXAMPLES]),
            advice=True,
        )


def _verb(count: int, one: str, several: str) -> str:
    return one if count == 1 else several
