"""A gallery of images with a model's detections; a click picks an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qviz.ui.component import mount, reports


def gallery(images: list[dict[str, Any]], colour: str, rev: str, then: Callable[[str], object], *, key: str) -> None:
    """Show the images, and call `then` with the name of the one that was clicked.

    Args:
        images: {name, src (data URI, "" while it is being made), width, height, boxes [[x1, y1, x2, y2, change]...],
            text (what changed), badge (its first words), level (ok | some | bad | none)}. Boxes are in pixels of the
            original image, which has the size width x height. Lost objects are drawn as outlines.
        colour: Colour of the boxes of kept objects.
        rev: Revision of the data; it must differ whenever anything that is drawn differs.
        then: Called with the name of the image; it may end the run, e.g. by st.switch_page.
    """
    mount(Path(__file__).parent, {"images": images, "colour": colour, "rev": rev}, key, ["picked"])
    clicked = reports(key, "picked")
    if "picked" in clicked.new:
        clicked.done()
        then(str(clicked.new["picked"]["value"]))
