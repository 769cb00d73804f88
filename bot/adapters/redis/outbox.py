"""Answers to be delivered, in Redis: a stream, read by one group whose consumers are the processes that deliver.

An entry stays in the stream until it is done, so nothing is lost with a process, nor with a group. What a consumer was
given and never came to its caller (the call was cancelled, the connection broke) is given to it again the next time.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from loguru import logger
from redis.exceptions import ResponseError

from bot.adapters.records.ids import ID
from bot.adapters.redis import keys
from bot.adapters.redis.connections import LISTENING
from bot.adapters.redis.script import Script
from bot.core.errors import StoreUnavailable
from bot.core.jobs import Parcel
from bot.core.quotas import DAY_S, HOUR_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from bot.adapters.redis.connections import RedisServer

    Given = tuple[bytes, bytes, int]
    """An entry, the request that it names, and how often it was taken."""

IDLE_S: Final = 15.0
"""A taker that keeps still for so long is taken for dead."""

_GROUP: Final = "delivery"
_FIELD: Final = "request"
_LOOK_S: Final = 2.0
"""How often one who waits for new answers looks for those that others have dropped."""
_SILENCE_S: Final = 5.0
"""How much longer than it was asked to wait a server may take to say that there is nothing."""
_LOST: Final = ("NOGROUP", "UNBLOCKED")
"""How servers say that the stream or its group went while somebody waited; Redis 6.2 and 7.2 differ."""

_TAKE: Final = Script("outbox_take.lua")
_KEEP: Final = Script("outbox_keep.lua")
_TIDY: Final = Script("outbox_tidy.lua")


def _ms(seconds: float) -> int:
    return max(1, round(1_000 * seconds))


class RedisOutbox:
    """`bot.core.jobs.Outbox`.

    Args:
        server: the store.
        idle_s: a taker that keeps still for so long loses what it took.
        gone_s: a consumer that has nothing and was not heard of for so long is forgotten.
    """

    def __init__(self, server: RedisServer, *, idle_s: float = IDLE_S, gone_s: float = DAY_S) -> None:
        self._server = server
        self._idle_s = idle_s
        self._gone_s = gone_s
        self._takers: dict[str, str] = {}
        """Who in this process has an entry."""
        self._turns = defaultdict[str, asyncio.Lock](asyncio.Lock)
        self._next_tidy = float("-inf")

    async def post(self, request_id: str) -> None:
        """An answer is ready. Where the server's answer is lost it may come to be posted twice."""

        async def write(client: Redis) -> None:
            async with client.pipeline(transaction=True) as pipeline:
                pipeline.xadd(keys.outbox(), {_FIELD: request_id})
                pipeline.expire(keys.outbox(), int(keys.DELIVERY_S))
                await pipeline.execute()

        await self._server.call(write)

    async def take(self, consumer: str, *, most: int, wait_s: float) -> list[Parcel]:
        """Take up to ``most``; see `bot.core.jobs.Outbox`. A consumer is one process, and takes once at a time.

        Cancelling it loses nothing.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + wait_s
        async with self._turns[consumer]:
            while True:
                found = await self._valid(await self._look(consumer, most))
                left = until - clock()
                if not found and left > 0:
                    found = await self._valid(await self._wait(consumer, most, min(left, _LOOK_S, self._idle_s)))
                if found or left <= 0:
                    # Nothing waits from here on: what this process notes as taken reaches the caller.
                    self._takers.update({parcel.entry: consumer for parcel in found})
                    return found

    async def keep(self, consumer: str, *entries: str) -> None:
        """Tell that one is still at it; nothing happens to what somebody else has taken meanwhile."""
        if entries:
            await self._server.run(_KEEP, [keys.outbox()], _GROUP, consumer, *entries)

    async def done(self, *entries: str) -> None:
        """They are delivered, or never will be."""

        async def write(client: Redis) -> None:
            # No transaction: a full store refuses those up to Redis 7.0. Where this breaks off in the middle, the next
            # to take finds that there is no such entry.
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.xdel(keys.outbox(), *entries)
                pipeline.xack(keys.outbox(), _GROUP, *entries)
                await pipeline.execute()

        if entries:
            await self._server.call(write)
        for entry in entries:
            self._takers.pop(entry, None)

    async def _look(self, consumer: str, most: int) -> list[Given]:
        """What can be had at once."""
        has = [entry for entry, taker in self._takers.items() if taker == consumer]
        times = (_ms(self._idle_s), _ms(keys.DELIVERY_S))
        given, gone = await self._server.run(_TAKE, [keys.outbox()], _GROUP, consumer, most, *times, *has)
        for entry in gone:
            self._takers.pop(entry.decode(), None)
        now = asyncio.get_running_loop().time()
        if now >= self._next_tidy:
            self._next_tidy = now + HOUR_S
            with suppress(StoreUnavailable):
                await self._server.run(_TIDY, [keys.outbox()], _GROUP, _ms(self._gone_s))
        return given

    async def _wait(self, consumer: str, most: int, wait_s: float) -> list[Given]:
        """What comes new within ``wait_s``."""

        async def read(client: Redis) -> Any:
            async with asyncio.timeout(wait_s + _SILENCE_S):
                try:
                    return await client.xreadgroup(
                        _GROUP, consumer, {keys.outbox(): ">"}, count=most, block=_ms(wait_s)
                    )
                except ResponseError as exc:
                    if not str(exc).startswith(_LOST):
                        raise
                    return []

        streams: Any = await self._server.call(read, way=LISTENING)
        return [
            (entry, fields.get(_FIELD.encode(), b""), 1) for _, entries in streams or () for entry, fields in entries
        ]

    async def _valid(self, given: Iterable[Given]) -> list[Parcel]:
        """Those that name a request; others are done."""
        found: list[Parcel] = []
        for entry, raw, takes in given:
            request_id = raw.decode(errors="replace")
            if ID.fullmatch(request_id):
                found.append(Parcel(entry=entry.decode(), request_id=request_id, takes=takes))
                continue
            logger.warning("entry {} of the outbox names no request: it is dropped", entry.decode())
            with suppress(StoreUnavailable):  # it comes again
                await self.done(entry.decode())
        return found
