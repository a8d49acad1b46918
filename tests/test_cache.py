"""The one cache: bounded in number or size, the value used last stays."""

from __future__ import annotations

from qviz.cache import LRUCache


def test_the_value_used_last_stays() -> None:
    cache: LRUCache[str] = LRUCache(2)
    made: list[str] = []

    def get(key: str) -> str:
        return cache.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(key) for key in ("a", "b", "a", "c", "a", "b")] == ["A", "B", "A", "C", "A", "B"]
    assert made == ["a", "b", "c", "b"]
    assert cache.find("c") is None and cache.find("a") == "A"


def test_sizes_count_and_a_large_value_stays_alone() -> None:
    dropped: list[bytes] = []
    cache: LRUCache[bytes] = LRUCache(10, len, dropped.append)
    for key, size in (("a", 4), ("b", 4), ("c", 4)):
        cache.put(key, bytes(size))
    assert [key for key in "abc" if cache.find(key) is not None] == ["b", "c"]
    cache.put("large", bytes(99))
    assert len(cache) == 1 and len(dropped) == 3


def test_a_replaced_value_counts_once() -> None:
    cache: LRUCache[bytes] = LRUCache(10, len)
    for _ in range(5):
        cache.put("a", bytes(6))
    cache.put("b", bytes(4))
    assert len(cache) == 2
    cache.forget("a")
    cache.forget("a")
    assert len(cache) == 1
