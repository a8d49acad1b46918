"""An HTML page in a frame with its own origin, so that its scripts cannot reach the dashboard."""

from __future__ import annotations

from pathlib import Path

from qviz.ui.component import mount


def frame(html: str, rev: str, height: int, *, key: str) -> None:
    """Show an HTML page in the frame.

    Args:
        html: The complete HTML page.
        rev: Revision of the page; the frame is reloaded only if this differs from the last run.
        height: Height of the frame in pixels.
    """
    mount(Path(__file__).parent, {"html": html, "rev": rev, "height": height}, key)
