"""The rate limiter that goes on without Redis: never unlimited, never closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.redis.limiter import RedisRateLimiter
    from bot.core.quotas import BucketId, Limits, Verdict

REMEMBERED: Final = 10_000
"""Local decisions that are kept for Redis. Of more, the oldest are forgotten: it never hears of them."""
BATCH: Final = 32
"""Buckets that Redis is told of at a time, so that it is not busy with the past alone when it is back."""
TELL_EVERY_S: Final = 0.5

_RESET: Final = ""
"""Stands for a reset among the ids of requests, none of which is empty."""


class FallbackRateLimiter:
    """The port `RateLimiter`: Redis, and a bucket of this process with the same rules while Redis is away.

    A local bucket begins where Redis' was last seen, or full if this process never saw it. So while Redis is away,
    each process grants a member at most ``burst + per_hour * hours``. What was decided meanwhile is told to Redis
    when it is back: in the background, and for a bucket that is used before it is used.

    Attributes:
        decisions: verdicts so far on what costs tokens: "allowed" and "refused".
        made_here: those of them that Redis did not give.

    Args:
        redis: what usually decides. It is closed by whoever made it.
        now: Unix time. How far Redis' clock is from it is learnt from Redis' answers.
        remembered: local decisions that are kept for Redis.
        tell_every_s: how often it is tried to tell Redis of them, in seconds.
    """

    def __init__(
        self,
        redis: RedisRateLimiter,
        now: Callable[[], float],
        *,
        remembered: int = REMEMBERED,
        tell_every_s: float = TELL_EVERY_S,
    ) -> None:
        self._redis = redis
        self._now = now
        self._ahead_s = 0.0
        self._here = InProcessRateLimiter(lambda: self._now() + self._ahead_s)
        self._untold = _Untold(remembered)
        self._tell_every_s = tell_every_s
        self._teller: asyncio.Task[None] | None = None
        self.decisions: Counter[str] = Counter()
        self.made_here = self._here.decisions

    async def reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        """See `RateLimiter`; never raises `StoreUnavailable`.

        Raises:
            ValueError: a cost below zero, or no id.
        """
        asked = not self._redis.away
        try:
            await self._tell(bucket)
            verdict = self._learnt(await self._redis.reserve(bucket, request_id, cost, limits))
            if verdict.allowed:
                self._here.assume_reserved(bucket, request_id, verdict)
        except StoreUnavailable:
            verdict = await self._reserve_here(bucket, request_id, cost, limits, asked=asked)
        if bucket.kind == "tokens":
            self.decisions["allowed" if verdict.allowed else "refused"] += 1
        return verdict

    async def settle(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> None:
        """See `RateLimiter`; never raises `StoreUnavailable`.

        Raises: as `reserve` does.
        """
        try:
            await self._tell(bucket)
            await self._redis.settle(bucket, request_id, cost, limits)
            self._here.assume_settled(bucket, request_id)
        except StoreUnavailable:
            await self._begun(bucket, limits).settle(bucket, request_id, cost, limits)
            before = self._untold.get(bucket, request_id) or _Decision(limits=limits)
            if before.final is None:
                self._remember(bucket, request_id, replace(before, final=cost))

    async def preview(self, bucket: BucketId, cost: int, limits: Limits) -> Verdict:
        """See `RateLimiter`; never raises `StoreUnavailable`."""
        try:
            await self._tell(bucket)
            return self._learnt(await self._redis.preview(bucket, cost, limits))
        except StoreUnavailable:
            return await self._begun(bucket, limits).preview(bucket, cost, limits)

    async def reset(self, bucket: BucketId, limits: Limits) -> None:
        """See `RateLimiter`; never raises `StoreUnavailable`."""
        try:
            await self._tell(bucket)
            await self._redis.reset(bucket, limits)
        except StoreUnavailable:
            await self._begun(bucket, limits).reset(bucket, limits)
            self._untold.remove(bucket, _RESET)  # it goes after what was decided since
            self._remember(bucket, _RESET, _Decision(limits=limits))

    async def aclose(self) -> None:
        """Tell Redis what it does not know, if it can be told now, and end."""
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.wait([self._teller])
        await self._tell_some(self._untold.buckets())

    async def _reserve_here(
        self, bucket: BucketId, request_id: str, cost: int, limits: Limits, *, asked: bool
    ) -> Verdict:
        here = self._begun(bucket, limits)
        before = here.knows(bucket, request_id)
        verdict = await here.reserve(bucket, request_id, cost, limits)
        if verdict.allowed and not before:
            self._untold.remove(bucket, request_id)  # it comes after what was decided since
            self._remember(bucket, request_id, _Decision(limits=limits, cost=verdict.cost))
        elif asked and not verdict.allowed and self._untold.get(bucket, request_id) is None:
            # Redis may have taken the tokens, and its answer was lost.
            self._remember(bucket, request_id, _Decision(limits=limits, final=0))
        return verdict

    def _learnt(self, verdict: Verdict) -> Verdict:
        self._ahead_s = verdict.now - self._now()
        return verdict

    def _begun(self, bucket: BucketId, limits: Limits) -> InProcessRateLimiter:
        """The local limiter; what Redis knows all of begins there as it was last seen."""
        if not self._untold.concerns(bucket):
            self._here.assume(bucket, self._redis.known(bucket), limits)
        if not self._untold.concerns_guild(bucket.guild_id):
            self._here.assume_budget(bucket.guild_id, self._redis.known_budget(bucket.guild_id))
        return self._here

    def _remember(self, bucket: BucketId, request_id: str, decision: _Decision) -> None:
        self._untold.put(bucket, request_id, decision)
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._tell_all())

    async def _tell(self, bucket: BucketId) -> None:
        """Tell Redis all that it does not know of a bucket."""
        if not self._untold.concerns(bucket):
            return
        async with self._untold.lock(bucket):
            while untold := self._untold.oldest(bucket):
                request_id, decision = untold
                await self._tell_one(bucket, request_id, decision)
                if self._untold.get(bucket, request_id) is decision:  # else there was more to it meanwhile
                    self._untold.remove(bucket, request_id)

    async def _tell_one(self, bucket: BucketId, request_id: str, decision: _Decision) -> None:
        """Redis takes each of these once, however often it is told."""
        if request_id == _RESET:
            await self._redis.reset(bucket, decision.limits)
            return
        if decision.cost is not None:
            await self._redis.force(bucket, request_id, decision.cost, decision.limits)
        if decision.final is not None:
            await self._redis.settle(bucket, request_id, decision.final, decision.limits)

    async def _tell_some(self, buckets: list[BucketId]) -> None:
        for bucket in buckets:
            with suppress(StoreUnavailable):
                await self._tell(bucket)
            if self._redis.away:
                return

    async def _tell_all(self) -> None:
        while len(self._untold):
            await asyncio.sleep(self._tell_every_s)
            await self._tell_some(self._untold.buckets()[:BATCH])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """What Redis does not know yet of a request: that it reserved ``cost``, that it settled at ``final``, or both."""

    limits: Limits
    cost: int | None = None
    final: int | None = None


class _Untold:
    """Decisions by bucket and request, the oldest first; at most ``size`` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = 0
        self._decisions: dict[BucketId, dict[str, _Decision]] = {}
        self._locks: dict[BucketId, asyncio.Lock] = {}
        self._buckets_of: Counter[int | None] = Counter()

    def __len__(self) -> int:
        return self._count

    def concerns(self, bucket: BucketId) -> bool:
        return bucket in self._decisions

    def concerns_guild(self, guild_id: int | None) -> bool:
        return guild_id in self._buckets_of

    def buckets(self) -> list[BucketId]:
        return list(self._decisions)

    def lock(self, bucket: BucketId) -> asyncio.Lock:
        """Held by whoever tells Redis of a bucket."""
        return self._locks[bucket]

    def get(self, bucket: BucketId, request_id: str) -> _Decision | None:
        return self._decisions.get(bucket, {}).get(request_id)

    def oldest(self, bucket: BucketId) -> tuple[str, _Decision] | None:
        return next(iter(self._decisions.get(bucket, {}).items()), None)

    def put(self, bucket: BucketId, request_id: str, decision: _Decision) -> None:
        if self.get(bucket, request_id) is None:
            if self._count >= self._size:
                first, decisions = next(iter(self._decisions.items()))
                self.remove(first, next(iter(decisions)))
            self._count += 1
        if bucket not in self._decisions:
            self._decisions[bucket] = {}
            self._locks[bucket] = asyncio.Lock()
            self._buckets_of[bucket.guild_id] += 1
        self._decisions[bucket][request_id] = decision

    def remove(self, bucket: BucketId, request_id: str) -> None:
        if self.get(bucket, request_id) is None:
            return
        self._count -= 1
        del self._decisions[bucket][request_id]
        if not self._decisions[bucket]:
            del self._decisions[bucket], self._locks[bucket]
            self._buckets_of[bucket.guild_id] -= 1
            if not self._buckets_of[bucket.guild_id]:
                del self._buckets_of[bucket.guild_id]
