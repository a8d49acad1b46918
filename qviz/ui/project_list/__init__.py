"""The list of this browser's projects, which the browser draws and keeps in its local storage for this address.

The server never gets the list; it is told the ID of a project only when the user opens or deletes that project.
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
    """Show the list and return (ID that the user just picked or "", IDs that the user just asked to delete).

    Args:
        current: {id, name, text, own} of the open project, which is added to the list; `own` is true if this session
            created the project and false if it was opened by a link.
        deleted: IDs to remove from the list.
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
