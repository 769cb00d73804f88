"""Documents in this process's memory: for whoever runs without Redis, and gone with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from bot.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bot.adapters.documents import Entry, Line

T = TypeVar("T")

MAX_BYTES: Final = 64 << 20
"""What all of it may weigh, roughly. As a store that never evicts does, it then refuses what would make it larger."""

_SWEEP_S: Final = 60.0
_OVERHEAD: Final = 200
"""Bytes that Python needs for a key and its value beside what they say."""


class _Shelf(Generic[T]):
    """Values that end. ``weigh`` gives the bytes of one."""

    def __init__(self, now: Callable[[], float], weigh: Callable[[T], int]) -> None:
        self._now = now
        self._weigh = weigh
        self._values: dict[str, T] = {}
        self._ends: dict[str, float] = {}
        self.size = 0

    def get(self, key: str) -> T | None:
        if self._ends.get(key, float("inf")) <= self._now():
            self.pop(key)
        return self._values.get(key)

    def growth(self, key: str, value: T) -> int:
        return self._weight(key, value) - (self._weight(key, self._values[key]) if key in self._values else 0)

    def set(self, key: str, value: T, end: float) -> None:
        self.pop(key)
        self._values[key] = value
        self.size += self._weight(key, value)
        self.end(key, end)

    def end(self, key: str, end: float) -> None:
        """Let a value end."""
        self._ends[key] = end

    def pop(self, key: str) -> bool:
        self._ends.pop(key, None)
        if key not in self._values:
            return False
        self.size -= self._weight(key, self._values.pop(key))
        return True

    def sweep(self) -> None:
        now = self._now()
        for key in [key for key, end in self._ends.items() if end <= now]:
            self.pop(key)

    def _weight(self, key: str, value: T) -> int:
        return len(key) + self._weigh(value) + _OVERHEAD


class InProcessDocuments:
    """`bot.adapters.documents.Documents` in dictionaries. Nothing waits in between, so each call is atomic.

    Args:
        now: Unix time in seconds.
        max_bytes: what all of it may weigh; writing more raises `StoreUnavailable`.
    """

    def __init__(self, *, now: Callable[[], float], max_bytes: int = MAX_BYTES) -> None:
        self._now = now
        self._max_bytes = max_bytes
        self._documents = _Shelf[bytes](now, len)
        self._indexes = _Shelf[dict[str, float]](now, lambda members: sum(len(key) + _OVERHEAD for key in members))
        self._lists = _Shelf[list[bytes]](now, lambda lines: sum(len(line) + _OVERHEAD for line in lines))
        self._next_sweep = now() + _SWEEP_S

    def _end(self, ttl_s: float) -> float:
        return self._now() + max(ttl_s, 0.001)

    def _make_room(self, growth: int) -> None:
        """Delete what has ended, now and then and where there is no room.

        Raises:
            StoreUnavailable: there is none all the same.
        """
        shelves = (self._documents, self._indexes, self._lists)
        full = growth > 0 and sum(shelf.size for shelf in shelves) + growth > self._max_bytes
        if full or self._now() >= self._next_sweep:
            self._next_sweep = self._now() + _SWEEP_S
            for shelf in shelves:
                shelf.sweep()
        if growth > 0 and sum(shelf.size for shelf in shelves) + growth > self._max_bytes:
            raise StoreUnavailable(f"the memory for records ({self._max_bytes} bytes) is full")

    # --- documents ----------------------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes | None:
        """A document, None where there is none."""
        return self._documents.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Several, in the order of ``keys``."""
        return [self._documents.get(key) for key in keys]

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        """The length in bytes of each, 0 where there is none."""
        return [len(self._documents.get(key) or b"") for key in keys]

    async def put(
        self, key: str, value: bytes, ttl_s: float, *, unless: bytes | None = None, entry: Entry | None = None
    ) -> bool:
        """Write a document, and name it in an index; whether it was written."""
        if unless is not None and self._documents.get(key) == unless:
            return False
        self._make_room(self._documents.growth(key, value))
        if entry is not None:
            self._name(entry)
        self._documents.set(key, value, self._end(ttl_s))
        return True

    async def swap(self, key: str, old: bytes | None, new: bytes, ttl_s: float, *, line: Line | None = None) -> bool:
        """Write ``new`` where ``old`` is still the present value, and a line with it; whether it was written."""
        present = self._documents.get(key)
        if line is not None and present == new and (self._lists.get(line.key) or [])[:1] == [line.value]:
            return True  # as in Redis, where a call may be made twice
        if present != old:
            return False
        self._make_room(self._documents.growth(key, new))
        if line is not None:
            self._write(line)
        self._documents.set(key, new, self._end(ttl_s))
        return True

    async def overwrite(self, keys: Sequence[str], value: bytes, ttl_s: float) -> None:
        """Write the same short value everywhere, in a full store too."""
        for key in keys:
            self._documents.set(key, value, self._end(ttl_s))

    async def delete(self, *keys: str) -> int:
        """Delete whatever lies there; how many there were."""
        shelves = (self._documents, self._indexes, self._lists)
        return sum(shelf.get(key) is not None and shelf.pop(key) for key in keys for shelf in shelves)

    async def expire(self, key: str, ttl_s: float) -> bool:
        """Let a key end; whether there is one."""
        found = self._shelf_of(key)
        if found is not None:
            found.end(key, self._end(ttl_s))
        return found is not None

    def _shelf_of(self, key: str) -> _Shelf[bytes] | _Shelf[dict[str, float]] | _Shelf[list[bytes]] | None:
        shelves = (self._documents, self._indexes, self._lists)
        return next((shelf for shelf in shelves if shelf.get(key) is not None), None)

    # --- indexes ------------------------------------------------------------------------------------------------

    async def add(self, entry: Entry) -> None:
        """Name something in an index, or change until when."""
        self._name(entry)

    async def remove(self, index: str, *members: str) -> None:
        """Take members out of an index."""
        self._keep(index, {k: end for k, end in (self._indexes.get(index) or {}).items() if k not in members})

    async def members(self, index: str) -> list[str]:
        """All whose time is not over, the one that stays longest first."""
        now = self._now()
        found = [(end, member) for member, end in (self._indexes.get(index) or {}).items() if end > now]
        return [member for _, member in sorted(found, reverse=True)]

    def _name(self, entry: Entry) -> None:
        members = {**(self._indexes.get(entry.index) or {}), entry.member: entry.until}
        members = {member: end for member, end in members.items() if end > self._now()}
        self._make_room(self._indexes.growth(entry.index, members))
        self._keep(entry.index, members)

    def _keep(self, index: str, members: dict[str, float]) -> None:
        if members:
            self._indexes.set(index, members, max(members.values()))
        else:
            self._indexes.pop(index)

    # --- lists --------------------------------------------------------------------------------------------------

    async def append(self, line: Line) -> None:
        """Put a line at the head of its list."""
        self._write(line)

    async def tail(self, key: str, count: int) -> list[bytes]:
        """The newest lines of a list, the newest first."""
        return (self._lists.get(key) or [])[: max(count, 0)]

    def _write(self, line: Line) -> None:
        lines = [line.value, *(self._lists.get(line.key) or [])][: line.keep]
        self._make_room(self._lists.growth(line.key, lines))
        self._lists.set(line.key, lines, self._end(line.ttl_s))

    # --- leases -------------------------------------------------------------------------------------------------

    async def take(self, key: str, owner: str, ttl_s: float) -> bool:
        """Take a lease, or renew one's own; False where somebody else has it."""
        if self._documents.get(key) not in (None, owner.encode()):
            return False
        return await self.put(key, owner.encode(), ttl_s)

    async def release(self, key: str, owner: str) -> None:
        """Give a lease back; nothing happens where somebody else has it."""
        if self._documents.get(key) == owner.encode():
            self._documents.pop(key)
