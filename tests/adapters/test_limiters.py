"""One contract for everything that limits: in this process, in Redis, in Redis with a fallback, and the fallback alone.

The clock stands still unless a test moves it; Redis' scripts are given it, which the bot never does.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pytest

from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.fallback_limiter import FallbackRateLimiter
from bot.adapters.redis.limiter import RedisRateLimiter
from bot.core.quotas import DAY_S, BucketId, Limits
from tests.fakes import FakeClock
from tests.redis_servers import CALM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bot.core.ports import RateLimiter
    from tests.redis_servers import RedisProcess

TEN = Limits(per_hour=10, burst=3)
ADA = BucketId(guild_id=1, member_id=10)
BOB = BucketId(guild_id=1, member_id=11)
NOON = 20_000 * DAY_S + DAY_S / 2


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture(params=["in process", "redis", "fallback", "redis away"])
async def limiter(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[RateLimiter]:
    if request.param == "in process":
        yield InProcessRateLimiter(clock)
        return
    if request.param == "redis away":
        url = f"unix://{tmp_path}/nobody"
    else:
        process: RedisProcess = request.getfixturevalue("store_process")
        url = process.url
    server = RedisServer(url, role="store", clock=time.monotonic)
    redis = RedisRateLimiter(server, way=CALM, now=clock)
    if request.param == "redis":
        yield redis
    else:
        fallback = FallbackRateLimiter(redis, clock)
        yield fallback
        await fallback.aclose()
    await redis.aclose()
    await server.aclose()


async def test_a_burst_is_granted_and_then_no_more(limiter: RateLimiter) -> None:
    verdicts = [await limiter.reserve(ADA, f"r{number}", 1, TEN) for number in range(4)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
    assert [verdict.remaining for verdict in verdicts] == pytest.approx([2, 1, 0, 0])
    last = verdicts[-1]
    assert (last.refused_by, last.now, last.budget_left) == ("bucket", NOON, None)
    assert last.retry_after_s == pytest.approx(360)
    assert last.full_at == pytest.approx(NOON + 3 * 360)


async def test_it_goes_on_when_it_was_told_so(limiter: RateLimiter, clock: FakeClock) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    refusal = await limiter.reserve(ADA, "b", 2, TEN)
    clock.now = refusal.free_at - 1
    assert not (await limiter.reserve(ADA, "b", 2, TEN)).allowed
    clock.now = refusal.free_at + 0.001
    assert (await limiter.reserve(ADA, "b", 2, TEN)).allowed


async def test_everybody_has_a_bucket_in_every_guild(limiter: RateLimiter) -> None:
    others = (
        BOB,
        BucketId(guild_id=2, member_id=10),
        BucketId(guild_id=None, member_id=10),
        BucketId(guild_id=1, member_id=10, kind="courtesy"),
    )
    await limiter.reserve(ADA, "a", 3, TEN)
    for other in others:
        assert (await limiter.preview(other, 3, TEN)).allowed


async def test_the_same_request_takes_once(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 2, TEN)
    again = await limiter.reserve(ADA, "a", 2, TEN)
    assert (again.allowed, again.cost) == (True, 2)
    assert again.remaining == pytest.approx(1)


async def test_the_same_request_is_still_allowed_when_nothing_is_left(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    again = await limiter.reserve(ADA, "a", 3, TEN)
    assert (again.allowed, again.refused_by, again.retry_after_s) == (True, None, 0)


async def test_a_refusal_takes_nothing_and_leaves_no_reservation(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 2, TEN)
    assert not (await limiter.reserve(ADA, "b", 2, TEN)).allowed
    await limiter.settle(ADA, "b", 0, TEN)
    assert (await limiter.preview(ADA, 1, TEN)).remaining == pytest.approx(0)


@pytest.mark.parametrize(("cost", "left"), [(0, 3), (1, 2), (2, 1), (3, 0), (9, 0)])
async def test_settling_gives_back_the_rest(limiter: RateLimiter, cost: int, left: int) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    await limiter.settle(ADA, "a", cost, TEN)
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(left)


async def test_settling_counts_once(limiter: RateLimiter) -> None:
    for request_id in ("a", "b"):
        await limiter.reserve(ADA, request_id, 1, TEN)
    for _ in range(3):
        await limiter.settle(ADA, "a", 0, TEN)
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(2)


async def test_what_was_never_reserved_gives_nothing_back(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    await limiter.settle(ADA, "unknown", 0, TEN)
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(0)


async def test_a_refund_never_overfills(limiter: RateLimiter, clock: FakeClock) -> None:
    await limiter.reserve(ADA, "a", 2, TEN)
    clock.now += 3_600
    await limiter.settle(ADA, "a", 0, TEN)
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(3)


async def test_a_refund_that_was_too_much_is_not_there_for_later(limiter: RateLimiter, clock: FakeClock) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    clock.now += 3_600
    await limiter.settle(ADA, "a", 0, TEN)
    assert (await limiter.preview(ADA, 0, Limits(per_hour=10, burst=30))).remaining == pytest.approx(3)


async def test_a_preview_takes_nothing(limiter: RateLimiter) -> None:
    for _ in range(5):
        verdict = await limiter.preview(ADA, 2, TEN)
        assert (verdict.allowed, verdict.cost, verdict.remaining) == (True, 2, 1)
    assert (await limiter.reserve(ADA, "a", 3, TEN)).allowed
    refusal = await limiter.preview(ADA, 1, TEN)
    assert (refusal.allowed, refusal.refused_by) == (False, "bucket")


async def test_a_reset_fills_the_bucket(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    await limiter.reset(ADA, TEN)
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(3)


async def test_a_reset_cures_a_bucket_that_waits_for_a_wrong_clock(limiter: RateLimiter, clock: FakeClock) -> None:
    clock.now += 30 * DAY_S
    await limiter.reserve(ADA, "a", 3, TEN)
    clock.now = NOON
    await limiter.reset(ADA, TEN)
    await limiter.reserve(ADA, "b", 3, TEN)
    clock.now += 361
    assert (await limiter.reserve(ADA, "c", 1, TEN)).allowed


async def test_a_clock_that_goes_back_gives_nothing_away(limiter: RateLimiter, clock: FakeClock) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    for away in (-5_000, 5_000, -5_000, 5_000):
        clock.now += away
        refusal = await limiter.reserve(ADA, f"b{away}", 1, TEN)
        assert not refusal.allowed
        assert refusal.retry_after_s == pytest.approx(360 + NOON - clock.now)


async def test_a_price_over_the_burst_takes_all_of_the_bucket(limiter: RateLimiter) -> None:
    verdict = await limiter.reserve(ADA, "a", 10**30, TEN)
    assert (verdict.allowed, verdict.cost, verdict.remaining) == (True, 3, 0)


async def test_what_costs_nothing_is_allowed_with_an_empty_bucket(limiter: RateLimiter) -> None:
    limits = Limits(per_hour=10, burst=3, daily=3)
    await limiter.reserve(ADA, "a", 3, limits)
    verdict = await limiter.reserve(ADA, "b", 0, limits)
    assert (verdict.allowed, verdict.cost) == (True, 0)


async def test_nonsense_is_refused(limiter: RateLimiter) -> None:
    with pytest.raises(ValueError, match="no price"):
        await limiter.reserve(ADA, "a", -1, TEN)
    with pytest.raises(ValueError, match="no price"):
        await limiter.preview(ADA, -1, TEN)
    with pytest.raises(ValueError, match="without an id"):
        await limiter.reserve(ADA, "", 1, TEN)
    await limiter.reserve(ADA, "a", 1, TEN)
    with pytest.raises(ValueError, match="no price"):
        await limiter.settle(ADA, "a", -1, TEN)
    with pytest.raises(ValueError, match="without an id"):
        await limiter.settle(ADA, "", 1, TEN)
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(2)


async def test_lower_limits_hold_at_once(limiter: RateLimiter, clock: FakeClock) -> None:
    await limiter.reserve(ADA, "a", 1, Limits(per_hour=3_600, burst=100))
    verdict = await limiter.reserve(ADA, "b", 1, TEN)
    assert verdict.remaining == pytest.approx(2)
    clock.now += 10
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(2 + 10 / 360)


async def test_a_refund_after_lower_limits_fits_the_bucket(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 50, Limits(per_hour=3_600, burst=100))
    await limiter.settle(ADA, "a", 0, TEN)
    assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(3)


async def test_a_bucket_that_fills_hardly_ever_works_all_the_same(limiter: RateLimiter) -> None:
    never = Limits(per_hour=1e-300, burst=1)
    assert (await limiter.reserve(ADA, "a", 1, never)).allowed
    refusal = await limiter.reserve(ADA, "b", 1, never)
    assert not refusal.allowed
    assert math.isfinite(refusal.retry_after_s)


# --- the guild's budget ---------------------------------------------------------------------------------------------

POOR = Limits(per_hour=10, burst=3, daily=4)


async def test_a_guild_shares_its_budget(limiter: RateLimiter, clock: FakeClock) -> None:
    first = await limiter.reserve(ADA, "a", 3, POOR)
    assert first.budget_left == 1
    refusal = await limiter.reserve(BOB, "b", 2, POOR)
    assert (refusal.allowed, refusal.refused_by, refusal.budget_left) == (False, "budget", 1)
    assert refusal.retry_after_s == pytest.approx(DAY_S / 2)
    assert refusal.remaining == pytest.approx(3), "the member's own bucket is as it was"
    assert (await limiter.reserve(BOB, "c", 1, POOR)).budget_left == 0
    assert (await limiter.preview(BucketId(guild_id=2, member_id=11), 3, POOR)).allowed
    clock.now = refusal.free_at
    assert (await limiter.reserve(BOB, "b", 2, POOR)).budget_left == 2


async def test_where_both_refuse_the_later_one_counts(limiter: RateLimiter, clock: FakeClock) -> None:
    limits = Limits(per_hour=10, burst=3, daily=3)
    await limiter.reserve(ADA, "a", 3, limits)
    verdict = await limiter.reserve(ADA, "b", 1, limits)
    assert (verdict.refused_by, verdict.retry_after_s) == ("budget", pytest.approx(DAY_S / 2))
    slow = Limits(per_hour=1 / 24, burst=3, daily=3)
    verdict = await limiter.reserve(ADA, "b", 1, slow)
    assert (verdict.refused_by, verdict.retry_after_s) == ("bucket", pytest.approx(DAY_S))


async def test_a_refund_goes_to_the_budget_too(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 3, POOR)
    await limiter.settle(ADA, "a", 1, POOR)
    assert (await limiter.preview(BOB, 0, POOR)).budget_left == 3


async def test_a_refund_of_yesterday_does_not_enlarge_today(limiter: RateLimiter, clock: FakeClock) -> None:
    await limiter.reserve(ADA, "a", 3, POOR)
    clock.now += DAY_S - 3_600
    await limiter.reserve(BOB, "b", 2, POOR)
    await limiter.settle(ADA, "a", 0, POOR)
    assert (await limiter.preview(BOB, 0, POOR)).budget_left == 2


async def test_a_refund_without_a_budget_touches_none(limiter: RateLimiter) -> None:
    await limiter.reserve(ADA, "a", 3, TEN)
    await limiter.reserve(BOB, "b", 1, POOR)
    await limiter.settle(ADA, "a", 0, POOR)
    assert (await limiter.preview(BOB, 0, POOR)).budget_left == 3


async def test_a_clock_that_goes_back_over_midnight_renews_nothing(limiter: RateLimiter, clock: FakeClock) -> None:
    await limiter.reserve(ADA, "a", 3, POOR)
    for away in (-DAY_S, DAY_S):
        clock.now += away
        assert (await limiter.preview(BOB, 2, POOR)).refused_by == "budget"


async def test_no_budget_at_all_refuses_what_costs(limiter: RateLimiter) -> None:
    verdict = await limiter.reserve(ADA, "a", 1, Limits(per_hour=10, burst=3, daily=0))
    assert (verdict.allowed, verdict.refused_by, verdict.budget_left) == (False, "budget", 0)


async def test_the_same_request_takes_from_the_budget_once(limiter: RateLimiter) -> None:
    for _ in range(3):
        assert (await limiter.reserve(ADA, "a", 2, POOR)).budget_left == 2


# --- what is counted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limiter", ["in process", "fallback", "redis away"], indirect=True)
async def test_verdicts_on_what_costs_tokens_are_counted(
    limiter: InProcessRateLimiter | FallbackRateLimiter, request: pytest.FixtureRequest
) -> None:
    for number in range(4):
        await limiter.reserve(ADA, f"r{number}", 1, TEN)
        await limiter.reserve(BucketId(guild_id=1, member_id=10, kind="courtesy"), f"r{number}", 1, TEN)
    verdicts = {"allowed": 3, "refused": 1}
    assert limiter.decisions == verdicts
    assert limiter.made_here == ({} if "fallback" in request.node.name else verdicts)


# --- in this process ------------------------------------------------------------------------------------------------


async def test_a_bucket_that_is_full_again_takes_no_memory(clock: FakeClock) -> None:
    limiter = InProcessRateLimiter(clock)
    for number in range(20_000):
        clock.now += 10  # a bucket is full after 360 seconds, a reservation is over after a day
        await limiter.reserve(BucketId(guild_id=number % 7_000, member_id=number), f"r{number}", 1, POOR)
    assert len(limiter) < 8_640 + 7_000 + 3_000


async def test_reservations_are_over_after_a_day(clock: FakeClock) -> None:
    limiter = InProcessRateLimiter(clock)
    slow = Limits(per_hour=0.01, burst=3)
    await limiter.reserve(ADA, "a", 2, slow)
    clock.now += DAY_S + 1
    await limiter.settle(ADA, "a", 0, slow)
    assert (await limiter.preview(ADA, 0, slow)).remaining == pytest.approx(1.24, abs=0.01)


async def test_reservations_without_end_push_out_the_oldest(clock: FakeClock) -> None:
    limiter = InProcessRateLimiter(clock, reservations=10)
    for number in range(50):
        await limiter.reserve(BucketId(guild_id=1, member_id=number), f"r{number}", 1, TEN)
    assert len(limiter) == 10 + 50
    await limiter.settle(BucketId(guild_id=1, member_id=0), "r0", 0, TEN)
    assert (await limiter.preview(BucketId(guild_id=1, member_id=0), 0, TEN)).remaining == pytest.approx(2)
    await limiter.settle(BucketId(guild_id=1, member_id=49), "r49", 0, TEN)
    assert (await limiter.preview(BucketId(guild_id=1, member_id=49), 0, TEN)).remaining == pytest.approx(3)
