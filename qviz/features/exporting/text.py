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
    """A table for each export of `save_worst`."""
    return "\n\n".join(worst_table(result, prefix) for result, prefix in saved)


def worst_table(result: Export, prefix: str = "") -> str:
    """A Markdown table of the images, what changed on them, and the files of their pictures. Names are escaped.

    The pictures themselves cannot be in it: code hosts remove `data:` addresses from Markdown.

    Args:
        prefix: Folder of the pictures, with its slash.
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
