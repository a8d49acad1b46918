"""Class names and paths in an Ultralytics `data.yaml`: the part of YAML that such files are written in, and no more.

    names: [person, 'traffic light']     names: {0: person, 1: "traffic light"}
    names:                               names:
      - person                             0: person
      - traffic light                      1: traffic light
    path: ../coco8      val: images/val      train: [images/a, images/b]

Lists and maps in brackets may run over lines; comments are left out. Anchors, tags, block texts and names over several
lines are refused. Source: YAML 1.2 chapters 7 (flow) and 8 (block); docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_KEY = re.compile(r"^names[ \t]*:(?=[ \t\r]|$)", re.MULTILINE)
_QUOTED = r"'(?:[^'\n]|'')*'|\"(?:[^\"\\\n]|\\.)*\""
_SCALAR = re.compile(rf"({_QUOTED})\s*(?:\#.*)?$")
_ENTRY = re.compile(r"\s*(?:-|(\d{1,9}|'\d{1,9}'|\"\d{1,9}\")\s*:)(?:\s+(.*))?$")
_FLOW = re.compile(
    rf"(?P<skip>\s+|(?<=\s)\#[^\n]*)|(?P<text>{_QUOTED}|[^\s,\[\]{{}}:#'\"][^,\[\]{{}}\n:#]*)|(?P<sign>.)"
)


EMPTY = ("", "~", "null")


def has_names(text: str) -> bool:
    """A line of the top level that says `names:`."""
    return _KEY.search(text) is not None


def parse_names(text: str) -> list[tuple[int, str]]:
    """(class id, name) pairs as written. Raises ValueError with what cannot be read."""
    found = _KEY.search(text)
    if found is None:
        raise ValueError("it has no line `names:`")
    rest = text[found.end() :]
    if rest.lstrip()[:1] in ("[", "{"):
        return _flow(rest.lstrip())
    return _block(rest)


def parse_paths(text: str, key: str) -> list[str]:
    """The path, or the list of paths, that a key of the top level holds; none where it is not there or empty.

    Raises ValueError with what cannot be read.
    """
    found = re.search(rf"^{re.escape(key)}[ \t]*:(?=[ \t\r]|$)(.*)$", text, re.MULTILINE)
    if found is None:
        return []
    first = found.group(1).strip()
    if first.startswith("["):
        said = [name for _, name in _flow(text[found.start(1) :].lstrip())]
    elif first and not first.startswith("#"):
        said = [_scalar(first)]
    else:
        said = [_scalar(item) for item in _items(text[found.end() :])]
    return [path for path in said if path not in EMPTY]


def _items(text: str) -> Iterator[str]:
    """What follows the dashes of a block list, up to the next key."""
    for line in text.splitlines():
        if line.strip().startswith("- "):
            yield line.strip()[2:]
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def _block(text: str) -> list[tuple[int, str]]:
    pairs: list[tuple[int, str]] = []
    first, *lines = text.splitlines() or [""]
    if first.strip() and not first.strip().startswith("#"):
        raise ValueError(f"`names:` is followed by {first.strip()[:30]!r}, which is neither a list nor a map")
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] not in " \t-":
            break  # the next key of the top level
        entry = _ENTRY.match(line)
        if entry is None:
            raise ValueError(f"{line.strip()[:30]!r} under `names:` is no `- name` and no `0: name`")
        number = len(pairs) if entry.group(1) is None else int(entry.group(1).strip("'\""))
        pairs.append((number, _scalar(entry.group(2) or "")))
    return pairs


def _scalar(text: str) -> str:
    """A name, quoted or plain, with a comment left out."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        found = _SCALAR.match(text)
        if found is None:
            raise ValueError(f"the name {text[:30]} has no closing quote")
        return _unquoted(found.group(1))
    if text[:1] in tuple("&*!|>%@`[{"):
        raise ValueError(f"the name {text[:30]!r} is in a form of YAML that is not read: put it in quotes")
    return re.split(r"\s#", text, maxsplit=1)[0].strip()


def _unquoted(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    try:
        return str(json.loads(text))  # YAML's escapes that names are written with are JSON's
    except ValueError as error:
        raise ValueError(f"the name {text[:30]} has an escape that is not read") from error


def _flow(text: str) -> list[tuple[int, str]]:
    """`[a, b]` or `{0: a, 1: b}`, up to its closing bracket."""
    entries: list[list[str]] = [[]]
    closing = "]" if text[0] == "[" else "}"
    for token in _FLOW.finditer(text, 1):
        if token.lastgroup == "text":
            entries[-1].append(_scalar(token.group()))
        elif token.group() == ",":
            entries.append([])
        elif token.group() == closing:
            return _pairs([entry for entry in entries if entry], keyed=closing == "}")
        elif token.lastgroup == "sign" and (token.group() != ":" or closing == "]"):
            raise ValueError(f"{token.group()!r} inside the brackets of `names:` is not read: put names in quotes")
    raise ValueError("the brackets after `names:` are never closed")


def _pairs(entries: list[list[str]], keyed: bool) -> list[tuple[int, str]]:
    wrong = next((entry for entry in entries if len(entry) != (2 if keyed else 1)), None)
    if wrong is not None or (keyed and not all(entry[0].isdecimal() for entry in entries)):
        raise ValueError("the entries of `names:` are not all names, or not all `number: name`")
    return (
        [(int(entry[0][:12]), entry[1]) for entry in entries] if keyed else [(i, e[0]) for i, e in enumerate(entries)]
    )
