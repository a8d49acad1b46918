"""Read JSON that comes from outside: annotations, settings, labels, results and studies."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn


class NotJson(Exception):
    """A text is not JSON. The message is a clause that begins with "it" or with a position in the text."""


def parse_json(data: bytes | str, not_a_number: bool = False) -> Any:
    """The value that a JSON text describes. `data` is UTF-8 (with or without a byte order mark), UTF-16 or UTF-32.

    Args:
        not_a_number: Whether NaN and Infinity are read as numbers. They are not JSON, but writers in Python and C++
            produce them. Only for callers that check every number.

    Raises:
        NotJson: The text is empty, incomplete or otherwise not JSON, or is nested too deeply.

    Example:
        >>> parse_json(b"[1, 2]")
        [1, 2]
    """
    try:
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise NotJson("it is not text") from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise NotJson("it is empty")
    try:
        return json.loads(text, parse_constant=None if not_a_number else _refuse)
    except json.JSONDecodeError as error:
        raise NotJson(_explanation(error, text)) from None
    except RecursionError:
        raise NotJson("its lists and objects are nested too deeply") from None
    except MemoryError:
        raise NotJson("it needs more memory than there is") from None
    except ValueError:  # int() refuses it
        raise NotJson(f"it has a number of more than {sys.get_int_max_str_digits()} digits") from None


def _refuse(constant: str) -> NoReturn:
    raise NotJson(f"it has {constant}, which is not a number in JSON; write null or leave the value out")


def _explanation(error: json.JSONDecodeError, text: str) -> str:
    where = f"line {error.lineno}, column {error.colno}"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"it ends in the middle of a value (line {error.lineno}), so it is incomplete"
    if error.msg == "Extra data":
        return f"more text follows behind the end of the value ({where})"
    if error.msg.startswith("Invalid control character"):
        return f"a text is broken by a new line or a control character ({where})"
    character = text[error.pos]
    shown = repr(character) if character.isprintable() else f"U+{ord(character):04X}"
    return f"{shown} is not expected at {where}"
