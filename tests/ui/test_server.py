"""A real server, visitors who speak its WebSocket: nobody sees another's files, what is too large never gets in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.dropped_image import server
from benchmarks.load import Visit, drop, wrong
from benchmarks.session import Session


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server whose administrator allows 2 MB an upload."""
    path: Path = tmp_path_factory.mktemp("limits") / "limits.toml"
    path.write_text("upload_mb = 2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QVIZ_LIMITS", str(path))
        with server("app.py") as address:
            yield int(address.rsplit(":", 1)[1])


def visited(port: int, visitor: int) -> Visit:
    seen, session = Visit(), Session(port)
    session.open()
    for number in range(2):
        drop(session, visitor, number, seen)
    session.close()
    return seen


@pytest.mark.slow
def test_three_visitors_at_once_see_their_own_photos_and_the_right_boxes(port: int) -> None:
    with ThreadPoolExecutor(3) as threads:
        found = dict(zip((0, 1, 2), threads.map(lambda visitor: visited(port, visitor), (0, 1, 2)), strict=True))
    assert [sorted(seen.boxes) for seen in found.values()] == [[f"load-{n}-0.jpg", f"load-{n}-1.jpg"] for n in range(3)]
    assert [seen.strangers for seen in found.values()] == [set()] * 3
    assert wrong(found) == []


@pytest.mark.slow
def test_an_upload_over_the_limit_is_refused_while_it_arrives(port: int) -> None:
    session = Session(port)
    session.open()
    with pytest.raises(RuntimeError, match="status 413"):
        session.drop("large.jpg", bytes((2 << 20) + 1))
    session.close()
