"""Stored values survive crashes and damaged files; the file stays within its size limit."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from qviz.store import BATCH, FILE, Store, user_folder
from tests.conftest import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / FILE


def content(number: int, size: int = 10_000) -> bytes:
    return random.Random(number).randbytes(size)


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def fill(path: Path, count: int = 50) -> dict[str, bytes]:
    values = {f"key {number}": content(number) for number in range(count)}
    with Store(path) as store:
        for key, value in values.items():
            store.put(key, value)
    return values


def test_values_are_available_at_once_and_after_reopening(path: Path) -> None:
    with Store(path) as store:
        assert store.get("a") is None
        store.put("a", b"")
        store.put("b", b"\x00first")
        store.put("b", b"\x00second")
        assert (store.get("a"), store.get("b")) == (b"", b"\x00second")
    values = fill(path, 1200)  # more keys than one SQL statement may have
    with Store(path) as store:
        assert store.get_many([*values, "nobody", "b"]) == {**values, "b": b"\x00second"}
        assert store.remarks == []
    assert names(path) == [FILE]


def test_a_closed_store_ignores_calls(path: Path) -> None:
    store = Store(path)
    store.put("a", b"1")
    store.close()
    store.close()
    store.put("b", b"2")
    assert store.get("a") is None
    with Store(path) as again:
        assert again.get_many(["a", "b"]) == {"a": b"1"}


LIMIT = 4 << 20


def test_the_oldest_values_are_deleted_to_keep_the_size_limit(path: Path) -> None:
    with Store(path, LIMIT) as store:
        for number in range(200):
            store.put(f"early {number}", content(number))
        store.flush()
        assert store.get("early 0") == content(0)  # used again, so it is no longer the oldest
        store.flush()
        for number in range(1000):
            store.put(f"late {number}", content(number))
        store.flush()
        values_left = store.get_many(f"late {number}" for number in range(1000))
        assert values_left == {f"late {number}": content(number) for number in range(1000 - len(values_left), 1000)}
        assert len(values_left) * 10_000 > LIMIT * 0.7
        assert store.get("early 1") is None
    assert path.stat().st_size < LIMIT * 1.1 + BATCH * 12_000


def test_a_recently_read_value_outlives_newer_ones(path: Path) -> None:
    with Store(path, LIMIT) as store:
        for number in range(1000):
            store.put(f"key {number}", content(number))
            if number % 20 == 0:
                assert store.get("key 0") == content(0)
        store.put("huge", bytes(LIMIT))
        assert store.get("huge") is None
        assert store.get("key 0") == content(0)
        assert store.get("key 1") is None


@pytest.mark.parametrize("jump", [-400 * 86_400, 400 * 86_400], ids=["back", "ahead and back"])
def test_after_the_clock_jumps_the_oldest_values_still_go_first(
    path: Path, jump: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    with Store(path, LIMIT) as store:
        monkeypatch.setattr("qviz.store.store.time.time", lambda: real() + max(jump, 0))
        for number in range(200):
            store.put(f"before {number}", content(number))
        store.flush()
        monkeypatch.setattr("qviz.store.store.time.time", lambda: real() + min(jump, 0))
        for number in range(1000):
            store.put(f"after {number}", content(number))
        store.flush()
        assert store.get("after 999") == content(999)
        assert store.get("before 199") is None


DAMAGE = {
    "text": lambda data: b"this is a text, and no database" * 1000,
    "zeros": lambda data: bytes(len(data)),
    "a torn page": lambda data: data[:4096] + os.urandom(8192) + data[12288:],
    "cut": lambda data: data[: len(data) // 3],
    "all pages but the first": lambda data: data[:4096] + os.urandom(len(data) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_renamed_with_a_warning(path: Path, damage: str) -> None:
    values = fill(path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with Store(path) as store:
        read = store.get_many(values)
        assert read.items() <= values.items()  # never a wrong value
        for key, value in values.items():
            store.put(key, value)
    remarks = " ".join(store.remarks)
    assert re.search(
        r"The cache .* was damaged\. It was renamed to .*\.damaged-\d{8}-.*, and a new one was created\.", remarks
    )
    with Store(path) as store:
        assert store.get_many(values) == values
        assert store.remarks == []
    assert [name for name in names(path) if name.endswith(("-wal", "-shm"))] == []
    assert len(names(path)) == 2


def test_an_empty_file_becomes_a_new_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    values = fill(path)
    with Store(path) as store:
        assert store.get_many(values) == values


def test_a_store_with_the_damaged_file_open_switches_to_the_new_file(path: Path) -> None:
    values = fill(path)
    with Store(path) as first:
        assert first.get_many(values) == values
        path.write_bytes(
            b"no database, whatever it says" * 30_000
        )  # overwritten in place: the first store has this file open
        with Store(path) as second:
            second.put("new", b"2")
            second.flush()
            assert len(second.remarks) == 1
            assert first.get_many([*values, "new"]).get("new", b"2") == b"2"
            first.put("more", b"1")
            first.flush()
    with Store(path) as store:
        assert store.get("new") == b"2"
        assert (store.get("more"), first.remarks) in [(b"1", []), (None, first.remarks)]
    aside = [name for name in names(path) if not name.endswith(("-wal", "-shm"))]
    assert len(aside) == 2  # renamed once


def test_only_the_latest_damaged_file_remains(path: Path) -> None:
    for _ in range(3):
        fill(path)
        path.write_bytes(b"no database, whatever it says" * 1000)
        with Store(path) as store:
            assert len(store.remarks) == 1
    assert len(names(path)) == 2


def test_a_damaged_value_is_missing_and_can_be_stored_again(path: Path) -> None:
    values = fill(path)
    with closing(sqlite3.connect(path)) as other, other:
        (value,) = other.execute("SELECT value FROM kept WHERE key = 'key 7'").fetchone()
        flipped = bytes([*value[:5000], value[5000] ^ 1, *value[5001:]])
        other.execute("UPDATE kept SET value = ? WHERE key = 'key 7'", (flipped,))
        other.execute("UPDATE kept SET value = (SELECT value FROM kept WHERE key = 'key 9') WHERE key = 'key 8'")
        other.execute("UPDATE kept SET value = 'a text' WHERE key = 'key 11'")
    with Store(path) as store:
        assert set(values) - set(store.get_many(values)) == {"key 7", "key 8", "key 11"}
        store.put("key 7", values["key 7"])
        assert store.get("key 7") == values["key 7"]


def test_a_store_of_another_version_is_emptied(path: Path) -> None:
    values = fill(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("PRAGMA user_version = 99")
        other.execute("ALTER TABLE kept RENAME COLUMN crc TO checksum")
    with Store(path) as store:
        assert store.get_many(values) == {}
        store.put("a", b"1")
    with Store(path) as store:
        assert (store.get("a"), store.remarks) == (b"1", [])


ENDLESS = """
import sys
from pathlib import Path
from qviz.store import Store
store = Store(Path(sys.argv[1]))
number = 0
while True:
    store.put(f"{sys.argv[2]} {number}", str(number).encode() * 3000)
    number += 1
    if number % 100 == 0:
        print(number, flush=True)
"""


def endless(path: Path, name: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", ENDLESS, str(path), name]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_two_processes_share_a_store_and_values_survive_a_kill(path: Path) -> None:
    writers = {name: endless(path, name) for name in ("a", "b")}
    counts = {}
    try:
        with Store(path) as store:  # a third process in parallel
            for name, writer in writers.items():
                assert writer.stdout is not None
                counts[name] = [int(writer.stdout.readline()) for _ in range(5)][-1]
                store.put(f"mine {name}", b"1")
    finally:
        for writer in writers.values():
            writer.kill()
            writer.wait(timeout=60)
    with Store(path) as store:
        assert store.remarks == []
        assert len(store.get_many(["mine a", "mine b"])) == 2
        for name, count in counts.items():
            expected = {f"{name} {number}": str(number).encode() * 3000 for number in range(count - BATCH)}
            assert store.get_many(expected) == expected  # all but the last batch


def test_threads_share_a_store(path: Path) -> None:
    def work(name: str) -> None:
        for number in range(200):
            store.put(f"{name} {number}", name.encode() * number)
            assert store.get(f"{name} {number}") == name.encode() * number

    with Store(path) as store:
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
    with Store(path) as store:
        assert len(store.get_many(f"{name} {number}" for name in "abcd" for number in range(200))) == 800


def test_an_impossible_path_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / FILE).mkdir()
    for path in (tmp_path / "file" / "cache" / FILE, tmp_path / FILE):
        with Store(path) as store:
            store.put("a", b"1")
            assert store.get("a") is None
            assert len(store.remarks) == 1
            assert re.search(r"The cache .* cannot be used \(.+\); the work continues without it\.", store.remarks[0])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_warning(path: Path) -> None:
    values = fill(path)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with Store(path) as store:
            store.put("a", b"1")
            store.flush()
            assert store.get_many(values).items() <= values.items()
            assert len(store.remarks) == 1
    finally:
        path.parent.chmod(0o700)


FULL = """
import resource, sys
from pathlib import Path
from qviz.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
with Store(Path(sys.argv[1])) as store:
    for number in range(200):
        store.put(str(number), bytes(10_000))
    print(store.get("0"), len(store.remarks), store.remarks[0])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_full_disk_is_a_warning(path: Path) -> None:
    call = [sys.executable, "-c", FULL, str(path)]
    shown = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"None 1 The cache .* cannot be used \(.+\); the work continues without it\.", shown)
    with Store(path) as store:
        assert store.remarks == []  # the stored values are complete


def test_a_long_lock_loses_only_one_batch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qviz.store.store.BUSY_SECONDS", 0.2)
    fill(path)
    with Store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.put("lost", b"1")
        store.flush()
        assert store.get("key 1") == content(1)  # reading still works
        other.execute("ROLLBACK")
        store.put("kept", b"2")
        assert len(store.remarks) == 1
        assert "locked" in store.remarks[0]
    with Store(path) as store:
        assert store.get_many(["lost", "kept"]) == {"kept": b"2"}


def test_default_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QVIZ_CACHE", str(tmp_path))
    assert user_folder("cache") == tmp_path
    monkeypatch.delenv("QVIZ_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert user_folder("cache") == tmp_path / "xdg" / "qviz"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder("cache") == tmp_path / ".cache" / "qviz"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert user_folder("cache") == tmp_path / "Library" / "Caches" / "qviz"
    monkeypatch.delenv("QVIZ_DATA", raising=False)
    assert user_folder("data") == tmp_path / "Library" / "Application Support" / "qviz"
