"""Whose turn it is to clean up what all processes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.core.ports import Leases

LEASE: Final = "cleanup"
LEASE_S: Final = 300.0
"""Longer than one look at everything may take, so that it is not taken away meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One process at a time, and a worker rather than the others.

    Args:
        leases: where the turn is kept.
        owner: names this process.
        prefer_me: whether this is a worker.
        worker_lives: whether there is a worker.
    """

    leases: Leases
    owner: str
    prefer_me: bool
    worker_lives: Callable[[], Awaitable[bool]]

    async def mine(self) -> bool:
        """Whether it is this process's turn, which then lasts for `LEASE_S`.

        Raises:
            StoreUnavailable: it cannot be told.
        """
        if not self.prefer_me and await self.worker_lives():
            await self.over()
            return False
        return await self.leases.take(LEASE, self.owner, ttl_s=LEASE_S)

    async def over(self) -> None:
        """Let others have it.

        Raises:
            StoreUnavailable: it will end by itself.
        """
        await self.leases.release(LEASE, self.owner)
