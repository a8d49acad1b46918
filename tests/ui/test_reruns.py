"""A timer of the old page does not undo a click on a link."""

from __future__ import annotations

import pytest
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests

from qviz.ui.reruns import keep_links

LINK = RerunData(query_string="image=hens.jpg", page_script_hash="compare")
TIMER = RerunData(query_string="tab=Worst", page_script_hash="accuracy", fragment_id="tray", is_auto_rerun=True)
CLICK = RerunData(query_string="tab=Slices", page_script_hash="accuracy")


@pytest.mark.parametrize(
    ("order", "address"),
    [
        ((LINK, TIMER), ("compare", "image=hens.jpg")),
        ((LINK, TIMER, TIMER), ("compare", "image=hens.jpg")),
        ((TIMER, LINK), ("compare", "image=hens.jpg")),
        ((LINK, CLICK), ("accuracy", "tab=Slices")),
        ((TIMER,), ("accuracy", "tab=Worst")),
    ],
)
def test_the_address_of_what_the_user_did_last_is_pending(
    order: tuple[RerunData, ...], address: tuple[str, str]
) -> None:
    keep_links()
    keep_links()  # each page calls it
    requests = ScriptRequests()
    for request in order:
        requests.request_rerun(request)
    pending = requests._rerun_data
    assert (pending.page_script_hash, pending.query_string) == address
    assert pending.fragment_id_queue == (["tray"] if order == (TIMER,) else [])
