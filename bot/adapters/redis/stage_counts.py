"""How attempts ended, in Redis: a hash a minute, in which each process has fields of its own.

A field holds what its process counted, and is written as a whole: a write whose answer was lost may be repeated.
"""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, cast

from bot.adapters.redis import keys
from bot.core.stage_health import Attempt, Outcome, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis

    from bot.adapters.redis.connections import RedisServer

_SEPARATOR: Final = "|"


class RedisStageCounts:
    """`bot.core.ports.StageCounts`.

    Args:
        server: the store.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def put(self, process: str, minutes: Mapping[int, Mapping[Attempt, int]]) -> None:
        """What ``process`` has counted in these minutes so far.

        Raises:
            StoreUnavailable: it may be there all the same.
        """

        async def write(client: Redis) -> None:
            async with client.pipeline(transaction=True) as pipeline:
                for minute, counts in minutes.items():
                    key = keys.stage_counts(minute)
                    pipeline.hset(key, mapping={_field(process, attempt): count for attempt, count in counts.items()})
                    pipeline.expire(key, keys.STAGE_COUNTS_S)
                await pipeline.execute()

        if minutes:
            await self._server.call(write)

    async def read(self, minutes: Iterable[int]) -> dict[int, Mapping[Attempt, int]]:
        """What all have counted in each of these minutes; fields of another version are passed over.

        Raises:
            StoreUnavailable: it cannot be looked up now.
        """
        wanted = list(minutes)

        async def ask(client: Redis) -> list[dict[bytes, bytes]]:
            async with client.pipeline(transaction=False) as pipeline:
                for minute in wanted:
                    pipeline.hgetall(keys.stage_counts(minute))
                return cast("list[dict[bytes, bytes]]", await pipeline.execute())

        found: dict[int, Mapping[Attempt, int]] = {}
        for minute, fields in zip(wanted, await self._server.call(ask), strict=True):
            total = found[minute] = Counter[Attempt]()
            for name, count in fields.items():
                if (attempt := _attempt(name.decode())) is not None:
                    total[attempt] += int(count)
        return found


def _field(process: str, attempt: Attempt) -> str:
    power = "" if attempt.power is None else str(attempt.power)
    subject = attempt.subject
    return _SEPARATOR.join((process, attempt.outcome, power, subject.kind, subject.name))  # a name may be anything


def _attempt(field: str) -> Attempt | None:
    try:
        _, outcome, power, kind, name = field.split(_SEPARATOR, 4)
        if kind not in ("stage", "model"):
            return None
        subject = Subject(kind=kind, name=name)
        return Attempt(subject=subject, outcome=Outcome(outcome), power=int(power) if power else None)
    except ValueError:
        return None
