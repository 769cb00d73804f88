"""Token buckets in Redis: each call is one script, on Redis' own clock."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal

from bot.adapters.redis import keys
from bot.adapters.redis.script import SCRIPTS, Argument, Script, ScriptRunner
from bot.core.quotas import Bucket, BucketId, Budget, Limits, Verdict, granted, known_by, price_in, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.adapters.redis.connections import RedisServer, Way

REMEMBERED: Final = 10_000
"""Buckets, and budgets, whose last state a process remembers."""

_KEPT: Final = {
    "MARGIN_S": keys.BUCKET_MARGIN_S,
    "BUDGET_S": keys.BUDGET_S,
    "RESERVATION_S": keys.RESERVATION_TTL_S,
}
_RESERVE: Final = Script("bucket.lua", "bucket_reserve.lua", **_KEPT)
_SETTLE: Final = Script("bucket.lua", "bucket_settle.lua", **_KEPT)
_RESET: Final = Script("bucket.lua", "bucket_reset.lua", **_KEPT)

_ANY_BUDGET: Final = Budget(day=0)
"""Where there is none, it does not matter which."""


class RedisRateLimiter:
    """The port `RateLimiter`.

    It remembers the last state that it saw of each bucket and budget, as far as they are not too many, and gives it to
    the scripts. So a Redis that comes back without its data does not hand out everything anew.

    Args:
        server: the store.
        way: how it is asked.
        remembered: so many buckets, and budgets.
        now: the time in place of Redis' own, for tests.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        way: Way = SCRIPTS,
        remembered: int = REMEMBERED,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._server = server
        self._now = now
        self._runner = ScriptRunner(server, way)
        self._buckets = _Newest(remembered)
        self._budgets = _Newest(remembered)

    @property
    def away(self) -> bool:
        """Whether Redis is known not to answer."""
        return self._server.why_away is not None

    async def reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        """See `RateLimiter`.

        Raises:
            StoreUnavailable: see there. The tokens may have been taken all the same.
            ValueError: a cost below zero, or no id.
        """
        return await self._reserve("take", bucket, known_by(request_id), cost, limits)

    async def force(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        """Reserve what was granted elsewhere: take what there is, at most ``cost``, and never refuse.

        Raises: as `reserve` does.
        """
        return await self._reserve("force", bucket, known_by(request_id), cost, limits)

    async def preview(self, bucket: BucketId, cost: int, limits: Limits) -> Verdict:
        """See `RateLimiter`."""
        return await self._reserve("look", bucket, "", cost, limits)

    async def settle(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> None:
        """See `RateLimiter`.

        Raises: as `reserve` does.
        """
        bucket_key, budget_key = keys.bucket(bucket), keys.budget(bucket.guild_id)
        reply = await self._runner.run(
            _SETTLE,
            (bucket_key, keys.reservation(bucket, known_by(request_id)), budget_key),
            *(price_in(limits, cost), limits.burst, limits.per_hour, *self._time()),
        )
        state, _, of_day = reply.partition(b",")
        if state:
            self._remember(bucket_key, state, is_full=float(state.split()[0]) >= limits.burst)
        if of_day:
            self._budgets.put(budget_key, of_day)

    async def reset(self, bucket: BucketId, limits: Limits) -> None:
        """See `RateLimiter`."""
        key = keys.bucket(bucket)
        await self._runner.run(_RESET, (key,), limits.burst, limits.per_hour, *self._time())
        self._buckets.drop(key)  # a full one is like one that nobody knows

    def known(self, bucket: BucketId) -> Bucket | None:
        """The last state that was seen of a bucket, on Redis' clock; None of a full one."""
        state = self._buckets.get(keys.bucket(bucket))
        return None if state is None else _bucket(state)

    def known_budget(self, guild_id: int | None) -> Budget | None:
        """The last state that was seen of a guild's budget."""
        state = self._budgets.get(keys.budget(guild_id))
        return None if state is None else _budget(state)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._runner.aclose()

    async def _reserve(
        self, how: Literal["take", "look", "force"], bucket: BucketId, request_id: str, cost: int, limits: Limits
    ) -> Verdict:
        names = keys.bucket(bucket), keys.reservation(bucket, request_id)
        asked = how, price_in(limits, cost), limits.burst, limits.per_hour, self._buckets.get(names[0]) or b""
        if limits.daily is not None:
            names += (keys.budget(bucket.guild_id),)
            asked += limits.daily, self._budgets.get(names[-1]) or b""
        elif self._now is not None:
            asked += b"", b""
        reply = await self._runner.run(_RESERVE, names, *asked, *self._time())
        of_bucket, _, of_day = reply.partition(b",")
        allowed, price, now, seen = of_bucket.split(b" ", 3)
        state = _bucket(seen)
        if how != "look":
            self._remember(names[0], seen, is_full=state.tokens >= limits.burst)
            if of_day:
                self._budgets.put(names[-1], of_day)
        budget = _budget(of_day) if of_day else _ANY_BUDGET
        verdict = granted if allowed == b"1" else refused
        return verdict(int(price), state, budget, limits, now=state.at if now == b"=" else float(now))

    def _remember(self, key: str, state: bytes, *, is_full: bool) -> None:
        if is_full:  # it is like one that nobody knows
            self._buckets.drop(key)
        else:
            self._buckets.put(key, state)

    def _time(self) -> tuple[Argument, ...]:
        return () if self._now is None else (self._now(),)


def _bucket(state: bytes) -> Bucket:
    tokens, at = state.split()
    return Bucket(tokens=float(tokens), at=float(at))


def _budget(state: bytes) -> Budget:
    day, used = state.split()
    return Budget(day=int(day), used=int(used))


class _Newest:
    """The texts that were put or asked for last, as the scripts write them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: str, value: bytes) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        self._values.pop(key, None)
