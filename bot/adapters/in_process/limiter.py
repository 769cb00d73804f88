"""Token buckets in this process: for a bot without Redis, and while Redis is away."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bot.core.quotas import (
    RESERVATION_S,
    Bucket,
    BucketId,
    Budget,
    Limits,
    Verdict,
    day_of,
    granted,
    known_by,
    payable,
    price_in,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RESERVATIONS: Final = 100_000
_FIRST_SWEEP: Final = 1_024

_ReservationId = tuple[int | None, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reservation:
    cost: int
    day: int | None
    expires_at: float
    settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A bucket, and the limits that it was used with last."""

    bucket: Bucket
    limits: Limits

    def is_full(self, now: float) -> bool:
        return self.bucket.refilled(self.limits, now).tokens >= self.limits.burst


class InProcessRateLimiter:
    """The port `RateLimiter`; never blocks and never fails.

    It remembers the buckets that are not full, today's budgets, and the reservations of a day.

    Args:
        now: Unix time.
        reservations: at most so many are remembered; the oldest go first, and then cannot be settled.
    """

    def __init__(self, now: Callable[[], float], *, reservations: int = RESERVATIONS) -> None:
        self._now = now
        self._most = reservations
        self.decisions: Counter[str] = Counter()
        """Verdicts so far on what costs tokens: "allowed" and "refused"."""
        self.made_here = self.decisions
        """Those of them that Redis did not give: all."""
        self._buckets: dict[BucketId, _Held] = {}
        self._budgets: dict[int | None, Budget] = {}
        self._reservations: OrderedDict[_ReservationId, _Reservation] = OrderedDict()
        self._next_sweep = _FIRST_SWEEP

    def __len__(self) -> int:
        """Everything that is remembered."""
        return len(self._buckets) + len(self._budgets) + len(self._reservations)

    async def reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        """See `RateLimiter`.

        Raises:
            ValueError: a cost below zero, or no id.
        """
        verdict = self._reserve(bucket, known_by(request_id), cost, limits)
        if bucket.kind == "tokens":
            self.decisions["allowed" if verdict.allowed else "refused"] += 1
        return verdict

    def _reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        now, price = self._now(), price_in(limits, cost)
        held, budget = self._refilled(bucket, limits, now), self._budget(bucket.guild_id, now)
        key = _key(bucket, request_id)
        self._forget_reservations(now)
        if before := self._reservations.get(key):
            return granted(before.cost, held, budget, limits, now=now)
        if not payable(price, held, budget, limits):
            return refused(price, held, budget, limits, now=now)
        held = self._put(bucket, held.taken(price), limits, now)
        if limits.daily is not None:
            budget = self._budgets[bucket.guild_id] = budget.taken(price)
        self._reservations[key] = _Reservation(
            cost=price, day=None if limits.daily is None else budget.day, expires_at=now + RESERVATION_S
        )
        return granted(price, held, budget, limits, now=now)

    async def settle(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> None:
        """See `RateLimiter`.

        Raises: as `reserve` does.
        """
        now, key, final = self._now(), _key(bucket, known_by(request_id)), price_in(limits, cost)
        self._forget_reservations(now)
        before = self._reservations.get(key)
        if before is None or before.settled:
            return
        self._reservations[key] = replace(before, settled=True)
        back = before.cost - final
        if back <= 0:
            return
        held = self._refilled(bucket, limits, now).taken(-back)
        self._put(bucket, replace(held, tokens=min(held.tokens, float(limits.burst))), limits, now)
        budget = self._budgets.get(bucket.guild_id)
        if budget is not None and budget.day == before.day:
            self._budgets[bucket.guild_id] = budget.taken(-back)

    async def preview(self, bucket: BucketId, cost: int, limits: Limits) -> Verdict:
        """See `RateLimiter`."""
        now, price = self._now(), price_in(limits, cost)
        held, budget = self._refilled(bucket, limits, now), self._budget(bucket.guild_id, now)
        if payable(price, held, budget, limits):
            return granted(price, held.taken(price), budget.taken(price), limits, now=now)
        return refused(price, held, budget, limits, now=now)

    async def reset(self, bucket: BucketId, limits: Limits) -> None:
        """See `RateLimiter`."""
        now = self._now()
        self._put(bucket, Bucket.full(limits, now), limits, now)

    def assume(self, bucket: BucketId, state: Bucket | None, limits: Limits) -> None:
        """Take ``state`` for that of a bucket; None is a full one."""
        self._buckets.pop(bucket, None)
        if state is not None:
            self._put(bucket, state, limits, self._now())

    def assume_budget(self, guild_id: int | None, budget: Budget | None) -> None:
        """Take ``budget`` for a guild's; None is one of which nothing is used."""
        self._budgets.pop(guild_id, None)
        if budget is not None:
            self._budgets[guild_id] = budget

    def knows(self, bucket: BucketId, request_id: str) -> bool:
        """Whether a request has a reservation, settled or not."""
        return _key(bucket, request_id) in self._reservations

    def assume_reserved(self, bucket: BucketId, request_id: str, verdict: Verdict) -> None:
        """Remember what was reserved elsewhere, so that it can be settled here; the bucket stays as it is."""
        day = None if verdict.budget_left is None else day_of(verdict.now)
        self._forget_reservations(verdict.now)
        self._reservations.setdefault(
            _key(bucket, request_id),
            _Reservation(cost=verdict.cost, day=day, expires_at=verdict.now + RESERVATION_S),
        )

    def assume_settled(self, bucket: BucketId, request_id: str) -> None:
        """Remember that a reservation was settled elsewhere; the bucket stays as it is."""
        key = _key(bucket, request_id)
        if before := self._reservations.get(key):
            self._reservations[key] = replace(before, settled=True)

    def _refilled(self, bucket: BucketId, limits: Limits, now: float) -> Bucket:
        held = self._buckets.get(bucket)
        return Bucket.full(limits, now) if held is None else held.bucket.refilled(limits, now)

    def _budget(self, guild_id: int | None, now: float) -> Budget:
        budget = self._budgets.get(guild_id)
        return Budget(day=day_of(now)) if budget is None else budget.on_day_of(now)

    def _put(self, bucket: BucketId, state: Bucket, limits: Limits, now: float) -> Bucket:
        self._buckets[bucket] = _Held(bucket=state, limits=limits)
        if len(self._buckets) + len(self._budgets) > self._next_sweep:
            self._buckets = {key: held for key, held in self._buckets.items() if not held.is_full(now)}
            self._budgets = {key: budget for key, budget in self._budgets.items() if budget.day >= day_of(now)}
            self._next_sweep = max(_FIRST_SWEEP, 2 * (len(self._buckets) + len(self._budgets)))
        return state

    def _forget_reservations(self, now: float) -> None:
        """Drop those that are over, which stand at the front, and whatever is too much."""
        while self._reservations:
            key, oldest = next(iter(self._reservations.items()))
            if oldest.expires_at > now and len(self._reservations) < self._most:
                return
            del self._reservations[key]


def _key(bucket: BucketId, request_id: str) -> _ReservationId:
    return bucket.guild_id, bucket.kind, request_id
