"""Fair use: a token bucket for each member of a guild, and a daily budget for the guild.

A bucket holds up to ``burst`` tokens and gains ``per_hour`` of them an hour; a request takes its price, or is refused.
So nobody is ever granted more than ``burst + per_hour * hours``, over any stretch of time. (Turner, "New directions in
communications (or which way to the information age?)", IEEE Communications Magazine 24, 1986, is the leaky bucket that
this one mirrors.)

A request *reserves* its price before it begins and *settles* when it ends: at the same price, a lower one (a cached
result costs nothing), or none (a refund). Reserving and settling are idempotent by the request's id.

`Bucket` and `Budget` are the rule itself, on plain numbers. ``bot/adapters/redis/scripts`` has the same rule in Lua,
and a test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOUR_S = 3_600.0
DAY_S = 86_400.0

RESERVATION_S = DAY_S
"""How long a reservation can be settled, in seconds. Longer than any request takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a member may use: tokens an hour, tokens at once; and what their guild may use a day, None for no limit.

    Raises:
        ValueError: a bucket that would never fill, or never hold a token; a budget below zero.
    """

    per_hour: float
    burst: int
    daily: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_hour) and self.per_hour > 0 and self.burst >= 1):
            raise ValueError(f"no limits of a bucket: {self.per_hour} an hour, {self.burst} at once")
        if self.daily is not None and self.daily < 0:
            raise ValueError(f"no budget: {self.daily} a day")

    @property
    def per_second(self) -> float:
        """Tokens gained a second."""
        return self.per_hour / HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketId:
    """Whose bucket. ``guild_id`` None is the bucket that a user has outside all guilds.

    ``kind`` tells apart what costs tokens from what is free, but not without end ("courtesy").
    """

    guild_id: int | None
    member_id: int
    kind: Literal["tokens", "courtesy"] = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the limiter says of a price.

    Args:
        allowed: whether it was taken (`reserve`), or could be (`preview`).
        cost: the price, in tokens.
        remaining: tokens in the bucket afterwards.
        retry_after_s: seconds until the price could be paid; 0 where it is.
        full_at: Unix time at which the bucket is full again.
        now: Unix time of the verdict.
        refused_by: what was too small.
        budget_left: what the guild may still use today; None where there is no budget.
    """

    allowed: bool
    cost: int
    remaining: float
    retry_after_s: float
    full_at: float
    now: float
    refused_by: Literal["bucket", "budget"] | None = None
    budget_left: int | None = None

    @property
    def free_at(self) -> float:
        """Unix time at which the price could be paid."""
        return self.now + self.retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Tokens at a moment, in seconds of any clock. It never goes back in time: a clock that does finds it waiting."""

    tokens: float
    at: float

    @classmethod
    def full(cls, limits: Limits, now: float) -> Bucket:
        """The bucket of somebody who asked for nothing yet."""
        return cls(tokens=float(limits.burst), at=now)

    def refilled(self, limits: Limits, now: float) -> Bucket:
        """The bucket at ``now``."""
        passed = max(0.0, now - self.at)
        return Bucket(tokens=min(float(limits.burst), self.tokens + passed * limits.per_second), at=max(self.at, now))

    def taken(self, tokens: float) -> Bucket:
        """The bucket with so many tokens less; a negative number gives some back."""
        return replace(self, tokens=self.tokens - tokens)

    def seconds_until(self, tokens: float, limits: Limits) -> float:
        """Seconds after ``at`` until it holds so many tokens."""
        return max(0.0, tokens - self.tokens) / limits.per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Tokens that a guild has used on a day (see `day_of`). The day never goes back, as a bucket does not."""

    day: int
    used: int = 0

    def on_day_of(self, now: float) -> Budget:
        """The budget at ``now``: a new day, a new budget."""
        today = day_of(now)
        return Budget(day=today) if today > self.day else self

    def taken(self, tokens: int) -> Budget:
        """The budget with so many tokens more used; a negative number gives some back."""
        return replace(self, used=max(0, self.used + tokens))

    def left(self, daily: int) -> int:
        """What may still be used."""
        return max(0, daily - self.used)

    def seconds_left(self, now: float) -> float:
        """Seconds until it is new."""
        return max(0.0, (self.day + 1) * DAY_S - now)


def price_in(limits: Limits, cost: int) -> int:
    """What a price comes to: one dearer than a full bucket, or a whole budget, takes all of it, or it was never paid.

    Raises:
        ValueError: it is below zero.
    """
    if cost < 0:
        raise ValueError(f"no price: {cost}")
    return min(cost, limits.burst, limits.daily or cost)


def known_by(request_id: str) -> str:
    """Give ``request_id`` back, if it is one.

    Raises:
        ValueError: it is empty, so that all requests without one would be the same.
    """
    if not request_id:
        raise ValueError("a request without an id")
    return request_id


def granted(price: int, bucket: Bucket, budget: Budget, limits: Limits, *, now: float) -> Verdict:
    """The verdict on a price that was taken; ``bucket`` and ``budget`` are as they are then."""
    left = None if limits.daily is None else budget.left(limits.daily)
    return Verdict(
        allowed=True,
        cost=price,
        remaining=bucket.tokens,
        retry_after_s=0.0,
        full_at=bucket.at + bucket.seconds_until(limits.burst, limits),
        now=now,
        budget_left=left,
    )


def refused(price: int, bucket: Bucket, budget: Budget, limits: Limits, *, now: float) -> Verdict:
    """The verdict on a price that is too high for ``bucket``, for ``budget``, or for both: the longer wait counts."""
    for_bucket = max(0.0, bucket.at + bucket.seconds_until(price, limits) - now) if bucket.tokens < price else 0.0
    short = limits.daily is not None and budget.left(limits.daily) < price
    for_budget = budget.seconds_left(now) if short else 0.0
    return replace(
        granted(price, bucket, budget, limits, now=now),
        allowed=False,
        retry_after_s=max(for_bucket, for_budget),
        refused_by="budget" if for_budget > for_bucket else "bucket",
    )


def payable(price: int, bucket: Bucket, budget: Budget, limits: Limits) -> bool:
    """Whether a price can be paid; ``bucket`` and ``budget`` are as they are now."""
    return price <= bucket.tokens and (limits.daily is None or price <= budget.left(limits.daily))


def day_of(now: float) -> int:
    """The number of the day (UTC) since 1970, in which a budget counts."""
    return int(now // DAY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What the holders of a role may use."""

    per_hour: float
    burst: int


def limits_for(
    *, default: Limits, guild: Tier | None, tiers: Mapping[int, Tier], role_ids: Iterable[int], daily: int | None
) -> Limits:
    """The limits of a member: the best of their roles' tiers, else their guild's, else the operator's.

    Args:
        default: the operator's; its ``daily`` is the most that a guild's own budget can be.
        guild: what the guild's moderators set for all.
        tiers: what they set for roles, by the role's id.
        role_ids: the member's roles.
        daily: the guild's own budget.
    """
    held = [tiers[role] for role in role_ids if role in tiers]
    base = guild or Tier(per_hour=default.per_hour, burst=default.burst)
    best = [base, *held] if held else [base]
    budgets = [budget for budget in (default.daily, daily) if budget is not None]
    return Limits(
        per_hour=max(tier.per_hour for tier in best),
        burst=max(tier.burst for tier in best),
        daily=min(budgets, default=None),
    )
