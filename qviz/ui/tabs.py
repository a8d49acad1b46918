"""Tabs whose choice is part of the view and of the address, so that a page reopens on the same tab."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.elements.lib.mutable_tab_container import TabContainer

from qviz.ui import clicks, page, view


def tabs(title: str, names: Sequence[str]) -> Sequence[TabContainer]:
    """Draw the tabs of the page with this title. Warns if the address names a tab that the page does not have."""
    tab = view.current().tabs.get(title, "")
    if tab and tab not in names:
        page.unknown(f"the tab {tab}, which this page does not have")
    key = f"qviz_tabs-{title}"
    st.session_state[key] = tab if tab in names else names[0]

    def changed() -> None:
        chosen = st.session_state[key]
        others = {other: name for other, name in view.current().tabs.items() if other != title}
        view.change(tabs=others if chosen == names[0] else others | {title: chosen})

    return st.tabs(list(names), key=key, on_change=clicks.callback(changed))
