"""Things that one process does at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.adapters.redis import keys

if TYPE_CHECKING:
    from bot.adapters.documents import Documents


class StoredLeases:
    """`bot.core.ports.Leases`."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def take(self, name: str, owner: str, *, ttl_s: float) -> bool:
        """Take a lease, or keep it where one has it already; False where somebody else has it."""
        return await self._documents.take(keys.lease(name), owner, ttl_s)

    async def release(self, name: str, owner: str) -> None:
        """Give it back, if one has it."""
        await self._documents.release(keys.lease(name), owner)
