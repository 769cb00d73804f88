"""The limiter in Redis: the same rule as in this process, shared by processes, kept over restarts."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.adapters.in_process.limiter import InProcessRateLimiter
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.limiter import RedisRateLimiter
from bot.core.errors import StoreUnavailable
from bot.core.quotas import DAY_S, BucketId, Limits, Verdict
from tests.fakes import FakeClock
from tests.redis_servers import CALM, a_server, servers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.redis_servers import RedisProcess

TEN = Limits(per_hour=10, burst=3)
POOR = Limits(per_hour=10, burst=3, daily=4)
ADA = BucketId(guild_id=1, member_id=10)
BOB = BucketId(guild_id=1, member_id=11)
EVENING = 20_000 * DAY_S + 22 * 3_600


@asynccontextmanager
async def a_limiter(url: str, clock: FakeClock | None = None) -> AsyncGenerator[RedisRateLimiter]:
    server = RedisServer(url, role="store", clock=time.monotonic)
    limiter = RedisRateLimiter(server, way=CALM, now=clock)
    async with aclosing(server), aclosing(limiter):
        yield limiter


# --- the same rule --------------------------------------------------------------------------------------------------

MEMBERS = tuple(BucketId(guild_id=guild, member_id=member) for guild in (1, 2) for member in (10, 11))
Step = tuple[str, int, int, int]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.sampled_from(range(4)), st.integers(0, 9), st.integers(0, 5)),
        st.tuples(st.just("reserve"), st.sampled_from(range(4)), st.integers(0, 99), st.integers(1, 2)),
        st.tuples(st.just("settle"), st.sampled_from(range(4)), st.integers(0, 9), st.integers(0, 5)),
        st.tuples(st.just("preview"), st.sampled_from(range(4)), st.just(0), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.just(0), st.integers(-1_500_000, 1_500_000), st.just(0)),
        st.tuples(st.just("restart"), st.sampled_from(range(2)), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=50,
)


class Ledger:
    """What each member was granted and not given back, and in all."""

    def __init__(self) -> None:
        self.reserved: dict[tuple[BucketId, str], int] = {}
        self.kept: dict[tuple[BucketId, str], int] = {}

    def granted(self, bucket: BucketId, request_id: str, verdict: Verdict) -> None:
        if verdict.allowed and (bucket, request_id) not in self.reserved:
            self.reserved[bucket, request_id] = self.kept[bucket, request_id] = verdict.cost

    def settled(self, bucket: BucketId, request_id: str, cost: int) -> None:
        if reserved := self.reserved.get((bucket, request_id)):
            self.reserved[bucket, request_id] = 0
            self.kept[bucket, request_id] = min(cost, reserved)

    def of(self, bucket: BucketId) -> int:
        return sum(cost for (owner, _), cost in self.kept.items() if owner == bucket)


def same(one: Verdict, other: Verdict) -> bool:
    exact = ("allowed", "cost", "refused_by", "budget_left")
    close = ("remaining", "retry_after_s", "full_at", "now")
    return all(getattr(one, name) == getattr(other, name) for name in exact) and all(
        getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-5) for name in close
    )


async def follow(url: str, schedule: list[Step], limits: Limits) -> None:
    """Two limiters in turn on one Redis, beside one in this process."""
    async with aclosing(RedisServer(url, role="store", clock=time.monotonic)) as server:
        await follow_on(server, schedule, limits)


async def follow_on(server: RedisServer, schedule: list[Step], limits: Limits) -> None:
    clock, ledger, seen = FakeClock(EVENING), Ledger(), [EVENING]
    model = InProcessRateLimiter(clock)
    limiters = [RedisRateLimiter(server, way=CALM, now=clock) for _ in range(2)]
    for number, (what, who, which, cost) in enumerate(schedule):
        limiter, bucket, request_id = limiters[number % 2], MEMBERS[who], f"{MEMBERS[who].member_id}-{which}"
        match what:
            case "reserve":
                verdict = await limiter.reserve(bucket, request_id, cost, limits)
                assert same(verdict, await model.reserve(bucket, request_id, cost, limits))
                ledger.granted(bucket, request_id, verdict)
            case "settle":
                await limiter.settle(bucket, request_id, cost, limits)
                await model.settle(bucket, request_id, cost, limits)
                ledger.settled(bucket, request_id, cost)
            case "preview":
                verdict = await limiter.preview(bucket, cost, limits)
                assert same(verdict, await model.preview(bucket, cost, limits))
            case "wait":
                clock.now += which / 1_000
                seen.append(clock.now)
            case _:
                await limiters[who].aclose()
                limiters[who] = RedisRateLimiter(server, way=CALM, now=clock)
        now = await limiter.preview(bucket, 0, limits)
        assert 0 <= now.remaining <= limits.burst
        assert ledger.of(bucket) <= limits.burst + (max(seen) - min(seen)) * limits.per_second + 1e-6


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(schedule=steps, limits=st.sampled_from([TEN, POOR, Limits(per_hour=60, burst=1, daily=3)]))
def test_any_schedule_goes_as_in_this_process_and_never_over_the_limit(
    store_process: RedisProcess, schedule: list[Step], limits: Limits
) -> None:
    with store_process.client() as client:
        client.flushall()
    asyncio.run(follow(store_process.url, schedule, limits))


async def lose(url: str, client: redis.Redis, schedule: list[Step]) -> None:
    """A Redis that loses everything, again and again, and one process that remembers."""
    clock, ledger, latest = FakeClock(EVENING), Ledger(), EVENING
    async with a_limiter(url, clock) as limiter:
        for what, who, which, cost in schedule:
            bucket, request_id = MEMBERS[who], f"{MEMBERS[who].member_id}-{which}"
            match what:
                case "reserve":
                    # An id that is new each time: Redis forgets which it knew.
                    fresh = f"{request_id}-{len(ledger.kept)}"
                    ledger.granted(bucket, fresh, await limiter.reserve(bucket, fresh, cost, POOR))
                case "settle":
                    open_now = [key for key, reserved in ledger.reserved.items() if reserved and key[0] == bucket]
                    if open_now and client.exists(keys.reservation(bucket, open_now[-1][1])):
                        await limiter.settle(bucket, open_now[-1][1], cost, POOR)
                        ledger.settled(bucket, open_now[-1][1], cost)
                case "wait":
                    clock.now += abs(which) / 1_000
                    latest = max(latest, clock.now)
                case _:
                    client.flushall()
            assert ledger.of(bucket) <= POOR.burst + (latest - EVENING) * POOR.per_second + 1e-6
            days = 1 + int(latest // DAY_S - EVENING // DAY_S)
            for guild in (1, 2):
                used = sum(ledger.of(member) for member in MEMBERS if member.guild_id == guild)
                assert used <= 4 * days, "the budget is remembered as well"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(schedule=steps)
def test_a_redis_that_forgets_gives_nothing_away(store_process: RedisProcess, schedule: list[Step]) -> None:
    with store_process.client() as client:
        client.flushall()
        asyncio.run(lose(store_process.url, client, schedule))


@pytest.mark.parametrize("name", servers())
async def test_the_scripts_run_on_every_server(name: str) -> None:
    with a_server("store", name=name) as process:
        async with a_limiter(process.url) as limiter:
            verdicts = [await limiter.reserve(ADA, f"r{number}", 1, POOR) for number in range(4)]
            assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
            assert (await limiter.force(BOB, "f", 3, POOR)).budget_left == 0
            await limiter.settle(ADA, "r0", 0, POOR)
            assert (await limiter.preview(ADA, 0, POOR)).remaining == pytest.approx(1, abs=0.1)
            await limiter.reset(ADA, POOR)
            assert (await limiter.preview(ADA, 0, POOR)).remaining == pytest.approx(3)
        assert process.keys_without_ttl() == []


# --- several processes ----------------------------------------------------------------------------------------------

WIDE = Limits(per_hour=0.1, burst=100)


def granted_by(url: str, name: str, limits: Limits) -> int:
    """Runs in a process of its own: ask 150 times, once the other process is there too."""

    async def ask() -> int:
        async with a_limiter(url) as limiter:
            with redis.Redis.from_url(url) as client:
                client.incr("ready")
                await until(lambda: int(client.get("ready") or 0) >= 2)  # pyright: ignore[reportArgumentType]
            asked = (limiter.reserve(ADA, f"{name}-{number}", 1, limits) for number in range(150))
            return sum(verdict.allowed for verdict in await asyncio.gather(*asked))

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("limits", "total"), [(WIDE, 100), (Limits(per_hour=1e6, burst=1_000, daily=70), 70)], ids=["bucket", "budget"]
)
def test_two_processes_grant_together_what_one_would(own_store: RedisProcess, limits: Limits, total: int) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        grants = [processes.submit(granted_by, own_store.url, name, limits) for name in ("one", "two")]
        assert sum(each.result(timeout=60) for each in grants) == total


async def test_many_calls_share_a_connection_and_get_their_own_answers(store_process: RedisProcess) -> None:
    async with a_limiter(store_process.url) as limiter:
        members = [BucketId(guild_id=1, member_id=number) for number in range(500)]
        await limiter.preview(ADA, 0, WIDE)
        with store_process.client() as client:
            before = int(client.info("stats")["total_connections_received"])  # pyright: ignore[reportIndexIssue]
            verdicts = await asyncio.gather(
                *(limiter.reserve(member, f"{member.member_id}", member.member_id % 90, WIDE) for member in members)
            )
            after = int(client.info("stats")["total_connections_received"])  # pyright: ignore[reportIndexIssue]
    assert [verdict.cost for verdict in verdicts] == [member.member_id % 90 for member in members]
    assert after == before


# --- Redis' own clock, keys, TTLs -----------------------------------------------------------------------------------


async def test_the_clock_is_that_of_redis(store_process: RedisProcess) -> None:
    async with a_limiter(store_process.url) as limiter:
        with store_process.client() as client:
            before: Any = client.time()
            verdict = await limiter.reserve(ADA, "a", 1, TEN)
            after: Any = client.time()
            at = float(str(client.get(keys.bucket(ADA)), "ascii").split()[1])  # pyright: ignore[reportArgumentType]
    assert before[0] + before[1] / 1e6 <= verdict.now <= after[0] + after[1] / 1e6
    assert at == pytest.approx(verdict.now, abs=1e-5)


async def test_what_is_kept_and_for_how_long(store_process: RedisProcess) -> None:
    bucket, budget, reservation = keys.bucket(ADA), keys.budget(1), keys.reservation(ADA, "a")
    async with a_limiter(store_process.url) as limiter:
        await limiter.reserve(ADA, "a", 2, POOR)
        with store_process.client() as client:
            assert sorted(client.keys()) == sorted(key.encode() for key in (bucket, budget, reservation))  # pyright: ignore[reportArgumentType]
            assert client.ttl(bucket) == pytest.approx(3 * 360 + keys.BUCKET_MARGIN_S, abs=2)
            assert client.ttl(budget) == pytest.approx(keys.BUDGET_S, abs=2)
            client.expire(reservation, 1_000)
            await limiter.settle(ADA, "a", 0, POOR)
            assert client.ttl(reservation) == pytest.approx(1_000, abs=2), "it is not kept for longer once settled"


async def test_a_reservation_that_is_over_gives_nothing_back(store_process: RedisProcess) -> None:
    async with a_limiter(store_process.url) as limiter:
        await limiter.reserve(ADA, "a", 3, TEN)
        with store_process.client() as client:
            assert client.ttl(keys.reservation(ADA, "a")) == pytest.approx(keys.RESERVATION_TTL_S, abs=2)
            client.delete(keys.reservation(ADA, "a"))
        await limiter.settle(ADA, "a", 0, TEN)
        assert (await limiter.preview(ADA, 0, TEN)).remaining == pytest.approx(0, abs=0.1)


async def test_a_preview_writes_nothing(store_process: RedisProcess) -> None:
    async with a_limiter(store_process.url) as limiter:
        await limiter.preview(ADA, 1, POOR)
        with store_process.client() as client:
            assert client.dbsize() == 0


async def test_scripts_that_were_flushed_are_loaded_again(store_process: RedisProcess) -> None:
    async with a_limiter(store_process.url) as limiter:
        for number in range(3):
            assert (await limiter.reserve(ADA, f"r{number}", 1, TEN)).allowed
            with store_process.client() as client:
                client.script_flush()


async def test_a_key_of_another_kind_is_an_error_of_the_store(store_process: RedisProcess) -> None:
    async with a_limiter(store_process.url) as limiter:
        with store_process.client() as client:
            client.hset(keys.bucket(ADA), "what", "else")
            client.expire(keys.bucket(ADA), 60)
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await limiter.reserve(ADA, "a", 1, TEN)
        assert (await limiter.reserve(BOB, "b", 1, TEN)).allowed


# --- what was granted elsewhere -------------------------------------------------------------------------------------


async def test_forcing_takes_what_there_is_and_takes_it_once(store_process: RedisProcess) -> None:
    clock = FakeClock(EVENING)
    async with a_limiter(store_process.url, clock) as limiter:
        await limiter.reserve(ADA, "a", 2, POOR)
        for _ in range(2):
            verdict = await limiter.force(ADA, "b", 3, POOR)
            assert (verdict.allowed, verdict.remaining, verdict.budget_left) == (True, 0, 0)
        await limiter.settle(ADA, "b", 0, POOR)
        now = await limiter.preview(ADA, 0, POOR)
        assert now.remaining == pytest.approx(1), "it took one, so it gives back one"
        assert now.budget_left == 2


# --- a Redis that forgets, is silent, or goes -----------------------------------------------------------------------


def empty(folder: str) -> None:
    for path in Path(folder).iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


async def test_a_store_that_comes_back_empty_does_not_begin_anew(own_store: RedisProcess) -> None:
    clock = FakeClock(EVENING)
    async with a_limiter(own_store.url, clock) as limiter, a_limiter(own_store.url, clock) as stranger:
        await limiter.reserve(ADA, "a", 3, POOR)
        with own_store.client() as client:
            folder: Any = client.config_get("dir")
        own_store.stop()
        empty(folder["dir"])
        own_store.start()
        assert (await stranger.preview(ADA, 3, POOR)).allowed, "whoever saw nothing remembers nothing"
        clock.now += 360
        verdict = await limiter.reserve(ADA, "b", 2, POOR)
        assert (verdict.allowed, verdict.budget_left) == (False, 1)
        assert verdict.remaining == pytest.approx(1)
        assert not (await stranger.reserve(ADA, "c", 2, POOR)).allowed, "it was written down again"


async def test_a_store_that_restarts_remembers(own_store: RedisProcess) -> None:
    async with a_limiter(own_store.url) as limiter:
        await limiter.reserve(ADA, "a", 3, TEN)
    own_store.stop()
    own_store.start()
    async with a_limiter(own_store.url) as limiter:
        assert not (await limiter.reserve(ADA, "b", 1, TEN)).allowed


async def test_what_is_remembered_never_outlives_what_another_process_did(store_process: RedisProcess) -> None:
    clock = FakeClock(EVENING)
    async with a_limiter(store_process.url, clock) as one, a_limiter(store_process.url, clock) as other:
        await one.reserve(ADA, "a", 3, TEN)
        await other.reset(ADA, TEN)
        with store_process.client() as client:
            clock.now += int(client.ttl(keys.bucket(ADA)))  # pyright: ignore[reportArgumentType]
            client.delete(keys.bucket(ADA))  # as its TTL would by then
        assert (await one.preview(ADA, 3, TEN)).allowed


async def test_only_the_newest_are_remembered(store_server: RedisServer) -> None:
    limiter = RedisRateLimiter(store_server, way=CALM, remembered=2)
    members = [BucketId(guild_id=number, member_id=1) for number in range(3)]
    for member in members:
        await limiter.reserve(member, "a", 1, POOR)
    assert [limiter.known(member) is not None for member in members] == [False, True, True]
    assert [limiter.known_budget(number) is not None for number in range(3)] == [False, True, True]
    await limiter.aclose()


async def answered(limiter: RedisRateLimiter, clock: FakeClock, request_id: str, cost: int) -> Verdict:
    """Ask until there is an answer: a busy machine may be late."""
    while True:
        try:
            return await limiter.reserve(ADA, request_id, cost, TEN)
        except StoreUnavailable:
            clock.now += 10


async def test_silence_ends_all_calls_and_mixes_up_no_answers(own_store: RedisProcess) -> None:
    clock = FakeClock()
    server = RedisServer(own_store.url, role="store", clock=clock)
    limiter = RedisRateLimiter(server)
    await answered(limiter, clock, "a", 0)
    own_store.pause()
    began = time.monotonic()
    outcomes = await asyncio.gather(
        *(limiter.reserve(BOB, f"b{number}", 1, TEN) for number in range(20)), return_exceptions=True
    )
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert time.monotonic() - began < 5
    assert limiter.away
    own_store.resume()
    assert (await answered(limiter, clock, "c", 2)).cost == 2
    assert not limiter.away
    await limiter.aclose()
    await server.aclose()


async def test_a_call_that_is_cancelled_leaves_its_answer_to_nobody(own_store: RedisProcess) -> None:
    async with a_limiter(own_store.url) as limiter:
        await limiter.reserve(ADA, "a", 0, TEN)
        own_store.pause()
        given_up = asyncio.create_task(limiter.reserve(ADA, "b", 1, TEN))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        following = asyncio.create_task(limiter.reserve(BOB, "c", 2, TEN))
        await asyncio.sleep(0)
        own_store.resume()
        assert (await following).cost == 2


async def test_a_store_that_is_gone_is_told_at_once_and_found_again(own_store: RedisProcess) -> None:
    clock = FakeClock()
    server = RedisServer(own_store.url, role="store", clock=clock)
    limiter = RedisRateLimiter(server, way=CALM)
    await limiter.reserve(ADA, "a", 1, TEN)
    own_store.kill()
    with pytest.raises(StoreUnavailable):
        await limiter.reserve(ADA, "b", 1, TEN)
    own_store.start()
    clock.now += 10
    assert (await limiter.reserve(ADA, "b", 1, TEN)).remaining == pytest.approx(1, abs=0.1)
    await server.aclose()  # before the limiter: it ends its connection too
    await limiter.aclose()


async def test_a_full_store_is_unavailable() -> None:
    with a_server("store", maxmemory=1) as process:
        async with a_limiter(process.url) as limiter:
            with pytest.raises(StoreUnavailable, match="OOM"):
                await limiter.reserve(ADA, "a", 1, TEN)


async def test_those_who_ask_a_silent_server_at_once_wait_together(own_store: RedisProcess) -> None:
    server = RedisServer(own_store.url, role="store", clock=time.monotonic)
    limiter = RedisRateLimiter(server)
    own_store.pause()
    began = time.monotonic()
    for _ in range(2):
        asked = (limiter.reserve(ADA, f"{number}", 1, TEN) for number in range(50))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert time.monotonic() - began < 5, "one after the other, they would take 25 s"
    assert server.why_away == "it is silent"
    own_store.resume()
    await limiter.aclose()
    await server.aclose()
