"""A drawing of the network: its operators on a canvas, coloured by a measured value, with zoom, search and selection.

Everything on the canvas happens in the browser. Python is informed when the user opens another operator or selects
several. Operators are identified by their index in the file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qviz.ui.component import mount, reports

HERE = Path(__file__).parent
MODULES = ("layout", "colours", "camera", "paint", "pick", "tip", "pointer", "keys", "toolbar")
SCRIPTS = (HERE.parent / "viewer" / "dom.js", *(HERE / f"{name}.js" for name in MODULES))


@dataclass(frozen=True, slots=True)
class Pick:
    """What the user picked last.

    Attributes:
        chosen: Index of the operator in view, or None.
        selected: Indices of the selected operators, in ascending order.
    """

    chosen: int | None
    selected: tuple[int, ...]


def take_pick(key: str, act: Callable[[Pick], object]) -> None:
    """Call `act` with the new pick if the user picked something in the drawing. To be called before `network`."""
    reports(key, "pick").act("pick", lambda value: act(Pick(value["chosen"], tuple(value["selected"]))))


def network(data: dict[str, Any], *, key: str) -> None:
    """Draw the network. The format of `data` is documented in network.js; the stamp `at` is added here."""
    mount(HERE, {**data, "at": reports(key, "pick").stamps.get("pick", 0)}, key, ["pick"], SCRIPTS)
