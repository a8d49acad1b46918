"""The projects of this browser: a list that the browser keeps and draws, in its local storage for this address.

The server is told an ID when the user opens or deletes that project, and never the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent


def project_list(current: dict[str, Any] | None, deleted: Sequence[str], *, key: str) -> tuple[str, list[str]]:
    """Show the list. Returns (the ID that was just picked, the IDs that the user just wants deleted), else empty.

    Args:
        current: {id, name, text, own} of the project in view, which is added to the list; own: whether this session
            made it, and did not open it by a link.
        deleted: IDs to take off the list.
    """
    result = _component()(
        key=key,
        data={"current": current, "deleted": list(deleted)},
        on_picked_change=lambda: None,
        on_unwanted_change=lambda: None,
    )
    picked, unwanted = result.get("picked"), result.get("unwanted")
    return str(picked or ""), [str(project) for project in unwanted] if isinstance(unwanted, list) else []


@cache
def _component() -> ComponentRenderer:
    css, script = ((HERE / name).read_text(encoding="utf-8") for name in ("project_list.css", "project_list.js"))
    return st.components.v2.component("qviz_projects", html='<div class="qviz-projects"></div>', css=css, js=script)
