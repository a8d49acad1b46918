"""Reads the top level of an Ultralytics `data.yaml`: class names and paths.

The text is parsed into nodes, but no objects are constructed from them, so tags create nothing and aliases are not
expanded. All values are strings: `names: [no, 007]` gives the classes "no" and "007".
"""

from __future__ import annotations

from typing import Any

MAX_YAML = 1 << 20
"""Maximum size in bytes; 20,000 class names take half of it, and reading that much takes a second."""
UNTAGGED = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
NULL = ("", "~", "null")


def read_top_level(text: str) -> dict[str, Any]:
    """Top-level key -> its node (the first, if a key is repeated). Raises ValueError, which says what is wrong."""
    import yaml

    if len(text) > MAX_YAML:
        raise ValueError(f"YAML of up to {MAX_YAML >> 20} MB is read")
    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or 'it is not valid YAML'}") from error
    if not isinstance(node, yaml.MappingNode):
        return {}
    nodes: dict[str, Any] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            nodes.setdefault(key.value, value)
    return nodes


def names_of(node: Any) -> list[tuple[int, str]]:
    """(class id, name) pairs from a list of names or a mapping of class ids to names. Raises ValueError."""
    import yaml

    _check_tag(node)
    if isinstance(node, yaml.ScalarNode) and node.value in NULL:
        return []
    if isinstance(node, yaml.SequenceNode):
        return [(number, _text(item)) for number, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"`names:` is {node.value[:30]!r}, which is neither a list nor a mapping")
    pairs = [(_text(key), _text(value)) for key, value in node.value]
    if wrong := next((key for key, _ in pairs if not (key.isdecimal() and len(key) < 10)), None):
        raise ValueError(f"`names:` has the key {wrong[:30]!r}, which is not a class id")
    return [(int(key), name) for key, name in pairs]


def paths_of(node: Any) -> list[str]:
    """The path or paths in a node, as a list; empty if the node is missing or null. Raises ValueError."""
    import yaml

    if node is None:
        return []
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [text for text in map(_text, items) if text not in NULL]


def _text(node: Any) -> str:
    import yaml

    _check_tag(node)
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"line {node.start_mark.line + 1} has a list or a mapping where plain text is expected")
    return str(node.value)


def _check_tag(node: Any) -> None:
    if node.tag not in UNTAGGED:
        raise ValueError(f"line {node.start_mark.line + 1} has the tag {node.tag[:40]!r}, and tags are not read")
