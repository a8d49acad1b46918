"""The user's last request of each kind in this project, such as a build: a reloaded page and other tabs find it again.

    requested.keep(STATE, start(reference, choice))  # after a click
    new = requested.last(STATE)                      # on each run of the page

A request names or contains its job, which runs on the server whether or not a page shows it (`jobs`).
"""

from __future__ import annotations

from typing import Any

from qviz.ui import projects, tray


def last(name: str) -> Any:
    """The last request of this name, or None."""
    return projects.shared().get(name)


def keep(name: str, request: object) -> None:
    """Remember what the user has requested. The workspace becomes a project, whose address finds the request again."""
    get_address()
    projects.shared()[name] = request


def get_address() -> None:
    """Make the workspace a project if it is none yet, so that a reloaded page finds the jobs of this session."""
    if projects.become_project():
        tray.take_along()


def note(name: str, request: object) -> None:
    """Remember a request that a page has made itself because its result is there already."""
    projects.shared()[name] = request


def forget(name: str) -> Any:
    """Forget the last request of this name, and return it; None if there is none."""
    return projects.shared().pop(name, None)
