"""What every long-running process does besides its work: it stops on a signal and tells that it lives."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bot.adapters.documents import Entry
from bot.adapters.redis import keys
from bot.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.documents import Documents

STOPPED, FAILED, BAD_SETTINGS = 0, 1, 2
"""Exit codes."""

GATEWAY: Final = "gateway"
WORKER: Final = "worker"
"""Kinds of processes."""

BEAT_S: Final = keys.HEARTBEAT_S / 3


async def stop_signal() -> None:
    """Wait for SIGTERM or SIGINT; the second one ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)


class Heartbeats:
    """Processes of each kind that live, as far as the store knows.

    Args:
        documents: where they are entered.
        now: Unix time in seconds.
    """

    def __init__(self, documents: Documents, now: Callable[[], float]) -> None:
        self._documents = documents
        self._now = now

    async def beat(self, kind: str, name: str) -> None:
        """Go on telling that this process lives, until cancelled; then take it back."""
        key = keys.heartbeats(kind)
        try:
            while True:
                with suppress(StoreUnavailable):
                    await self._documents.add(Entry(index=key, member=name, until=self._now() + keys.HEARTBEAT_S))
                await asyncio.sleep(BEAT_S)
        finally:
            with suppress(StoreUnavailable):
                await self._documents.remove(key, name)

    async def lives(self, kind: str) -> bool:
        """Whether a process of that kind lives; False where it cannot be told."""
        with suppress(StoreUnavailable):
            return bool(await self._documents.members(keys.heartbeats(kind)))
        return False
