"""Text from files where Streamlit reads Markdown: labels of links, buttons, tabs and choices."""

from __future__ import annotations


def as_text(text: str) -> str:
    """The same characters, without a meaning in Markdown."""
    for character in "\\`*_{}[]<>()#+-.!|~$:":
        text = text.replace(character, "\\" + character)
    return text
