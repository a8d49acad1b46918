"""Projects: a session's workspace saved on disk, under an ID that is part of the page's address.

A workspace is saved whenever it differs from what is on disk. `?project=ID` in the address opens it again after a
reload, in a new tab or after the server restarts. Browser tabs with the same project open show each other's changes.
The browser keeps the list of its projects itself (`project_list`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from qviz.cache import LRUCache
from qviz.errors import ProjectChanged, ProjectError
from qviz.formatting import as_text, plural
from qviz.limits import limits
from qviz.store import user_folder
from qviz.store.projects import Projects, Revision
from qviz.ui import clicks, sample
from qviz.ui.project_document import MAX_NAME, from_document, to_document
from qviz.ui.project_list import project_list
from qviz.ui.workspace import Workspace, changed_parts, current, forget_drops, keep

KEY, PARAMETER = "qviz_project", "project"
SAVED = "qviz_saved"
"""Session key of the workspace as it was opened or last saved. It is saved again only if it has changed since."""
REVISION, MADE_HERE, DELETED = "qviz_project_revision", "qviz_project_own", "qviz_projects_deleted"
PROBLEM = "qviz_project_problem"
"""Session key of a sentence that says why the workspace cannot be saved; absent if it is saved."""
MAX_DELETED = 200
SHARED, MAX_SHARED = "qviz_project_shared", 64
"""Session key of what the pages of a session without a project share (`shared`), and the maximum number of projects
for which the server remembers it."""
GONE = (
    "The project is no longer on this server: it was deleted on another page, or its disk is gone. This page still"
    " shows it; the next change saves it as a new project."
)
COPY = "The project was changed on another page at the same time. What this page shows is now a project of its own."


@st.cache_resource(show_spinner=False)
def _projects(folder: str) -> Projects:
    return Projects(Path(folder))


def projects() -> Projects:
    """The projects of this server."""
    try:
        return _projects(str(user_folder("data") / "projects"))
    except RuntimeError as error:
        raise ProjectError("This account has no home folder; set QVIZ_DATA to a folder for projects.") from error


@st.cache_resource(show_spinner=False)
def _shared() -> LRUCache[dict[str, Any]]:
    return LRUCache(MAX_SHARED)


def shared() -> dict[str, Any]:
    """What all pages with this project open have in common, and find again after a reload: requests and their jobs.

    It is in the server's memory. A session without a project has its own.
    """
    project: str | None = st.session_state.get(KEY)
    if project is None:
        values: dict[str, Any] = st.session_state.setdefault(SHARED, {})
        return values
    return _shared().get(project, dict)


def become_project() -> bool:
    """Save the workspace as a project if it is none yet. Returns whether it has become one."""
    if KEY in st.session_state:
        return False
    _save(current())
    return KEY in st.session_state


# ---- opening and saving ---------------------------------------------------------------------------------------------


def opened(otherwise: Callable[[], Workspace]) -> Workspace:
    """The workspace of a new session: the project named in the address, or else the result of `otherwise()`.

    If that project is damaged or not on this server, a notice says so.
    """
    project = st.query_params.get(PARAMETER, "")
    try:
        workspace = _loaded(project) if project else otherwise()
    except ProjectError as error:
        workspace = otherwise().with_notices([f"{error} The page shows the models that qviz starts with."])
    st.session_state[SAVED] = workspace
    return workspace


def follow() -> None:
    """Load the session's project again if another tab has saved it, or open another one that the address now names.

    The address names another project after the browser's Back.
    """
    project, address = st.session_state.get(KEY), st.query_params.get(PARAMETER, "")
    try:
        if address and project and address != project:
            open_project(address)
        elif project and PROBLEM not in st.session_state:
            revision = projects().revision(project)
            if revision is None:
                leave(current().with_notices([GONE]))
            elif revision != st.session_state.get(REVISION):
                forget_drops()
                keep(_loaded(project))
    except ProjectError as error:
        keep(current().with_notices([str(error)]))


def _loaded(project: str, made_here: bool = False) -> Workspace:
    store = projects()
    revision = store.revision(project)
    bundled = sample.bundled()
    workspace = from_document(
        store.load(project), lambda digest: bundled[digest] if digest in bundled else store.blob(project, digest)
    )
    made_here = made_here or (st.session_state.get(KEY) == project and st.session_state.get(MADE_HERE, False))
    _stands_for(workspace, project, revision, made_here)
    return workspace


def _stands_for(workspace: Workspace, project: str, revision: object, made_here: bool) -> None:
    """Remember that this workspace equals this revision of the project on disk."""
    st.session_state.update({KEY: project, SAVED: workspace, REVISION: revision, MADE_HERE: made_here})
    st.session_state.pop(PROBLEM, None)


def open_project(project: str) -> None:
    """Open another project in this session. Raises ProjectError; the session then stays unchanged."""
    keep(_loaded(project))
    forget_drops()


def imported(data: bytes) -> Workspace:
    """Open an exported project under a new ID and return its workspace. Raises ProjectError if it cannot be read."""
    return keep(_loaded(projects().imported(data), made_here=True))


def leave(workspace: Workspace) -> None:
    """Continue the session with a workspace that belongs to no project; the previous project stays on disk."""
    for key in (KEY, REVISION, MADE_HERE, PROBLEM, SHARED):
        st.session_state.pop(key, None)
    st.session_state[SAVED] = keep(workspace)
    forget_drops()


def saved(workspace: Workspace) -> Workspace:
    """Save the session's workspace if it has changed, and return it. The first save creates a new ID.

    If saving fails, the sidebar shows a sentence (`menu`).
    """
    before: Workspace = st.session_state.setdefault(SAVED, workspace)
    if workspace is before or not changed_parts(before, workspace):
        return workspace
    st.session_state[SAVED] = workspace
    return _save(workspace)


def _save(workspace: Workspace) -> Workspace:
    project, (document, blobs) = st.session_state.get(KEY), to_document(workspace)
    blobs = {digest: data for digest, data in blobs.items() if digest not in sample.bundled()}
    try:
        store, common = projects(), shared()
        try:
            revision = st.session_state.get(REVISION) if project else None
            name, made_here = project or store.new_id(), st.session_state.get(MADE_HERE, False) if project else True
            _stands_for(workspace, name, _written(store, name, document, blobs, revision), made_here)
        except ProjectChanged:
            workspace = keep(workspace.with_notices([COPY]))
            name = store.new_id()
            _stands_for(workspace, name, store.save(name, document, blobs), made_here=True)
        if name != project:
            _shared().put(name, dict(common))
            st.session_state.pop(SHARED, None)
    except ProjectError as error:
        st.session_state[PROBLEM] = str(error)
    else:
        if st.query_params.get(PARAMETER) != name:
            st.query_params[PARAMETER] = name  # here, as a page without models stops before it writes its view
    return workspace


def _written(
    store: Projects, project: str, document: dict[str, Any], blobs: Mapping[str, bytes], revision: Revision
) -> Revision:
    """Save the document. Returns the new revision. Raises ProjectChanged unless the other page made the same change.

    Two pages make the same change if both show a build: each adds the variant as soon as it is finished.
    """
    try:
        return store.save(project, document, blobs, revision)
    except ProjectChanged:
        latest = store.revision(project)
        if store.load(project) != json.loads(json.dumps(document)):
            raise
        return latest


def is_outdated() -> bool:
    """Whether another page has saved the project since this session opened or saved it."""
    project: str | None = st.session_state.get(KEY)
    return project is not None and projects().revision(project) not in (None, st.session_state.get(REVISION))


def delete(project: str) -> None:
    """Delete a project and its files, and remove it from the browser's list. Raises ProjectError if that fails."""
    projects().delete(project)
    _shared().forget(project)
    gone: tuple[str, ...] = st.session_state.get(DELETED, ())
    st.session_state[DELETED] = (*gone, project)[-MAX_DELETED:]


def parameter() -> dict[str, str]:
    """The query parameter with the project's ID; empty if the session has no project."""
    project = st.session_state.get(KEY)
    return {PARAMETER: project} if project else {}


# ---- the sidebar ----------------------------------------------------------------------------------------------------


def menu(workspace: Workspace, then: Callable[[], object]) -> None:
    """Draw the session's project and this browser's list, with controls to rename, download, open, start and delete.

    `then` is called after another workspace has been opened.
    """
    project = st.session_state.get(KEY)
    if problem := st.session_state.get(PROBLEM):
        st.warning(as_text(problem))
        clicks.button(st, "Save again", lambda: _save(current()), "project-save", st.rerun, width="stretch")
    with st.expander("Projects"):
        row = None if project is None else _row(workspace, project)
        # above the list, which appears later and would move the button away under the pointer
        clicks.button(st, "New empty project", lambda: _start(then), "project-new", st.rerun, width="stretch")
        user = project_list(row, st.session_state.get(DELETED, ()), key="project-list")
        user.act("picked", lambda picked: _open(str(picked), then), st.rerun)
        user.act("unwanted", lambda unwanted: _delete(list(map(str, unwanted)), then), st.rerun)
        if project is not None:
            _download(workspace, project)
            _name(workspace, project)


def _name(workspace: Workspace, project: str) -> None:
    name = st.text_input("Name", workspace.name, max_chars=MAX_NAME, key=f"project-name-{project}-{workspace.name}")
    st.caption("Saved on this server. Whoever has the address of this page can open and change it.")
    if name != workspace.name:
        keep(replace(workspace, name=name))
        st.rerun()


def _row(workspace: Workspace, project: str) -> dict[str, Any]:
    text = f"{plural(len(workspace.models), 'model')}, {plural(len(workspace.images), 'image')}"
    names = [] if workspace.is_sample else [model.name for model in workspace.models]
    names += [image.name for image in workspace.images[:1]]
    name = workspace.name or (names[0][:MAX_NAME] if names else "Empty")
    return {"id": project, "name": name, "text": text, "own": bool(st.session_state.get(MADE_HERE))}


def _open(project: str, then: Callable[[], object]) -> None:
    if project == st.session_state.get(KEY):
        return
    try:
        open_project(project)
    except ProjectError as error:
        keep(current().with_notices([str(error)]))
        return
    then()


def _start(then: Callable[[], object]) -> None:
    """Start an empty project, without the bundled sample. It is saved at once, so that a reload opens it again."""
    leave(Workspace())
    _save(current())
    then()


def _delete(unwanted: Sequence[str], then: Callable[[], object]) -> None:
    problems = []
    for project in unwanted:
        try:
            delete(project)
        except ProjectError as error:
            problems.append(str(error))
    if st.session_state.get(KEY) in st.session_state.get(DELETED, ()):
        leave(sample.sample())
        then()
    if problems:
        keep(current().with_notices(problems))


def _download(workspace: Workspace, project: str) -> None:
    size, max_mb = projects().size(project), limits().upload_mb
    file_name = re.sub(r"[^\w .-]", "_", workspace.name).strip() or "project"
    st.download_button(
        "Download as one file",
        lambda: projects().exported(project),
        f"{file_name}.qviz.zip",
        "application/zip",
        on_click="ignore",
        help="Drop the file on a page to open it again, here or on another server."
        if size <= max_mb << 20
        else f"The project is {size >> 20} MB; a single file can only be dropped again if it is at most {max_mb} MB.",
        disabled=size > max_mb << 20,
        key="project-download",
        width="stretch",
    )
