"""What every long-running process does besides its work: it stops on a signal and tells that it lives."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from loguru import logger

from bot.adapters.documents import Entry
from bot.adapters.redis import keys
from bot.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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


async def every(seconds: float, do: Callable[[], Awaitable[object]], *, patient: bool = False) -> None:
    """Go on doing something until cancelled; what fails is logged, and done again when its time comes.

    If ``patient``, it needs the store, and is not logged where that is away: others tell that.
    """
    while True:
        try:
            await do()
        except StoreUnavailable:
            if not patient:
                logger.exception("upkeep failed; the next try is in {:.0f} s", seconds)
        except Exception:  # noqa: BLE001 - a process does not end because of what it does beside its work
            logger.exception("upkeep failed; the next try is in {:.0f} s", seconds)
        await asyncio.sleep(seconds)


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
            await every(BEAT_S, partial(self._beat, key, name))
        finally:
            with suppress(StoreUnavailable):
                await self._documents.remove(key, name)

    async def _beat(self, key: str, name: str) -> None:
        with suppress(StoreUnavailable):
            await self._documents.add(Entry(index=key, member=name, until=self._now() + keys.HEARTBEAT_S))

    async def lives(self, kind: str) -> bool:
        """Whether a process of that kind lives; False where it cannot be told."""
        with suppress(StoreUnavailable):
            return bool(await self._documents.members(keys.heartbeats(kind)))
        return False
