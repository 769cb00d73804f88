"""What is taken from a bucket is given back, whenever a request is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.adapters.records import StoredSettings
from bot.core.errors import NotFound, QuotaExceeded
from bot.core.fair_use import FairUse, see_through
from bot.core.models import Asker
from bot.core.quotas import BucketId, Limits, Verdict
from tests.fakes import FakeClock
from tests.waiting import until

LIMITS = Limits(per_hour=10, burst=3, daily=5)
ADA = Asker(guild_id=1, channel_id=2, member_id=3)


class LateLimiter(InProcessRateLimiter):
    """Takes at once and answers late; gives back late too."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.calls: list[str] = []
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        verdict = await super().reserve(bucket, request_id, cost, limits)
        self.calls.append("reserve")
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return verdict

    async def settle(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> None:
        self.calls.append("settle")
        await self.go_on.wait()
        await super().settle(bucket, request_id, cost, limits)


class World:
    def __init__(self) -> None:
        self.limiter = LateLimiter()
        settings = StoredSettings(InProcessDocuments(now=FakeClock()), clock=FakeClock())
        self.fair_use = FairUse(self.limiter, settings, default=LIMITS, caps=LIMITS, outside=LIMITS)

    async def left(self) -> tuple[float, int | None]:
        """Tokens of the member's, and of the guild's."""
        verdict = (await self.fair_use.quota(ADA)).verdict
        return verdict.remaining, verdict.budget_left


async def test_what_was_taken_for_a_request_that_was_cancelled_meanwhile_is_given_back() -> None:
    world = World()
    task = asyncio.create_task(world.fair_use.reserve(ADA, "a", 2))
    await until(lambda: world.limiter.calls)
    assert await world.left() == (1, 3)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    await until(lambda: world.limiter.calls == ["reserve", "settle"])
    world.limiter.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.left() == (3, 5)


async def test_what_was_taken_by_a_limiter_that_then_failed_is_given_back() -> None:
    world = World()
    world.limiter.go_on.set()
    world.limiter.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await world.fair_use.reserve(ADA, "a", 2)
    assert await world.left() == (3, 5)


async def test_a_refusal_takes_nothing_and_settles_nothing() -> None:
    world = World()
    world.limiter.go_on.set()
    await world.fair_use.reserve(ADA, "a", 3)
    with pytest.raises(QuotaExceeded):
        await world.fair_use.reserve(ADA, "b", 1)
    assert world.limiter.calls == ["reserve", "reserve"]


async def test_a_refund_is_made_although_whoever_makes_it_is_cancelled() -> None:
    world = World()
    world.limiter.go_on.set()
    reservation = await world.fair_use.reserve(ADA, "a", 2)
    world.limiter.go_on.clear()
    task = asyncio.create_task(reservation.settle(0))
    await until(lambda: "settle" in world.limiter.calls)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done(), "whoever waits for the request, waits for its refund"
    world.limiter.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.left() == (3, 5)


async def test_work_that_is_seen_through_gives_its_result_or_its_error() -> None:
    async def work(error: Exception | None) -> int:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return 7

    assert await see_through(work(None)) == 7
    with pytest.raises(NotFound):
        await see_through(work(NotFound()))
    task = asyncio.create_task(see_through(work(NotFound())))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, NotFound)
