"""`label_map.pbtxt` of the TensorFlow Object Detection API: items of an id and a name, in protobuf's text format.

    item { id: 1  name: "/m/01g317"  display_name: 'person' }   # ids count from 1; 0 is the background

Source: object_detection/protos/string_int_label_map.proto; the text format's own specification (protobuf.dev). What is
used of it is read: fields in any order, `:` before a message or not, both quotes, escapes, strings that continue,
comments, `<>` for `{}`; unknown fields are passed over. The display name is taken where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_DEPTH = 8
"""Messages inside messages; a label map has two levels."""

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[\w.+/-]+)
    |(?P<sign>[{}<>\[\]:;,])""",
    re.VERBOSE,
)
_ITEM = re.compile(r"(?:\s|#[^\n]*\n)*item\s*:?\s*[{<]")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


Message = list[tuple[str, "str | Message"]]


def is_label_map(text: str) -> bool:
    """It begins with an item, comments aside."""
    return _ITEM.match(text) is not None


def parse_label_map(text: str) -> list[tuple[int, str]]:
    """(class id, name) pairs as written, class ids counting from 0. Raises ValueError with the line of a fault."""
    pairs = []
    for key, value in _message(_tokens(text), MAX_DEPTH, ""):
        if key == "item" and isinstance(value, list):
            fields = {name: said for name, said in value if isinstance(said, str)}
            label = fields.get("display_name") or fields.get("name", "")
            number = _id(fields.get("id", "0"))
            if number > 0:
                pairs.append((number - 1, label))
            elif label.lower() != "background":
                raise ValueError(f"item {label!r} has the id {number}: ids count from 1")
    return pairs


def _id(text: str) -> int:
    try:
        return int(text[:12], 0)
    except ValueError as error:
        raise ValueError(f"the id {text[:20]!r} is no number") from error


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"line {line} cannot be read at {text[at : at + 20]!r}")
        if found.lastgroup != "skip":
            yield _Token(str(found.lastgroup), found.group(), line)
        line += found.group().count("\n")
        at = found.end()


def _message(tokens: Iterator[_Token], depth: int, end: str) -> Message:
    """The fields up to the closing sign `end`, or up to the end of the text."""
    if depth == 0:
        raise ValueError(f"messages are nested more than {MAX_DEPTH} deep")
    fields: Message = []
    for token in tokens:
        if token.text == end:
            return fields
        if token.kind == "string" and fields and isinstance(fields[-1][1], str):
            fields[-1] = (fields[-1][0], fields[-1][1] + _unquoted(token.text))  # strings side by side are one
        elif token.kind == "word":
            fields.append((token.text, _value(token, tokens, depth)))
        elif token.text not in (",", ";"):
            raise ValueError(f"line {token.line} has {token.text!r} where a field's name is expected")
    if end:
        raise ValueError(f"it ends before the last {end!r}")
    return fields


def _value(name: _Token, tokens: Iterator[_Token], depth: int) -> str | Message:
    token = next(tokens, None)
    if token is not None and token.text == ":":
        token = next(tokens, None)
    if token is None:
        raise ValueError(f"it ends after {name.text!r}")
    if token.text in ("{", "<"):
        return _message(tokens, depth - 1, "}" if token.text == "{" else ">")
    if token.text == "[":
        return _list(tokens)
    if token.kind == "sign":
        raise ValueError(f"line {token.line} has {token.text!r} where the value of {name.text!r} is expected")
    return _unquoted(token.text) if token.kind == "string" else token.text


def _list(tokens: Iterator[_Token]) -> Message:
    """A list in brackets: no field of a label map, so it is passed over."""
    open_lists = 1
    for token in tokens:
        open_lists += (token.text == "[") - (token.text == "]")
        if open_lists == 0:
            return []
    raise ValueError("it ends before the last ']'")


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(_unescaped, text[1:-1].encode()).decode("utf-8", "replace")


def _unescaped(found: re.Match[bytes]) -> bytes:
    said = found.group(1)
    if said[:1].isdigit():
        return bytes([int(said, 8) & 255])
    if len(said) > 1:
        return bytes([int(said[1:], 16)])
    return _LETTERS.get(said, said)
