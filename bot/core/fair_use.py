"""Who may use how much: the limits of a member, and what a request takes from their bucket."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bot.core.errors import CourtesyExceeded, QuotaExceeded
from bot.core.quotas import BucketId, Limits, Tier, Verdict, limits_for

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bot.core.models import Asker
    from bot.core.ports import RateLimiter, SettingsStore
    from bot.core.records import GuildSettings

T = TypeVar("T")

COURTESY: Final = Limits(per_hour=60, burst=10)
"""What is free is not free without end: using a kept transcript again, and looking for a cached result with an empty
bucket, take from a bucket of their own. It is large enough never to be seen by somebody who only uses the bot."""


async def see_through(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` to its end, whoever cancels meanwhile; only then the cancellation counts.

    For what must not be left half done, and soon comes to an end by itself.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        raise cancelled from task.exception()
    return task.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What somebody may use now: a look into their bucket, at no price. ``unlimited`` is an operator in admin mode."""

    verdict: Verdict
    limits: Limits
    unlimited: bool


class Reservation:
    """The price of one request, taken ahead; to be settled once the request has ended."""

    def __init__(self, limiter: RateLimiter, bucket: BucketId, request_id: str, limits: Limits) -> None:
        self._limiter = limiter
        self._bucket = bucket
        self._request_id = request_id
        self._limits = limits

    async def settle(self, cost: int) -> None:
        """Let it come to ``cost``, whoever cancels meanwhile; 0 gives all of it back."""
        await see_through(self._limiter.settle(self._bucket, self._request_id, cost, self._limits))


class _Nothing(Reservation):
    """Of somebody who is not limited."""

    def __init__(self) -> None:
        pass

    async def settle(self, cost: int) -> None:
        """There is nothing to settle."""


class FairUse:
    """Knows everybody's limits.

    Args:
        limiter: the buckets.
        settings: what the guilds' moderators set.
        default: the operator's limits; ``daily`` is the most that any guild may use.
        caps: the most that moderators can allow.
        outside: limits of users outside all guilds; ``daily`` is for all of them together.
        unlimited: users whom nothing limits (admin mode).
    """

    def __init__(
        self,
        limiter: RateLimiter,
        settings: SettingsStore,
        *,
        default: Limits,
        caps: Limits,
        outside: Limits,
        unlimited: frozenset[int] = frozenset(),
    ) -> None:
        self._limiter = limiter
        self._settings = settings
        self._default = default
        self._caps = caps
        self._outside = outside
        self._unlimited = unlimited

    @property
    def caps(self) -> Limits:
        """The most that moderators can allow."""
        return self._caps

    @property
    def default(self) -> Limits:
        """What holds where moderators set nothing."""
        return self._default

    async def limits(self, asker: Asker) -> Limits:
        """What somebody may use."""
        if asker.guild_id is None:
            return self._outside
        return self.limits_in(await self._settings.get(asker.guild_id), asker.role_ids)

    def limits_in(self, settings: GuildSettings, role_ids: frozenset[int]) -> Limits:
        """What a holder of such roles may use in a guild with such settings."""
        own = None
        if settings.per_hour is not None or settings.burst is not None:
            own = self._capped(settings.per_hour or self._default.per_hour, settings.burst or self._default.burst)
        tiers = {tier.role_id: self._capped(tier.per_hour, tier.burst) for tier in settings.tiers}
        return limits_for(default=self._default, guild=own, tiers=tiers, role_ids=role_ids, daily=settings.daily_budget)

    async def quota(self, asker: Asker) -> Quota:
        """What somebody could use now."""
        limits = await self.limits(asker)
        verdict = await self._limiter.preview(_bucket(asker), 0, limits)
        return Quota(verdict=verdict, limits=limits, unlimited=asker.member_id in self._unlimited)

    async def reset(self, asker: Asker) -> None:
        """Fill somebody's bucket."""
        await self._limiter.reset(_bucket(asker), await self.limits(asker))

    async def reserve(self, asker: Asker, request_id: str, cost: int) -> Reservation:
        """Take the price of a request.

        Raises:
            QuotaExceeded: it is not there; nothing was taken. Nor is it after any other error, or a cancellation.
        """
        if asker.member_id in self._unlimited:
            return _Nothing()
        bucket, limits = _bucket(asker), await self.limits(asker)
        reservation = Reservation(self._limiter, bucket, request_id, limits)
        try:
            verdict = await self._limiter.reserve(bucket, request_id, cost, limits)
        except BaseException:
            await reservation.settle(0)  # it may have been taken, and nobody heard of it
            raise
        if not verdict.allowed:
            raise QuotaExceeded(verdict)
        return reservation

    async def reservation(self, asker: Asker, request_id: str) -> Reservation:
        """What a request reserved, in this process or another."""
        if asker.member_id in self._unlimited:
            return _Nothing()
        return Reservation(self._limiter, _bucket(asker), request_id, await self.limits(asker))

    async def take_courtesy(self, asker: Asker, request_id: str) -> None:
        """Count something that is free.

        Raises:
            CourtesyExceeded: it was too much of it.
        """
        if asker.member_id in self._unlimited:
            return
        bucket = BucketId(guild_id=asker.guild_id, member_id=asker.member_id, kind="courtesy")
        verdict = await self._limiter.reserve(bucket, request_id, 1, COURTESY)
        if not verdict.allowed:
            raise CourtesyExceeded(verdict)

    def _capped(self, per_hour: float, burst: int) -> Tier:
        return Tier(per_hour=min(per_hour, self._caps.per_hour), burst=min(burst, self._caps.burst))


def _bucket(asker: Asker) -> BucketId:
    return BucketId(guild_id=asker.guild_id, member_id=asker.member_id)
