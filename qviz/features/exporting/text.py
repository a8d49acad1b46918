"""An export in a sentence, and the pictures of the worst images as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.features.exporting import Export
from qviz.formatting import listed, plural

CHANGES = ("lost", "spurious", "relabelled", "shifted")


def verdict(result: Export) -> str:
    """How many images there are, and what changed on them."""
    counts = {name: sum(image.count(name) for image in result.images) for name in CHANGES}
    changed = listed([f"{count} {name}" for name, count in counts.items() if count])
    objects = f" Against {result.reference}, {result.variant} has {changed} objects on them." if changed else ""
    return f"{plural(len(result.images), 'image')} as {result.form}.{objects}"


def worst_tables(saved: Sequence[tuple[Export, str]]) -> str:
    """One Markdown table for each result of `save_worst`, separated by empty lines."""
    return "\n\n".join(worst_table(result, prefix) for result, prefix in saved)


def worst_table(result: Export, prefix: str = "") -> str:
    """A Markdown table with one row per image: its name, what changed, and the file of its picture. Names are escaped.

    The table does not embed the pictures, because code hosts remove `data:` addresses from Markdown.

    Args:
        prefix: Path of the folder with the pictures, ending in a slash.
    """
    from qviz.features.accuracy.text import plain, table

    rows = [
        [
            plain(image.image),
            ", ".join(f"{image.count(name)} {name}" for name in CHANGES if image.count(name)) or "none",
            f"`{prefix}{image.file}`".replace("|", "_"),
        ]
        for image in result.images
    ]
    head = f"Worst images of {plain(result.variant)}. Pictures: {plain(result.reference)} left, the variant right."
    return f"{head}\n\n{table(['image', 'changed objects', 'picture'], rows)}"
