"""The frame of the pages: each is drawn into the page itself."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _script() -> None:
    import streamlit as st
    from streamlit.delta_generator_singletons import context_dg_stack, get_dg_singleton_instance

    from qviz.ui import page

    dgs = get_dg_singleton_instance()
    context_dg_stack.set((dgs.main_dg, dgs.sidebar_dg))  # as Streamlit leaves it after a fragment of the sidebar
    st.text("of the fragment")
    page.draw_into_page()
    st.text("of the page")


def test_a_page_after_a_fragment_is_not_drawn_into_its_container() -> None:
    app = AppTest.from_function(_script).run()
    assert not app.exception
    assert [text.value for text in app.sidebar.text] == ["of the fragment"]
    assert [text.value for text in app.main.text] == ["of the page"]


def _many_notices() -> None:
    from qviz.ui import page
    from qviz.ui.workspace import Workspace

    page._notices(Workspace().with_notices([f"notice number {number}" for number in range(10)]), None)


def test_notices_beyond_the_first_are_folded_and_not_dropped() -> None:
    app = AppTest.from_function(_many_notices).run()
    assert not app.exception
    assert len(app.warning) == 8
    (folded,) = app.expander
    assert (folded.label, len(folded.markdown)) == ("and 2 more", 1)
    assert all(f"notice number {number}" in folded.markdown[0].value for number in (8, 9))
