"""The list of this browser's projects. The browser draws it and keeps it in its local storage for this address.

The server never gets the list. It only gets the ID of a project when the user opens or deletes that project.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qviz.ui.component import Reports, mount, reports


def project_list(current: dict[str, Any] | None, deleted: Sequence[str], *, key: str) -> Reports:
    """Show the list and return what the user did: `picked` (ID to open) or `unwanted` (list of IDs to delete).

    Args:
        current: {id, name, text, own} of the open project, which is added to the list; `own` is true if this session
            created the project and false if it was opened by a link.
        deleted: IDs to remove from the list.
    """
    names = ("picked", "unwanted")
    mount(Path(__file__).parent, {"current": current, "deleted": list(deleted)}, key, names)
    return reports(key, *names)
