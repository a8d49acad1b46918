"""The network as a picture: operators in blocks on a canvas, coloured by a figure, with zoom, search and selection.

Everything on the canvas happens in the browser. Python is informed when the user puts another operator in view or
selects several; operators are named by their index in the file.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent
# One ES module: plain functions, joined in this order; the last file holds the `export default`.
MODULES = ("layout", "colours", "camera", "paint", "pick", "tip", "pointer", "keys", "toolbar", "network")
SCRIPTS = (HERE.parent / "viewer" / "dom.js", *(HERE / f"{name}.js" for name in MODULES))


@dataclass(frozen=True, slots=True)
class Pick:
    """What the user has picked last.

    Attributes:
        chosen: The operator in view; None where there is none.
        selected: The selected operators, ascending.
        rev: Of the data that the pick refers to.
        at: Grows with each pick.
    """

    chosen: int | None
    selected: tuple[int, ...]
    rev: str
    at: int


def picked(key: str) -> Pick | None:
    """The last pick in the picture of this key; None before the first. Call it before `network` draws."""
    report = st.session_state.get(key, {}).get("pick")
    if not report:
        return None
    return Pick(report["chosen"], tuple(report["selected"]), report["rev"], report["at"])


def network(data: dict[str, Any], *, key: str) -> None:
    """Draw the picture. `data` is documented in network.js."""
    _component()(key=key, data=data, on_pick_change=_ignore_change)


@cache
def _component() -> ComponentRenderer:
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    css = (HERE / "network.css").read_text(encoding="utf-8")
    return st.components.v2.component("qviz_network", html='<div class="qviz-network"></div>', css=css, js=script)


def _ignore_change() -> None:
    """Streamlit puts a state into the result only if it has a callback."""
