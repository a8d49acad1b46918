"""Figures for a page that stands alone, without a server: plotly.js itself, and each figure as JSON.

A figure's JSON carries no template: the page gives one to all, in its own colours. `INK` in it stands for the page's
colour of text, which the page's script puts in.
"""

from __future__ import annotations

from functools import cache

import plotly.graph_objects as go

INK = "#010203"


@cache
def plotly_js() -> str:
    """plotly.js, 4.8 MB. It holds no `</script`, so that it can be inlined as it is."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text.replace("\r\n", "\n")


def figure_json(figure: go.Figure) -> str:
    """data and layout as JSON that may stand inside of a <script>: no angle bracket, no ampersand."""
    from plotly.io.json import to_json_plotly

    content = figure.to_plotly_json()
    layout = {name: value for name, value in content["layout"].items() if name != "template"}
    text: str = to_json_plotly({"data": content["data"], "layout": layout})
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
