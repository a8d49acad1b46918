"""The rows of a COCO file: which are usable, and which are doubtful. Ids are compared as in pycocotools.

Ids are equal if Python considers them equal: 1, 1.0 and true are the same id, but 1 and "1" are not. If several images
or categories have the same id, the last one counts, as in pycocotools. Every annotation counts, even if several have
the same id (pycocotools replaces all of them by the last one).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qviz.datasets.box_checks import MAX_NUMBER, NO_NUMBERS, UNKNOWN_CLASS, problem_of
from qviz.datasets.problems import (
    MAX_EXAMPLES,
    NO_IMAGE_OR_CLASS,
    NUMBER_CATEGORY_ID,
    NUMBER_IMAGE_ID,
    SECOND_CATEGORY,
    SECOND_IMAGE,
    TEXT_CATEGORY_ID,
    TEXT_IMAGE_ID,
    UNKNOWN_IMAGE,
    Problems,
)
from qviz.formatting import plural
from qviz.structures import Category, DatasetProblem

Id = int | str
Entry = Mapping[str, Any]
MAX_SIDE = 1 << 20
NO_ID_OR_FILE = "image without an id or a file name"
NO_ID_OR_NAME = "row of `categories` without a number or a name"


@dataclass(frozen=True, slots=True)
class Entries:
    """The usable rows of a COCO file.

    Attributes:
        images: Id -> its row (the last one, if there are several).
        categories: In the order of the file.
        category_numbers: Category id in the file -> id in `categories`; these differ if the file's ids are strings.
        annotations: Image id -> its usable annotations, in the order of the file.
    """

    images: dict[Id, Entry]
    categories: tuple[Category, ...]
    category_numbers: dict[Id, int]
    annotations: dict[Id, list[Entry]]

    def number_of(self, annotation: Entry) -> int:
        """The id in `categories` of a usable annotation's category."""
        key = category_key(annotation)
        assert key is not None, "an annotation without a category is not usable"
        return self.category_numbers[key]


def read_entries(content: Mapping[str, Sequence[Any]], problems: Problems) -> Entries:
    """The usable rows of `images`, `annotations` and `categories`."""
    images = _by_id(content["images"], "file_name", problems, NO_ID_OR_FILE, SECOND_IMAGE)
    rows = _by_id(content["categories"], "name", problems, NO_ID_OR_NAME, SECOND_CATEGORY)
    numbers = _numbers(rows, problems)
    categories = tuple(Category(number, str(rows[key]["name"])) for key, number in numbers.items())
    annotations: dict[Id, list[Entry]] = defaultdict(list)
    sizes = {key: size_of(entry) for key, entry in images.items()}
    for entry in content["annotations"]:
        reason, key = _reason(entry, sizes, numbers), image_key(entry)
        if reason is None and key is not None:
            annotations[key].append(entry)
        elif reason is not None:
            problems.leave_out(reason, _shown(entry, images))
    for doubt in _doubts(content["annotations"], images, numbers):
        problems.doubt(doubt)
    return Entries(images, categories, numbers, annotations)


def _by_id(rows: Sequence[Any], name: str, problems: Problems, incomplete: str, second: str) -> dict[Id, Entry]:
    """Id -> row. Of several rows with the same id, the last one is used, at the position of the first."""
    by_id: dict[Id, Entry] = {}
    for row in rows:
        key = _key(row.get("id")) if isinstance(row, dict) else None
        if key is None or not isinstance(row.get(name), (str, int)):
            problems.leave_out(incomplete, str(row)[:100])
            continue
        if key in by_id:
            problems.leave_out(second, f"id {key!r}: {by_id[key][name]}, then {row[name]}")
        by_id[key] = row
    return by_id


def _key(value: Any) -> Id | None:
    """The id as a key: 1.0 (which pandas writes) and true become 1. None if the value is not an id."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < MAX_NUMBER else None
    return value if isinstance(value, str) else int(value) if isinstance(value, int) else None


def _numbers(rows: Mapping[Id, Entry], problems: Problems) -> dict[Id, int]:
    """Category id in the file -> number. Strings are numbered: for AP it only matters which ids are equal."""
    if rows and all(isinstance(key, str) for key in rows):
        decimal = all(key.isdecimal() and len(key) < 10 for key in rows if isinstance(key, str))
        distinct = decimal and len({int(key) for key in rows}) == len(rows)
        return {key: int(key) if distinct else number for number, key in enumerate(rows, start=1)}
    usable: dict[Id, int] = {key: key for key in rows if isinstance(key, int) and -MAX_NUMBER < key < MAX_NUMBER}
    for key in rows:
        if key not in usable:
            problems.leave_out(NO_ID_OR_NAME, f"id {key!r}: {rows[key]['name']}")
    return usable


def size_of(entry: Entry) -> tuple[int, int] | None:
    """(width, height) stated in a row of `images`, or None."""
    width, height = _key(entry.get("width")), _key(entry.get("height"))
    if isinstance(width, int) and isinstance(height, int) and 0 < width < MAX_SIDE and 0 < height < MAX_SIDE:
        return width, height
    return None


def box_of(entry: Any) -> list[float] | None:
    """The box x, y, width, height of an annotation, or None if it does not consist of four numbers."""
    box = entry.get("bbox") if isinstance(entry, dict) else None
    return box if isinstance(box, list) and len(box) == 4 and all(is_number(value) for value in box) else None


def is_number(value: Any) -> bool:
    """Whether a value is a number that is not too large to compute with."""
    return isinstance(value, (int, float)) and -MAX_NUMBER < value < MAX_NUMBER


def image_key(entry: Any) -> Id | None:
    """The image id of an annotation."""
    return _key(entry.get("image_id")) if isinstance(entry, dict) else None


def category_key(entry: Any) -> Id | None:
    """The category id of an annotation."""
    return _key(entry.get("category_id")) if isinstance(entry, dict) else None


def _reason(entry: Any, sizes: Mapping[Id, tuple[int, int] | None], categories: Mapping[Id, int]) -> str | None:
    """Why an annotation cannot be used, or None."""
    image, category = image_key(entry), category_key(entry)
    if image is None or category is None:
        return NO_IMAGE_OR_CLASS
    if image not in sizes:
        return _other_type(image, sizes, TEXT_IMAGE_ID, NUMBER_IMAGE_ID) or UNKNOWN_IMAGE
    if category not in categories:
        return _other_type(category, categories, TEXT_CATEGORY_ID, NUMBER_CATEGORY_ID) or UNKNOWN_CLASS
    box = box_of(entry)
    if box is None:
        return NO_NUMBERS
    x, y, width, height = box
    return problem_of((x, y, x + width, y + height), sizes[image])


def _other_type(key: Id, known_ids: Mapping[Id, Any], text: str, number: str) -> str | None:
    """The reason if an id is known but for its type, e.g. "1" instead of 1, else None.

    text: the reason for a string in place of a number; number: the reason for the opposite.
    """
    if isinstance(key, int):
        return number if str(key) in known_ids else None
    try:
        return text if int(float(key)) in known_ids else None
    except (ValueError, OverflowError):
        return None


def _shown(entry: Any, images: Mapping[Id, Entry]) -> str:
    """An annotation, briefly described for a message."""
    if not isinstance(entry, dict):
        return str(entry)[:100]
    key = image_key(entry)
    image = images[key]["file_name"] if key is not None and key in images else f"image_id {entry.get('image_id')!r}"
    return f"{image}: category_id {entry.get('category_id')!r}, bbox {str(entry.get('bbox'))[:60]}"


def _doubts(
    annotations: Sequence[Any], images: Mapping[Id, Entry], categories: Mapping[Id, int]
) -> list[DatasetProblem | None]:
    return [
        _off_by_one("category", Counter(map(category_key, annotations)), categories),
        _off_by_one("image", Counter(map(image_key, annotations)), images),
        _repeated_ids(annotations),
        _unusable_areas(annotations),
    ]


def _off_by_one(what: str, used: Mapping[Id | None, int], known_ids: Mapping[Id, Any]) -> DatasetProblem | None:
    """The problem that some ids are unknown, but all would be known if they were one higher or one lower; or None."""
    numbers = {key for key in used if isinstance(key, int)}
    if not numbers or numbers <= set(known_ids) or len(numbers) < 2:
        return None
    for shift, words, fix in ((1, "one too low", "Add 1 to"), (-1, "one too high", "Subtract 1 from")):
        if {number + shift for number in numbers} <= set(known_ids):
            rows = "categories" if what == "category" else "images"
            ids = sorted(key for key in known_ids if isinstance(key, int))
            count = sum(used[key] for key in numbers)
            return DatasetProblem(
                f"{what}_ids_off_by_one",
                f"Annotations have the {what} ids {min(numbers)} to {max(numbers)}, `{rows}` has {ids[0]} to {ids[-1]}:"
                f" the ids are probably off by one ({words}), and every object counts as another {what}.",
                f"{fix} each {what}_id of the annotations.",
                count,
                tuple(
                    f"{what}_id {number}: {plural(used[number], 'annotation')}"
                    for number in sorted(numbers)[:MAX_EXAMPLES]
                ),
                serious=True,
            )
    return None


def _repeated_ids(annotations: Sequence[Any]) -> DatasetProblem | None:
    """The problem that several annotations have the same id, or None."""
    ids = [_key(entry["id"]) for entry in annotations if isinstance(entry, dict) and "id" in entry]
    counts = Counter(key for key in ids if key is not None)
    repeated = {key: count for key, count in counts.items() if count > 1}
    if not repeated:
        return None
    extra = sum(repeated.values()) - len(repeated)
    return DatasetProblem(
        "repeated_annotation_ids",
        f"{plural(extra, 'annotation')} {'has' if extra == 1 else 'have'} an id that was used before. Each counts here;"
        " pycocotools uses the last annotation of each id only.",
        "Number the annotations from 1, without repeats.",
        extra,
        tuple(f"id {key!r}: {count} times" for key, count in list(repeated.items())[:MAX_EXAMPLES]),
    )


def _unusable_areas(annotations: Sequence[Any]) -> DatasetProblem | None:
    """The problem that some areas are no numbers, or too large to compute with; or None."""
    rows = [entry for entry in annotations if isinstance(entry, dict) and entry.get("area") is not None]
    unusable = [entry["area"] for entry in rows if not is_number(entry["area"])]
    if not unusable:
        return None
    count = len(unusable)
    return DatasetProblem(
        "area_not_a_number",
        f"{plural(count, 'annotation')} {'has' if count == 1 else 'have'} an area that is not a usable number. The area"
        " of the box counts instead; pycocotools leaves such an object out of most figures, or fails.",
        "Write `area` in square pixels, or leave it out.",
        count,
        tuple(f"area {str(area)[:40]!r}" for area in unusable[:MAX_EXAMPLES]),
    )
