"""Cleanup in the background: once an hour all that is ours is looked at, and a cache that fills up gets room.

The cache evicts by itself once it is full; but then every write waits for that, and Redis goes by age alone. Long
before, this takes away what is both large and cold. One process does it at a time: a worker where one lives.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from loguru import logger

from bot.adapters.redis.inspection import Weighed, mend, unlink, weigh
from bot.adapters.redis.policies import memory_of
from bot.core.errors import StoreUnavailable
from bot.core.quotas import HOUR_S

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable

    from bot.adapters.redis.connections import RedisServer
    from bot.adapters.redis.turn import Turn

T = TypeVar("T")

TICK_S: Final = 60.0
"""How often it is seen whose turn it is, and how full the cache is."""
RELIEVE_ABOVE: Final = 0.80
RELIEVE_TO: Final = 0.70
"""Shares of the cache's ``maxmemory``."""

_AIM: Final = RELIEVE_TO - 0.005
"""A little below, so that what is on its way does not cross the mark again at once."""
_SCAN_S = 60.0
"""For one look at a server; the next one goes on where it ended."""
_RELIEF_S = 10.0
_UNLINKED_AT_ONCE = 50
_SAMPLE = 20_000
"""Keys that are weighed against each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupReport:
    """What a cleanup did.

    Args:
        scanned: keys that it looked at.
        mended: keys that had no end and have one now.
        deleted: keys, and members of indexes, that are gone.
        freed_bytes: memory of the deleted keys.
    """

    scanned: int = 0
    mended: int = 0
    deleted: int = 0
    freed_bytes: int = 0

    def __add__(self, other: CleanupReport) -> CleanupReport:
        return CleanupReport(
            scanned=self.scanned + other.scanned,
            mended=self.mended + other.mended,
            deleted=self.deleted + other.deleted,
            freed_bytes=self.freed_bytes + other.freed_bytes,
        )


class Cleanup:
    """Keeps both servers clean.

    Args:
        store: nothing of it is deleted but what has ended.
        cache: anything of ours may be deleted.
        turn: who does it.
        counts: takes all that is done, by the names of `CleanupReport`.
        clock: seconds on a clock that never goes back.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        store: RedisServer,
        cache: RedisServer,
        *,
        turn: Turn,
        counts: Counter[str],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._cache = cache
        self._turn = turn
        self._clock = clock
        self._sleep = sleep
        self._cursors = {"store": 0, "cache": 0, "sample": 0}
        self._counts = counts

    async def run_forever(self) -> None:
        """Clean up until cancelled; a server that is away is waited for, and what fails hinders nothing else."""
        scan_at = self._clock()
        try:
            while True:
                if await _tried(self._turn.mine):
                    await _tried(self.relieve)
                    if self._clock() >= scan_at:
                        scan_at = self._clock() + HOUR_S
                        await _tried(self.once)
                await self._sleep(TICK_S)
        finally:
            await _tried(self._turn.over)

    # --- what has no end, and what has ended ----------------------------------------------------------------------

    async def once(self) -> CleanupReport:
        """Look at every key of ours; what should have an end gets one, what is over leaves its index."""
        report, endless = CleanupReport(), list[str]()
        for name, server in (("store", self._store), ("cache", self._cache)):
            with suppress(StoreUnavailable):
                until = self._clock() + _SCAN_S
                while self._clock() < until:
                    seen = await server.call(partial(mend, cursor=self._cursors[name]))
                    self._cursors[name] = seen.cursor
                    report += CleanupReport(scanned=seen.count, mended=len(seen.mended), deleted=seen.ended)
                    endless += seen.mended
                    if seen.cursor == 0:
                        break
        if endless:
            logger.warning("{} keys had no end and have one now: {}", len(endless), ", ".join(sorted(endless)[:3]))
        return self._counted(report)

    # --- room in the cache ----------------------------------------------------------------------------------------

    async def relieve(self) -> CleanupReport | None:
        """Take the large and cold from a cache that is nearly full; None where it is not.

        Raises:
            StoreUnavailable: the cache is away.
        """
        memory = await memory_of(self._cache)
        if memory is None or memory.used < RELIEVE_ABOVE * memory.limit:
            return None
        until = self._clock() + _RELIEF_S
        report, candidates = CleanupReport(), list[Weighed]()
        while memory is not None and self._clock() < until:
            surplus = memory.used - int(_AIM * memory.limit)
            if surplus <= 0:
                break
            if not candidates:
                whole, candidates = await self._sample(until)
                report += CleanupReport(scanned=len(candidates))
                if whole and not candidates:
                    break  # nothing of ours
                candidates.sort(key=lambda weighed: weighed.score)
                # What is cold in a part of the keys may be warm among all: the better half of it stays.
                del candidates[: 0 if whole else len(candidates) // 2]
            # A few at a time, as only the server knows what their end gives back.
            chosen = _chosen(candidates, surplus)
            gone = await self._cache.call(partial(unlink, chosen=chosen))
            report += CleanupReport(deleted=len(gone), freed_bytes=sum(one.size for one in gone))
            memory = await memory_of(self._cache)
        logger.info("the cache was nearly full: {} keys gone, {} bytes", report.deleted, report.freed_bytes)
        return self._counted(report)

    async def _sample(self, until: float) -> tuple[bool, list[Weighed]]:
        """Weigh keys of the cache, from where the last sample ended; and whether these are all."""
        cursor = first = self._cursors["sample"]
        found: dict[bytes, Weighed] = {}
        while len(found) < _SAMPLE and self._clock() < until:
            cursor, weighed = await self._cache.call(partial(weigh, cursor=cursor))
            found |= {one.key: one for one in weighed}
            if cursor == 0:
                break
        self._cursors["sample"] = cursor
        return first == cursor == 0, list(found.values())

    def _counted(self, report: CleanupReport) -> CleanupReport:
        self._counts.update(asdict(report))
        return report


def _chosen(candidates: list[Weighed], surplus: int) -> list[Weighed]:
    """Take the last of ``candidates`` out, as many as it takes to free ``surplus`` bytes, but only a few."""
    chosen: list[Weighed] = []
    while candidates and surplus > 0 and len(chosen) < _UNLINKED_AT_ONCE:
        chosen.append(candidates.pop())
        surplus -= chosen[-1].size
    return chosen


async def _tried(job: Callable[[], Awaitable[T]]) -> T | None:
    """What ``job`` gives, None where it fails: the next one has its turn all the same."""
    try:
        return await job()
    except StoreUnavailable:
        return None  # it is known to be away
    except Exception:  # noqa: BLE001 - whatever it is, the rest goes on
        logger.exception("a cleanup failed")
        return None
