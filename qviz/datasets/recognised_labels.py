"""Decide whether a file of unknown purpose, which may be any text or JSON file, is a label file.

A file that the user declares as a label file (`--labels`) is read in any case; see `labels`. A file that is dropped on
a page must look like one:

list or {"0": name}   always accepted
{name: number}        class ids from 0 or 1 without large gaps, as many as a loaded model has classes if that is known
lines                 distinct names without empty lines between them; not rows of numbers, sentences or code
YAML, pbtxt           accepted if they contain `names:` or `item {...}`, respectively
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Any

from qviz.datasets.labels import has_names, parse_labels
from qviz.datasets.protobuf_messages import is_label_map
from qviz.errors import LabelsError
from qviz.structures.json_document import NotJson, parse_json

MAX_WORDS = 6
"""Maximum number of words in a class name, or in each of several synonyms that are separated by commas."""
_ROW_OF_NUMBERS = re.compile(r"[-+.\deE]+([\s,;]+[-+.\deE]+)+")
_CODE = re.compile(r"==|>=|://|[{}<>=]|^[#/*@$-]{1,3}\s|^(import|from|def|class|return)\s")


def recognised_labels(data: bytes, name: str, class_counts: Collection[int] = ()) -> tuple[str, ...]:
    """The class names of a file that looks like a label file.

    Args:
        name: The file's name, for messages; its suffix affects which form is expected.
        class_counts: The numbers of classes of the loaded models.

    Raises:
        LabelsError: The file cannot be read, or does not look like a label file; the message says why.
    """
    labels = parse_labels(data, name)
    text = data.decode("utf-8-sig")
    if reason := _objection(text, PurePosixPath(name).suffix.lower(), len(labels), class_counts):
        raise LabelsError(
            f"{name} is not used, as it does not look like a label file: {reason}. A label file has one class name per"
            ' line, or is JSON such as ["person", "car"] or {"0": "person", "1": "car"}.'
        )
    return labels


def _objection(text: str, suffix: str, count: int, class_counts: Collection[int]) -> str:
    """Why a file that can be read as labels is not a label file; empty if it is one."""
    try:
        return _no_names(parse_json(text), count, class_counts)
    except NotJson:
        pass
    if is_label_map(text) or has_names(text):
        return ""
    if suffix in (".yaml", ".yml"):
        return "it has no `names:`"
    return "it has no `item {...}`" if suffix == ".pbtxt" else _no_name_lines(text.splitlines())


def _no_names(content: Any, count: int, class_counts: Collection[int]) -> str:
    """Why a JSON document is not a label file; empty if it is one."""
    if isinstance(content, dict):
        content = next((content[key] for key in ("names", "id2label") if key in content), content)
    if not isinstance(content, dict):
        return ""  # a list of names; any other list has been refused by the parser
    values = list(content.values())
    if all(isinstance(value, str) for value in values):
        return ""  # class id -> name
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return "its values are not names"
    if class_counts and not any(count - classes in (0, 1) for classes in class_counts):
        names = f"its {len(numbers)} names have ids up to" if len(numbers) > 1 else "its only name has id"
        return f"{names} {max(numbers)}, and no loaded model has that many classes"
    if min(numbers) > 1 or len(numbers) < 2 or max(numbers) > 2 * len(numbers):
        return f"its numbers ({', '.join(map(str, numbers[:3]))}) do not number classes from 0 or 1"
    return ""


def _no_name_lines(lines: Sequence[str]) -> str:
    """Why lines of text are not a label file; empty if they are one."""
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if "" in names:
        return "it has empty lines between other lines"
    if rows := [name for name in names if _ROW_OF_NUMBERS.fullmatch(name)]:
        return f"{rows[0][:40]!r} is a row of numbers"
    if code := [name for name in names if _CODE.search(name)]:
        return f"{code[0][:40]!r} is not a class name"
    if prose := [name for name in names if _is_sentence(name)]:
        return f"{prose[0][:40]!r} is not a class name"
    distinct = set(names) - {"???"}
    if len(distinct) < sum(name != "???" for name in names):
        return "it has the same line twice"
    return ""


def _is_sentence(name: str) -> bool:
    words = max(len(part.split()) for part in name.split(","))
    return words > MAX_WORDS or (len(name.split()) > 2 and name.endswith((".", "!", "?", ":")))
