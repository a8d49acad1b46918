"""The LRU cache: limited in number or bytes; the least recently used value is dropped first."""

from __future__ import annotations

from qviz.cache import LRUCache


def test_the_least_recently_used_value_is_dropped() -> None:
    cache: LRUCache[str] = LRUCache(2)
    computed_keys: list[str] = []

    def get(key: str) -> str:
        return cache.get(key, lambda: computed_keys.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(key) for key in ("a", "b", "a", "c", "a", "b")] == ["A", "B", "A", "C", "A", "B"]
    assert computed_keys == ["a", "b", "c", "b"]
    assert cache.find("c") is None and cache.find("a") == "A"


def test_the_limit_is_in_bytes_and_one_oversized_value_stays() -> None:
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
