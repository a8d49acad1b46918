"""A strip of thumbnails that shows how much changed in each image and marks the current one; a click picks an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from qviz.ui.component import mount, reports


def strip(images: list[dict[str, Any]], current: str | None, act: Callable[[str], object], *, key: str) -> None:
    """Show the strip. If the user clicks another image, call `act` with its name and rerun the page.

    Each image is {name, src (data URI, "" while it is being made), badge (short text or ""),
    level (ok | some | bad | none)}.
    """
    rev = str(hash(tuple((image["name"], image["src"], image["badge"]) for image in images)))
    mount(Path(__file__).parent, {"images": images, "current": current, "rev": rev}, key, ["picked"])
    reports(key, "picked").act("picked", lambda name: name != current and act(str(name)), st.rerun)
