"""A drawing of the network: its operators on a canvas, coloured by a measured value, with zoom, search and selection.

Everything on the canvas happens in the browser. Python is informed when the user opens another operator or selects
several. Operators are identified by their index in the file.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent
# These files are joined in this order into one ES module; the last one contains the `export default`.
MODULES = ("layout", "colours", "camera", "paint", "pick", "tip", "pointer", "keys", "toolbar", "network")
SCRIPTS = (HERE.parent / "viewer" / "dom.js", *(HERE / f"{name}.js" for name in MODULES))


@dataclass(frozen=True, slots=True)
class Pick:
    """What the user picked last.

    Attributes:
        chosen: Index of the operator in view, or None.
        selected: Indices of the selected operators, in ascending order.
        rev: Revision of the data that the pick refers to.
        at: Stamp that increases with each pick.
    """

    chosen: int | None
    selected: tuple[int, ...]
    rev: str
    at: int


def picked(key: str) -> Pick | None:
    """The last pick in the drawing with this key, or None before the first. Call this before `network` draws it."""
    report = st.session_state.get(key, {}).get("pick")
    if not report:
        return None
    return Pick(report["chosen"], tuple(report["selected"]), report["rev"], report["at"])


def network(data: dict[str, Any], *, key: str) -> None:
    """Draw the network. The format of `data` is documented in network.js."""
    _component()(key=key, data=data, on_pick_change=_ignore_change)


@cache
def _component() -> ComponentRenderer:
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    css = (HERE / "network.css").read_text(encoding="utf-8")
    return st.components.v2.component("qviz_network", html='<div class="qviz-network"></div>', css=css, js=script)


def _ignore_change() -> None:
    """Do nothing. Streamlit includes a state in the result only if the state has a callback."""
