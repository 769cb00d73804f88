"""What the cleanup asks of a server, a batch of keys at a time: what is there, how it lies there, and that it go."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from bot.adapters.redis import keys
from bot.adapters.redis.turn import LEASE_S
from bot.core.quotas import DAY_S, HOUR_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

_BATCH = 250
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
    (keys.SETTINGS, keys.SETTINGS_S),
    ("*", keys.DELIVERY_S),
)
"""How long what should have had an end still lives: by pattern, in seconds."""

_END = """
if redis.call('PTTL', KEYS[1]) == -1 then return redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A batch of keys.

    Args:
        cursor: where the next one begins; 0 after the last.
        count: how many there were.
        mended: those that had no end, and have one now.
        ended: members of indexes that are gone.
    """

    cursor: int
    count: int
    mended: Sequence[str]
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """Finished work: its memory in bytes, and for how long nobody has used it."""

    key: bytes
    size: int
    idle_s: int

    @property
    def score(self) -> float:
        """How little it is worth; of what was just used, the largest is worth least."""
        return self.size * (self.idle_s + 0.1)


async def mend(client: Redis, *, cursor: int) -> Seen:
    """Look at the next keys of ours: what should have an end gets one, what is over leaves its index."""
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
    return Seen(cursor=cursor, count=len(ours), mended=mended, ended=sum(ended))


async def weigh(client: Redis, *, cursor: int) -> tuple[int, list[Weighed]]:
    """Weigh the next finished work, without using it: neither command counts as a use. Gives the next cursor too."""
    cursor, ours = await _scan(client, cursor, keys.CACHE_PREFIX)
    async with client.pipeline(transaction=False) as pipeline:
        for key in ours:
            pipeline.memory_usage(key)
            pipeline.object("IDLETIME", key)
        answers = await pipeline.execute(raise_on_error=False)
    return cursor, [
        # A policy that counts uses tells no idle time; a managed Redis may not tell sizes.
        Weighed(key=key, size=_int_or(size, _UNTOLD), idle_s=_int_or(idle, 0))
        for key, size, idle in zip(ours, answers[::2], answers[1::2], strict=True)
        if size is not None
    ]


async def unlink(client: Redis, *, chosen: Sequence[Weighed]) -> list[Weighed]:
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
