"""The cache of a process that has no server for it: least recently used first, and a time for each."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ENTRY_BYTES: Final = 400
"""What an entry takes beside its key and its value, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    value: bytes
    ends_at: float
    size: int


class InProcessCache:
    """Finished work in memory.

    Args:
        max_bytes: of all entries together; the least recently used ones go first.
        now: seconds on a clock that never goes back.
        jitter: as in `bot.adapters.redis.cache.RedisCache`.
    """

    def __init__(self, *, max_bytes: int, now: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._jitter = jitter
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.size = 0
        """Bytes in use, about."""
        self.counts: Counter[str] = Counter()
        """Looks, as ``hits`` and ``misses``."""

    async def get(self, key: str) -> bytes | None:
        """What was put, or None."""
        entry = self._entries.get(key)
        if entry is not None and self._now() >= entry.ends_at:
            self._drop(key)
            entry = None
        if entry is None:
            self.counts["misses"] += 1
            return None
        self._entries.move_to_end(key)
        self.counts["hits"] += 1
        return entry.value

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep ``value`` for up to ``ttl_s`` seconds; not at all where it is longer than everything may be."""
        size = len(value) + len(key) + _ENTRY_BYTES
        if not ttl_s > 0 or size > self._max_bytes:
            return
        self._drop(key)
        ends_at = self._now() + ttl_s * (0.9 + 0.1 * self._jitter())
        self._entries[key] = _Entry(value=value, ends_at=ends_at, size=size)
        self.size += size
        while self.size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def delete(self, *keys: str) -> None:
        """Forget them."""
        for key in keys:
            self._drop(key)

    def _drop(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self.size -= entry.size
