"""Waiting for something to become true, without sleeping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class NotSeen(AssertionError):
    """What a test waited for did not happen in time."""


class Changes:
    """Told of every change of the simulator's state; wakes whoever waits for one."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Something changed: let everybody look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, look: Callable[[], T | None], *, timeout_s: float, what: Callable[[], str]) -> T:
        """Wait until ``look`` gives something that counts as true, and return it.

        Args:
            look: called at once and after every change.
            timeout_s: how long to wait, in seconds of real time.
            what: says what was waited for and what there is instead; called only for the error.

        Raises:
            NotSeen: it did not happen in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            found = look()
            if found:
                return found
            waiter = loop.create_future()
            self._waiters.add(waiter)
            try:
                await asyncio.wait_for(waiter, deadline - loop.time())
            except TimeoutError:
                raise NotSeen(f"not seen within {timeout_s} s: {what()}") from None
            finally:
                self._waiters.discard(waiter)
