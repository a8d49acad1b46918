"""A real server with WebSocket clients: files stay private to their session, oversized uploads are refused."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.dropped_image import server
from benchmarks.load import Visit, drop, wrong
from benchmarks.session import Session


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server with an upload limit of 2 MB."""
    path: Path = tmp_path_factory.mktemp("limits") / "limits.toml"
    path.write_text("upload_mb = 2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QVIZ_LIMITS", str(path))
        with server("app.py") as address:
            yield int(address.rsplit(":", 1)[1])


def visited(port: int, visitor: int) -> Visit:
    visit, session = Visit(), Session(port)
    session.open()
    for number in range(2):
        drop(session, visitor, number, visit)
    session.close()
    return visit


@pytest.mark.slow
def test_three_visitors_at_once_see_their_own_photos_and_the_right_boxes(port: int) -> None:
    with ThreadPoolExecutor(3) as threads:
        visits = dict(zip((0, 1, 2), threads.map(lambda visitor: visited(port, visitor), (0, 1, 2)), strict=True))
    assert [sorted(visit.boxes) for visit in visits.values()] == [
        [f"load-{n}-0.jpg", f"load-{n}-1.jpg"] for n in range(3)
    ]
    assert [visit.strangers for visit in visits.values()] == [set()] * 3
    assert wrong(visits) == []


@pytest.mark.slow
def test_an_upload_over_the_limit_is_refused_during_transfer(port: int) -> None:
    session = Session(port)
    session.open()
    with pytest.raises(RuntimeError, match="status 413"):
        session.drop("large.jpg", bytes((2 << 20) + 1))
    session.close()


def status(port: int, method: str, path: str, **headers: str) -> int:
    """The status with which the server answers one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse().status
    connection.close()
    return answer


WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.slow
def test_another_site_can_neither_open_a_session_nor_upload(port: int) -> None:
    """docs/security.md says so: a session needs an allowed Host and no foreign Origin, an upload needs a token."""
    address = f"http://127.0.0.1:{port}"
    answers = [
        status(port, "GET", "/_stcore/stream", **WEBSOCKET, **more)
        for more in (
            {"Origin": address},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Host": "evil.example"},
        )
    ]
    assert answers == [101, 403, 403, 403]
    session = Session(port)
    session.open()
    assert status(port, "PUT", f"/_stcore/upload_file/{session.session_id}/1", Content_Length="0") == 403
    session.close()


@pytest.mark.slow
def test_a_request_cannot_read_files_outside_the_pages(port: int) -> None:
    for path in (
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/app/static/../app.py",
    ):
        assert status(port, "GET", path) in (400, 403, 404), path
