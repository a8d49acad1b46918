"""Projects: a session's workspace on disk, under an ID that stands in the address of the page.

A workspace is saved whenever it differs from what is on disk. A reload, a new tab and a restarted server open it again
by `?project=ID`; pages that have the same project open follow one another. The browser lists its projects itself
(`project_list`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from qviz.errors import ProjectChanged, ProjectError
from qviz.formatting import as_text, plural
from qviz.limits import limits
from qviz.store import user_folder
from qviz.store.projects import Projects
from qviz.ui import clicks, sample
from qviz.ui.project_document import MAX_NAME, from_document, to_document
from qviz.ui.project_list import project_list
from qviz.ui.workspace import Workspace, changed_parts, current, forget_drops, keep

KEY, PARAMETER = "qviz_project", "project"
SAVED = "qviz_saved"
"""Key of the workspace that needs no saving: as it was opened, or as it is on disk."""
REVISION, MADE_HERE, DELETED = "qviz_project_revision", "qviz_project_own", "qviz_projects_deleted"
PROBLEM = "qviz_project_problem"
"""Key of the sentence that says why the workspace is not saved; not there where it is."""
MAX_DELETED = 200
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


# ---- opening and saving ---------------------------------------------------------------------------------------------


def opened(otherwise: Callable[[], Workspace]) -> Workspace:
    """The workspace of a new session: of the project that the address names, else what `otherwise` gives.

    A project that is not on this server, or is damaged, is named in a notice.
    """
    project = st.query_params.get(PARAMETER, "")
    try:
        workspace = _loaded(project) if project else otherwise()
    except ProjectError as error:
        workspace = otherwise().with_notices([f"{error} The page shows the models that qviz starts with."])
    st.session_state[SAVED] = workspace
    return workspace


def follow() -> None:
    """Take over what another page has saved in the session's project, and the project that Back has brought back."""
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
    """Remember that this workspace is on disk as that revision of the project."""
    st.session_state.update({KEY: project, SAVED: workspace, REVISION: revision, MADE_HERE: made_here})
    st.session_state.pop(PROBLEM, None)


def open_project(project: str) -> None:
    """Show another project. Raises ProjectError; then the session stays as it is."""
    keep(_loaded(project))
    forget_drops()


def imported(data: bytes) -> Workspace:
    """The workspace of an exported project, under an ID of its own. Raises ProjectError."""
    return keep(_loaded(projects().imported(data), made_here=True))


def leave(workspace: Workspace) -> None:
    """Go on with a workspace that belongs to no project; the project stays on disk."""
    for key in (KEY, REVISION, MADE_HERE, PROBLEM):
        st.session_state.pop(key, None)
    st.session_state[SAVED] = keep(workspace)
    forget_drops()


def saved(workspace: Workspace) -> Workspace:
    """The session's workspace, saved where it has changed, under a new ID the first time.

    Where that fails, the sidebar says so (`menu`).
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
        store = projects()
        try:
            revision = st.session_state.get(REVISION) if project else None
            name, made_here = project or store.new_id(), st.session_state.get(MADE_HERE, False) if project else True
            _stands_for(workspace, name, store.save(name, document, blobs, revision), made_here)
        except ProjectChanged:
            workspace = keep(workspace.with_notices([COPY]))
            name = store.new_id()
            _stands_for(workspace, name, store.save(name, document, blobs), made_here=True)
    except ProjectError as error:
        st.session_state[PROBLEM] = str(error)
    else:
        if st.query_params.get(PARAMETER) != name:
            st.query_params[PARAMETER] = name  # here, because a page without models ends before it writes its view
    return workspace


def delete(project: str) -> None:
    """Delete a project with its files; it leaves the browser's list. Raises ProjectError."""
    projects().delete(project)
    gone: tuple[str, ...] = st.session_state.get(DELETED, ())
    st.session_state[DELETED] = (*gone, project)[-MAX_DELETED:]


def parameter() -> dict[str, str]:
    """What names the project in the address; empty where there is none."""
    project = st.session_state.get(KEY)
    return {PARAMETER: project} if project else {}


# ---- the sidebar ----------------------------------------------------------------------------------------------------


def menu(workspace: Workspace, then: Callable[[], object]) -> None:
    """The session's project and those of this browser: rename, download, open, start, delete.

    then: called after another workspace has come into view.
    """
    project = st.session_state.get(KEY)
    if problem := st.session_state.get(PROBLEM):
        st.warning(as_text(problem))
        clicks.button(st, "Save again", lambda: _save(current()), "project-save", st.rerun, width="stretch")
    with st.expander("Projects"):
        row = None if project is None else _row(workspace, project)
        picked, unwanted = project_list(row, st.session_state.get(DELETED, ()), key="project-list")
        if picked and picked != project:
            _open(picked, then)
        if unwanted:
            _delete(unwanted, then)
        clicks.button(st, "New empty project", lambda: _start(then), "project-new", st.rerun, width="stretch")
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
    try:
        open_project(project)
    except ProjectError as error:
        st.warning(as_text(str(error)))
        return
    then()
    st.rerun()


def _start(then: Callable[[], object]) -> None:
    """An empty project of the user's own: nothing of the sample is in it."""
    leave(Workspace())
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
    st.rerun()


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
        else f"The project is {size >> 20} MB; a single file, to be dropped again, can be at most {max_mb} MB.",
        disabled=size > max_mb << 20,
        key="project-download",
        width="stretch",
    )
