"""Keep a click on a link when a part of the old page that redraws itself asks for a run at the same moment.

A session has one pending run. If a second request arrives, Streamlit 1.67 merges both and takes page and address from
the newer one (`ScriptRequests`). The request of a timer is then newer than the click, but the browser sent it from the
old page: the old page came back, or the new page opened without the parameters of its link.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests, ScriptRequestType

ADDRESS = ("query_string", "page_script_hash", "page_name", "is_history_navigation")
"""The fields of a request that a timer must not replace."""


def keep_links() -> None:
    """From now on, a timer's request leaves the page and the address of a pending request as they are."""
    original = ScriptRequests.request_rerun
    if hasattr(original, "keeps_links"):
        return

    def request_rerun(self: ScriptRequests, new_data: RerunData) -> bool:
        return original(self, merged(self, new_data))

    request_rerun.keeps_links = True  # type: ignore[attr-defined]
    ScriptRequests.request_rerun = request_rerun  # type: ignore[method-assign]


def merged(requests: Any, new_data: RerunData) -> RerunData:
    """The new request; with page and address of the pending one if that is for a whole page and this one a timer's."""
    pending = getattr(requests, "_rerun_data", None)
    is_pending = getattr(requests, "_state", None) == ScriptRequestType.RERUN
    if pending is None or not is_pending or pending.is_auto_rerun or pending.fragment_id_queue:
        return new_data
    if not new_data.is_auto_rerun:
        return new_data
    return replace(new_data, is_auto_rerun=False, **{name: getattr(pending, name) for name in ADDRESS})
