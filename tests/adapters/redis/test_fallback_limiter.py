"""Without Redis: never unlimited, never closed, and nothing is forgotten when it is back."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager, suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.adapters.in_process.documents import InProcessDocuments
from bot.adapters.records import StoredSettings
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.fallback_limiter import FallbackRateLimiter
from bot.adapters.redis.limiter import RedisRateLimiter
from bot.core.errors import StoreUnavailable
from bot.core.fair_use import FairUse, Reservation
from bot.core.models import Asker
from bot.core.quotas import DAY_S, BucketId, Limits, Verdict
from tests.fakes import FakeClock
from tests.redis_servers import CALM
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from tests.redis_servers import RedisProcess

TEN = Limits(per_hour=10, burst=3)
POOR = Limits(per_hour=10, burst=3, daily=4)
ADA = BucketId(guild_id=1, member_id=10)
BOB = BucketId(guild_id=1, member_id=11)
NOON = 20_000 * DAY_S + DAY_S / 2
NEVER = 1e6

T = TypeVar("T")


class UnsteadyLimiter(RedisRateLimiter):
    """The real one, that is away when told so; or deaf: it does what it is asked, and its answer is lost."""

    mode = "there"

    @property
    def away(self) -> bool:
        return self.mode == "away"

    async def reserve(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        return await self._unsteady(super().reserve(bucket, request_id, cost, limits))

    async def force(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> Verdict:
        return await self._unsteady(super().force(bucket, request_id, cost, limits))

    async def preview(self, bucket: BucketId, cost: int, limits: Limits) -> Verdict:
        return await self._unsteady(super().preview(bucket, cost, limits))

    async def settle(self, bucket: BucketId, request_id: str, cost: int, limits: Limits) -> None:
        await self._unsteady(super().settle(bucket, request_id, cost, limits))

    async def reset(self, bucket: BucketId, limits: Limits) -> None:
        await self._unsteady(super().reset(bucket, limits))

    async def _unsteady(self, call: Awaitable[T]) -> T:
        task = asyncio.ensure_future(call)
        if self.mode == "away":
            task.cancel()
            raise StoreUnavailable("away")
        if self.mode == "deaf":
            known = {name: deepcopy(vars(self)[name]) for name in ("_buckets", "_budgets")}
            await task
            vars(self).update(known)
            raise StoreUnavailable("deaf")
        return await task


class Scene:
    """A fallback on an unsteady Redis, and another process's steady view of it."""

    def __init__(self, url: str, *, tell_every_s: float = NEVER, remembered: int = 100, ahead_s: float = 0.0) -> None:
        self.clock = FakeClock(NOON)
        self.server = RedisServer(url, role="store", clock=time.monotonic)
        self.redis = UnsteadyLimiter(self.server, way=CALM, now=self.clock)
        self.other = RedisRateLimiter(self.server, way=CALM, now=self.clock)
        self.fallback = FallbackRateLimiter(
            self.redis, lambda: self.clock.now + ahead_s, tell_every_s=tell_every_s, remembered=remembered
        )

    async def left(self, bucket: BucketId = ADA, limits: Limits = TEN) -> float:
        """Tokens in Redis' bucket."""
        return (await self.other.preview(bucket, 0, limits)).remaining

    async def reserve(self, *request_ids: str, cost: int = 1, limits: Limits = TEN) -> list[bool]:
        return [(await self.fallback.reserve(ADA, each, cost, limits)).allowed for each in request_ids]


def is_settled(process: RedisProcess, request_id: str) -> bool:
    """Whether Redis knows that a request of Ada's has ended."""
    with process.client() as client:
        held: Any = client.get(keys.reservation(ADA, request_id))
    return held is not None and held.startswith(b"settled")


@asynccontextmanager
async def a_scene(
    process: RedisProcess, *, tell_every_s: float = NEVER, remembered: int = 100, ahead_s: float = 0.0
) -> AsyncGenerator[Scene]:
    scene = Scene(process.url, tell_every_s=tell_every_s, remembered=remembered, ahead_s=ahead_s)
    async with aclosing(scene.server), aclosing(scene.other), aclosing(scene.redis), aclosing(scene.fallback):
        yield scene


async def test_it_goes_on_from_what_redis_said_last(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        assert await scene.reserve("a", "b") == [True, True]
        scene.redis.mode = "away"
        assert await scene.reserve("c", "d") == [True, False]
        scene.clock.now += 361
        assert await scene.reserve("e", "f") == [True, False]


async def test_whom_it_never_saw_has_a_full_bucket_and_no_more(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        scene.redis.mode = "away"
        assert await scene.reserve("a", "b", "c", "d") == [True, True, True, False]


async def test_the_budget_goes_on_as_well(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a", cost=3, limits=POOR)
        scene.redis.mode = "away"
        verdict = await scene.fallback.reserve(BOB, "b", 2, POOR)
        assert (verdict.allowed, verdict.refused_by, verdict.budget_left) == (False, "budget", 1)
        assert (await scene.fallback.reserve(BOB, "c", 1, POOR)).budget_left == 0
        scene.redis.mode = "there"
        assert (await scene.fallback.reserve(BOB, "d", 1, POOR)).refused_by == "budget"


async def test_redis_is_told_in_the_background(store_process: RedisProcess) -> None:
    async with a_scene(store_process, tell_every_s=0.01) as scene:
        scene.redis.mode = "away"
        await scene.reserve("a", "b")
        await scene.fallback.settle(ADA, "b", 0, TEN)
        assert await scene.left() == 3
        scene.redis.mode = "there"
        await until(lambda: is_settled(store_process, "b"))
        assert await scene.left() == pytest.approx(2)


async def test_redis_is_told_before_the_bucket_is_used(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        scene.redis.mode = "away"
        assert await scene.reserve("a", "b") == [True, True]
        scene.redis.mode = "there"
        assert await scene.reserve("c", "d") == [True, False]
        assert await scene.left() == pytest.approx(0)


async def test_redis_is_told_at_the_end(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        scene.redis.mode = "away"
        await scene.reserve("a", "b")
        scene.redis.mode = "there"
        await scene.fallback.aclose()
        assert await scene.left() == pytest.approx(1)


async def test_what_redis_reserved_is_settled_when_it_is_back(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a", cost=3)
        scene.redis.mode = "away"
        await scene.fallback.settle(ADA, "a", 1, TEN)
        await scene.fallback.settle(ADA, "a", 0, TEN)
        assert (await scene.fallback.preview(ADA, 0, TEN)).remaining == pytest.approx(2), "here at once, and once"
        scene.redis.mode = "there"
        assert (await scene.fallback.preview(ADA, 0, TEN)).remaining == pytest.approx(2)


async def test_a_request_that_redis_knows_takes_nothing_again(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a", cost=3)
        scene.redis.mode = "away"
        assert await scene.reserve("a", cost=3) == [True]


async def test_what_was_settled_once_is_not_settled_here_again(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a", "b")
        await scene.fallback.settle(ADA, "a", 0, TEN)
        scene.redis.mode = "away"
        await scene.fallback.settle(ADA, "a", 0, TEN)
        assert (await scene.fallback.preview(ADA, 0, TEN)).remaining == pytest.approx(2)


@pytest.mark.parametrize("reserved", ["there", "away"])
async def test_asking_again_forgets_no_settlement(store_process: RedisProcess, reserved: str) -> None:
    async with a_scene(store_process) as scene:
        scene.redis.mode = reserved
        await scene.reserve("a", cost=3)
        scene.redis.mode = "away"
        await scene.fallback.settle(ADA, "a", 1, TEN)
        assert await scene.reserve("a", cost=3) == [True]
        scene.redis.mode = "there"
        await scene.fallback.preview(ADA, 0, TEN)
        assert await scene.left() == pytest.approx(2)


async def test_redis_is_told_in_the_order_of_the_decisions(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a")
        scene.redis.mode = "away"
        await scene.fallback.settle(ADA, "b", 0, TEN)
        await scene.fallback.settle(ADA, "a", 0, TEN)
        assert await scene.reserve("b", cost=3) == [True]
        scene.redis.mode = "there"
        await scene.fallback.preview(ADA, 0, TEN)
        assert await scene.left() == pytest.approx(0)


async def test_a_local_reservation_is_settled_in_redis_once_it_was_told(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        scene.redis.mode = "away"
        await scene.reserve("a", cost=2)
        scene.redis.mode = "there"
        await scene.fallback.preview(ADA, 0, TEN)
        assert await scene.left() == pytest.approx(1)
        await scene.fallback.settle(ADA, "a", 1, TEN)
        assert await scene.left() == pytest.approx(2)


async def test_what_others_took_meanwhile_leaves_nothing_below_zero(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        scene.redis.mode = "away"
        await scene.reserve("a", cost=2)
        await scene.fallback.settle(ADA, "a", 1, TEN)
        await scene.reserve("b", cost=2)
        assert (await scene.other.reserve(ADA, "x", 3, TEN)).allowed
        scene.redis.mode = "there"
        assert await scene.reserve("c") == [False]
        assert await scene.left() == pytest.approx(0)


async def test_tokens_that_were_taken_for_a_refusal_are_given_back(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a", cost=3)
        await scene.other.reset(ADA, TEN)  # which this process does not know of
        scene.redis.mode = "deaf"
        assert await scene.reserve("b") == [False]
        assert await scene.left() == pytest.approx(2)
        scene.redis.mode = "there"
        await scene.fallback.preview(ADA, 0, TEN)
        assert await scene.left() == pytest.approx(3)


async def test_an_answer_that_was_lost_costs_once(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        scene.redis.mode = "deaf"
        assert await scene.reserve("a", cost=2) == [True]
        scene.redis.mode = "there"
        await scene.fallback.preview(ADA, 0, TEN)
        assert await scene.left() == pytest.approx(1)


async def test_a_reset_holds_here_and_there(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a", cost=3)
        scene.redis.mode = "away"
        await scene.fallback.reset(ADA, TEN)
        assert await scene.reserve("b", "c") == [True, True]
        await scene.fallback.reset(ADA, TEN)
        assert await scene.reserve("d") == [True]
        scene.redis.mode = "there"
        await scene.fallback.preview(ADA, 0, TEN)
        assert await scene.left() == pytest.approx(2)


@pytest.mark.parametrize("ahead_s", [-7_200, 7_200])
async def test_a_process_whose_clock_is_wrong_goes_by_that_of_redis(
    store_process: RedisProcess, ahead_s: float
) -> None:
    async with a_scene(store_process, ahead_s=ahead_s) as scene:
        await scene.reserve("a", cost=3)
        scene.redis.mode = "away"
        verdict = await scene.fallback.reserve(ADA, "b", 1, TEN)
        assert (verdict.allowed, verdict.now) == (False, pytest.approx(NOON))
        scene.clock.now += 361
        assert await scene.reserve("b") == [True]


async def test_it_remembers_so_many_decisions_and_no_more(store_process: RedisProcess) -> None:
    async with a_scene(store_process, remembered=3) as scene:
        scene.redis.mode = "away"
        for number in range(5):
            await scene.fallback.reserve(BucketId(guild_id=number, member_id=1), "a", 2, TEN)
        scene.redis.mode = "there"
        await scene.fallback.aclose()
        left = [await scene.left(BucketId(guild_id=number, member_id=1)) for number in range(5)]
        assert left == pytest.approx([3, 3, 1, 1, 1])


async def test_it_counts_what_it_decides_and_says_where(store_process: RedisProcess) -> None:
    async with a_scene(store_process) as scene:
        await scene.reserve("a", "b", cost=2)
        assert (scene.fallback.decisions, scene.fallback.made_here) == ({"allowed": 1, "refused": 1}, {})
        scene.redis.mode = "away"
        await scene.reserve("c", "c", "d")
        assert scene.fallback.decisions == {"allowed": 3, "refused": 2}
        assert scene.fallback.made_here == {"allowed": 2, "refused": 1}


async def test_a_refund_is_made_although_its_request_is_cancelled_before_there_is_a_connection(
    store_process: RedisProcess,
) -> None:
    async with a_scene(store_process) as scene:
        await scene.other.reserve(ADA, "a", 3, TEN)
        task = asyncio.create_task(Reservation(scene.fallback, ADA, "a", TEN).settle(0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await scene.left() == pytest.approx(3)


@pytest.mark.parametrize("turns", range(8))
async def test_whatever_a_cancelled_request_took_is_given_back(store_process: RedisProcess, turns: int) -> None:
    async with a_scene(store_process) as scene:
        settings = StoredSettings(InProcessDocuments(now=scene.clock), clock=scene.clock)
        fair_use = FairUse(scene.fallback, settings, default=POOR, caps=POOR, outside=POOR)
        await scene.fallback.preview(BOB, 0, POOR)  # there is a connection
        task = asyncio.create_task(fair_use.reserve(Asker(guild_id=1, channel_id=2, member_id=10), "a", 2))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await (await task).settle(0)  # it was there already
        verdict = await scene.other.preview(ADA, 0, POOR)
        assert (verdict.remaining, verdict.budget_left) == (3, 4)


async def test_it_goes_through_a_real_outage(own_store: RedisProcess) -> None:
    server = RedisServer(own_store.url, role="store", clock=time.monotonic)
    redis = RedisRateLimiter(server, way=CALM)
    fallback = FallbackRateLimiter(redis, lambda: NOON, tell_every_s=0.05)
    assert (await fallback.reserve(ADA, "a", 1, TEN)).allowed
    own_store.kill()
    allowed = [(await fallback.reserve(ADA, f"b{number}", 1, TEN)).allowed for number in range(4)]
    assert allowed == [True, True, False, False]
    await fallback.settle(ADA, "a", 0, TEN)
    own_store.start()
    await until(lambda: is_settled(own_store, "a"))
    verdict = await fallback.preview(ADA, 1, TEN)
    assert verdict.remaining == pytest.approx(0, abs=0.1), "three, less one kept of the first, less two"
    await fallback.aclose()
    await redis.aclose()
    await server.aclose()


# --- any schedule ---------------------------------------------------------------------------------------------------

Step = tuple[str, int, int]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 99), st.integers(0, 4)),
        st.tuples(st.just("settle"), st.integers(0, 99), st.integers(0, 4)),
        st.tuples(st.just("wait"), st.integers(0, 900), st.just(0)),
        st.tuples(st.sampled_from(["there", "away", "deaf"]), st.just(0), st.just(0)),
    ),
    max_size=60,
)


async def outages(url: str, schedule: list[Step]) -> None:
    scene = Scene(url)
    async with aclosing(scene.server), aclosing(scene.fallback):
        await outages_on(scene, schedule)


async def outages_on(scene: Scene, schedule: list[Step]) -> None:
    kept: dict[str, int] = {}
    open_now: dict[str, int] = {}
    for what, which, cost in schedule:
        match what:
            case "reserve":
                request_id = f"r{which}"
                verdict = await scene.fallback.reserve(ADA, request_id, cost, TEN)
                if verdict.allowed and request_id not in kept:
                    kept[request_id] = open_now[request_id] = verdict.cost
            case "settle":
                request_id = f"r{which}" if which % 2 or not open_now else next(iter(open_now))
                await scene.fallback.settle(ADA, request_id, cost, TEN)
                if request_id in open_now:
                    kept[request_id] = min(cost, open_now.pop(request_id))
            case "wait":
                scene.clock.now += which
            case mode:
                scene.redis.mode = mode
        assert sum(kept.values()) <= granted_at(scene)
    scene.redis.mode = "there"
    await scene.fallback.aclose()
    assert sum(kept.values()) + await scene.left() <= granted_at(scene), "Redis knows of everything"


def granted_at(scene: Scene) -> float:
    return TEN.burst + (scene.clock.now - NOON) * TEN.per_second + 1e-6


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(schedule=steps)
def test_no_outage_makes_more_of_a_bucket(store_process: RedisProcess, schedule: list[Step]) -> None:
    with store_process.client() as client:
        client.flushall()  # pyright: ignore[reportUnknownMemberType]
    asyncio.run(outages(store_process.url, schedule))
