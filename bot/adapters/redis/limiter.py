"""Token buckets in Redis: each call is one script, on Redis' own clock."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

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

_T = TypeVar("_T")
_Pair = tuple[bytes, bytes]
_NOTHING: Final = (b"", b"")
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
        self._buckets: _Newest[_Pair] = _Newest(remembered)
        self._budgets: _Newest[_Pair] = _Newest(remembered)

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
        burst, rate, _ = _numbers(limits)
        reply = await self._runner.run(
            _SETTLE,
            (bucket_key, budget_key, keys.reservation(bucket, known_by(request_id))),
            *(price_in(limits, cost), burst, rate, *self._time()),
        )
        for_bucket, _, for_budget = reply.partition(b",")
        if for_bucket.strip():
            tokens, at = for_bucket.split()
            self._remember(bucket_key, tokens, at, is_full=float(tokens) >= limits.burst)
        if for_budget.strip():
            day, used = for_budget.split()
            self._budgets.put(budget_key, (day, used))

    async def reset(self, bucket: BucketId, limits: Limits) -> None:
        """See `RateLimiter`."""
        key = keys.bucket(bucket)
        burst, rate, _ = _numbers(limits)
        await self._runner.run(_RESET, (key,), burst, rate, *self._time())
        self._buckets.drop(key)  # a full one is like one that nobody knows

    def known(self, bucket: BucketId) -> Bucket | None:
        """The last state that was seen of a bucket, on Redis' clock; None of a full one."""
        state = self._buckets.get(keys.bucket(bucket))
        return None if state is None else Bucket(tokens=float(state[0]), at=float(state[1]))

    def known_budget(self, guild_id: int | None) -> Budget | None:
        """The last state that was seen of a guild's budget."""
        state = self._budgets.get(keys.budget(guild_id))
        return None if state is None else Budget(day=int(state[0]), used=int(state[1]))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._runner.aclose()

    async def _reserve(
        self, how: Literal["take", "look", "force"], bucket: BucketId, request_id: str, cost: int, limits: Limits
    ) -> Verdict:
        bucket_key, budget_key = keys.bucket(bucket), keys.budget(bucket.guild_id)
        has_budget = limits.daily is not None
        reply = await self._runner.run(
            _RESERVE,
            (bucket_key, budget_key, keys.reservation(bucket, request_id)),
            *(how, price_in(limits, cost), *_numbers(limits)),
            *(self._buckets.get(bucket_key) or _NOTHING),
            *((has_budget and self._budgets.get(budget_key)) or _NOTHING),
            *self._time(),
        )
        allowed, price, tokens, at, now, *of_day = reply.split()
        state = Bucket(tokens=float(tokens), at=float(at))
        if how != "look":
            self._remember(bucket_key, tokens, at, is_full=state.tokens >= limits.burst)
        budget = _ANY_BUDGET
        if of_day:
            budget = Budget(day=int(of_day[0]), used=int(of_day[1]))
            if how != "look":
                self._budgets.put(budget_key, (of_day[0], of_day[1]))
        verdict = granted if allowed == b"1" else refused
        return verdict(int(price), state, budget, limits, now=state.at if now == b"=" else float(now))

    def _remember(self, key: str, tokens: bytes, at: bytes, *, is_full: bool) -> None:
        if is_full:  # it is like one that nobody knows
            self._buckets.drop(key)
        else:
            self._buckets.put(key, (tokens, at))

    def _time(self) -> tuple[Argument, ...]:
        return () if self._now is None else (f"{self._now():.6f}",)


@lru_cache(maxsize=256)
def _numbers(limits: Limits) -> tuple[Argument, Argument, Argument]:
    """Burst, tokens a second and budget, as the scripts take them."""
    return limits.burst, f"{limits.per_second:.17g}", -1 if limits.daily is None else limits.daily


class _Newest(Generic[_T]):
    """The values that were put or asked for last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, _T] = OrderedDict()

    def get(self, key: str) -> _T | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: str, value: _T) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        self._values.pop(key, None)
