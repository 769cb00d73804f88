"""Cleanup in the background: once an hour all that is ours is looked at, and a cache that fills up gets room.

The cache evicts by itself once it is full; but then every write waits for that, and Redis goes by age alone. Long
before, this takes away what is both large and cold. One process does it at a time: a worker where one lives.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from bot.adapters.redis import keys
from bot.adapters.redis.policies import memory_of
from bot.core.errors import StoreUnavailable
from bot.core.quotas import DAY_S, HOUR_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from bot.adapters.redis.connections import RedisServer
    from bot.core.ports import Leases

TICK_S: Final = 60.0
"""How often it is seen whose turn it is, and how full the cache is."""
LEASE: Final = "cleanup"
LEASE_S: Final = 5 * TICK_S
"""Longer than one look at everything may take, so that it is not taken away meanwhile."""
RELIEVE_ABOVE: Final = 0.80
RELIEVE_TO: Final = 0.70
"""Shares of the cache's ``maxmemory``."""

_SCAN_S = 60.0
"""For one look at a server; the next one goes on where it ended."""
_RELIEF_S = 10.0
_BATCH = 250
_UNLINKED_AT_ONCE = 50
_SAMPLE = 20_000
"""Keys that are weighed against each other."""
_UNTOLD = 1 << 20
"""Bytes that a key counts for where its size is not told: rather too many, so that not too much goes at once."""
_CLOCKS_DIFFER_S = HOUR_S
"""The indexes are scored by the clocks of all machines, and weeded by the server's."""

_INDEXES: Final = (f"{keys.PREFIX}:*:member:*", f"{keys.PREFIX}:*:deliveries:*", keys.HEARTBEATS)
_ENDS: Final = (
    (f"{keys.PREFIX}:{{flight:*", keys.FLIGHT_NEWS_S),  # a lock without an end would block the work for ever
    (f"{keys.PREFIX}:lease:*", LEASE_S),
    (keys.HEARTBEATS, keys.HEARTBEAT_S),
    (f"{keys.CACHE_PREFIX}:*", DAY_S),
    ("*", keys.DELIVERY_S),
)
"""How long what should have had an end still lives: by pattern, in seconds."""

_END = """
if redis.call('PTTL', KEYS[1]) == -1 then return redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupReport:
    """What a cleanup did.

    Args:
        scanned: keys that it looked at.
        mended: keys that had no end and have one now.
        deleted: keys, and members of indexes, that are gone.
        freed_bytes: memory of the deleted keys.
        seconds: how long it took.
    """

    scanned: int = 0
    mended: int = 0
    deleted: int = 0
    freed_bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: CleanupReport) -> CleanupReport:
        return CleanupReport(
            scanned=self.scanned + other.scanned,
            mended=self.mended + other.mended,
            deleted=self.deleted + other.deleted,
            freed_bytes=self.freed_bytes + other.freed_bytes,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Who cleans up: one process at a time, and a worker rather than the others.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    key: bytes
    size: int
    idle_s: int

    @property
    def score(self) -> float:
        return self.size * (self.idle_s + 0.1)  # of what was just used, the largest goes first


class Cleanup:
    """Keeps both servers clean.

    Args:
        store: nothing of it is deleted but what has ended.
        cache: anything of ours may be deleted.
        turn: who does it.
        local_jobs: run in every process, once an hour: each has a disk of its own.
        clock: seconds on a clock that never goes back.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        store: RedisServer,
        cache: RedisServer,
        *,
        turn: Turn,
        local_jobs: Sequence[Callable[[], Awaitable[object]]] = (),
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._cache = cache
        self._turn = turn
        self._local_jobs = local_jobs
        self._clock = clock
        self._sleep = sleep
        self._cursors = {"store": 0, "cache": 0, "sample": 0}
        self.total = CleanupReport()
        """All that was done so far; for metrics."""

    async def run_forever(self) -> None:
        """Clean up until cancelled; a server that is away is waited for."""
        local_at = scan_at = self._clock()
        try:
            while True:
                if self._clock() >= local_at:
                    local_at = self._clock() + HOUR_S
                    await self._run_local_jobs()
                with suppress(StoreUnavailable):
                    if await self._turn.mine():
                        with suppress(StoreUnavailable):  # the cache may be away, and the store not
                            await self.relieve()
                        if self._clock() >= scan_at:
                            scan_at = self._clock() + HOUR_S
                            await self.once()
                await self._sleep(TICK_S)
        finally:
            with suppress(StoreUnavailable):
                await self._turn.over()

    async def _run_local_jobs(self) -> None:
        for job in self._local_jobs:
            try:
                await job()
            except Exception:  # noqa: BLE001 - one that fails must not keep the others from their hour
                logger.exception("a cleanup of this machine failed")

    # --- what has no end, and what has ended ----------------------------------------------------------------------

    async def once(self) -> CleanupReport:
        """Look at every key of ours; what should have an end gets one, what is over leaves its index."""
        began = self._clock()
        report, endless = CleanupReport(), list[str]()
        for name, server in (("store", self._store), ("cache", self._cache)):
            with suppress(StoreUnavailable):
                until = self._clock() + _SCAN_S
                while self._clock() < until:
                    look = partial(_look, cursor=self._cursors[name])
                    self._cursors[name], seen, mended = await server.call(look)
                    report += seen
                    endless += mended
                    if self._cursors[name] == 0:
                        break
        if endless:
            logger.warning("{} keys had no end and have one now: {}", len(endless), ", ".join(sorted(endless)[:3]))
        return self._done(report, began)

    # --- room in the cache ----------------------------------------------------------------------------------------

    async def relieve(self) -> CleanupReport | None:
        """Take the large and cold from a cache that is nearly full; None where it is not.

        Raises:
            StoreUnavailable: the cache is away.
        """
        memory = await memory_of(self._cache)
        if memory is None or memory.used < RELIEVE_ABOVE * memory.limit:
            return None
        began = self._clock()
        until = began + _RELIEF_S
        report = CleanupReport()
        while memory is not None and self._clock() < until:
            surplus = memory.used - round(RELIEVE_TO * memory.limit)
            if surplus <= 0:
                break
            whole, sample = await self._sample(until)
            report += CleanupReport(scanned=len(sample))
            if whole and not sample:
                break  # nothing of ours
            sample.sort(key=lambda weighed: weighed.score, reverse=True)
            # What is cold in a part of the keys may be warm among all: the better half of it stays.
            report += await self._unlink(sample if whole else sample[: -(-len(sample) // 2)], surplus)
            memory = await memory_of(self._cache)
        logger.info("the cache was nearly full: {} keys gone, {} bytes", report.deleted, report.freed_bytes)
        return self._done(report, began)

    async def _sample(self, until: float) -> tuple[bool, list[_Weighed]]:
        """Weigh keys of the cache, from where the last sample ended; and whether these are all."""
        cursor = first = self._cursors["sample"]
        found: dict[bytes, _Weighed] = {}
        while len(found) < _SAMPLE and self._clock() < until:
            cursor, weighed = await self._cache.call(partial(_weigh, cursor=cursor))
            found |= {one.key: one for one in weighed}
            if cursor == 0:
                break
        self._cursors["sample"] = cursor
        return first == cursor == 0, list(found.values())

    async def _unlink(self, candidates: Sequence[_Weighed], surplus: int) -> CleanupReport:
        report = CleanupReport()
        for at in range(0, len(candidates), _UNLINKED_AT_ONCE):
            chosen: list[_Weighed] = []
            for one in candidates[at : at + _UNLINKED_AT_ONCE]:
                if report.freed_bytes + sum(other.size for other in chosen) >= surplus:
                    break
                chosen.append(one)
            if not chosen:
                break
            gone = await self._cache.call(partial(_delete, chosen=chosen))
            report += CleanupReport(deleted=len(gone), freed_bytes=sum(one.size for one in gone))
        return report

    def _done(self, report: CleanupReport, began: float) -> CleanupReport:
        report += CleanupReport(seconds=self._clock() - began)
        self.total += report
        return report


# --- what is asked of a server, a batch at a time -------------------------------------------------------------------


async def _look(client: Redis, *, cursor: int) -> tuple[int, CleanupReport, list[str]]:
    """Look at the next batch of keys, and mend them; gives those that had no end too."""
    cursor, ours = await _scan(client, cursor, keys.PREFIX)
    names = [key.decode(errors="replace") for key in ours]
    seconds, _ = await client.time()
    async with client.pipeline(transaction=False) as pipeline:
        for key in ours:
            pipeline.pttl(key)
        for key, name in zip(ours, names, strict=True):
            if _matches(name, _INDEXES):
                pipeline.zremrangebyscore(key, "-inf", seconds - _CLOCKS_DIFFER_S)
        answers = await pipeline.execute(raise_on_error=False)
    ended = [answer for answer in answers[len(ours) :] if isinstance(answer, int)]
    endless = [
        (key, name)
        for key, name, ttl in zip(ours, names, answers, strict=False)
        if ttl == -1 and not _matches(name, keys.WITHOUT_TTL)
    ]
    async with client.pipeline(transaction=False) as pipeline:
        for key, name in endless:
            pipeline.eval(_END, 1, key, round(_end_of(name) * 1_000))
        answers = await pipeline.execute()
    mended = [name for (_, name), done in zip(endless, answers, strict=True) if done]
    return cursor, CleanupReport(scanned=len(ours), mended=len(mended), deleted=sum(ended)), mended


async def _weigh(client: Redis, *, cursor: int) -> tuple[int, list[_Weighed]]:
    """Weigh the next batch of finished work, without using it: neither command counts as a use."""
    cursor, ours = await _scan(client, cursor, keys.CACHE_PREFIX)
    async with client.pipeline(transaction=False) as pipeline:
        for key in ours:
            pipeline.memory_usage(key)
            pipeline.object("IDLETIME", key)
        answers = await pipeline.execute(raise_on_error=False)
    return cursor, [
        # A policy that counts uses tells no idle time; a managed Redis may not tell sizes.
        _Weighed(key=key, size=_int_or(size, _UNTOLD), idle_s=_int_or(idle, 0))
        for key, size, idle in zip(ours, answers[::2], answers[1::2], strict=True)
        if size is not None
    ]


async def _delete(client: Redis, *, chosen: Sequence[_Weighed]) -> list[_Weighed]:
    """Delete keys; gives those that were still there."""
    async with client.pipeline(transaction=False) as pipeline:
        for one in chosen:
            pipeline.unlink(one.key)
        answers = await pipeline.execute()
    return [one for one, gone in zip(chosen, answers, strict=True) if gone]


async def _scan(client: Redis, cursor: int, prefix: str) -> tuple[int, list[bytes]]:
    found: list[Any]
    cursor, found = await client.scan(cursor, match=f"{prefix}*", count=_BATCH)
    starts = (f"{prefix}:".encode(), f"{keys.CACHE_PREFIX}:".encode())
    return cursor, [key for key in found if key.startswith(starts)]


def _end_of(name: str) -> float:
    return next(seconds for pattern, seconds in _ENDS if fnmatchcase(name, pattern))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _int_or(answer: Any, otherwise: int) -> int:
    return answer if isinstance(answer, int) else otherwise
