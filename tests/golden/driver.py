"""Opens every page on the sample and writes down what it shows; run with the Python and in the folder of one side.

It imports nothing of the checkout: `app.py` and `pages/*.py` are all that it knows. A page is run again until it has
shown the same for a while and no progress bar is left; then buttons that begin a short piece of work are pressed.

    python -P driver.py CHECKOUT OUTPUT.json [quick]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

PAGES = {
    "app.py": (),
    "pages/compare.py": ("qviz-trace",),
    "pages/layers.py": (),
    "pages/accuracy.py": (),
    "pages/robustness.py": ("robustness-run",),
    "pages/report.py": ("report-start",),
    "pages/glossary.py": (),
    "pages/variants.py": ("build-start",),
}
"""A page -> keys of buttons of which the first that is there is pressed. Variants comes last: it adds a model."""
PAUSE = 1.5
SAME = 6
"""A page is settled when it has shown the same this many times in a row, a pause apart."""
LIMIT = 240.0
TEXTS = {"html", "text", "caption", "markdown", "title", "header", "subheader", "code", "info", "success", "warning"}
MAIN = sys.modules["__main__"]


def leaves(node: Any) -> Iterator[Any]:
    """The elements under a block, in the order of the page."""
    children = getattr(node, "children", None)
    if children is None:
        yield node
        return
    for child in children.values():
        yield from leaves(child)


def text_of(element: Any) -> str:
    """What an element says, "" where it says nothing."""
    value = getattr(element.proto, "body", None) or getattr(element, "value", "")
    return value if isinstance(value, str) else ""


def cell(value: Any) -> Any:
    """A table's value as JSON has it: None where nothing is known."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, (int, float, str, bool)) or value is None else str(value)


def table_of(element: Any) -> dict[str, Any]:
    """The columns and rows of a dataframe."""
    frame = element.value
    return {
        "columns": [str(name) for name in frame.columns],
        "rows": [[cell(value) for value in row] for row in frame.astype(object).values.tolist()],
    }


def component_of(element: Any) -> Any:
    """The data that a component of the page's own is given, pictures and styles left out."""
    for name in ("json", "mixed"):
        value = getattr(element.proto, name, None)
        text = value if isinstance(value, str) else getattr(value, "json", "")
        if text:
            return json.loads(text)
    return None


def shown_on(app: AppTest) -> dict[str, Any]:
    """What the page shows: texts, tables, charts as Plotly has them, components' data, errors."""
    shown: dict[str, Any] = {"html": [], "texts": [], "tables": [], "charts": [], "components": [], "options": []}
    for element in leaves(app.main):
        kind = element.type
        if kind in TEXTS:
            shown["html" if kind == "html" else "texts"].append(text_of(element))
        elif kind in ("dataframe", "arrow_data_frame", "table"):
            shown["tables"].append(table_of(element))
        elif kind == "plotly_chart":
            shown["charts"].append(json.loads(element.proto.spec or "{}").get("data", []))
        elif kind == "bidi_component":
            shown["components"].append(component_of(element))
        elif kind in ("selectbox", "multiselect"):
            shown["options"].append(list(element.options))
    shown["errors"] = [text_of(error) for error in [*app.exception, *app.error]]
    return shown


def run(app: AppTest) -> None:
    """Once more; the main module is put back, which AppTest leaves as the page's script."""
    app.run()
    sys.modules["__main__"] = MAIN


def busy(app: AppTest) -> bool:
    """Whether a progress bar is on the page."""
    return len(app.get("progress")) > 0


def settled(app: AppTest) -> dict[str, Any]:
    """What the page shows once it no longer changes; `unsettled` is true where it never came to rest."""
    end, same, last = time.monotonic() + LIMIT, 0, ""
    while same < SAME and time.monotonic() < end:
        time.sleep(PAUSE)
        run(app)
        now = json.dumps(shown_on(app), sort_keys=True)
        same = same + 1 if now == last and not busy(app) else 0
        last = now
    return {**json.loads(last), "unsettled": same < SAME}


def pressed(app: AppTest, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """What the page shows after the first button of these keys that is there; None where none is."""
    there = {button.key: button for button in app.button}
    key = next((key for key in keys if key in there), None)
    if key is None:
        return None
    there[key].click()
    run(app)
    return settled(app)


def opened(app: AppTest, page: str, quick: bool) -> dict[str, Any]:
    """One page as it opens, and after its button."""
    start = time.monotonic()
    app.switch_page(page)
    run(app)
    shown: dict[str, Any] = {"opened": settled(app)}
    if PAGES[page] and not quick:
        shown["pressed"] = pressed(app, PAGES[page])
    print(f"    {page}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return shown


def main() -> None:
    root, output, quick = Path(sys.argv[1]), Path(sys.argv[2]), "quick" in sys.argv[3:]
    app = AppTest.from_file(str(root / "app.py"), default_timeout=LIMIT)
    run(app)
    output.write_text(json.dumps({page: opened(app, page, quick) for page in PAGES}))


if __name__ == "__main__":
    main()
