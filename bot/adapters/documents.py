"""Bytes by key: what every repository of ``bot.adapters.records`` stands on.

Keys are those of ``bot.adapters.redis.keys``. Each call is atomic; all may raise `StoreUnavailable`, after which a
write may have happened or not. Times to live are in seconds and at least a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A place in an index: ``member`` stands in ``index`` until the Unix time ``until``."""

    index: str
    member: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line at the head of a list that keeps so many, and ends so long after the last one came."""

    key: str
    value: bytes
    keep: int
    ttl_s: float


class Documents(Protocol):
    """Documents, indexes, lists and leases."""

    # --- documents ----------------------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes | None:
        """A document, None where there is none."""
        ...

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Several, in the order of ``keys``."""
        ...

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        """The length in bytes of each, 0 where there is none."""
        ...

    async def put(
        self, key: str, value: bytes, ttl_s: float, *, unless: bytes | None = None, entry: Entry | None = None
    ) -> bool:
        """Write a document, and name it in an index.

        Args:
            key: where.
            value: what.
            ttl_s: for how long.
            unless: where this is the present value, nothing is written; never empty.
            entry: its place in an index.

        Returns:
            Whether it was written.
        """
        ...

    async def swap(self, key: str, old: bytes | None, new: bytes, ttl_s: float, *, line: Line | None = None) -> bool:
        """Write ``new`` where ``old`` (None: nothing) is still the present value, and a line with it.

        Returns:
            Whether it was written. Where a connection breaks, a swap without a line may have been made and give False;
            one with a line of its own tells that it was made already.
        """
        ...

    async def overwrite(self, keys: Sequence[str], value: bytes, ttl_s: float) -> None:
        """Write the same short value everywhere. It works in a full store too, as it makes room first."""
        ...

    async def delete(self, *keys: str) -> int:
        """Delete whatever lies there; how many there were."""
        ...

    async def expire(self, key: str, ttl_s: float) -> bool:
        """Let a key end; whether there is one."""
        ...

    # --- indexes ------------------------------------------------------------------------------------------------

    async def add(self, entry: Entry) -> None:
        """Name something in an index, or change until when; those whose time is over go, the latest ends the index."""
        ...

    async def remove(self, index: str, *members: str) -> None:
        """Take members out of an index."""
        ...

    async def members(self, index: str) -> list[str]:
        """All whose time is not over, the one that stays longest first."""
        ...

    # --- lists --------------------------------------------------------------------------------------------------

    async def append(self, line: Line) -> None:
        """Put a line at the head of its list."""
        ...

    async def tail(self, key: str, count: int) -> list[bytes]:
        """The newest lines of a list, the newest first."""
        ...

    # --- leases -------------------------------------------------------------------------------------------------

    async def take(self, key: str, owner: str, ttl_s: float) -> bool:
        """Take a lease, or renew one's own; False where somebody else has it."""
        ...

    async def release(self, key: str, owner: str) -> None:
        """Give a lease back; nothing happens where somebody else has it."""
        ...
