"""Problems that a reader finds in a dataset, with the likely fixes: entries that it leaves out, and doubtful ones."""

from __future__ import annotations

from collections import Counter, defaultdict

from qviz.datasets.box_checks import (
    NO_AREA,
    NO_IMAGE,
    NO_NUMBERS,
    NO_SHARE,
    OUTSIDE,
    UNKNOWN_CLASS,
    UNREADABLE,
    counted,
)
from qviz.structures import DatasetProblem

MAX_EXAMPLES = 5
MAX_EXAMPLE = 200
"""Maximum length of an example in characters, because its parts come from untrusted files."""

NO_IMAGE_OR_CLASS = "annotation without an image or a category"
UNKNOWN_IMAGE = "annotation of an unknown image"
TEXT_IMAGE_ID = "annotation whose image id is text where the images have numbers"
NUMBER_IMAGE_ID = "annotation whose image id is a number where the images have text"
TEXT_CATEGORY_ID = "annotation whose category id is text where the categories have numbers"
NUMBER_CATEGORY_ID = "annotation whose category id is a number where the categories have text"
SECOND_IMAGE = "image whose id is listed again"
SECOND_CATEGORY = "row of `categories` whose id is listed again"
MALFORMED = "annotation whose row is not `class x y w h`"
REPEATED = "annotation whose row is repeated"
NO_CLASS = "annotation without a class"
NO_ANNOTATION = "file without a Pascal VOC annotation"
NO_FILE = "image whose annotation file is missing"

LEFT_OUT = {
    NO_NUMBERS: ("box_without_numbers", "Give each box four finite numbers."),
    NO_AREA: ("box_without_area", "Remove these boxes; if there are many, width and height may really be a corner."),
    OUTSIDE: ("box_outside_image", "Check the unit of the boxes and the size of the images they were drawn on."),
    NO_SHARE: ("box_not_in_shares", "Divide x and width by the image's width, y and height by its height."),
    UNKNOWN_CLASS: ("unknown_category_id", "Add the category, or correct its id."),
    NO_IMAGE_OR_CLASS: ("annotation_without_ids", "Give each annotation image_id and category_id."),
    UNKNOWN_IMAGE: ("unknown_image_id", "Add these images to `images`, or remove their annotations."),
    TEXT_IMAGE_ID: (
        "mixed_id_types",
        'Write all image ids as numbers: 1, not "1"; pycocotools tells them apart.',
    ),
    NUMBER_IMAGE_ID: ("mixed_id_types", 'Write all image ids as text: "1", not 1; pycocotools tells them apart.'),
    TEXT_CATEGORY_ID: (
        "mixed_id_types",
        'Write all category ids as numbers: 1, not "1"; pycocotools tells them apart.',
    ),
    NUMBER_CATEGORY_ID: (
        "mixed_id_types",
        'Write all category ids as text: "1", not 1; pycocotools tells them apart.',
    ),
    SECOND_IMAGE: ("repeated_image_ids", "List each image once; the last one of an id counts, as in pycocotools."),
    SECOND_CATEGORY: ("repeated_category_ids", "List each category once; the last one of an id counts."),
    MALFORMED: ("malformed_row", "Write one object per line: class x y w h, as shares of the image."),
    REPEATED: ("repeated_boxes", "Remove the copies; Ultralytics drops them as well."),
    NO_CLASS: ("annotation_without_class", "Give each object a class text, or a label from 1; 0 is the background."),
    NO_ANNOTATION: (
        "malformed_annotation_file",
        "Export these files again; a file without <object> stands for an empty image.",
    ),
    NO_FILE: ("images_without_labels", "Add the annotation files, or take these images out of the list."),
    NO_IMAGE: (
        "missing_image",
        "Give the folder of the images with --dataset-images, or copy the missing files there.",
    ),
    UNREADABLE: ("unreadable_image", "Copy these files again."),
}
"""Reason for leaving something out -> (code, likely fix); other reasons have the code `left_out`."""


class Problems(Counter[str]):
    """Reason -> number of entries that were left out of a dataset, with examples; and doubts about the others."""

    def __init__(self) -> None:
        super().__init__()
        self._examples: dict[str, list[str]] = defaultdict(list)
        self._doubts: list[DatasetProblem] = []

    def leave_out(self, reason: str, example: str = "", count: int = 1) -> None:
        """Count something that is left out. example: which entry, e.g. `a.jpg: bbox [1, 2, 0, 4]`."""
        self[reason] += count
        if example:
            keep_example(self._examples[reason], example)

    def doubt(self, problem: DatasetProblem | None) -> None:
        """Note a doubtful part of the dataset; None is ignored."""
        if problem is not None:
            self._doubts.append(problem)

    def sentences(self) -> tuple[str, ...]:
        """Sentences about what was left out, for `Dataset.skipped`; they include the name of the first missing file."""
        sentences = []
        for reason, count in self.items():
            first = f" (first: {self._examples[reason][0]})" if reason == NO_IMAGE and self._examples[reason] else ""
            sentences += [text + first for text in counted(Counter({reason: count}))]
        return tuple(sentences)

    def listed(self, annotations: int) -> tuple[DatasetProblem, ...]:
        """All problems. annotations: number of annotations read; if more were left out, the problem is serious."""
        return (*self._doubts, *(self._left_out(reason, count, annotations) for reason, count in self.items() if count))

    def _left_out(self, reason: str, count: int, annotations: int) -> DatasetProblem:
        code, fix = LEFT_OUT.get(reason, ("left_out", "Correct or remove these entries."))
        (sentence,) = counted(Counter({reason: count}))
        serious = reason.startswith("annotation") and count > annotations
        verb = "is" if count == 1 else "are"
        return DatasetProblem(code, f"{sentence} {verb} left out.", fix, count, tuple(self._examples[reason]), serious)


def keep_example(examples: list[str], example: str) -> None:
    """Append an example if it is new and there are fewer than `MAX_EXAMPLES`; control characters are replaced."""
    text = "".join(character if character.isprintable() else "�" for character in example)[:MAX_EXAMPLE]
    if len(examples) < MAX_EXAMPLES and text not in examples:
        examples.append(text)
