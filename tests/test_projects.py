"""Projects on disk: whole after a kill, bounded, and closed to whoever does not know the ID."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qviz.errors import ProjectChanged, ProjectError
from qviz.store.projects import Projects, is_project
from qviz.structures import digest_of
from tests.conftest import ROOT

FIRST, SECOND = b"first" * 1000, b"second" * 1000
BLOBS = {digest_of(data): data for data in (FIRST, SECOND)}


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    return Projects(tmp_path / "projects")


def test_what_was_saved_is_loaded(projects: Projects) -> None:
    number = projects.new_id()
    projects.save(number, {"name": "dusk"}, BLOBS)
    assert projects.load(number) == {"name": "dusk"}
    assert [projects.blob(number, digest) for digest in BLOBS] == [FIRST, SECOND]


def test_bytes_that_nothing_names_are_deleted(projects: Projects, tmp_path: Path) -> None:
    number = projects.new_id()
    projects.save(number, {}, BLOBS)
    projects.save(number, {}, {digest_of(SECOND): SECOND})
    assert [path.name for path in (tmp_path / "projects" / number / "blobs").iterdir()] == [digest_of(SECOND)]
    with pytest.raises(ProjectError, match="missing"):
        projects.blob(number, digest_of(FIRST))


def test_ids_are_random_and_nothing_else_names_a_folder(projects: Projects) -> None:
    numbers = {projects.new_id() for _ in range(100)}
    assert len(numbers) == 100 and all(len(number) == 32 for number in numbers)
    for name in ("", "..", "../../etc", "a" * 31, "A" * 32, "g" * 32, f"{'a' * 32}/..", f"{'a' * 32}\n"):
        for call in (projects.load, projects.delete, lambda name: projects.save(name, {}, {})):
            with pytest.raises(ProjectError):
                call(name)
    for digest in ("../project.json", "a" * 63, ""):
        with pytest.raises(ProjectError):
            projects.blob("a" * 32, digest)


def test_a_project_is_for_its_owner_alone(projects: Projects, tmp_path: Path) -> None:
    number = projects.new_id()
    projects.save(number, {}, BLOBS)
    assert (tmp_path / "projects" / number).stat().st_mode & 0o077 == 0


def test_a_deleted_project_is_gone(projects: Projects) -> None:
    number = projects.new_id()
    projects.save(number, {}, BLOBS)
    projects.delete(number)
    projects.delete(number)
    with pytest.raises(ProjectError, match="not on this server"):
        projects.load(number)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe"])
def test_a_damaged_document_is_refused(content: bytes, projects: Projects, tmp_path: Path) -> None:
    number = projects.new_id()
    projects.save(number, {}, {})
    (tmp_path / "projects" / number / "project.json").write_bytes(content)
    with pytest.raises(ProjectError, match="damaged"):
        projects.load(number)


def test_damaged_bytes_are_refused(projects: Projects, tmp_path: Path) -> None:
    number = projects.new_id()
    projects.save(number, {}, BLOBS)
    (tmp_path / "projects" / number / "blobs" / digest_of(FIRST)).write_bytes(b"other")
    with pytest.raises(ProjectError, match="damaged"):
        projects.blob(number, digest_of(FIRST))


def test_a_quota_refuses_new_data_and_loses_nothing(projects: Projects, limited: Callable[[str], None]) -> None:
    number, other = projects.new_id(), projects.new_id()
    projects.save(number, {"version": 1}, {digest_of(FIRST): FIRST})
    limited("project_mb = 1\nprojects_mb = 1")
    large = os.urandom(2 << 20)
    with pytest.raises(ProjectError, match="the limit is 1 MB"):
        projects.save(number, {"version": 2}, {digest_of(large): large})
    half = [os.urandom(600 << 10) for _ in range(2)]
    projects.save(number, {"version": 3}, {digest_of(half[0]): half[0]})
    with pytest.raises(ProjectError, match="have reached 1 MB"):
        projects.save(other, {}, {digest_of(half[1]): half[1]})
    assert projects.load(number) == {"version": 3}
    assert projects.blob(number, digest_of(half[0])) == half[0]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "projects").write_text("a file where the folder should be")
    with pytest.raises(ProjectError, match="cannot be saved"):
        Projects(tmp_path / "projects").save("a" * 32, {}, BLOBS)


KILLS = """
import os, signal, sys, time
from pathlib import Path
from qviz.errors import ProjectChanged, ProjectError
from qviz.store.projects import Projects
from qviz.structures import digest_of
projects, project, last, torn = Projects(Path(sys.argv[1])), "a" * 32, 0, 0
def unfinished():
    return set(Path(sys.argv[1]).rglob(".*"))
def wait_for(condition):
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.0002)
def write(first):
    number = first
    while True:
        number += 1
        blobs = {digest_of(data): data for data in (bytes([number % 256, part]) * 50_000 for part in range(4))}
        projects.save(project, {"number": number, "blobs": list(blobs)}, blobs)
for attempt in range(100):
    before, revision = unfinished(), projects.revision(project)
    writer = os.fork()
    if not writer:
        write(last)
    if attempt % 2:  # while a file is written
        wait_for(lambda: unfinished() - before)
    else:  # some time after a save
        wait_for(lambda: projects.revision(project) != revision)
        time.sleep(0.0001 * attempt)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    torn += bool(unfinished() - before)
    if projects.revision(project) is None:
        continue
    document = projects.load(project)
    assert document["number"] >= last, document
    assert all(len(projects.blob(project, digest)) == 100_000 for digest in document["blobs"])
    last = document["number"]
print(last, torn)
"""


def test_a_hundred_kills_during_a_write_leave_the_last_whole_state(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert finished.returncode == 0, finished.stderr
    last, torn = map(int, finished.stdout.split())
    assert last > 10
    assert torn > 10, "kills that came while a file was written"
    Projects(tmp_path).save("a" * 32, {}, {})
    assert not list(tmp_path.rglob(".*"))  # what a kill left behind goes with the next save


def test_a_page_that_read_an_older_revision_does_not_overwrite(projects: Projects) -> None:
    number = projects.new_id()
    assert projects.revision(number) is None
    first = projects.save(number, {"name": "dusk"}, BLOBS)
    second = projects.save(number, {"name": "dawn"}, BLOBS, first)
    assert first != second == projects.revision(number)
    with pytest.raises(ProjectChanged):
        projects.save(number, {"name": "noon"}, {}, first)
    assert projects.load(number) == {"name": "dawn"}
    assert projects.blob(number, digest_of(FIRST)) == FIRST


SERVER = """
import sys
from pathlib import Path
from qviz.errors import ProjectChanged
from qviz.store.projects import Projects
from qviz.structures import digest_of
projects, project, conflicts = Projects(Path(sys.argv[1])), "a" * 32, 0
for turn in range(60):
    while True:
        revision = projects.revision(project)
        number = projects.load(project)["number"]
        data = f"{sys.argv[2]} {turn}".encode() * 1000
        try:
            projects.save(project, {"number": number + 1, "blob": digest_of(data)}, {digest_of(data): data}, revision)
            break
        except ProjectChanged:
            conflicts += 1
print(conflicts)
"""


def test_two_servers_on_one_folder_lose_no_save(tmp_path: Path) -> None:
    """Each adds 60 to a number in the same project, again where the other one has saved in between."""
    Projects(tmp_path).save("a" * 32, {"number": 0}, {})
    commands = [[sys.executable, "-c", SERVER, str(tmp_path), name] for name in ("first", "second")]
    servers = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) for c in commands
    ]
    outputs = [server.communicate(timeout=120) for server in servers]
    assert [server.returncode for server in servers] == [0, 0], outputs
    document = Projects(tmp_path).load("a" * 32)
    assert document["number"] == 120
    assert len(Projects(tmp_path).blob("a" * 32, document["blob"])) >= 7000


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from qviz.errors import ProjectChanged, ProjectError
from qviz.store.projects import Projects
from qviz.structures import digest_of
projects, small, large = Projects(Path(sys.argv[1])), b"s" * 1000, b"l" * 1_000_000
projects.save("a" * 32, {"name": "dusk"}, {digest_of(small): small})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the system refuses the rest of a file, as a full disk
try:
    projects.save("a" * 32, {"name": "dawn"}, {digest_of(large): large})
except ProjectError as error:
    print(error)
assert projects.load("a" * 32) == {"name": "dusk"}
assert projects.blob("a" * 32, digest_of(small)) == small
"""


def test_a_disk_that_takes_no_more_leaves_the_last_state(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("The project cannot be saved (File too large). What is on disk stays as it was")
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that refuses its administrator, too")
def test_a_home_that_cannot_be_written_is_named() -> None:
    projects = Projects(Path("/proc/self/qviz"))
    with pytest.raises(ProjectError, match="cannot be saved"):
        projects.save("a" * 32, {}, BLOBS)
    with pytest.raises(ProjectError, match="not on this server"):
        projects.load("a" * 32)


def test_annotations_that_could_not_be_read_again_are_not_saved(
    projects: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = projects.new_id()
    projects.save(number, {"name": "dusk"}, {})
    monkeypatch.setattr("qviz.store.projects.MAX_DOCUMENT", 1000)
    with pytest.raises(ProjectError, match="is not saved: its annotations and names"):
        projects.save(number, {"name": "x" * 2000}, {})
    assert projects.load(number) == {"name": "dusk"}


def test_many_small_projects_count_by_the_disk_that_they_take(
    projects: Projects, limited: Callable[[str], None]
) -> None:
    limited("projects_mb = 1")
    for number in range(256):
        projects.save(f"{number:032x}", {}, {})
    with pytest.raises(ProjectError, match="have reached 1 MB"):
        projects.save(projects.new_id(), {}, {})
    projects.save(f"{0:032x}", {}, {})


def test_documents_hold_no_nan(projects: Projects) -> None:
    with pytest.raises(ValueError, match="JSON"):
        projects.save(projects.new_id(), {"x": float("nan")}, {})


def test_an_exported_project_is_imported_under_an_id_of_its_own(projects: Projects, tmp_path: Path) -> None:
    number = projects.new_id()
    projects.save(number, {"name": "dusk"}, BLOBS)
    archive = projects.exported(number)
    assert is_project(archive)
    other = Projects(tmp_path / "elsewhere")
    copy = other.imported(archive)
    assert copy != number
    assert other.load(copy) == {"name": "dusk"}
    assert [other.blob(copy, digest) for digest in BLOBS] == [FIRST, SECOND]


def archive_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


HOSTILE = [
    b"",
    b"PK\x03\x04 not a zip",
    archive_of({"project.json": b"{"}),
    archive_of({"project.json": b"[]"}),
    archive_of({"blobs/x": b"x"}),
    archive_of({"project.json": b"{}", f"blobs/{digest_of(FIRST)}": SECOND}),
    archive_of({"project.json": b"{}", "blobs/../../evil": b"x"}),
    archive_of({"project.json": b"{}", "/etc/passwd": b"x"}),
    archive_of({"project.json": b"{}", f"blobs/{digest_of(FIRST)}": FIRST})[:-40],
]


@pytest.mark.parametrize("data", HOSTILE)
def test_a_hostile_archive_is_refused_and_writes_nothing(data: bytes, projects: Projects, tmp_path: Path) -> None:
    with pytest.raises(ProjectError):
        projects.imported(data)
    assert not (tmp_path / "projects").exists() or not any((tmp_path / "projects").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["projects"])


def test_an_archive_that_unpacks_to_more_than_a_project_is_refused(
    projects: Projects, limited: Callable[[str], None]
) -> None:
    limited("project_mb = 1")
    zeros = bytes(8 << 20)
    with pytest.raises(ProjectError, match="the limit for a project is 1 MB"):
        projects.imported(archive_of({"project.json": b"{}", f"blobs/{digest_of(zeros)}": zeros}))


def test_an_archive_that_lists_more_files_than_a_project_has_is_refused(
    projects: Projects, limited: Callable[[str], None]
) -> None:
    limited("archive_files = 10")
    many = archive_of({"project.json": b"{}"} | {f"blobs/{number}": b"" for number in range(1100)})
    assert not is_project(many)
    with pytest.raises(ProjectError, match="lists more than 1,010 files"):
        projects.imported(many)


def test_a_project_too_large_to_be_dropped_is_not_exported(projects: Projects, limited: Callable[[str], None]) -> None:
    number, data = projects.new_id(), bytes(2 << 20)
    projects.save(number, {}, {digest_of(data): data})
    limited("upload_mb = 1")
    with pytest.raises(ProjectError, match="The project is 2 MB; a single file"):
        projects.exported(number)
