"""The viewer: detections of the reference and its variants over one image, in the browser.

Threshold, filters, zoom and swipe work in the browser; Python is informed when the user releases the control. Boxes are
xyxy in pixels of the original image, scores and IoU are in [0, 1], class ids start at 0. A selected object is named
``variant id:reference index:variant index``, with -1 in place of an index if there is no box.

Every report from the browser contains the ``rev`` of the data to which it refers. A selection in an image that is no
longer shown is recognised by its ``rev``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qviz.ui.component import mount, reports

HERE = Path(__file__).parent
MODULES = ("dom", "rows", "panes", "tags", "zoom", "swipe", "tooltip", "controls", "toolbar", "png", "present", "keys")
SCRIPTS = tuple(HERE / f"{name}.js" for name in MODULES)
STEP = "step"
FIELDS = ("threshold", "selected", "mode", "changes", "classes", "truth", "focus", "present")


@dataclass(frozen=True, slots=True)
class ViewerState:
    """What the user changed in the viewer. None: not changed, or, for `selected`, changed on another `rev`."""

    threshold: float | None = None
    selected: str | None = None  # "" if the user deselected the object
    mode: str | None = None  # side | swipe
    changes: tuple[str, ...] | None = None
    classes: tuple[int, ...] | None = None  # () for all classes
    truth: bool | None = None
    focus: str | None = None  # variant picked in swipe mode
    present: bool | None = None  # whether only the images are shown, for a projector
    acted: frozenset[str] = frozenset()  # fields the user changed since the page last called `done`
    done: Callable[[], object] = bool  # to be called once the page has acted on the step and the changes


def viewer(data: dict[str, Any], *, key: str) -> ViewerState:
    """Mount the viewer and return what the user changed. The format of `data` is documented in viewer.js."""
    names = (*FIELDS, STEP)
    mount(HERE, data, key, names, SCRIPTS)
    user = reports(key, *names)
    return ViewerState(
        **{name: _value(name, user.last[name], data["rev"]) for name in FIELDS if name in user.last},
        acted=frozenset(user.new) - {STEP},
        done=user.done,
    )


def step(key: str, act: Callable[[int], object]) -> None:
    """Call `act` with the number of images by which the user went on since the last call, negative for back.

    Call this before the viewer is drawn, so that the same run draws the new image.
    """
    user = reports(key, STEP)
    report, last = user.new.get(STEP), user.stamps.get(STEP, 0)
    if report is not None and (steps := sum(int(by) for at, by in report["value"] if at > last)):
        act(steps)
    user.done()


def _value(name: str, report: Mapping[str, Any], rev: str) -> Any:
    value = report["value"]
    if name == "selected":
        return (value or "") if report["rev"] == rev else None
    return tuple(value) if isinstance(value, list) else value
