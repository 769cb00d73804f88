"""One contract for what all processes have counted, on every Redis that there is and in this process."""

# redis-py is typed in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from bot.adapters.in_process.stage_counts import InProcessStageCounts
from bot.adapters.redis import keys
from bot.adapters.redis.connections import RedisServer
from bot.adapters.redis.stage_counts import RedisStageCounts
from bot.core.errors import StoreUnavailable
from bot.core.stage_health import MINUTE_S, Attempt, Outcome, StageHealth, Subject
from tests.fakes import FakeClock
from tests.redis_servers import SLACK, servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bot.core.ports import StageCounts
    from tests.redis_servers import RedisProcess

MINUTE: Final = 28_000_000
HEARD: Final = Attempt(subject=Subject(kind="stage", name="transcribe"), outcome=Outcome.OK, power=3)
DEAF: Final = Attempt(subject=Subject(kind="stage", name="transcribe"), outcome=Outcome.TEMPORARY)
MODEL: Final = Attempt(subject=Subject(kind="model", name="a|b:ü "), outcome=Outcome.RATE_LIMIT, power=-6)


class Bench:
    """Counts, and the time that passes for them."""

    def __init__(self, counts: StageCounts, clock: FakeClock, process: RedisProcess | None = None) -> None:
        self.counts = counts
        self.clock = clock
        self._process = process

    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds
        if self._process is None:
            return
        with self._process.client() as client:
            found: list[Any] = list(client.scan_iter())
            for key in found:
                ttl: Any = client.ttl(key)
                client.expire(key, ttl - seconds)  # deletes it where nothing is left


@pytest.fixture(params=["in process", *servers()])
async def bench(request: pytest.FixtureRequest, processes: Callable[[str], RedisProcess]) -> AsyncIterator[Bench]:
    clock = FakeClock(float(MINUTE * MINUTE_S))
    if request.param == "in process":
        yield Bench(InProcessStageCounts(now=clock, keep_s=keys.STAGE_COUNTS_S), clock)
        return
    process = processes(request.param)
    with process.client() as client:
        client.flushall()
    server = RedisServer(process.url, role="store", clock=time.monotonic, slack=SLACK)
    yield Bench(RedisStageCounts(server), clock, process)
    await server.aclose()
    assert process.keys_without_ttl() == []


@pytest.fixture
def counts(bench: Bench) -> StageCounts:
    return bench.counts


async def test_nothing_was_counted_at_first(counts: StageCounts) -> None:
    await counts.put("a", {})
    found = await counts.read(range(MINUTE - 2, MINUTE + 1))
    assert [dict(found[minute]) for minute in (MINUTE - 2, MINUTE - 1, MINUTE)] == [{}, {}, {}]


async def test_processes_are_summed_and_minutes_kept_apart(counts: StageCounts) -> None:
    await counts.put("a", {MINUTE: {HEARD: 2, MODEL: 1}, MINUTE - 1: {HEARD: 5}})
    await counts.put("b", {MINUTE: {HEARD: 3, DEAF: 1}})
    found = await counts.read([MINUTE, MINUTE - 1])
    assert found == {MINUTE: {HEARD: 5, DEAF: 1, MODEL: 1}, MINUTE - 1: {HEARD: 5}}


async def test_to_put_again_counts_once(counts: StageCounts) -> None:
    await counts.put("a", {MINUTE: {HEARD: 2}})
    await counts.put("a", {MINUTE: {HEARD: 2}})
    assert await counts.read([MINUTE]) == {MINUTE: {HEARD: 2}}
    await counts.put("a", {MINUTE: {HEARD: 4, DEAF: 1}})
    assert await counts.read([MINUTE]) == {MINUTE: {HEARD: 4, DEAF: 1}}


async def test_counts_end_by_themselves(bench: Bench) -> None:
    await bench.counts.put("a", {MINUTE: {HEARD: 2}})
    bench.pass_time(3_600)
    assert (await bench.counts.read([MINUTE]))[MINUTE] == {HEARD: 2}
    bench.pass_time(3_700)
    assert (await bench.counts.read([MINUTE]))[MINUTE] == {}


async def test_two_processes_agree_on_who_is_strained(bench: Bench) -> None:
    here, there = (StageHealth(bench.counts, now=bench.clock, process=name) for name in ("here", "there"))
    for health in (here, there):
        for _ in range(3):
            health.note(DEAF.subject, Outcome.TEMPORARY)
        await health.look()
    await here.look()
    assert here.strains == there.strains
    assert (here.is_deaf, there.is_deaf) == (True, True)
    late = StageHealth(bench.counts, now=bench.clock, process="late")
    await late.look()
    assert late.strains == here.strains, "one that has just started, too"


async def test_what_a_later_version_wrote_is_passed_over(
    store_process: RedisProcess, store_server: RedisServer
) -> None:
    counts = RedisStageCounts(store_server)
    await counts.put("a", {MINUTE: {HEARD: 2}})
    with store_process.client() as client:
        for field in ("a|splendid|3|stage|transcribe", "a|ok|x|stage|fetch", "a|ok||guild|1", "a"):
            client.hset(keys.stage_counts(MINUTE), field, "7")
    assert await counts.read([MINUTE]) == {MINUTE: {HEARD: 2}}


async def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    server = RedisServer(f"unix://{tmp_path}/nobody", role="store", clock=time.monotonic)
    counts = RedisStageCounts(server)
    with pytest.raises(StoreUnavailable):
        await counts.put("a", {MINUTE: {HEARD: 2}})
    with pytest.raises(StoreUnavailable):
        await counts.read([MINUTE])
    await server.aclose()


async def test_what_was_counted_while_the_store_was_away_is_told_when_it_is_back(own_store: RedisProcess) -> None:
    clock, passing = FakeClock(float(MINUTE * MINUTE_S)), FakeClock()
    server = RedisServer(own_store.url, role="store", clock=passing, slack=SLACK)
    counts = RedisStageCounts(server)
    health = StageHealth(counts, now=clock, process="here")
    own_store.stop()
    for _ in range(5):
        health.note(DEAF.subject, Outcome.TEMPORARY)
    await health.look()
    assert health.is_deaf, "what this process saw is what is known"
    own_store.start()
    passing.now += 60  # the breaker lets a call through again
    clock.now += MINUTE_S
    await health.look()
    assert await counts.read([MINUTE]) == {MINUTE: {DEAF: 5}}
    await server.aclose()
