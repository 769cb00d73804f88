"""Answers to be delivered, for a bot whose one process is all there is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from bot.core.jobs import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_S: Final = 1.0
"""How often one who waits looks for what others have dropped."""


@dataclass(slots=True)
class _Place:
    """Where an answer is: with ``taker``, heard of at ``heard_at``; with nobody where that is None."""

    request_id: str
    taker: str | None = None
    heard_at: float = 0.0
    takes: int = 0


class InProcessOutbox:
    """`bot.core.jobs.Outbox`.

    Args:
        clock: seconds on a clock that never goes back.
        idle_s: a taker that keeps still for so long loses what it took.
    """

    def __init__(self, *, clock: Callable[[], float], idle_s: float = 15.0) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._places: dict[str, _Place] = {}
        self._numbers = count(1)
        self._posted = asyncio.Event()

    async def post(self, request_id: str) -> None:
        """An answer is ready."""
        self._places[str(next(self._numbers))] = _Place(request_id)
        self._posted.set()

    async def take(self, consumer: str, *, most: int, wait_s: float) -> list[Parcel]:
        """Take up to ``most``; see `bot.core.jobs.Outbox`. Cancelling it loses nothing."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            self._posted.clear()
            found = [self._given(entry, consumer) for entry, _ in zip(self._ready(), range(most), strict=False)]
            if found or (left := until - loop.time()) <= 0:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_S)):
                    await self._posted.wait()

    async def keep(self, consumer: str, *entries: str) -> None:
        """Tell that one is still at it; nothing happens to what somebody else has taken meanwhile."""
        for entry in entries:
            place = self._places.get(entry)
            if place is not None and place.taker == consumer:
                place.heard_at = self._clock()

    async def done(self, *entries: str) -> None:
        """They are delivered, or never will be."""
        for entry in entries:
            self._places.pop(entry, None)

    def _ready(self) -> Iterator[str]:
        """Those that were dropped, then those that are new."""
        still = self._clock() - self._idle_s
        places = self._places.items()
        yield from [entry for entry, place in places if place.taker is not None and place.heard_at <= still]
        yield from [entry for entry, place in places if place.taker is None]

    def _given(self, entry: str, consumer: str) -> Parcel:
        place = self._places[entry]
        place.taker, place.heard_at, place.takes = consumer, self._clock(), place.takes + 1
        return Parcel(entry=entry, request_id=place.request_id, takes=place.takes)
